"""How much of a rate limit is left, from whatever a server says about it in its headers.

Three generations are in use. The standard to come (draft-ietf-httpapi-ratelimit-headers) has two structured fields,
`RateLimit: "default";r=50;t=30` and `RateLimit-Policy: "default";q=100;w=60`. Its older drafts had three,
`RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`, and so have the many dialects of `X-RateLimit-…`,
some of them with a suffix for each of several limits (`-requests`, `-tokens`). Reset is seconds from now or, when it
is too large for that, a time since 1970; or a text such as `6m0s`.

Malformed fields are ignored, as the draft demands, and so are those without a remainder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opsdash.kinds.structured import Item, parse_list
from opsdash.model.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

_EPOCH_FROM: Final = 1e9
_MILLISECONDS_FROM: Final = 1e11
_REMAINING: Final = re.compile(r"((?:x-)?rate-?limit-)remaining((?:-[a-z0-9-]+)?)")
_COUNT: Final = re.compile(r"\s*(\d{1,18})(?:\.\d+)?\s*(?:[,;].*)?")


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit: how many requests (or whatever it counts) remain, of how many, for how many seconds still."""

    name: str
    remaining: float
    limit: float | None = None
    reset_in: float | None = None

    @property
    def left(self) -> float | None:
        """The share that remains, between 0 and 1; None while the limit is not known."""
        if self.limit is None or self.limit <= 0:
            return None
        return min(1.0, self.remaining / self.limit)


def read_quotas(headers: Mapping[str, str], now: float) -> list[Quota]:
    """The quotas that `headers` (names in lower case) tell of; `now` is the server's time since 1970 UTC."""
    return _standard(headers) or _dialects(headers, now)


def tightest(quotas: list[Quota]) -> Quota | None:
    """The one that will hurt first: the smallest share left, or where no limit is known, the smallest remainder."""
    known = [quota for quota in quotas if quota.left is not None]
    if known:
        return min(known, key=lambda quota: quota.left or 0.0)
    return min(quotas, key=lambda quota: quota.remaining, default=None)


def _standard(headers: Mapping[str, str]) -> list[Quota]:
    policies = {item.value: item for item in _items(headers, "ratelimit-policy")}
    quotas = []
    for item in _items(headers, "ratelimit"):
        remaining = _count(item, "r")
        if not isinstance(item.value, str) or remaining is None:
            continue
        policy = policies.get(item.value)
        limit = _count(policy, "q") if policy is not None else None
        quotas.append(Quota(item.value, remaining, limit, _count(item, "t")))
    return quotas


def _items(headers: Mapping[str, str], name: str) -> list[Item]:
    try:
        return parse_list(headers.get(name, ""))
    except ValueError:
        return []


def _count(item: Item, key: str) -> float | None:
    value = item.parameters.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return float(value)
    return None


def _dialects(headers: Mapping[str, str], now: float) -> list[Quota]:
    quotas = []
    for name, text in headers.items():
        match = _REMAINING.fullmatch(name)
        remaining = _number(text)
        if match is None or remaining is None:
            continue
        prefix, suffix = match[1], match[2]
        limit = _number(headers.get(f"{prefix}limit{suffix}", ""))
        reset = _reset(headers.get(f"{prefix}reset{suffix}", ""), now)
        quotas.append(Quota(suffix.removeprefix("-") or "default", remaining, limit, reset))
    return quotas


def _number(text: str) -> float | None:
    match = _COUNT.fullmatch(text)
    return float(match[1]) if match else None


def _reset(text: str, now: float) -> float | None:
    number = _number(text)
    if number is None:
        try:
            return parse_duration(text)
        except ValueError:
            return None
    if number > _MILLISECONDS_FROM:
        number /= 1000
    return max(0.0, number - now) if number > _EPOCH_FROM else number
