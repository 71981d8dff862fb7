"""Documents are never half-written, and a damaged file costs a rebuild, not a start."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tinydb import TinyDB

from opsdash.errors import DocumentsError
from opsdash.storage.disk import NoticeCode
from opsdash.storage.documents import AtomicStorage, Documents, Stored

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "documents"


def test_a_document_is_there_at_once_and_on_disk_after_a_flush(folder: Path) -> None:
    documents = Documents(folder)
    documents.put("switches", "email.7", {"to": "ses", "took": 1.8}, "2026-11")

    assert documents.get("switches", "email.7") == Stored("email.7", "2026-11", {"to": "ses", "took": 1.8})
    assert Documents(folder).get("switches", "email.7") is None

    documents.flush()
    assert Documents(folder).get("switches", "email.7") == documents.get("switches", "email.7")
    assert [path.name for path in folder.iterdir()] == ["switches-2026-11.json"]


def test_a_document_replaces_the_one_with_its_id_whole(folder: Path) -> None:
    documents = Documents(folder)
    documents.put("incidents", "i-1", {"title": "Mail is down", "note": "draft"}, "2026-11")
    documents.put("incidents", "i-1", {"title": "Mail was down"}, "2026-11")

    assert [stored.document for stored in documents.find("incidents")] == [{"title": "Mail was down"}]


def test_find_gives_the_newest_first_by_fields_periods_and_limit(folder: Path) -> None:
    documents = Documents(folder)
    documents.put("switches", "a", {"component": "email", "n": 1}, "2026-10")
    documents.put("switches", "b", {"component": "crm", "n": 2}, "2026-10")
    documents.put("switches", "c", {"component": "email", "n": 3}, "2026-11")
    documents.put("incidents", "d", {"component": "email"}, "2026-11")
    documents.flush()
    documents = Documents(folder)

    def ids(*arguments: Any, **options: Any) -> list[str]:
        return [stored.id for stored in documents.find(*arguments, **options)]

    assert ids("switches") == ["c", "b", "a"]
    assert ids("switches", {"component": "email"}) == ["c", "a"]
    assert ids("switches", {"component": None}) == []
    assert ids("switches", periods={"2026-10"}) == ["b", "a"]
    assert ids("switches", limit=2) == ["c", "b"]
    assert ids("evidence") == []


def test_the_newest_period_answers_for_an_id_unless_one_is_named(folder: Path) -> None:
    documents = Documents(folder)
    documents.put("practice", "maria", {"runs": 1}, "2026-q3")
    documents.put("practice", "maria", {"runs": 2}, "2026-q4")

    assert documents.get("practice", "maria") == Stored("maria", "2026-q4", {"runs": 2})
    assert documents.get("practice", "maria", "2026-q3") == Stored("maria", "2026-q3", {"runs": 1})
    assert documents.get("practice", "ken") is None


def test_many_changes_are_one_write_per_file(folder: Path) -> None:
    writes: list[int] = []

    def counting(fd: int, data: bytes | memoryview) -> int:
        writes.append(fd)
        return os.write(fd, data)

    documents = Documents(folder, write=counting)
    for n in range(50):
        documents.put("switches", f"email.{n}", {"n": n}, "2026-11")
    documents.flush()
    documents.flush()

    assert len(writes) == 1


def test_ids_may_contain_anything_and_the_file_stays_ascii(folder: Path) -> None:
    hostile = "../../etc/passwd\x1b[2J\u202e 1"
    documents = Documents(folder)
    documents.put("evidence", hostile, {"text": "\x9b31m"}, "2026-11")
    documents.flush()

    content = (folder / "evidence-2026-11.json").read_bytes()
    assert all(byte == 10 or 32 <= byte < 127 for byte in content)
    assert Documents(folder).get("evidence", hostile) == Stored(hostile, "2026-11", {"text": "\x9b31m"})


@pytest.mark.parametrize(("collection", "period"), [("../x", "2026-11"), ("switches", "../x"), ("", "1"), ("a", "")])
def test_names_that_are_no_file_names_are_refused(folder: Path, collection: str, period: str) -> None:
    with pytest.raises(DocumentsError, match="names no file"):
        Documents(folder).put(collection, "x", {}, period)


@pytest.mark.parametrize("document", [{"x": float("nan")}, {"x": object()}])
def test_what_is_no_json_is_refused_and_the_rest_stands(folder: Path, document: Any) -> None:
    documents = Documents(folder)
    documents.put("evidence", "good", {}, "2026-11")

    with pytest.raises(DocumentsError, match="'bad' of evidence cannot be written as JSON"):
        documents.put("evidence", "bad", document, "2026-11")
    documents.flush()
    assert [stored.id for stored in Documents(folder).find("evidence")] == ["good"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"switches": {"a": {',
        b"[]",
        b'{"switches": 1}',
        b'{"switches": {"a": 1}}',
        b"\xff",
        b"[" * 99999,
    ],
)
def test_a_file_that_cannot_be_read_is_set_aside_and_rebuilt(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "switches-2026-10.json").write_text(json.dumps({"switches": {"old": {"n": 0}}}))
    (folder / "switches-2026-11.json").write_bytes(content)

    documents = Documents(folder)
    assert [stored.id for stored in documents.find("switches")] == ["old"]
    assert (folder / "switches-2026-11.json.broken").read_bytes() == content
    assert documents.needs_rebuild == {"switches"}
    [notice] = documents.notices
    assert notice.code is NoticeCode.SET_ASIDE
    assert "`opsdash journal rebuild`" in notice.message

    documents.rebuild({"switches": [Stored("old", "2026-10", {"n": 0}), Stored("new", "2026-11", {"n": 1})]})
    assert documents.needs_rebuild == frozenset()
    assert [stored.id for stored in Documents(folder).find("switches")] == ["new", "old"]


def test_a_rebuild_replaces_a_collection_whole_and_touches_no_other(folder: Path) -> None:
    documents = Documents(folder)
    documents.put("switches", "gone", {}, "2026-09")
    documents.put("switches", "kept", {"n": 1}, "2026-11")
    documents.put("incidents", "other", {}, "2026-09")
    documents.flush()

    documents.rebuild({"switches": [Stored("kept", "2026-11", {"n": 2})]})

    assert sorted(path.name for path in folder.iterdir()) == [
        "incidents-2026-09.json",
        "switches-2026-11.json",
    ]
    assert documents.find("switches") == [Stored("kept", "2026-11", {"n": 2})]


def test_a_failed_flush_keeps_the_old_file_and_is_made_up_for(folder: Path) -> None:
    full = False

    def write(fd: int, data: bytes | memoryview) -> int:
        if full:
            os.write(fd, data[:5])
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(fd, data[:11])

    documents = Documents(folder, write=write)
    documents.put("switches", "a", {"n": 1}, "2026-11")
    documents.flush()
    full = True
    documents.put("switches", "a", {"n": 2}, "2026-11")

    with pytest.raises(DocumentsError, match="No space left on device"):
        documents.flush()
    assert Documents(folder).find("switches") == [Stored("a", "2026-11", {"n": 1})]
    assert documents.find("switches") == [Stored("a", "2026-11", {"n": 2})]

    full = False
    documents.flush()
    assert Documents(folder).find("switches") == [Stored("a", "2026-11", {"n": 2})]
    assert [path.name for path in folder.iterdir()] == ["switches-2026-11.json"]


SHRINKING = """
import sys
from pathlib import Path
from tinydb import TinyDB
from opsdash.storage.documents import AtomicStorage
table = TinyDB(Path(sys.argv[1]), storage=AtomicStorage).table("x")
table.insert({"pad": ""})
n = 0
while True:
    n += 1
    table.update({"pad": "x" * (5 if n % 2 else 60_000), "n": n})
    print(n, flush=True)
