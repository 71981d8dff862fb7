"""Documents: readable records for screens, reports and commands, in TinyDB.

Closed incidents, evidence, switches and the practice of people are derived from the journal. No decision
reads them, and losing them costs a rebuild. What matters is that a file is never half-written and a damaged
one never stops a start.

TinyDB rewrites a whole file per change, hence one file per collection and period
(`documents/switches-2026-11.json`), and three layers below a table:

- `AtomicStorage` puts a file on disk at once and durably. TinyDB's own storage overwrites in place and
  truncates afterwards; killed in between, it leaves a file that cannot be read (22 of 200 in a measurement).
- `Coalesced` keeps the content in memory, reads from there, and writes when it is told to: many changes, one
  write.
- `Documents` is the typed face: it loads a file on first use, and `flush` writes the changed ones.

A file that cannot be read is set aside as `….broken` with a notice, and its collection is named in
`needs_rebuild`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tinydb import TinyDB
from tinydb.middlewares import Middleware
from tinydb.storages import Storage
from tinydb.table import Document, Table

from opsdash.errors import DocumentsError
from opsdash.storage.disk import Notice, NoticeCode, Write, make_folder, replace_file, set_aside, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

Json = Mapping[str, Any]
_Tables = dict[str, dict[str, Any]]

_COLLECTION = re.compile(r"[a-z][a-z_]*")
_PERIOD = re.compile(r"[0-9a-z]+(-[0-9a-z]+)*")
_FILE = re.compile(rf"({_COLLECTION.pattern})-({_PERIOD.pattern})\.json")


@dataclass(frozen=True, slots=True)
class Stored:
    """A document with its place. `document` belongs to the store: read it, don't change it."""

    id: str
    period: str
    document: Json


class AtomicStorage(Storage):
    """A TinyDB storage whose file is the old content or the new one, at any moment, for anybody."""

    def __init__(self, path: Path, write: Write = os.write) -> None:
        super().__init__()
        self.path = path
        self._write = write

    def read(self) -> _Tables | None:
        """The content, None when there is no file. Raises OSError, and ValueError when it is no TinyDB
        content.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        tables = json.loads(content)
        if not isinstance(tables, dict) or not all(_is_table(table) for table in tables.values()):
            raise ValueError("not an object of tables of documents")
        return tables

    def write(self, data: Mapping[str, Mapping[str, Any]]) -> None:
        """Put `data` on disk. Raises OSError, and leaves what was there."""
        # ASCII: what came from outside stands as \\u…, so that `cat` is safe.
        text = json.dumps(data, indent=1, ensure_ascii=True, allow_nan=False)
        replace_file(self.path, (text + "\n").encode("ascii"), self._write)


class Coalesced(Middleware):
    """Keeps the content in memory between `flush`es. TinyDB's CachingMiddleware, without writing at a moment
    of its own.
    """

    def __init__(self, storage_cls: type[Storage]) -> None:
        super().__init__(storage_cls)
        self._tables: _Tables | None = None
        self._loaded = False
        self.changed = False

    def read(self) -> _Tables | None:
        """The content, from disk the first time."""
        if not self._loaded:
            self._tables = self.storage.read()
            self._loaded = True
        return self._tables

    def write(self, data: _Tables) -> None:
        """Take `data` as the content."""
        self._tables = data
        self._loaded = True
        self.changed = True

    def flush(self) -> None:
        """Put the content on disk if it has changed. Raises OSError, and stays changed."""
        if self.changed and self._tables is not None:
            self.storage.write(self._tables)
            self.changed = False

    def close(self) -> None:
        """Nothing is written behind anybody's back: see `flush`."""


class _NamedTable(Table):
    """A table whose documents have names instead of numbers."""

    document_id_class = cast("type[int]", str)  # TinyDB lets it be any class, and its annotations only int


class _Database(TinyDB):
    table_class = _NamedTable


class _File:
    """One file: one collection, one period."""

    def __init__(self, path: Path, collection: str, write: Write) -> None:
        self.path = path
        self._storage = Coalesced(AtomicStorage)
        self._table = _Database(path, write, storage=self._storage).table(collection, cache_size=0)

    def load(self) -> None:
        """Raises OSError and ValueError when the file cannot be used."""
        self._storage.read()

    def get(self, name: str) -> Json | None:
        found = self._table.get(doc_id=_named(name))
        return cast("Json | None", found)

    def all(self) -> list[tuple[str, Json]]:
        return [(str(found.doc_id), found) for found in self._table.all()]

    def put(self, name: str, document: Json) -> None:
        if self._table.contains(doc_id=_named(name)):
            self._table.remove(doc_ids=[_named(name)])
        self._table.insert(Document(document, _named(name)))

    def replace(self, documents: Mapping[str, Json]) -> None:
        self._table.truncate()
        self._table.insert_multiple(Document(document, _named(name)) for name, document in documents.items())

    def flush(self) -> None:
        self._storage.flush()


