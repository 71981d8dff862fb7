"""The guard of the event loop in the tests of engine, service and kinds finds what it is there for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from opsdash.config.files import stamp_of
from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_blocks_the_loop_fails_even_if_the_exception_is_caught(tmp_path: Path) -> None:
    told = r"the event loop was blocked:\n(.*\n)+.*in stamp_of"
    with pytest.raises(AssertionError, match=told), nothing_of_ours_blocks(), contextlib.suppress(Exception):
        stamp_of(tmp_path)


async def test_what_is_done_in_a_thread_or_by_a_test_itself_is_no_matter(tmp_path: Path) -> None:
    with nothing_of_ours_blocks():
        (tmp_path / "file").write_text("x")
        assert await asyncio.to_thread(stamp_of, tmp_path / "file")
