"""The journal keeps what it acknowledged, whatever happens to its process, its disk and its files."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsdash.errors import JournalCorrupt, JournalError, JournalTooNew
from opsdash.storage.disk import NoticeCode, sync
from opsdash.storage.entries import CHECKPOINT, GENESIS, Link, ProblemKind, chain
from opsdash.storage.journal import RESERVE, Journal
from opsdash.storage.memory import MemoryJournal
from opsdash.storage.segments import read_entries, read_tail, verify

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.storage.ports import JournalPort

NOVEMBER = datetime(2026, 11, 3, 10, 0, 0, 123456, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, 0, 0, 1, tzinfo=UTC)
JANUARY = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture(params=["disk", "memory"])
def journal(request: pytest.FixtureRequest, folder: Path) -> JournalPort:
    return Journal.open(folder) if request.param == "disk" else MemoryJournal()


def numbers(journal: JournalPort) -> list[int]:
    return [entry.data["n"] for entry in journal.replay().entries]


def add(journal: JournalPort, *values: int, at: datetime = NOVEMBER) -> None:
    for value in values:
        journal.append([("number", {"n": value})], at)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_a_journal_begins_with_nothing(journal: JournalPort) -> None:
    replay = journal.replay()

    assert (replay.checkpoint, replay.entries, replay.problems) == (None, (), ())
    assert journal.needs_checkpoint(NOVEMBER)


def test_what_was_appended_is_replayed_after_the_newest_checkpoint(journal: JournalPort) -> None:
    add(journal, 1, 2)
    journal.checkpoint({"sum": 3}, NOVEMBER)
    add(journal, 4)

    assert journal.replay().checkpoint == {"sum": 3}
    assert numbers(journal) == [4]


def test_entries_are_numbered_and_chained_across_batches_and_checkpoints(journal: JournalPort) -> None:
    add(journal, 1)
    journal.append([("a", {}), ("b", {}), ("c", {})], NOVEMBER)
    journal.checkpoint({}, DECEMBER)
    add(journal, 2, at=DECEMBER)

    entries = list(journal.entries())

    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5, 6, 7]
    assert [entry.prev for entry in entries] == [GENESIS, *(entry.hash for entry in entries[:-1])]
    assert [entry.more for entry in entries] == [False, False, True, True, False, False, False]


def test_readers_select_by_number_type_and_count(journal: JournalPort) -> None:
    add(journal, 1, 2)
    journal.checkpoint({}, DECEMBER)
    journal.append([("word", {})], DECEMBER)

    assert [entry.seq for entry in journal.entries(since_seq=3)] == [4, 5]
    assert [entry.seq for entry in journal.entries(types={"number"})] == [2, 3]
    assert [entry.type for entry in journal.tail(3)] == ["number", CHECKPOINT, "word"]
    assert journal.tail(0) == []


def test_a_new_month_asks_for_a_checkpoint_and_an_earlier_one_does_not(journal: JournalPort) -> None:
    journal.checkpoint({}, DECEMBER)

    assert not journal.needs_checkpoint(NOVEMBER)
    assert not journal.needs_checkpoint(DECEMBER)
    assert journal.needs_checkpoint(JANUARY)


@pytest.mark.parametrize("data", [{"x": float("nan")}, {"x": float("inf")}, {"x": object()}, {(1, 2): 3}])
def test_what_is_no_json_is_refused_and_nothing_is_recorded(journal: JournalPort, data: Any) -> None:
    with pytest.raises(JournalError, match="'odd' entry cannot be written as JSON"):
        journal.append([("fine", {}), ("odd", data)], NOVEMBER)

    assert journal.replay().entries == ()


def test_a_time_without_a_zone_is_refused(journal: JournalPort) -> None:
    with pytest.raises(JournalError, match="has no time zone"):
        journal.append([("number", {})], datetime(2026, 11, 3))  # noqa: DTZ001 - that is the point


def test_the_entry_in_memory_is_the_one_on_disk(folder: Path) -> None:
    journal = Journal.open(folder)
    berlin = NOVEMBER.astimezone(timezone(timedelta(hours=1)))

    [entry] = journal.append([("odd keys", {"t": (1, 2), "keys": {10: "a", 9: "b"}})], berlin)

    assert entry.data == {"t": [1, 2], "keys": {"10": "a", "9": "b"}}
    assert Journal.open(folder).replay().entries == (entry,)
    assert verify(folder) == []


def test_an_entry_is_one_line_of_ascii_with_its_time_in_utc(folder: Path) -> None:
    hostile = "München \x1b[2J \u202e \x9b31m \ud800"
    Journal.open(folder).append([("text", {"text": hostile})], NOVEMBER)

    lines = (folder / "2026-11.jsonl").read_bytes().splitlines()

    assert len(lines) == 2
    assert all(32 <= byte < 127 for byte in lines[1])
    assert b'"at":"2026-11-03T10:00:00.123456Z"' in lines[1]
    assert next(read_entries(folder, types={"text"})).data["text"] == hostile


def test_a_month_is_a_segment_that_a_start_reads_alone(folder: Path) -> None:
    journal = Journal.open(folder)
    add(journal, 1, 2)
    journal.checkpoint({"sum": 3}, DECEMBER)
    add(journal, 4, at=DECEMBER)
    journal.close()
    (folder / "2026-11.jsonl").chmod(0o600)
    (folder / "2026-11.jsonl").write_text("nobody reads this\n")

    reopened = Journal.open(folder)

    assert reopened.replay().checkpoint == {"sum": 3}
    assert numbers(reopened) == [4]
    assert reopened.replay().notices == ()


def test_a_clock_set_back_to_last_month_stays_in_the_newest_segment(folder: Path) -> None:
    journal = Journal.open(folder)
    journal.checkpoint({}, DECEMBER)

    add(journal, 1, at=NOVEMBER)
    journal.checkpoint({"back": True}, NOVEMBER)

    assert [path.name for path in sorted(folder.glob("*.jsonl"))] == ["2026-12.jsonl"]
    assert Journal.open(folder).replay().checkpoint == {"back": True}
    assert verify(folder) == []


def test_a_batch_costs_one_fsync_and_is_on_disk_when_append_returns(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(folder)
    add(journal, 1)
    synced: list[int] = []

    def counting(fd: int) -> None:
        sync(fd)
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr("opsdash.storage.journal.sync", counting)
    journal.append([("number", {"n": n}) for n in range(5)], NOVEMBER)

    assert synced == [(folder / "2026-11.jsonl").stat().st_size]


# --- torn ends ---


def test_a_journal_cut_at_any_byte_gives_back_whole_batches_and_goes_on(folder: Path, tmp_path: Path) -> None:
    journal = Journal.open(folder)
    for n in range(2):
        journal.append([("number", {"n": n, "of": part}) for part in range(2)], NOVEMBER)
    content = (folder / "2026-11.jsonl").read_bytes()
    first = content.index(b"\n") + 1

    for length in range(first, len(content)):
        cut = tmp_path / "cut"
        cut.mkdir()
        (cut / "2026-11.jsonl").write_bytes(content[:length])
        shutil.copy(folder / RESERVE, cut / RESERVE)
        reopened = Journal.open(cut)
        replay = reopened.replay()
        whole = len(replay.entries)
        assert whole % 2 == 0
        assert replay.problems == ()
        assert [entry.data["n"] for entry in replay.entries] == [0, 0, 1, 1][:whole]
        reopened.append([("number", {"n": 9})], NOVEMBER)
        reopened.close()
        assert verify(cut) == []
        assert len(list(read_entries(cut))) == whole + 2
        shutil.rmtree(cut)


def test_a_torn_last_line_is_dropped_with_a_notice(folder: Path) -> None:
    add(Journal.open(folder), 1, 2)
    path = folder / "2026-11.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"at":"2026-11-03T10:0')

    reopened = Journal.open(folder)

    assert numbers(reopened) == [1, 2]
    [notice] = reopened.replay().notices
    assert notice.code is NoticeCode.TORN_LINE
    assert "2026-11.jsonl, line 4: expected a whole line, found 22 bytes without an end" in notice.message
    assert path.read_bytes() == whole


def test_an_editor_that_drops_the_last_newline_drops_no_entry(folder: Path) -> None:
    add(Journal.open(folder), 1, 2)
    path = folder / "2026-11.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))

    reopened = Journal.open(folder)
    add(reopened, 3)

    assert numbers(Journal.open(folder)) == [1, 2, 3]
    assert verify(folder) == []


def test_a_reader_beside_an_append_in_progress_sees_what_is_acknowledged(folder: Path) -> None:
    add(Journal.open(folder), 1)
    path = folder / "2026-11.jsonl"
    half = path.read_bytes() + b'{"half'
    path.write_bytes(half)

    assert [entry.seq for entry in read_tail(folder, 5)] == [1, 2]
    assert verify(folder) == []
    assert path.read_bytes() == half


# --- damage ---


def test_an_edited_line_is_located_left_out_and_reported_at_the_start(folder: Path) -> None:
    add(Journal.open(folder), 1, 2, 3)
    edit(folder / "2026-11.jsonl", '"n":2', '"n":7')

    [problem] = verify(folder)
    reopened = Journal.open(folder)

    assert (problem.file.name, problem.line, problem.seq, problem.kind) == (
        "2026-11.jsonl",
        3,
        3,
        ProblemKind.EDITED,
    )
    assert problem.expected.startswith("hash ")
    assert numbers(reopened) == [1, 3]
    assert reopened.replay().problems == (problem,)
    assert [notice.code for notice in reopened.replay().notices] == [NoticeCode.BROKEN_CHAIN]


def test_a_removed_line_is_located_and_the_others_stand(folder: Path) -> None:
    add(Journal.open(folder), 1, 2, 3)
    path = folder / "2026-11.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))

    [problem] = verify(folder)

    assert (problem.line, problem.kind) == (3, ProblemKind.CHAIN)
    assert (problem.expected, problem.found) == ("entry 3", "entry 4")
    assert numbers(Journal.open(folder)) == [1, 3]


def test_a_replaced_line_with_a_hash_of_its_own_does_not_fit_its_successor(folder: Path) -> None:
    journal = Journal.open(folder)
    add(journal, 1, 2)
    path = folder / "2026-11.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    genesis = next(read_entries(folder))
    [forged] = chain([("number", {"n": 99})], NOVEMBER, Link.after(genesis))
    path.write_bytes(lines[0] + forged.line() + lines[2])

    [problem] = verify(folder)

    assert (problem.line, problem.expected) == (3, f"prev {forged.hash}")


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\0\0\0\0",
        b"hello",
        b"[1]",
        b"{}",
        b'{"seq":NaN}',
        b'{"seq":1e400,"hash":"x"}',
        b"[" * 99_999,
        b"\xff",
    ],
)
def test_a_line_that_is_no_entry_is_located_and_the_others_stand(folder: Path, junk: bytes) -> None:
    add(Journal.open(folder), 1, 2)
    path = folder / "2026-11.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + junk + b"\n" + lines[2])

    assert (3, ProblemKind.UNREADABLE) in [(problem.line, problem.kind) for problem in verify(folder)]
    assert numbers(Journal.open(folder)) == [1, 2]


def test_a_checkpoint_puts_the_damage_behind(folder: Path) -> None:
    add(Journal.open(folder), 1, 2)
    edit(folder / "2026-11.jsonl", '"n":1', '"n":7')
    damaged = Journal.open(folder)
    assert damaged.needs_checkpoint(NOVEMBER)

    damaged.checkpoint({"told": "the operator"}, NOVEMBER)
    add(damaged, 3)
    damaged.close()
    reopened = Journal.open(folder)

    assert reopened.replay().checkpoint == {"told": "the operator"}
    assert numbers(reopened) == [3]
    assert [problem.line for problem in verify(folder)] == [2]


def test_a_torn_checkpoint_falls_back_to_the_segment_before(folder: Path) -> None:
    journal = Journal.open(folder)
    journal.checkpoint({"sum": 1}, NOVEMBER)
    add(journal, 2)
    journal.checkpoint({"sum": 3}, DECEMBER)
    add(journal, 4, at=DECEMBER)
    december = folder / "2026-12.jsonl"
    lines = december.read_bytes().splitlines(keepends=True)
    december.write_bytes(lines[0][:40] + b"\n" + lines[1])

    reopened = Journal.open(folder)
    replay = reopened.replay()

    assert replay.checkpoint == {"sum": 1}
    assert numbers(reopened) == [2, 4]
    codes = [notice.code for notice in replay.notices]
    assert codes == [NoticeCode.BROKEN_CHAIN, NoticeCode.TORN_CHECKPOINT]
    assert [(problem.file.name, problem.line) for problem in replay.problems] == [("2026-12.jsonl", 1)]


def test_a_segment_cut_off_in_its_checkpoint_falls_back_and_can_be_continued(folder: Path) -> None:
    journal = Journal.open(folder)
    journal.checkpoint({"sum": 1}, NOVEMBER)
    add(journal, 2)
    journal.checkpoint({"sum": 3}, DECEMBER)
    december = folder / "2026-12.jsonl"
    december.write_bytes(december.read_bytes()[:40])

    reopened = Journal.open(folder)
    assert reopened.replay().checkpoint == {"sum": 1}
    assert numbers(reopened) == [2]
    assert reopened.needs_checkpoint(DECEMBER)
    reopened.checkpoint({"sum": 3}, DECEMBER)
    add(reopened, 5, at=DECEMBER)
    reopened.close()

    again = Journal.open(folder)
    assert again.replay().checkpoint == {"sum": 3}
    assert numbers(again) == [5]
    assert verify(folder) == []


def test_a_month_that_does_not_continue_the_one_before_is_located(folder: Path) -> None:
    journal = Journal.open(folder)
    add(journal, 1, 2)
    journal.checkpoint({}, DECEMBER)
    november = folder / "2026-11.jsonl"
    november.write_bytes(b"".join(november.read_bytes().splitlines(keepends=True)[:-1]))

    [problem] = verify(folder)

    assert (problem.file.name, problem.line, problem.expected) == ("2026-12.jsonl", 1, "entry 3")


def test_a_journal_without_its_only_checkpoint_says_what_is_not_known(folder: Path) -> None:
    journal = Journal.open(folder)
    add(journal, 1, 2)
    journal.checkpoint({"sum": 3}, DECEMBER)
    add(journal, 4, at=DECEMBER)
    (folder / "2026-11.jsonl").unlink()
    december = folder / "2026-12.jsonl"
    december.write_bytes(b"{}\n" + december.read_bytes().splitlines(keepends=True)[1])

    replay = Journal.open(folder).replay()

    assert replay.checkpoint is None
    assert replay.notices[-1].code is NoticeCode.INCOMPLETE
    assert "entries before 5 are missing" in replay.notices[-1].message


def test_a_journal_of_which_nothing_can_be_read_stops_the_start(folder: Path) -> None:
    add(Journal.open(folder), 1)
    (folder / "2026-11.jsonl").write_bytes(b"\0" * 500 + b"\n")

    with pytest.raises(JournalCorrupt, match=r"2026-11.jsonl, line 1: .* move it away to start with an empty one"):
        Journal.open(folder)


def test_an_entry_of_a_newer_version_stops_the_start_and_says_what_to_do(folder: Path) -> None:
    add(Journal.open(folder), 1)
    edit(folder / "2026-11.jsonl", '"type":"number","v":1', '"type":"number","v":2')

    with pytest.raises(JournalTooNew, match=r"2026-11.jsonl, line 2: the entry has version 2, .* or a newer one"):
        Journal.open(folder)
    assert [problem.kind for problem in verify(folder)] == [ProblemKind.TOO_NEW]


# --- writing that fails ---


def test_short_writes_are_completed(folder: Path) -> None:
    journal = Journal.open(folder, write=lambda fd, data: os.write(fd, data[:7]))

    add(journal, 1, 2)

    assert numbers(Journal.open(folder)) == [1, 2]
    assert verify(folder) == []


class Disk:
    """Takes what it has room for, then says so; the room of a removed file is not given back by itself."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.error = errno.ENOSPC

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.room <= 0:
            raise OSError(self.error, os.strerror(self.error))
        written = os.write(fd, data[: self.room])
        self.room -= written
        return written


