"""The database file of history: how it is opened, what a transaction is, and what happens to a damaged one.

It is SQLite in WAL mode, so that others read while the engine writes, with `synchronous = NORMAL`: a killed
process loses nothing, a power cut the last moments. A file that is no database, or is damaged, is renamed out
of the way together with its companions, and a new one takes its place; one with another schema is kept beside
it in the same way.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Final, TypeVar

from opsdash.errors import HistoryError
from opsdash.storage.disk import Notice, NoticeCode, make_folder, set_aside

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCHEMA_VERSION: Final = 1
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_SCHEMA: Final = """
CREATE TABLE checks(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE reasons(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE sample(
    check_id INTEGER NOT NULL, at_ms INTEGER NOT NULL, status INTEGER NOT NULL, latency_us INTEGER,
    reason_id INTEGER NOT NULL, PRIMARY KEY(check_id, at_ms)) WITHOUT ROWID;
CREATE TABLE rollup(
    check_id INTEGER NOT NULL, step INTEGER NOT NULL, start INTEGER NOT NULL,
    ok INTEGER NOT NULL, degraded INTEGER NOT NULL, down INTEGER NOT NULL, unknown INTEGER NOT NULL,
    paused INTEGER NOT NULL, sum_us INTEGER NOT NULL, min_us INTEGER, max_us INTEGER, histogram BLOB NOT NULL,
    PRIMARY KEY(check_id, step, start)) WITHOUT ROWID;
CREATE TABLE check_change(
    check_id INTEGER NOT NULL, at_ms INTEGER NOT NULL, before INTEGER, after INTEGER NOT NULL,
    reason_id INTEGER NOT NULL, PRIMARY KEY(check_id, at_ms)) WITHOUT ROWID;
CREATE TABLE component_change(
    component TEXT NOT NULL, at_ms INTEGER NOT NULL, before INTEGER, after INTEGER NOT NULL,
    reason_id INTEGER NOT NULL, PRIMARY KEY(component, at_ms)) WITHOUT ROWID;
CREATE TABLE summed_up(step INTEGER PRIMARY KEY, until INTEGER NOT NULL);
INSERT INTO summed_up VALUES (60, 0), (3600, 0);
"""

_T = TypeVar("_T")


class HistoryFile:
    """A connection that survives its file. `forget` is called when what was read or written no longer holds."""

    def __init__(self, path: Path, *, read_only: bool, forget: Callable[[], None]) -> None:
        self.path = path
        self.read_only = read_only
        self.notices: list[Notice] = []
        self._forget = forget
        self.db = self._guarded_open()

    def transaction(self, work: Callable[[], _T]) -> _T:
        """Run `work` in one transaction. Raises HistoryError, and then nothing of it is recorded."""

        def run() -> _T:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                result = work()
                self.db.execute("COMMIT")
            except BaseException:
                self._forget()
                with contextlib.suppress(sqlite3.Error):  # there may be no transaction, or no database any more
                    self.db.execute("ROLLBACK")
                raise
            return result

        return self.run(run)

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    def run(self, work: Callable[[], _T]) -> _T:
        """Run `work`; on a damaged database set it aside, begin a new one, and run it there."""
        try:
            try:
                return work()
            except sqlite3.DatabaseError as error:
                if self.read_only or not _is_damage(error):
                    raise
                self.db.close()
                self._set_aside(".broken", str(error))
                self.db = self._open()
                return work()
        except sqlite3.Error as error:
            raise HistoryError(f"the history in {self.path} cannot be used: {error}") from error

    def _guarded_open(self) -> sqlite3.Connection:
        try:
            make_folder(self.path.parent)
            try:
                return self._open()
            except sqlite3.DatabaseError as error:
                if self.read_only or not _is_damage(error):
                    raise
                self._set_aside(".broken", str(error))
                return self._open()
        except (sqlite3.Error, OSError) as error:
            raise HistoryError(f"the history in {self.path} cannot be opened: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self.read_only:
            return _connect_to_read(self.path)
        db = _connect(self.path)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            is_new = not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        except sqlite3.Error:
            db.close()
            raise
        if version == SCHEMA_VERSION:
            return db
        if not is_new:
            db.close()
            self._set_aside(".other", f"its schema has version {version}, this opsdash writes {SCHEMA_VERSION}")
            db = _connect(self.path)
        _create(db)
        return db

    def _set_aside(self, suffix: str, why: str) -> None:
        self._forget()
        aside = set_aside(self.path, suffix)
        for companion in ("-wal", "-shm"):
            other = self.path.with_name(self.path.name + companion)
            if other.exists():
                other.replace(aside.with_name(aside.name + companion))
        message = (
            f"the history in {self.path.name} cannot be used ({why}); it was set aside as {aside.name}, and a new "
            "one begun. Charts and percentages begin anew; nothing else depends on them"
        )
        self.notices.append(Notice(NoticeCode.SET_ASIDE, message, self.path))


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    # One thread at a time, and not always the one that opened it.
    db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA journal_size_limit = 16777216")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _connect_to_read(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise OSError("there is none yet; it begins with the first engine")
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5, check_same_thread=False)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error:
        db.close()
        raise
    if version != SCHEMA_VERSION:
        db.close()
        raise OSError(f"its schema has version {version}, this opsdash reads {SCHEMA_VERSION}")
    return db


def _create(db: sqlite3.Connection) -> None:
    db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED
