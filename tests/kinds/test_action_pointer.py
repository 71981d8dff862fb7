"""Action kind `pointer`: files that are read while they change, by hostile and by broken company."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.actions.pointer import KIND, Options, ReadOptions, apply, manual, preflight, read, undo
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Reading
from opsdash.kinds.offload import in_thread
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver

FILES: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"file": "provider"}, "postmark\n"),
    "json": ({"file": "mailer.json", "key": "mail.provider"}, '{"a": 1.50, "mail": {"provider": "postmark"}}\n'),
    "env": ({"file": ".env", "key": "PROVIDER"}, "# mail\nexport PROVIDER=postmark # who\nREGION=eu\n"),
    "symlink": ({"file": "current", "format": "symlink"}, ""),
}


@pytest.fixture(params=list(FILES))
def pointer(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The options of a pointer of each format, whose file says `postmark`."""
    options, content = FILES[request.param]
    for name in ("postmark", "ses", "mailgun"):
        (tmp_path / name).mkdir()
    if content:
        (tmp_path / options["file"]).write_text(content)
    else:
        (tmp_path / options["file"]).symlink_to("postmark")
    return options


def a_context(folder: Path, **keys: Any) -> ActionContext:
    return ActionContext("email:failover:7", keys.pop("deadline", 10.0), folder, Resolver(), 0.0, **keys)


async def put(folder: Path, options: dict[str, Any], value: Any, *, expected: str | None = None) -> ActionResult:
    return await apply(Options.model_validate({**options, "value": value}), a_context(folder, expected=expected))


async def look(folder: Path, options: dict[str, Any]) -> Reading:
    return await read(ReadOptions.model_validate(options), a_context(folder))


def others(folder: Path) -> set[str]:
    """What else lies in the folder, besides the files of the test."""
    known = {"postmark", "ses", "mailgun", *(options["file"] for options, _ in FILES.values())}
    return {entry.name for entry in folder.iterdir()} - known


async def test_a_switch_and_its_undo_leave_the_file_as_it_was(tmp_path: Path, pointer: dict[str, Any]) -> None:
    file = tmp_path / pointer["file"]
    before = os.readlink(file) if file.is_symlink() else file.read_text()  # noqa: PTH115
    assert (await look(tmp_path, pointer)).value == "postmark"

    result = await put(tmp_path, pointer, "ses", expected="postmark")
    assert (result.applied, result.prior) == (Applied.APPLIED, "postmark")
    assert (await look(tmp_path, pointer)).value == "ses"

    back = undo({**pointer, "value": "ses"}, result.prior or "")
    assert (await apply(Options.model_validate(back), a_context(tmp_path, expected="ses"))).applied is Applied.APPLIED
    assert (os.readlink(file) if file.is_symlink() else file.read_text()) == before  # noqa: PTH115
    assert others(tmp_path) == set()


async def test_somebody_elses_value_is_not_overwritten(tmp_path: Path, pointer: dict[str, Any]) -> None:
    await put(tmp_path, pointer, "mailgun")
    sent: list[str] = []
    context = a_context(tmp_path, expected="postmark", on_sent=lambda: sent.append("sent"))
    result = await apply(Options.model_validate({**pointer, "value": "ses"}), context)
    assert result.applied is Applied.REFUSED
    assert "says mailgun, where postmark was expected" in result.detail
    assert (await look(tmp_path, pointer)).value == "mailgun"
    assert sent == []


async def test_applying_twice_has_the_effect_of_once(tmp_path: Path, pointer: dict[str, Any]) -> None:
    for expected_prior in ("postmark", "ses"):
        result = await put(tmp_path, pointer, "ses", expected="postmark")
        assert (result.applied, result.prior) == (Applied.APPLIED, expected_prior)


async def test_of_many_that_expect_the_same_one_wins(tmp_path: Path, pointer: dict[str, Any]) -> None:
    results = await asyncio.gather(*(put(tmp_path, pointer, name, expected="postmark") for name in ("ses", "mailgun")))
    assert sorted(result.applied.value for result in results) == ["applied", "refused"]