def test_a_failed_append_leaves_nothing_behind_and_the_next_one_succeeds(folder: Path) -> None:
    disk = Disk(room=10_000)
    disk.error = errno.EIO
    journal = Journal.open(folder, write=disk.write)
    add(journal, 1)
    before = (folder / "2026-11.jsonl").read_bytes()

    disk.room = 100
    with pytest.raises(JournalError, match="nothing was recorded"):
        add(journal, 2)
    assert (folder / "2026-11.jsonl").read_bytes() == before

    disk.room = 10_000
    add(journal, 3)
    assert numbers(journal) == [1, 3]
    assert verify(folder) == []


def test_a_failed_checkpoint_leaves_the_month_at_hand_in_use(folder: Path) -> None:
    disk = Disk(room=10_000)
    disk.error = errno.EIO
    journal = Journal.open(folder, write=disk.write)
    add(journal, 1)

    disk.room = 50
    with pytest.raises(JournalError):
        journal.checkpoint({"sum": 1}, DECEMBER)
    disk.room = 10_000
    add(journal, 2, at=DECEMBER)

    assert sorted(path.name for path in folder.iterdir()) == ["2026-11.jsonl", RESERVE]
    assert numbers(Journal.open(folder)) == [1, 2]


def test_a_full_disk_is_met_with_the_reserve(folder: Path) -> None:
    disk = Disk(room=10_000)
    journal = Journal.open(folder, write=disk.write)
    add(journal, 1)
    reserve = folder / RESERVE
    assert reserve.stat().st_size == 1 << 20

    disk.room = 100

    def give_back(fd: int, data: bytes | memoryview) -> int:
        if not reserve.exists():
            disk.room = 10_000
        return disk.write(fd, data)

    journal._write = give_back
    add(journal, 2)
    assert journal.low_space
    assert numbers(journal) == [1, 2]

    add(journal, 3)  # this disk has room again in the eyes of the system
    assert not journal.low_space
    assert reserve.exists()


