"""Check kind `file`: files as jobs leave them behind, and file systems that do not answer."""

from __future__ import annotations

import asyncio
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds import offload
from opsdash.kinds.base import CheckContext, Sample
from opsdash.kinds.checks.file import KIND, Options, run
from opsdash.kinds.offload import in_thread
from opsdash.kinds.resolver import Resolver
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1_780_000_000.0


async def check(folder: Path, *, wants_json: bool = False, **keys: Any) -> Sample:
    context = CheckContext("backup/file", 5.0, NOON, folder, Resolver(), wants_json=wants_json)
    return await run(Options.model_validate({"path": "dump", **keys}), context)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A file of 1,000 bytes, written an hour before noon."""
    path = tmp_path / "dump"
    path.write_bytes(b"id;name\n" + b"x" * 992)
    os.utime(path, (NOON - 3600, NOON - 3600))
    return path


def verdict(sample: Sample) -> tuple[Status, Reason | None]:
    return sample.status, sample.reason


async def test_a_file_that_is_there_is_ok_and_described(tmp_path: Path, dump: Path) -> None:
    sample = await check(tmp_path)
    assert verdict(sample) == (Status.OK, None)
    assert sample.detail == "1,000 bytes, written 1h ago"
    assert sample.values == {"exists": True, "size": 1000, "age": 3600.0, "modified": NOON - 3600}
    assert set(sample.values) <= set(KIND.sample)


async def test_a_missing_file_is_down_unless_it_should_be_missing(tmp_path: Path, dump: Path) -> None:
    assert verdict(await check(tmp_path, path="gone")) == (Status.DOWN, Reason.MISSING)
    assert verdict(await check(tmp_path, path="dump/inside")) == (Status.DOWN, Reason.MISSING)
    assert verdict(await check(tmp_path, path="gone", exists=False)) == (Status.OK, None)
    assert verdict(await check(tmp_path, exists=False)) == (Status.DOWN, Reason.EXPECTATION)


async def test_a_broken_link_is_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "dump").symlink_to("nowhere")
    assert verdict(await check(tmp_path)) == (Status.DOWN, Reason.MISSING)


async def test_age_and_size_have_limits(tmp_path: Path, dump: Path) -> None:
    assert (await check(tmp_path, max_age="61m", min_size=1000, max_size="1kB")).status is Status.OK
    assert verdict(await check(tmp_path, max_age="59m")) == (Status.DOWN, Reason.STALE)
    assert verdict(await check(tmp_path, min_size="1KiB")) == (Status.DOWN, Reason.EMPTY)
    assert verdict(await check(tmp_path, max_size=999)) == (Status.DOWN, Reason.TOO_LARGE)
    assert verdict(await check(tmp_path, min_size="1KiB", max_age="59m")) == (Status.DOWN, Reason.EMPTY)


async def test_a_file_from_the_future_has_no_age_to_judge(tmp_path: Path, dump: Path) -> None:
    os.utime(dump, (NOON + 3600, NOON + 3600))
    assert verdict(await check(tmp_path, max_age="1h")) == (Status.UNKNOWN, Reason.CLOCK)
    os.utime(dump, (NOON + 30, NOON + 30))
    assert verdict(await check(tmp_path, max_age="1h")) == (Status.OK, None)


async def test_content_is_searched_by_line(tmp_path: Path, dump: Path) -> None:
    assert (await check(tmp_path, contains="^id;name$")).status is Status.OK
    assert verdict(await check(tmp_path, contains="^name")) == (Status.DOWN, Reason.EXPECTATION)


async def test_only_the_first_64_kib_are_searched(tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(b"x" * 65536 + b"needle")
    sample = await check(tmp_path, contains="needle")
    assert verdict(sample) == (Status.DOWN, Reason.EXPECTATION)
    assert "64 KiB" in sample.detail


async def test_an_expression_that_would_hang_a_backtracking_engine_does_not(tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(b"a" * 60_000 + b"!")
    async with asyncio.timeout(5):
        assert (await check(tmp_path, contains="^(a+)+$")).status is Status.DOWN


async def test_json_is_parsed_for_those_who_ask_and_only_if_it_is_some(tmp_path: Path) -> None:
    (tmp_path / "dump").write_text('{"rows": 5}')
    assert "json" not in (await check(tmp_path)).values
    assert (await check(tmp_path, wants_json=True)).values["json"] == {"rows": 5}
    (tmp_path / "dump").write_text('{"rows": ')
    assert "json" not in (await check(tmp_path, wants_json=True)).values
    (tmp_path / "dump").write_text("[" + "1," * 600_000 + "1]")
    assert "json" not in (await check(tmp_path, wants_json=True)).values


async def test_a_folder_has_no_content_to_search(tmp_path: Path) -> None:
    (tmp_path / "dump").mkdir()
    assert (await check(tmp_path)).status is Status.OK
    assert verdict(await check(tmp_path, contains="x")) == (Status.UNKNOWN, Reason.PROBE_ERROR)


async def test_a_pipe_without_a_writer_does_not_hang_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dump")
    async with asyncio.timeout(5):
        sample = await check(tmp_path, contains="x")
    assert verdict(sample) == (Status.UNKNOWN, Reason.PROBE_ERROR)


async def test_a_path_that_no_system_takes_is_a_broken_probe(tmp_path: Path) -> None:
    assert verdict(await check(tmp_path, path="x" * 300)) == (Status.UNKNOWN, Reason.PROBE_ERROR)


async def test_a_place_that_hangs_holds_one_thread_however_often_it_is_looked_at() -> None:
    back = threading.Event()
    looks: list[int] = []

    def look() -> int:
        looks.append(len(looks))
        back.wait()
        return looks[-1]

    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await in_thread("/dead/mount", look)
    assert looks == [0]
    assert await in_thread("/live/mount", lambda: "fine") == "fine"

    later = asyncio.ensure_future(in_thread("/dead/mount", look))
    await asyncio.sleep(0)
    back.set()
    assert await later == 1, "what was begun before it asked is no answer"


async def test_many_who_look_at_one_place_take_turns_and_do_not_wake_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    woken = 0
    call = offload._call

    def counted(*arguments: Any) -> bool:
        nonlocal woken
        woken += 1
        return call(*arguments)

    monkeypatch.setattr(offload, "_call", counted)
    order: list[int] = []
    await asyncio.gather(*(in_thread("/one/place", partial(order.append, number)) for number in range(200)))
    assert order == list(range(200))
    assert woken <= 400, "one call for the answer, one for the turn of the next"


async def test_whoever_is_cancelled_while_it_waits_or_has_just_got_its_turn_keeps_no_other_waiting() -> None:
    back = threading.Event()
    first = asyncio.ensure_future(in_thread("/one/place", back.wait))
    waiting = [asyncio.ensure_future(in_thread("/one/place", lambda: "fine")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    back.set()
    while not waiting[0].done():  # its turn has come, or comes in the next round of the loop
        waiting[0].cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(8):
        assert await waiting[2] == "fine"
        assert await first
        assert await in_thread("/one/place", lambda: "again") == "again"


async def test_an_error_in_the_thread_reaches_the_one_who_waits_and_frees_the_place() -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            await in_thread("/bad/disk", fail)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"path": ""}, "at least 1 character"),
        ({"exists": False, "max_age": "1h"}, "nothing whose age"),
        ({"min_size": "2kB", "max_size": "1kB"}, "larger than"),
        ({"contains": "(unclosed"}, "no regular expression"),
        ({"contains": "(?=ahead)"}, "no look-around"),
    ],
)
def test_demands_that_make_no_sense_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Options.model_validate({"path": "dump", **keys})
