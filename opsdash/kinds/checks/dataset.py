"""Is the data that a source delivers any good: there, fresh, plausible, and not the same as for ever?

    leads:
      kind: dataset
      url: https://crm.example/export/leads.json
      rows: json.data
      at: updated_at
      warn_after: 2h
      stale_after: 6h
      min_rows: 100
      not_null: {email: 5%}
      range: {score: [0, 100]}
      unchanged_for: 1d

From a URL or a file; JSON or CSV with a header line. No data or too few rows is down (`empty`), old data is degraded
and then down (`stale`), the same bytes for too long are down (`unchanged`), and what cannot be is down (`garbage`):
an HTML page, rows of the wrong shape, times in the future, fields that are missing in too many rows, numbers out of
range. Of several, empty is told before stale, unchanged and garbage. Texts such as `N/A` count as missing.
"""

from __future__ import annotations

import asyncio
import stat
import time
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, PrivateAttr, field_validator, model_validator

from opsdash.kinds.base import CheckContext, CheckKind, Sample
from opsdash.kinds.bodies import IN_LOOP
from opsdash.kinds.failures import FAILURES, failed
from opsdash.kinds.fetching import SAMPLE_VALUES, RequestOptions, cut_off, judge_status, obtain, response_values
from opsdash.kinds.fields import Duration, Share
from opsdash.kinds.offload import in_thread
from opsdash.kinds.paths import DottedPath, parse_path
from opsdash.kinds.records import Findings, Rules, examine, most_telling
from opsdash.model.status import Reason, Status
from opsdash.model.units import format_duration


class Options(RequestOptions):
    """Keys of `kind: dataset`."""

    url: str = ""
    """Where to fetch the data. Either this or `file`."""
    file: Path | None = None
    """A file with the data, relative to the workspace."""
    format: Literal["json", "csv"] = "json"
    """How the data is written."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """What separates the columns of CSV."""
    rows: DottedPath = "json"
    """Where in the JSON the rows are, as `json.data`; without it, the whole is the list of rows."""
    at: DottedPath | None = None
    """The field of a row that says when it is from, or as `json.generated_at` one for all."""
    timezone: str = "UTC"
    """The time zone of times that name none."""
    warn_after: Duration | None = None
    """How old the newest data may be before it is degraded."""
    stale_after: Duration | None = None
    """How old the newest data may be before it is down."""
    future_tolerance: Duration = 300.0
    """How far ahead of us the clock of the source may be."""
    min_rows: int = Field(default=1, ge=0)
    """How many rows there must be at least."""
    max_rows: int | None = Field(default=None, ge=0)
    """How many rows there may be at most."""
    not_null: dict[str, Share] = Field(default_factory=dict)
    """For each field, the share of rows in which it may be missing, as `{email: 5%}`."""
    range: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """For each field, the lowest and the highest number it may be, as `{score: [0, 100]}`."""
    unchanged_for: Duration | None = None
    """For how long the data may stay the same to the byte."""

    _rules: Rules | None = PrivateAttr(None)

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, name: str) -> str:
        try:
            _zone(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no time zone; Europe/Berlin is one") from None
        return name

    @field_validator("not_null", "range")
    @classmethod
    def _fields_are_paths(cls, rules: dict[str, Any]) -> dict[str, Any]:
        for path in rules:
            parse_path(path)
        return rules

    @model_validator(mode="after")
    def _rules_agree(self) -> Options:
        if bool(self.url) == (self.file is not None):
            raise ValueError("name either `url` or `file`")
        if self.file is not None and not self.is_straight:
            raise ValueError("`connection`, `proxy` and `http2` concern a `url`; a file is read as it is")
        if self.at is None and (self.warn_after is not None or self.stale_after is not None):
            raise ValueError("`warn_after` and `stale_after` need `at`, the field that says how old the data is")
        for path, (low, high) in self.range.items():
            if low > high:
                raise ValueError(f"the range of {path} is empty: {low:g} is more than {high:g}")
        return self

    def rules(self) -> Rules:
        """The rules alone."""
        if self._rules is None:
            self._rules = Rules(
                layout=self.format,
                delimiter=self.delimiter,
                rows=self.rows,
                at=self.at,
                zone=_zone(self.timezone),
                warn_after=self.warn_after,
                stale_after=self.stale_after,
                future_tolerance=self.future_tolerance,
                min_rows=self.min_rows,
                max_rows=self.max_rows,
                not_null=self.not_null,
                bounds=self.range,
            )
        return self._rules


def _zone(name: str) -> tzinfo:
    # Systems without a time zone database know UTC all the same.
    return UTC if name == "UTC" else ZoneInfo(name)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """What is remembered from run to run: the data, by its hash, and since when it is the same."""

    digest: str
    since: float


async def run(options: Options, context: CheckContext) -> Sample:
    """Get the data, and hold it against the rules."""
    before = context.previous.state if context.previous is not None else None
    sample, body, content_type = await (_read_file if options.file is not None else _fetch)(options, context)
    sample.state = before
    if body is None:
        return sample
    rules = options.rules()
    if len(body) > IN_LOOP:
        findings = await asyncio.to_thread(examine, body, rules, context.wall, content_type)
    else:
        findings = examine(body, rules, context.wall, content_type)
    state = _continue(before, findings.digest, context.wall)
    _check_change(findings, state, options.unchanged_for, context.wall)
    sample.state = state
    sample.values = {**sample.values, **_values(findings, state, context)}
    _judge(sample, findings)
    return sample


async def _fetch(options: Options, context: CheckContext) -> tuple[Sample, bytes | None, str | None]:
    """Data from a URL; None where there is none to judge, and the sample says why."""
    try:
        response = await obtain(options, context)
    except FAILURES as error:
        return failed(error, where=options.target.authority), None, None
    sample = judge_status(response, options, context.wall)
    sample.values = response_values(response, context.wall)
    if sample.status is not Status.OK:
        return sample, None, None
    sample.soft = False
    if response.truncated:
        return cut_off(options, sample), None, None
    if response.encoding is not None:
        sample.status, sample.reason = Status.DOWN, Reason.GARBAGE
        sample.detail = f"the data came in encoding {response.encoding}, which was not asked for"
        return sample, None, None
    return sample, response.body, response.header("content-type")


async def _read_file(options: Options, context: CheckContext) -> tuple[Sample, bytes | None, str | None]:
    """Data from a file."""
    path = context.workspace / (options.file or "")
    started = time.monotonic()
    try:
        body = await in_thread(str(path), lambda: _read_limited(path, options.max_body))
    except FileNotFoundError:
        return Sample(Status.DOWN, Reason.MISSING, f"there is no file {path}"), None, None
    except OSError as error:
        detail = f"{path} cannot be read: {error.strerror or error}"
        return Sample(Status.UNKNOWN, Reason.PROBE_ERROR, detail), None, None
    latency = time.monotonic() - started
    sample = Sample(Status.OK, latency=latency, values={"size": len(body), "latency": latency})
    if len(body) > options.max_body:
        return cut_off(options, sample), None, None
    return sample, body, None


def _read_limited(path: Path, limit: int) -> bytes:
    """At most one byte more than `limit`. A pipe or device is refused: opening one may wait for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{path} is no regular file")
    with path.open("rb") as file:
        return file.read(limit + 1)