"""


@pytest.mark.parametrize("updates", [1, 2, 3, 5, 8, 13, 21, 34])
def test_shrinking_updates_survive_a_kill(tmp_path: Path, updates: int) -> None:
    path = tmp_path / "x.json"
    with subprocess.Popen([sys.executable, "-c", SHRINKING, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(updates)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    acknowledged = sum(line.endswith("\n") for line in lines)

    [document] = TinyDB(path, storage=AtomicStorage).table("x").all()

    assert document["n"] >= acknowledged >= updates
    assert len(document["pad"]) == (5 if document["n"] % 2 else 60_000)


LIMITED = """
import resource, sys
from pathlib import Path
from opsdash.errors import DocumentsError
from opsdash.storage.documents import Documents
documents = Documents(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for n in range(1000):
    documents.put("switches", str(n), {"pad": "x" * 777}, "2026-11")
    try:
        documents.flush()
    except DocumentsError:
        print(n)
        break
"""


def test_a_file_that_may_not_grow_stays_readable_with_all_that_was_flushed(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder)], capture_output=True, text=True, check=True, timeout=60
    )
    refused = int(done.stdout)

    assert refused > 10
    assert len(Documents(folder).find("switches")) == refused
    assert Documents(folder).notices == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(contents=st.dictionaries(st.text(), st.dictionaries(st.text(), JSON, max_size=3), max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_json_is_put_comes_back(folder: Path, contents: dict[str, Any]) -> None:
    documents = Documents(folder)
    documents.rebuild({"evidence": []})
    for name, document in contents.items():
        documents.put("evidence", name, document, "2026-11")
    documents.flush()

    found = Documents(folder).find("evidence")

    assert {stored.id: stored.document for stored in found} == contents
