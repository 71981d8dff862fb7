"""Where an engine lives: private, one at a time, and with a clear word when that is not possible."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from opsdash.errors import EngineError
from opsdash.service import attach
from opsdash.service.places import (
    LONGEST_SOCKET_PATH,
    EngineFile,
    Lock,
    find_workspace,
    is_locked,
    make_state_folder,
    places,
    read_engine_file,
    write_engine_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A system's temporary folder with a short path, as systems have one."""
    folder = Path(tempfile.mkdtemp(prefix="o", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def long_folder(folder: Path) -> Path:
    return folder / ("long" * 20) / ("path" * 20)


def test_the_state_folder_is_private_and_unknown_to_git(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        where = places(tmp_path)
        make_state_folder(where)
        assert stat.S_IMODE(where.state.stat().st_mode) == 0o700
        assert (where.state / ".gitignore").read_text() == "*\n"
        where.state.chmod(0o755)
        make_state_folder(where)
        assert stat.S_IMODE(where.state.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_a_long_path_gets_a_socket_of_its_own_in_a_private_folder(short: Path, tmp_path: Path) -> None:
    where = places(long_folder(tmp_path))
    assert len(os.fsencode(where.socket)) <= LONGEST_SOCKET_PATH
    assert where.socket.parent == short / f"opsdash-{os.getuid()}"
    assert where.socket != places(long_folder(tmp_path) / "other").socket
    assert where.socket == places(long_folder(tmp_path)).socket
    make_state_folder(where)
    assert stat.S_IMODE(where.socket.parent.stat().st_mode) == 0o700
    near = places(short)
    assert near.socket == near.state / "engine.sock"


@pytest.mark.parametrize("how", ["open to others", "a file", "a link"])
def test_a_folder_that_somebody_else_prepared_is_not_trusted(short: Path, tmp_path: Path, how: str) -> None:
    folder = short / f"opsdash-{os.getuid()}"
    if how == "open to others":
        folder.mkdir()
        folder.chmod(0o777)
    elif how == "a file":
        folder.write_text("")
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineError, match=str(folder)):
        make_state_folder(places(long_folder(tmp_path)))


def test_a_place_where_nothing_can_be_made_is_said_in_words() -> None:
    with pytest.raises(EngineError, match=r"the state folder /proc/\.opsdash cannot be used: .*writable"):
        Lock(places(Path("/proc"))).take()
    with pytest.raises(EngineError, match="cannot be used"):
        attach.spawn_engine(Path("/proc"))


def test_a_state_folder_that_is_a_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / ".opsdash").write_text("")
    with pytest.raises(EngineError, match="cannot be used"):
        Lock(places(tmp_path)).take()


def test_one_holds_the_lock_and_the_next_one_gets_it(tmp_path: Path) -> None:
    where = places(tmp_path)
    assert not is_locked(where)
    first, second = Lock(where), Lock(where)
    assert first.take()
    assert is_locked(where)
    assert not second.take()
    first.release()
    assert not is_locked(where)
    assert second.take()
    second.release()


def test_asking_whether_an_engine_is_alive_keeps_none_from_starting(tmp_path: Path) -> None:
    """Somebody who asks shares the lock for a moment; a start that falls into it tries again."""
    where = places(tmp_path)
    make_state_folder(where)
    asking = os.open(where.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(asking, fcntl.LOCK_SH)
    assert not is_locked(where)
    release = threading.Timer(0.03, lambda: os.close(asking))
    release.start()
    lock = Lock(where)
    assert lock.take()
    lock.release()
    release.join()


def test_the_engines_file_says_who_it_is(tmp_path: Path) -> None:
    where = places(tmp_path)
    make_state_folder(where)
    assert read_engine_file(where) is None
    engine = EngineFile(4711, "0.1.0", 1, str(where.socket), 1.5)
    write_engine_file(where, engine)
    assert read_engine_file(where) == engine
    for odd in ("", "[]", "{}", '{"pid": 1, "who": 2}', "\x00"):
        where.engine_file.write_text(odd)
        assert read_engine_file(where) is None


def test_the_workspace_is_the_nearest_folder_that_is_one(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_workspace(deep) is None or not str(find_workspace(deep)).startswith(str(tmp_path))
    (tmp_path / "opsdash.yaml").write_text("")
    assert find_workspace(deep) == tmp_path
    (tmp_path / "a" / "opsdash.yaml").write_text("")
    assert find_workspace(deep) == tmp_path / "a"
    assert find_workspace(deep, "elsewhere") == Path("elsewhere")


def test_a_log_that_has_grown_is_put_aside_before_the_next_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "LOG_LIMIT", 10)
    log = tmp_path / "engine.log"
    log.write_text("short")
    attach._rotate(log)
    assert log.exists()
    log.write_text("longer than that")
    attach._rotate(log)
    assert not log.exists()
    assert (tmp_path / "engine.log.1").read_text() == "longer than that"