def _continue(before: Any, digest: str, wall: float) -> Unchanged:
    if isinstance(before, Unchanged) and before.digest == digest:
        return before
    return Unchanged(digest, wall)


def _check_change(findings: Findings, state: Unchanged, unchanged_for: float | None, wall: float) -> None:
    lasted = wall - state.since
    if unchanged_for is not None and lasted > unchanged_for:
        detail = f"the data has not changed for {format_duration(lasted)}"
        findings.add(Status.DOWN, Reason.UNCHANGED, detail)


def _values(findings: Findings, state: Unchanged, context: CheckContext) -> dict[str, Any]:
    values: dict[str, Any] = {
        "nulls": findings.nulls,
        "unchanged": context.wall - state.since,
        "broken": [f"{rule.reason.value}: {rule.detail}" for rule in findings.broken],
    }
    if findings.rows is not None:
        values["rows"] = findings.rows
    if findings.newest is not None:
        values |= {"newest": findings.newest, "age": context.wall - findings.newest}
    if context.wants_json and findings.document is not None:
        values["json"] = findings.document
    return values


def _judge(sample: Sample, findings: Findings) -> None:
    worst = most_telling(findings.broken)
    if worst is not None:
        sample.status, sample.reason, sample.detail = worst.status, worst.reason, worst.detail
        return
    sample.detail = f"{findings.rows} rows"
    if findings.newest is not None and "age" in sample.values:
        sample.detail += f", the newest {format_duration(sample.values['age'])} old"


KIND = CheckKind(
    name="dataset",
    summary="data that a source delivers: there, fresh, plausible",
    options=Options,
    run=run,
    sample=MappingProxyType(
        {
            **SAMPLE_VALUES,
            "json": {},
            "rows": 1200,
            "newest": 1893456000.0,
            "age": 340.0,
            "nulls": {"email": 0.01},
            "unchanged": 60.0,
            "broken": ["garbage: score is 180, not between 0 and 100, in 3 rows"],
        }
    ),
)