class Documents:
    """The documents of one workspace. One thread at a time."""

    def __init__(self, folder: Path, *, write: Write = os.write) -> None:
        """`write` is the system's; tests hand in one that is short of space. Raises DocumentsError."""
        self.folder = folder
        self._write = write
        self._files: dict[tuple[str, str], _File] = {}
        self._notices: list[Notice] = []
        self._broken: set[str] = set()
        try:
            make_folder(folder)
        except OSError as error:
            raise DocumentsError(f"the folder {folder} cannot be created: {error.strerror}") from error

    @property
    def needs_rebuild(self) -> frozenset[str]:
        """Collections of which a file had to be set aside since the last `rebuild`."""
        return frozenset(self._broken)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What was found and survived since the start."""
        return tuple(self._notices)

    def put(self, collection: str, id: str, document: Json, period: str) -> None:  # noqa: A002 - the word
        """Store `document`, in place of one with this id in the same period; on disk after the next `flush`.

        Raises DocumentsError when it is no JSON.
        """
        self._file(collection, period).put(id, _plain(collection, id, document))

    def get(self, collection: str, id: str, period: str | None = None) -> Stored | None:  # noqa: A002 - the word
        """The document with this id; without a period the newest that has it."""
        periods = [period] if period is not None else reversed(self.periods(collection))
        for name in periods:
            found = self._file(collection, name).get(id)
            if found is not None:
                return Stored(id, name, found)
        return None

    def find(
        self,
        collection: str,
        matching: Json | None = None,
        *,
        periods: Collection[str] | None = None,
        limit: int | None = None,
    ) -> list[Stored]:
        """Documents whose fields equal those of `matching`, the newest first, of the given periods (all)."""
        found: list[Stored] = []
        wanted = dict(matching or {})
        for period in reversed(self.periods(collection)):
            if periods is not None and period not in periods:
                continue
            for name, document in reversed(self._file(collection, period).all()):
                if limit is not None and len(found) >= limit:
                    return found
                if all(key in document and document[key] == value for key, value in wanted.items()):
                    found.append(Stored(name, period, document))
        return found

    def periods(self, collection: str) -> list[str]:
        """The periods that `collection` has, oldest first."""
        on_disk = {match[2] for match in self._on_disk() if match[1] == collection}
        return sorted(on_disk | {period for name, period in self._files if name == collection})

    def flush(self) -> None:
        """Put every changed file on disk. Raises DocumentsError; what failed stays in memory and is tried
        again.
        """
        failed: list[str] = []
        for file in self._files.values():
            try:
                file.flush()
            except OSError as error:
                failed.append(f"{file.path}: {error.strerror or error}")
        if failed:
            raise DocumentsError(f"documents could not be written, and will be tried again: {'; '.join(failed)}")

    def rebuild(self, collections: Mapping[str, Iterable[Stored]]) -> None:
        """Replace each named collection by exactly these documents, and flush. Raises DocumentsError."""
        for collection, documents in collections.items():
            by_period: dict[str, dict[str, Json]] = {period: {} for period in self.periods(collection)}
            for stored in documents:
                plain = _plain(collection, stored.id, stored.document)
                by_period.setdefault(stored.period, {})[stored.id] = plain
            for period, contents in by_period.items():
                if contents:
                    self._file(collection, period).replace(contents)
                else:
                    self._remove(collection, period)
        self.flush()
        self._broken -= set(collections)

    def _file(self, collection: str, period: str) -> _File:
        file = self._files.get((collection, period))
        if file is None:
            file = self._files[collection, period] = self._load(collection, period)
        return file

    def _load(self, collection: str, period: str) -> _File:
        if not (_COLLECTION.fullmatch(collection) and _PERIOD.fullmatch(period)):
            raise DocumentsError(f"{collection!r} in {period!r} names no file; use letters, digits and hyphens")
        path = self.folder / f"{collection}-{period}.json"
        file = _File(path, collection, self._write)
        try:
            file.load()
        except (OSError, ValueError, RecursionError) as error:
            self._set_aside(path, collection, error)
            file = _File(path, collection, self._write)
            file.load()
        return file

    def _set_aside(self, path: Path, collection: str, why: Exception) -> None:
        try:
            aside = set_aside(path)
        except OSError as error:
            raise DocumentsError(f"{path} cannot be read or moved away ({error.strerror}); remove it") from error
        message = (
            f"{path.name} cannot be read ({why}); it was set aside as {aside.name}. "
            "`opsdash journal rebuild` makes it again"
        )
        self._notices.append(Notice(NoticeCode.SET_ASIDE, message, path))
        self._broken.add(collection)

    def _remove(self, collection: str, period: str) -> None:
        self._files.pop((collection, period), None)
        try:
            (self.folder / f"{collection}-{period}.json").unlink(missing_ok=True)
            sync_folder(self.folder)
        except OSError as error:
            raise DocumentsError(f"{collection}-{period}.json cannot be removed: {error.strerror}") from error

    def _on_disk(self) -> list[re.Match[str]]:
        matches = (_FILE.fullmatch(path.name) for path in self.folder.iterdir())
        return [match for match in matches if match]


def _plain(collection: str, name: str, document: Json) -> Json:
    """`document` as it will be read back. Raises DocumentsError when it is no JSON."""
    try:
        return cast("Json", json.loads(json.dumps(document, allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentsError(f"{name!r} of {collection} cannot be written as JSON: {error}") from error


def _named(name: str) -> int:
    """TinyDB annotates ids as int and takes any class, see `_NamedTable`."""
    return cast("int", name)


def _is_table(table: object) -> bool:
    return isinstance(table, dict) and all(isinstance(document, dict) for document in table.values())