async def test_a_reader_never_sees_a_torn_value_or_no_file(tmp_path: Path, pointer: dict[str, Any]) -> None:
    # Each value is as long as no other, so that a write in place would show a mixture or a remainder.
    place = Options.model_validate({**pointer, "value": "ses"})
    file = tmp_path / place.file
    seen: set[str] = set()
    wrong: list[str] = []
    stop = threading.Event()

    def keep_reading() -> None:
        while not stop.is_set():
            try:
                content = os.readlink(file) if file.is_symlink() else file.read_text()  # noqa: PTH115
            except OSError as error:
                content = repr(error)
            found = {name for name in ("postmark", "ses", "mailgun") if name in content}
            seen.update(found)
            if len(found) != 1 or (place.file.endswith(".json") and not json.loads(content)):
                wrong.append(content)

    reader = threading.Thread(target=keep_reading)
    reader.start()
    try:
        for number in range(150):
            await put(tmp_path, pointer, ("ses", "mailgun", "postmark")[number % 3])
    finally:
        stop.set()
        await asyncio.to_thread(reader.join)
    assert wrong == []
    assert len(seen) == 3


KILLER = """
import asyncio, json, os, random, signal, sys, time
from pathlib import Path
from opsdash.kinds.actions.pointer import Options, ReadOptions, apply, read
from opsdash.kinds.base import ActionContext
from opsdash.kinds.resolver import Resolver

raw = json.loads(sys.argv[1])
context = ActionContext("email:failover:7", 10.0, Path.cwd(), Resolver(), 0.0)

async def write_for_ever(ready):
    number = 0
    while True:
        value = ("ses", "mailgun", "postmark")[number % 3]
        await apply(Options.model_validate({**raw, "value": value}), context)
        number += 1
        if number == 1:
            os.write(ready, b"1")

def read_as_an_application_does(result):
    # With nothing of opsdash. Each value is as long as no other, so that a mixture or a remainder would show.
    seen, wrong = {"postmark": 0, "ses": 0, "mailgun": 0}, []
    reads = 0
    while reads < 100_000 or not all(seen.values()):  # on a machine at its limit the writers may begin late
        reads += 1
        try:
            if raw.get("format") == "symlink":
                content = os.readlink(raw["file"])
            else:
                with open(raw["file"]) as file:
                    content = file.read()
        except OSError as error:
            content = repr(error)
        found = [name for name in seen if name in content]
        if len(found) == 1 and (not raw["file"].endswith(".json") or content.endswith("}}\\n")):
            seen[found[0]] += 1
        else:
            wrong.append(content)
    os.write(result, json.dumps({"seen": seen, "wrong": wrong[:3]}).encode())

result, told = os.pipe()
reader = os.fork()
if reader == 0:
    read_as_an_application_does(told)
    os._exit(0)

bad = round_ = 0
while round_ < 15 or os.waitpid(reader, os.WNOHANG) == (0, 0):
    round_ += 1
    ready, written = os.pipe()
    child = os.fork()
    if child == 0:
        asyncio.run(write_for_ever(written))
    os.read(ready, 1)
    time.sleep(random.Random(round_).uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready), os.close(written)
    reading = asyncio.run(read(ReadOptions.model_validate(raw), context))
    bad += reading.value not in ("ses", "mailgun", "postmark")
asyncio.run(apply(Options.model_validate({**raw, "value": "ses"}), context))
asyncio.run(apply(Options.model_validate({**raw, "value": "postmark"}), context))
swept = sum(".opsdash-" in name for name in os.listdir())
print(json.dumps({"bad": bad, "swept": swept, **json.loads(os.read(result, 65536))}))
"""


async def test_a_writer_killed_at_any_moment_leaves_a_valid_file_to_all_who_read_it_meanwhile(
    tmp_path: Path, pointer: dict[str, Any]
) -> None:
    finished = await run_program(
        [sys.executable, "-c", KILLER, json.dumps(pointer)],
        cwd=tmp_path,
        env={"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
        timeout=60,
    )
    assert finished.exit_code == 0, finished.stderr
    found = json.loads(finished.stdout)
    assert (found["bad"], found["wrong"]) == (0, [])
    assert sum(found["seen"].values()) >= 100_000
    assert all(found["seen"].values()), "it was switched while it was read"
    assert found["swept"] == 0, "what a killed writer left behind is removed by the next one"


async def test_what_a_dead_writer_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "provider").write_text("postmark\n")
    for name in (".provider.opsdash-0badc0de", ".provider.swp", ".provider2.opsdash-0badc0de"):
        (tmp_path / name).write_text("half")
    await put(tmp_path, {"file": "provider"}, "ses")
    assert others(tmp_path) == {".provider.swp", ".provider2.opsdash-0badc0de"}


