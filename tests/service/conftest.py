"""What holds for all tests here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[None]:
    """A test whose subject blocks overrides this."""
    with nothing_of_ours_blocks():
        yield