def test_a_file_replaced_by_an_editor_is_noticed_before_the_next_append(folder: Path) -> None:
    journal = Journal.open(folder)
    add(journal, 1)
    path = folder / "2026-11.jsonl"
    copy = folder / "saved"
    copy.write_bytes(path.read_bytes())
    copy.replace(path)

    with pytest.raises(JournalError, match="changed by something other than this engine"):
        add(journal, 2)
    assert numbers(Journal.open(folder)) == [1]


# --- real processes ---

APPENDING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from opsdash.storage.journal import Journal
journal = Journal.open(Path(sys.argv[1]))
at = datetime(2026, 11, 3, tzinfo=UTC)
n = 0
while True:
    journal.append([("number", {"n": n, "part": part, "pad": "x" * 2000}) for part in range(3)], at)
    print(n, flush=True)
    n += 1
"""


@pytest.mark.parametrize("acknowledgements", [1, 7, 20, 33])
def test_what_a_killed_process_had_acknowledged_is_all_there(folder: Path, acknowledgements: int) -> None:
    command = [sys.executable, "-c", APPENDING, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(acknowledgements)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    acknowledged = sum(line.endswith("\n") for line in lines)

    reopened = Journal.open(folder)
    found = [(entry.data["n"], entry.data["part"]) for entry in reopened.replay().entries]

    assert acknowledged >= acknowledgements
    assert len(found) >= 3 * acknowledged
    assert found == [(n, part) for n in range(len(found) // 3) for part in range(3)]
    assert verify(folder) == []


LIMITED = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from opsdash.errors import JournalError
from opsdash.storage.journal import Journal
journal = Journal.open(Path(sys.argv[1]))
at = datetime(2026, 11, 3, tzinfo=UTC)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
n = 0
try:
    while True:
        journal.append([("number", {"n": n, "pad": "x" * 777})], at)
        print(n, flush=True)
        n += 1
except JournalError as error:
    print("refused:", error)
journal.append([("number", {"n": n})], at)
print(n)
"""