async def test_mode_and_links_stay(tmp_path: Path) -> None:
    real = tmp_path / "releases" / "provider"
    real.parent.mkdir()
    real.write_text("postmark\n")
    real.chmod(0o640)
    (tmp_path / "provider").symlink_to("releases/provider")
    assert (await put(tmp_path, {"file": "provider"}, "ses")).applied is Applied.APPLIED
    assert (tmp_path / "provider").is_symlink()
    assert real.read_text() == "ses\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_the_owner_stays(tmp_path: Path) -> None:
    (tmp_path / "provider").write_text("postmark\n")
    os.chown(tmp_path / "provider", 1234, 4321)
    await put(tmp_path, {"file": "provider"}, "ses")
    about = (tmp_path / "provider").stat()
    assert (about.st_uid, about.st_gid) == (1234, 4321)


@pytest.mark.parametrize(
    ("options", "content", "words"),
    [
        ({"file": "x.json", "key": "provider"}, b'{"provider": ', "is no JSON"),
        ({"file": "x.json", "key": "provider"}, b'{"provider": ["postmark"]}', "a list"),
        ({"file": "x.env", "key": "P"}, b"P='postmark\n", "quotes do not close"),
        ({"file": "x"}, b"postmark\nses\n", "holds 2 lines"),
        ({"file": "x"}, b"\xff\xfe", "no UTF-8"),
        ({"file": "x"}, b"x" * (1 << 20) + b"x", "larger than 1 MiB"),
        ({"file": "x", "format": "symlink"}, b"postmark", "is no symbolic link"),
    ],
)
async def test_what_cannot_be_understood_is_neither_believed_nor_overwritten(
    tmp_path: Path, options: dict[str, Any], content: bytes, words: str
) -> None:
    file = tmp_path / options["file"]
    file.write_bytes(content)
    (tmp_path / "ses").mkdir()
    reading = await look(tmp_path, options)
    assert reading.value is None
    assert words in reading.detail
    result = await put(tmp_path, options, "ses")
    assert result.applied is Applied.REFUSED
    assert "left as it is" in result.detail
    assert file.read_bytes() == content
    check = await preflight(Options.model_validate({**options, "value": "ses"}), a_context(tmp_path))
    assert check.passed is False


async def test_a_folder_or_a_pipe_in_the_place_of_the_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        assert (await look(tmp_path, {"file": name})).value is None
        assert (await put(tmp_path, {"file": name}, "ses")).applied is not Applied.APPLIED
    assert (tmp_path / "folder").is_dir()
    assert (tmp_path / "pipe").is_fifo()
    assert (await put(tmp_path, {"file": "folder", "format": "symlink"}, "pipe")).applied is Applied.REFUSED


async def test_a_new_file_is_made_where_nothing_was_expected(tmp_path: Path) -> None:
    for options in ({"file": "new"}, {"file": "new.json", "key": "a.b"}, {"file": "new.env", "key": "A"}):
        assert (await look(tmp_path, options)).value is None
        refused = await put(tmp_path, options, "ses", expected="postmark")
        assert refused.applied is Applied.REFUSED
        assert not (tmp_path / options["file"]).exists()
        result = await put(tmp_path, options, "ses")
        assert (result.applied, result.prior) == (Applied.APPLIED, None)
        assert (await look(tmp_path, options)).value == "ses"


async def test_a_link_is_never_left_dangling(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "current").symlink_to("old")
    options = {"file": "current", "format": "symlink"}
    result = await put(tmp_path, options, "gone")
    assert result.applied is Applied.REFUSED
    assert "gone, which does not exist" in result.detail
    check = await preflight(Options.model_validate({**options, "value": "gone"}), a_context(tmp_path))
    assert check.passed is False
    assert (await look(tmp_path, options)).value == "old"


async def test_a_missing_folder_means_that_nothing_was_started(tmp_path: Path) -> None:
    result = await put(tmp_path, {"file": "gone/provider"}, "ses")
    assert result.applied is Applied.NOT_STARTED
    assert "No such file" in result.detail


async def test_a_stamp_says_whose_the_value_is_and_what_it_replaced(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"provider": "postmark"}')
    options = {"file": "m.json", "key": "provider", "stamp": "switched_by"}
    await put(tmp_path, options, "ses", expected="postmark")
    assert json.loads((tmp_path / "m.json").read_text()) == {"provider": "ses", "switched_by": "email:failover:7"}
    again = await put(tmp_path, options, "ses", expected="postmark")
    assert (again.applied, again.prior) == (Applied.APPLIED, "postmark"), "a repetition knows its own work"


