"""What the engine and the process of a check say to each other: frames on a socket pair, each a tuple.

The engine sends pickles: the options of a kind are objects of the kind's own classes. What comes back is plain data and
is read as such, so that nothing which a kind made up runs in the engine: no class is looked up for it but dates and
times. What is no plain data is left out; an expectation that names it is then `unknown`, as it is for any value that is
missing.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import TYPE_CHECKING, Any, Final

from opsdash.kinds.base import Sample
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from opsdash.kinds.base import CheckOptions

HEADER: Final = struct.Struct(">I")

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of one frame: a body of 1 MiB, as text and as what it says, with room to spare."""

DEEPEST: Final = 100
"""Levels of a value, as of JSON anywhere in opsdash."""

READY: Final = "ready"
REFUSED: Final = "refused"
OVERDUE: Final = "overdue"
MEASURED: Final = "measured"
"""Replies: (ready), (refused, why), (overdue), (measured, fields of the sample, what the kind did not foresee)."""

_LEFT_OUT: Final = object()
_PLAIN: Final = (bool, int, float, str, bytes)


def frame(payload: bytes) -> bytes:
    """A payload as it is sent."""
    return HEADER.pack(len(payload)) + payload


def pack(message: tuple[Any, ...]) -> bytes:
    """A message as a payload. Raises whatever objects raise that cannot be pickled."""
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def unpack(payload: bytes) -> tuple[Any, ...]:
    """What the engine says, in the process of a check; the engine is trusted."""
    message: tuple[Any, ...] = pickle.loads(payload)  # noqa: S301 - see above
    return message


def unpack_plain(payload: bytes) -> tuple[Any, ...]:
    """What the process of a check says. Raises ValueError for whatever is not plain data in a tuple."""
    try:
        message = _PlainUnpickler(io.BytesIO(payload)).load()
    except Exception as error:  # a broken pickle may raise anything
        raise ValueError(f"no plain data: {type(error).__name__}: {error}") from error
    if not isinstance(message, tuple) or not message:
        raise ValueError("no message")
    return message


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Dates and times alone; everything else that is plain needs no class."""
        if module == "datetime" and name in {"date", "datetime", "time", "timedelta", "timezone"}:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no plain data")


# --- options -----------------------------------------------------------------------------------------------------


def pack_options(options: CheckOptions) -> bytes:
    """Options for another process; without what a kind keeps in private attributes where that cannot go there (a
    compiled schema), since it is made again when it is needed. Raises ValueError where even that is not possible.
    """
    try:
        return pickle.dumps(options, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - objects of other people's classes: anything
        bare = type(options).__new__(type(options))
        bare.__setstate__({**options.__getstate__(), "__pydantic_private__": None})
    try:
        return pickle.dumps(bare, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise ValueError(f"its options cannot be handed to another process: {error}") from error


def unpack_options(payload: bytes) -> CheckOptions:
    """Options in another process."""
    options: CheckOptions = pickle.loads(payload)  # noqa: S301 - from the engine
    if options.__pydantic_private__ is None:
        options.model_post_init(None)
    return options


# --- samples -----------------------------------------------------------------------------------------------------


def sample_fields(sample: Sample) -> tuple[Any, ...]:
    """A sample as plain data. `state` stays where it is: the process of a check remembers its last sample itself."""
    return (
        sample.status.value,
        None if sample.reason is None else sample.reason.value,
        str(sample.detail),
        _number(sample.latency),
        plain(sample.values),
        plain(sample.phases),
        _number(sample.retry_after),
        bool(sample.soft),
    )


def sample_from(fields: Any) -> Sample:
    """A sample of these fields. Raises ValueError for what is none."""
    try:
        status, reason, detail, latency, values, phases, retry_after, soft = fields
        return Sample(
            status=Status(status),
            reason=None if reason is None else Reason(reason),
            detail=str(detail),
            latency=_number(latency),
            values=dict(values),
            phases=dict(phases),
            retry_after=_number(retry_after),
            soft=bool(soft),
        )
    except TypeError as error:
        raise ValueError(f"no sample: {error}") from error


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def plain(value: Any, depth: int = 0) -> Any:
    """A value as plain data: subclasses become what they are subclasses of, what is none of it is left out."""
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return _plain_mapping(value, depth) if depth < DEEPEST else _LEFT_OUT
    if isinstance(value, list | tuple):
        return _plain_list(value, depth) if depth < DEEPEST else _LEFT_OUT
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date | timedelta | clock_time):
        return value
    if isinstance(value, bytes):
        return bytes(value)
    return next((base(value) for base in (int, float, str) if isinstance(value, base)), _LEFT_OUT)


def _plain_mapping(value: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
    pairs = ((plain(name, DEEPEST), plain(item, depth + 1)) for name, item in value.items())
    return {name: item for name, item in pairs if name is not _LEFT_OUT and item is not _LEFT_OUT}


def _plain_list(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any] | tuple[Any, ...]:
    items = [item for item in (plain(each, depth + 1) for each in value) if item is not _LEFT_OUT]
    return tuple(items) if isinstance(value, tuple) else items
