"""One operation for the tests of a file, and its desk in good order for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.operation.desk import Desk, on_duty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def operation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """The example operation at work."""
    async with on_duty(tmp_path_factory.mktemp("operation")) as desk:
        yield desk


@pytest_asyncio.fixture(loop_scope="package")
async def desk(operation: Desk) -> AsyncIterator[Desk]:
    """The desk, with nothing wrong at the beginning, and put in order at the end."""
    await operation.all_is_well()
    yield operation
    await operation.tidy_up()
