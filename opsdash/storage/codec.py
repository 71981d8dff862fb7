"""Records and the world as plain JSON, and back.

The name of a record in the journal is its class name in snake case. A field that an older version did not write takes
its default. A record or table that this version does not know stops the start, because what it means cannot be guessed
(`JournalTooNew`); entries of a newer format are stopped before, by their version.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from pydantic import TypeAdapter, ValidationError

from opsdash.errors import JournalTooNew
from opsdash.model.records import Record
from opsdash.model.world import TABLES, World

if TYPE_CHECKING:
    from collections.abc import Mapping


def record_name(record: type) -> str:
    """`SwitchIntended` is `switch_intended` in the journal."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", record.__name__).lower()


RECORD_TYPES: dict[str, type] = {record_name(each): each for each in get_args(Record)}


_adapters: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    adapter = _adapters.get(kind)
    if adapter is None:
        adapter = _adapters[kind] = TypeAdapter(kind)
    return adapter


def encode(record: Record) -> tuple[str, dict[str, Any]]:
    """Name and data of a record for the journal."""
    kind = type(record)
    return record_name(kind), _adapter(kind).dump_python(record, mode="json", exclude_defaults=True, warnings=False)


def decode(name: str, data: Mapping[str, Any]) -> Record:
    """The record that `encode` was given. Raises JournalTooNew."""
    kind = RECORD_TYPES.get(name)
    if kind is None:
        raise JournalTooNew(
            f"the journal has a record {name!r} that this version of opsdash does not know; upgrade opsdash"
        )
    try:
        record: Record = _adapter(kind).validate_python(data)
    except ValidationError as error:
        raise JournalTooNew(f"a record {name!r} cannot be read by this version of opsdash: {error}") from error
    return record


def encode_world(world: World) -> dict[str, dict[str, Any]]:
    """All tables, for a checkpoint."""
    return {
        table: {
            key: _adapter(TABLES[table]).dump_python(value, mode="json", exclude_defaults=True, warnings=False)
            for key, value in rows.items()
        }
        for table, rows in world.tables.items()
    }


def decode_world(data: Mapping[str, Mapping[str, Any]]) -> World:
    """The world of a checkpoint; its operation is still empty. Raises JournalTooNew."""
    world = World()
    for table, rows in data.items():
        if table not in TABLES:
            raise JournalTooNew(
                f"the checkpoint has a table {table!r} that this version of opsdash does not know; upgrade opsdash"
            )
        adapter = _adapter(TABLES[table])
        try:
            world.tables[table] = {key: adapter.validate_python(value) for key, value in rows.items()}
        except ValidationError as error:
            raise JournalTooNew(
                f"the checkpoint's {table!r} cannot be read by this version of opsdash: {error}"
            ) from error
    return world
