"""Couplings out of history: which components failed within the same minute, and whether that is chance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from opsdash.core.couplings import ALPHA, WITHIN, Found, couplings, worsened
from opsdash.model.records import DrillEnded, DrillStarted
from opsdash.storage.codec import decode, record_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from opsdash.model.operation import Component
    from opsdash.storage.entries import Entry
    from opsdash.storage.history import History

LOOKED_AT = 20
"""Checks by which it is told in which hours an engine was at work."""

TIMES_TOLD = 20
"""Common failures of a pair whose times are told, the latest ones."""


def drill_times(entries: Callable[[Collection[str]], Iterable[Entry]]) -> list[tuple[float, float]]:
    """When drills ran, as (since, until), and the minute after each: what fails then does so on purpose.

    entries: those of a journal that are of the given types, oldest first.  Raises JournalTooNew.
    """
    found: dict[str, tuple[float, float]] = {}
    for entry in entries({record_name(DrillStarted), record_name(DrillEnded)}):
        record = decode(entry.type, entry.data)
        if isinstance(record, DrillStarted):
            found[record.run.id] = (record.at, math.inf)
        elif isinstance(record, DrillEnded):
            found[record.run.id] = (record.run.started_at, record.at + WITHIN)
    return list(found.values())


def coupled(
    history: History,
    components: Mapping[str, Component],
    since: float,
    until: float,
    left_out: Sequence[tuple[float, float]],
) -> dict[str, Any]:
    """The report on couplings from `since` to `until`, in seconds since 1970 UTC. left_out: times of drills.

    Raises HistoryError.
    """
    failures: dict[str, list[float]] = {name: [] for name in components}
    for change in history.all_component_changes(since, until):
        if change.subject in failures and worsened(change.before, change.after):
            failures[change.subject].append(change.at)
    seconds = _watched(history, components, since, until)
    depends_on = {name: each.depends_on for name, each in components.items()}
    found = couplings(failures, seconds, depends_on, left_out)
    return {"since": since, "until": until, "alpha": ALPHA, **_plain(found)}


def _watched(history: History, components: Mapping[str, Component], since: float, until: float) -> float:
    """Seconds of which there are measurements, by the hour."""
    checks = [check for each in components.values() for check in _checks(each)[:1]]
    step = max(1, len(checks) // LOOKED_AT)
    return min(until - since, history.measured_hours(checks[::step], since, until) * 3600.0)


def _checks(component: Component) -> list[str]:
    return [*component.checks, *(check for provider in component.providers for check in provider.checks)]


def _plain(found: Found) -> dict[str, Any]:
    return {
        "seconds": found.seconds,
        "components": found.components,
        "tested": found.tested,
        "widespread": found.widespread,
        "couplings": [
            {
                "one": each.one,
                "other": each.other,
                "failures": list(each.failures),
                "together": each.together,
                "expected": each.expected,
                "ratio": each.ratio,
                "p_value": each.p_value,
                "explained": each.explained,
                "times": list(each.times[-TIMES_TOLD:]),
            }
            for each in found.couplings
        ],
    }
