"""Notifier kinds `file` and `bell`."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.notifiers import bell, file
from opsdash.kinds.processes import run_program
from opsdash.model.message import Delivery
from tests.kinds.notices import message

if TYPE_CHECKING:
    from tests.kinds.notices import Desk


async def test_each_message_is_a_line(desk: Desk, tmp_path: Path) -> None:
    options = file.Options(path="alarms.log")
    for number in (1, 2):
        told = await file.send(options, message(id=f"MSG-{number}"), desk.context())
        assert told.delivery is Delivery.DELIVERED
    lines = (tmp_path / "alarms.log").read_text().splitlines()
    assert lines[0] == (
        "2026-05-28T20:26:40Z  MSG-1  problem  severity 1  Email is down: our mail provider does not answer  "
        "postmark/api: connection refused  Runbook: email-down"
    )
    assert len(lines) == 2
    assert (tmp_path / "alarms.log").stat().st_mode & 0o777 == 0o600
    assert desk.sent == 2


async def test_a_hostile_title_stays_on_its_line_and_moves_no_cursor(desk: Desk, tmp_path: Path) -> None:
    sent = message(title="down\x1b]52;c;aGk=\x07 \u202e", body="a\r\nMSG-9 all is well\x1b[2J")
    await file.send(file.Options(path="a.log"), sent, desk.context())
    text = (tmp_path / "a.log").read_text()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\u202e" not in text


async def test_json_holds_what_a_webhook_is_sent(desk: Desk, tmp_path: Path) -> None:
    await file.send(file.Options(path="a.jsonl", format="json"), message(), desk.context())
    (line,) = (tmp_path / "a.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert (found["key"], found["operation"]) == ("incident-12-opened", "The tea shop")
    assert found["body"].count("\n") == 1


async def test_what_a_full_disk_cut_short_does_not_spoil_the_next_line(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("half a li")
    await file.send(file.Options(path="a.log"), message(), desk.context())
    first, second = (tmp_path / "a.log").read_text().splitlines()
    assert first == "half a li"
    assert "MSG-7" in second


def _link(place: Path) -> None:
    place.symlink_to(place.parent / "elsewhere")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda place: place.mkdir(), "it is a folder"),
        (_link, "symbolic link"),
        (os.mkfifo, "no regular file"),
    ],
)
async def test_what_is_no_plain_file_is_refused(desk: Desk, tmp_path: Path, make: Any, said: str) -> None:
    make(tmp_path / "a.log")
    told = await file.send(file.Options(path="a.log"), message(), desk.context())
    assert told.delivery is Delivery.REFUSED
    assert said in told.detail
    assert not (tmp_path / "elsewhere").exists()
    assert desk.sent == 0


async def test_a_folder_that_does_not_exist_is_for_a_person(desk: Desk) -> None:
    told = await file.send(file.Options(path="gone/a.log"), message(), desk.context())
    assert (told.delivery, told.detail) == (Delivery.REFUSED, "a.log: its folder does not exist; create it")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
async def test_a_device_is_refused_even_a_full_one(desk: Desk) -> None:
    told = await file.send(file.Options(path="/dev/full"), message(), desk.context())
    assert told.delivery is Delivery.REFUSED


@pytest.mark.parametrize("room", [0, 20], ids=["no room", "room for half a line"])
async def test_a_full_disk_fails_and_is_tried_again(desk: Desk, tmp_path: Path, room: int) -> None:
    """A limit on the size of files is the full disk that a test can have; a process of its own has it."""
    program = f"""
import asyncio, resource, signal
from pathlib import Path
from opsdash.kinds.notifiers import file
from tests.kinds.notices import Desk, message
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, resource.RLIM_INFINITY))
desk = Desk(Path({str(tmp_path)!r}))
told = asyncio.run(file.send(file.Options(path="a.log"), message(), desk.context()))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(told.delivery.value, told.detail)
"""
    ended = await run_program([sys.executable, "-c", program], cwd=Path.cwd(), timeout=60)
    assert ended.stdout.startswith("failed a.log: "), ended
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert (tmp_path / "a.log").stat().st_size == room
    assert (await file.send(file.Options(path="a.log"), message(), desk.context())).delivery is Delivery.DELIVERED
    assert "MSG-7" in (tmp_path / "a.log").read_text().splitlines()[-1]


async def test_lines_of_several_writers_do_not_mix(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
from pathlib import Path
from opsdash.kinds.notifiers import file
from tests.kinds.notices import Desk, message
async def main():
    desk = Desk(Path({str(tmp_path)!r}))
    for number in range(50):
        sent = message(title=sys.argv[1] * 3000)
        await file.send(file.Options(path="a.log"), sent, desk.context())
asyncio.run(main())
"""
    runs = [run_program([sys.executable, "-c", program, letter], cwd=Path.cwd(), timeout=60) for letter in "ab"]
    assert [ended.exit_code for ended in await asyncio.gather(*runs)] == [0, 0]
    lines = (tmp_path / "a.log").read_text().splitlines()
    assert len(lines) == 100
    assert all(("a" * 3000 in line) != ("b" * 3000 in line) for line in lines)


async def test_what_the_disk_may_have_lost_is_unknown(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    told = await file.send(file.Options(path="a.log"), message(), desk.context())
    assert told.delivery is Delivery.UNKNOWN
    assert desk.sent == 1


@pytest.mark.parametrize("path", ["", " ", "logs/", "a\0b"])
def test_a_path_that_names_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="name a file"):
        file.Options(path=path)


async def test_the_bell_rings_every_board(desk: Desk) -> None:
    desk.boards = 2
    told = await bell.send(bell.Options(), message(title="[DRILL] Email\x07 is down"), desk.context())
    assert (told.delivery, told.detail) == (Delivery.DELIVERED, "2 boards rang")
    assert desk.rung == ["[DRILL] Email␇ is down"]


async def test_where_nobody_sits_the_bell_is_refused_and_not_tried_for_ever(desk: Desk) -> None:
    told = await bell.send(bell.Options(), message(), desk.context())
    assert (told.delivery, told.detail) == (Delivery.REFUSED, "no board is attached: nobody sat there")