def test_a_file_that_may_not_grow_refuses_readably_and_loses_nothing(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder)], capture_output=True, text=True, check=True, timeout=60
    )
    *acknowledged, refusal, small = done.stdout.splitlines()

    assert refusal.startswith("refused: the journal in")
    assert small == str(len(acknowledged))  # a smaller entry still fitted where the large one had been cut back
    assert numbers(Journal.open(folder)) == [*map(int, acknowledged), int(small)]
    assert Journal.open(folder).replay().notices == ()
    assert verify(folder) == []


FULL = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from opsdash.errors import JournalError
from opsdash.storage.journal import Journal
disk = Path(sys.argv[1])
journal = Journal.open(disk / "journal")
assert not journal.low_space, "no reserve"
at = datetime(2026, 11, 3, tzinfo=UTC)
with (disk / "filler").open("wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(4096))
    except OSError:
        pass
n = 0
try:
    while True:
        journal.append([("number", {"n": n, "pad": "x" * 20_000})], at)
        assert journal.low_space, n
        n += 1
except JournalError:
    assert n > 10, n
    assert journal.low_space
(disk / "filler").unlink()
journal.append([("number", {"n": n})], at)
assert not journal.low_space
assert (disk / "journal" / "reserve").exists()
journal.close()
print(len(Journal.open(disk / "journal").replay().entries) == n + 1)
"""


def test_on_a_disk_that_is_really_full_the_reserve_takes_the_intents(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=8m tmpfs {tmp_path} && exec {sys.executable} -c '{FULL}' {tmp_path}"
    namespace = ["unshare", "-Urm", "sh", "-c"]
    trial = [*namespace, f"mount -t tmpfs tmpfs {tmp_path}"]
    if shutil.which("unshare") is None or subprocess.run(trial, check=False).returncode:
        pytest.skip("needs `unshare` (package util-linux) and user namespaces to mount a small disk")

    done = subprocess.run([*namespace, mount], capture_output=True, text=True, check=False, timeout=60)

    assert (done.stdout.strip(), done.returncode) == ("True", 0), done.stderr


# --- any content ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BATCHES = st.lists(
    st.lists(st.tuples(st.text(), st.dictionaries(st.text(), JSON, max_size=3)), max_size=3),
    min_size=1,
    max_size=4,
)
TIMES = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(batches=BATCHES, at=TIMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_json_is_appended_comes_back(tmp_path: Path, batches: list[Any], at: datetime) -> None:
    folder = tmp_path / "any"
    shutil.rmtree(folder, ignore_errors=True)
    journal = Journal.open(folder)
    memory = MemoryJournal()
    written = [entry for batch in batches for entry in journal.append(batch, at)]
    twin = [entry for batch in batches for entry in memory.append(batch, at)]
    journal.close()

    assert [(entry.type, entry.data) for entry in written] == [pair for batch in batches for pair in batch]
    assert list(Journal.open(folder).replay().entries) == written == twin
    assert verify(folder) == []


def test_a_memory_journal_of_a_prefix_is_the_journal_of_that_moment() -> None:
    memory = MemoryJournal()
    add(memory, 1)
    memory.append([("number", {"n": 2}), ("number", {"n": 3})], NOVEMBER)
    entries = list(memory.entries())

    assert [numbers(MemoryJournal(entries[:count])) for count in range(5)] == [[], [], [1], [1], [1, 2, 3]]


def test_a_full_memory_journal_refuses_like_a_full_disk() -> None:
    memory = MemoryJournal()
    add(memory, 1)
    memory.full = True

    with pytest.raises(JournalError, match="nothing was recorded"):
        add(memory, 2)
    assert numbers(memory) == [1]