async def test_a_folder_that_somebody_else_has_locked_is_waited_for_and_then_left_alone(tmp_path: Path) -> None:
    (tmp_path / "provider").write_text("postmark\n")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        options = Options.model_validate({"file": "provider", "value": "ses"})
        result = await apply(options, a_context(tmp_path, deadline=0.4))
        assert result.applied is Applied.NOT_STARTED
        assert "locked" in result.detail
        waiting = asyncio.ensure_future(put(tmp_path, {"file": "provider"}, "ses"))
        await asyncio.sleep(0.05)
        assert (tmp_path / "provider").read_text() == "postmark\n"
    finally:
        os.close(folder)
    assert (await waiting).applied is Applied.APPLIED


async def test_what_was_given_up_is_not_written_later(tmp_path: Path) -> None:
    (tmp_path / "provider").write_text("postmark\n")
    folder = os.open(tmp_path, os.O_RDONLY)
    sent: list[str] = []
    context = a_context(tmp_path, on_sent=lambda: sent.append("sent"))
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        options = Options.model_validate({"file": "provider", "value": "ses"})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await apply(options, context)
    finally:
        os.close(folder)
    # Whoever comes next waits until the thread of the one before has ended.
    await in_thread(("pointer", tmp_path / "provider"), lambda: None)
    assert (tmp_path / "provider").read_text() == "postmark\n"
    assert sent == []
    assert others(tmp_path) == set()


def _as_written(file: Path) -> tuple[int, ...]:
    """What a change of a file changes; that it was read is no change."""
    found = file.lstat()
    return found.st_ino, found.st_mode, found.st_uid, found.st_size, found.st_mtime_ns, found.st_ctime_ns


async def test_the_preflight_changes_nothing_and_says_what_is_there(tmp_path: Path, pointer: dict[str, Any]) -> None:
    file = tmp_path / pointer["file"]
    before = _as_written(file)
    check = await preflight(Options.model_validate({**pointer, "value": "ses"}), a_context(tmp_path))
    assert check.passed is True
    assert "it says postmark" in check.detail
    assert _as_written(file) == before
    assert others(tmp_path) == set()


async def test_the_preflight_of_an_impossible_change_fails(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"weight": 3}')
    for options in (
        {"file": "m.json", "key": "weight", "value": "ses"},
        {"file": "m.json", "key": "a.b", "value": "ses"},
        {"file": "gone/x", "value": "ses"},
    ):
        check = await preflight(Options.model_validate(options), a_context(tmp_path))
        assert check.passed is False, options


async def test_the_manual_command_has_the_same_effect(tmp_path: Path, pointer: dict[str, Any]) -> None:
    command = manual({**pointer, "value": "ses"})
    finished = await run_program(["bash", "-c", command], cwd=tmp_path, timeout=20)
    assert finished.exit_code == 0, finished.stderr
    assert (await look(tmp_path, pointer)).value == "ses"
    assert others(tmp_path) == set()
    if pointer["file"] == ".env":
        assert (tmp_path / ".env").read_text() == "# mail\nREGION=eu\nPROVIDER=ses\n"


async def test_the_manual_command_survives_hostile_values(tmp_path: Path) -> None:
    hostile = "it's $(touch owned); `touch owned`"
    for options in ({"file": "a b.json", "key": "x.y"}, {"file": "a b.env", "key": "X"}, {"file": "a b"}):
        file = tmp_path / options["file"]
        file.write_text('{"x": {"y": "old"}}' if file.suffix == ".json" else "X=old\n" if file.suffix else "old\n")
        finished = await run_program(["bash", "-c", manual({**options, "value": hostile})], cwd=tmp_path, timeout=20)
        assert finished.exit_code == 0, finished.stderr
        assert (await look(tmp_path, options)).value == hostile
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"file": "x.json"}, "say which `key`"),
        ({"file": "x.env"}, "say which `key`"),
        ({"file": "x", "key": "a"}, "belongs to json and env"),
        ({"file": "x", "stamp": "a"}, "belongs to json and env"),
        ({"file": "x.env", "key": "A-B"}, "no possible name"),
        ({"file": "x.json", "key": "a[0]"}, "through a list"),
        ({"file": "x.json", "key": "a", "stamp": "a"}, "the same place"),
        ({"file": "x", "value": "a\nb"}, "line break"),
        ({"file": "x", "value": " a"}, "ends with a space"),
        ({"file": "x", "value": ""}, "empty text"),
        ({"file": "x", "value": ["a"]}, "valid"),
    ],
)
def test_options_that_cannot_work_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Options.model_validate({"value": "ses", **keys})
    assert KIND.abilities.restores
