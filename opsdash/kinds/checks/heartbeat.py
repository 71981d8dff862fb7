"""A job reports to opsdash when it has run; the check fails when the report does not come.

    POST /v1/heartbeats/TOKEN          it has run
    POST /v1/heartbeats/TOKEN/start    it has begun; with `runtime`, one that takes too long is noticed
    POST /v1/heartbeats/TOKEN/fail     it has failed

`opsdash engine heartbeats` lists the URLs. On the engine's socket the check's name (`backup/nightly`) does, too.

Expected `every` so often after its last report, or by a `cron` schedule in a `timezone`. A report that is
`grace` late makes the check `down` (`missed`), a reported failure at once (`failed`), until the next success.
A job that never reported is `unknown` (`starting`) until its first report was due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pydantic import field_validator, model_validator

from opsdash.kinds.base import CheckContext, CheckKind, CheckOptions, HeartbeatState, Sample
from opsdash.kinds.fields import Duration
from opsdash.model.now import timestamp
from opsdash.model.status import Reason, Status
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from typing import Self


class Options(CheckOptions):
    every: Duration | None = None
    """How long after a report the next one is expected. This, or `cron`."""

    cron: str | None = None
    """When reports are expected: minute, hour, day of month, month, day of week. This, or `every`."""

    timezone: str | None = None
    """Time zone of `cron`, such as Europe/Berlin; the operation's by default."""

    grace: Duration = 60.0
    """How late a report may be."""

    runtime: Duration | None = None
    """How long the job may take from its start signal before the check is degraded (`slow`)."""

    @field_validator("cron")
    @classmethod
    def _has_five_fields(cls, cron: str | None) -> str | None:
        if cron is not None and len(cron.split()) != 5:
            raise ValueError(
                f"{cron!r} has {len(cron.split())} fields; write minute, hour, day of month, month, weekday"
            )
        return cron

    @field_validator("timezone")
    @classmethod
    def _exists(cls, timezone: str | None) -> str | None:
        try:
            if timezone is not None:
                ZoneInfo(timezone)
        except (ValueError, OSError, LookupError):
            raise ValueError(f"there is no time zone {timezone!r}; write one such as Europe/Berlin or UTC") from None
        return timezone

    @model_validator(mode="after")
    def _has_one_schedule(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("say when reports are expected: either `every` or `cron`")
        if self.every is not None and self.every <= 0:
            raise ValueError("`every` must be longer than nothing")
        if self.timezone is not None and self.cron is None:
            raise ValueError("`timezone` belongs to `cron`; `every` needs none")
        return self


async def run(options: Options, context: CheckContext) -> Sample:
    """Compare what the engine knows of the sender with the clock. Nothing is sent."""
    state = context.heartbeat or HeartbeatState()
    status, reason, detail = _judge(options, state, context.wall)
    return Sample(status=status, reason=reason, detail=detail, values=_values(options, state, context.wall))


def _judge(options: Options, state: HeartbeatState, wall: float) -> tuple[Status, Reason | None, str]:
    due = _due(options, state)
    if _failure_counts(state):
        ago = format_duration(wall - (state.failed or 0.0))
        return Status.DOWN, Reason.FAILED, _with(f"it reported a failure {ago} ago", state.detail)
    if due is not None and wall > due + options.grace:
        late = f"due {timestamp(due)}, {format_duration(wall - due)} ago"
        return Status.DOWN, Reason.MISSED, f"no report; it was {late}{_last_words(state, wall)}"
    running = _running_for(state, wall)
    if running is not None and options.runtime is not None and running > options.runtime:
        allowed = format_duration(options.runtime)
        return Status.DEGRADED, Reason.SLOW, f"running for {format_duration(running)}, {allowed} are allowed"
    if state.last is None:
        return Status.UNKNOWN, Reason.STARTING, "nothing was reported yet"
    words = f"reported {format_duration(wall - state.last)} ago"
    if due is not None and wall > due:
        words += f"; due since {format_duration(wall - due)}, {format_duration(options.grace)} of grace"
    return Status.OK, None, _with(words, state.detail)


def _due(options: Options, state: HeartbeatState) -> float | None:
    """When the next report is expected. A cron schedule is the engine's business, which knows calendars."""
    if options.every is None or state.due is not None:
        return state.due
    latest = max((at for at in (state.last, state.failed) if at is not None), default=None)
    return None if latest is None else latest + options.every


def _failure_counts(state: HeartbeatState) -> bool:
    return state.failed is not None and (state.last is None or state.failed >= state.last)


def _running_for(state: HeartbeatState, wall: float) -> float | None:
    ended = max((at for at in (state.last, state.failed) if at is not None), default=None)
    if state.started is None or (ended is not None and ended >= state.started):
        return None
    return max(0.0, wall - state.started)


def _values(options: Options, state: HeartbeatState, wall: float) -> dict[str, Any]:
    """`age` and `last` are missing until there was a report: an expectation on them is then unknown."""
    values: dict[str, Any] = {"running": _running_for(state, wall) is not None, "message": state.detail}
    if state.last is not None:
        values |= {"age": max(0.0, wall - state.last), "last": state.last}
    due = _due(options, state)
    if due is not None:
        values["due"] = due
    return values


def _last_words(state: HeartbeatState, wall: float) -> str:
    return "" if state.last is None else f"; the last report came {format_duration(wall - state.last)} ago"


def _with(words: str, detail: str) -> str:
    return f"{words}: {detail}" if detail else words


KIND = CheckKind(
    name="heartbeat",
    summary="a job that reports to opsdash when it has run",
    options=Options,
    run=run,
    sample={"age": 240.0, "last": 1_780_000_000.0, "due": 1_780_003_600.0, "running": False, "message": ""},
)
