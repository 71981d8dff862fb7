"""How much of an API's rate limit is left, before it answers 429.

    quota: {kind: quota, url: https://api.example/account, warn_below: 20%}

Read from the answer's headers: `RateLimit` and `RateLimit-Policy`, their older three-field form, or the dialects of
`X-RateLimit-…`; or, where `remaining` and `limit` are named, from the body. Of several limits the tightest counts.
Less than `warn_below` is degraded (`quota_low`), an answer of 429 is degraded (`rate_limited`), and the check then
waits as long as it was asked to. An answer that tells nothing is unknown (`missing`), since nothing was measured.

From one run to the next the check sees how fast the quota is being used, and says when it will be gone if that comes
before it is renewed. Each run uses a request of the quota itself: choose `every` accordingly.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pydantic import Field

from opsdash.kinds.base import CheckContext, CheckKind, Sample
from opsdash.kinds.failures import FAILURES, failed
from opsdash.kinds.fetching import (
    SAMPLE_VALUES,
    RequestOptions,
    json_of,
    judge_status,
    obtain,
    response_values,
    server_time,
)
from opsdash.kinds.fields import Share
from opsdash.kinds.paths import DottedPath, lookup
from opsdash.kinds.ratelimits import Quota, read_quotas, tightest
from opsdash.model.status import Reason, Status
from opsdash.model.units import format_duration

SHORTEST_SPAN: Final = 30.0
"""Seconds of observation from which a rate of use is worth telling."""


class Options(RequestOptions):
    """Keys of `kind: quota`."""

    warn_below: Share = 0.2
    """The share that should be left, as `20%`."""
    remaining: DottedPath | None = None
    """Where the body says how much is left, as `json.quota.remaining`."""
    limit: DottedPath | float | None = Field(default=None)
    """Where the body says how much there is in all, or how much that is."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is remembered of a quota from run to run: where this stretch began, and what came last."""

    name: str
    since: float
    at_first: float
    at_last: float


async def run(options: Options, context: CheckContext) -> Sample:
    """Ask, and read what the answer says about the next ones."""
    before = context.previous.state if context.previous is not None else None
    try:
        response = await obtain(options, context)
    except FAILURES as error:
        sample = failed(error, where=options.target.authority)
        sample.state = before
        return sample
    sample = judge_status(response, options, context.wall)
    sample.state = before
    sample.values = values = response_values(response, context.wall)
    document: dict[str, Any] = {}
    if context.wants_json or options.remaining is not None:
        try:
            document["json"] = await json_of(response)
        except ValueError as error:
            values["json_error"] = str(error)
    values |= document
    try:
        quota = _find(options, document, values["headers"], server_time(response, context.wall))
    except KeyError as error:
        return _unless_failed(sample, f"the answer has no {error.args[0]}")
    if quota is None:
        return _unless_failed(sample, "the answer says nothing about a rate limit")
    observed = _continue(before, quota, context.wall)
    sample.state = observed
    values |= _quota_values(quota, observed, context.wall)
    judge(sample, quota, values, options.warn_below)
    return sample


def _unless_failed(sample: Sample, detail: str) -> Sample:
    if sample.status is Status.OK:
        sample.status, sample.reason, sample.detail, sample.soft = Status.UNKNOWN, Reason.MISSING, detail, False
    return sample


def _find(options: Options, document: dict[str, Any], headers: dict[str, str], now: float) -> Quota | None:
    """Raises KeyError for a path that leads nowhere, or to no number."""
    if options.remaining is None:
        found = tightest(read_quotas(headers, now))
        if found is None or options.limit is None:
            return found
        return Quota(found.name, found.remaining, _amount(document, options.limit), found.reset_in)
    limit = _amount(document, options.limit) if options.limit is not None else None
    return Quota("default", _amount(document, options.remaining), limit)


def _amount(document: dict[str, Any], place: str | float) -> float:
    if not isinstance(place, str):
        return place
    value = lookup(document, place)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KeyError(f"number at {place}")
    return float(value)


def _continue(before: Any, quota: Quota, wall: float) -> Observed:
    """A stretch ends when the quota is renewed, which shows in more being left than before."""
    if isinstance(before, Observed) and before.name == quota.name and quota.remaining <= before.at_last:
        return Observed(quota.name, before.since, before.at_first, quota.remaining)
    return Observed(quota.name, wall, quota.remaining, quota.remaining)


def _quota_values(quota: Quota, observed: Observed, wall: float) -> dict[str, Any]:
    values: dict[str, Any] = {"remaining": quota.remaining, "quota": quota.name}
    optional = {
        "limit": quota.limit,
        "left": quota.left,
        "reset_in": quota.reset_in,
        "exhausted_in": _exhausted_in(quota, observed, wall),
    }
    return values | {name: value for name, value in optional.items() if value is not None}


def _exhausted_in(quota: Quota, observed: Observed, wall: float) -> float | None:
    """Seconds until nothing is left at the present rate; None when it will be renewed before, or is hardly used."""
    span = wall - observed.since
    used = observed.at_first - quota.remaining
    if span < SHORTEST_SPAN or used <= 0:
        return None
    seconds = quota.remaining * span / used
    return None if quota.reset_in is not None and seconds >= quota.reset_in else seconds


def judge(sample: Sample, quota: Quota, values: dict[str, Any], warn_below: float) -> None:
    """Whether what is left is enough, on top of the verdict on the status."""
    if sample.reason is Reason.RATE_LIMITED:
        if sample.retry_after is None:  # else it wins over the header's own idea of a reset
            sample.retry_after = quota.reset_in
    elif sample.status is Status.OK:
        sample.detail = _describe(quota, values)
        if quota.remaining <= 0 or (quota.left is not None and quota.left < warn_below):
            sample.status, sample.reason, sample.soft = Status.DEGRADED, Reason.QUOTA_LOW, False


def _describe(quota: Quota, values: dict[str, Any]) -> str:
    detail = f"{quota.remaining:.0f} left"
    if quota.limit is not None and quota.left is not None:
        detail = f"{quota.remaining:.0f} of {quota.limit:.0f} left ({quota.left:.0%})"
    if quota.name != "default":
        detail += f" of {quota.name!r}"
    if quota.reset_in is not None:
        detail += f", renewed in {format_duration(quota.reset_in)}"
    if "exhausted_in" in values:
        detail += f"; at this rate used up in {format_duration(values['exhausted_in'])}"
    return detail


KIND = CheckKind(
    name="quota",
    summary="how much of an API's rate limit is left",
    options=Options,
    run=run,
    sample=MappingProxyType(
        {
            **SAMPLE_VALUES,
            "json": {},
            "quota": "default",
            "remaining": 4200.0,
            "limit": 5000.0,
            "left": 0.84,
            "reset_in": 1800.0,
            "exhausted_in": 900.0,
        }
    ),
)
