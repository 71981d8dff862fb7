"""The engine's state as OpenMetrics 1.0, for whoever scrapes it.

States are StateSets (exactly one true), times are timestamps and not ages, since an age goes stale; names follow
Prometheus' conventions for exporters. No URL and no other free text becomes a label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash import __version__
from opsdash.core.evolve_outbox import GIVEN_UP, channel_state
from opsdash.model.message import Delivery
from opsdash.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.engine.engine import Engine


def openmetrics(engine: Engine) -> str:
    """All metrics as text."""
    return "\n".join([*_lines(engine), "# EOF", ""])


def _lines(engine: Engine) -> Iterable[str]:
    world, live = engine.runner.world, engine.runner.live
    yield from _head("opsdash_build", "info", "The version that runs.")
    yield f"opsdash_build_info{_labels(version=__version__)} 1"
    yield from _head("opsdash_component_state", "stateset", "Status of a component.")
    for component in world.operation.components:
        health = live.get("components", component)
        shown = health.status if health else Status.UNKNOWN
        for status in Status:
            labels = _labels(component=component, opsdash_component_state=status.value)
            yield f"opsdash_component_state{labels} {int(status is shown)}"
    yield from _head("opsdash_active_provider", "info", "Which provider serves.")
    for component in world.operation.components:
        state = world.get("components", component)
        if state is not None and state.active:
            yield f"opsdash_active_provider_info{_labels(component=component, provider=state.active)} 1"
    yield from _head("opsdash_check_ok", "gauge", "1 while a check is ok, 0 while it is not.")
    for check in world.operation.checks:
        shown_check = live.get("checks", check)
        if shown_check is not None:
            yield f"opsdash_check_ok{_labels(check=check)} {int(shown_check.status is Status.OK)}"
    yield from _head("opsdash_check_duration_seconds", "gauge", "How long the last run took.")
    for check in world.operation.checks:
        shown_check = live.get("checks", check)
        if shown_check is not None and shown_check.latency is not None:
            yield f"opsdash_check_duration_seconds{_labels(check=check)} {shown_check.latency:.6f}"
    yield from _head("opsdash_check_last_run_timestamp_seconds", "gauge", "When a check last ran.")
    for check in world.operation.checks:
        shown_check = live.get("checks", check)
        if shown_check is not None and shown_check.at is not None:
            yield f"opsdash_check_last_run_timestamp_seconds{_labels(check=check)} {shown_check.at:.3f}"
    yield from _head("opsdash_checks", "counter", "Runs of checks since the engine started.")
    yield f"opsdash_checks_total {engine.poller.stats.runs}"
    yield from _head("opsdash_checks_skipped", "counter", "Slots that were skipped since the engine started.")
    yield f"opsdash_checks_skipped_total {engine.poller.stats.skipped}"
    incidents = sum(each.is_open for each in world.tables["incidents"].values())
    yield from _head("opsdash_incidents_open", "gauge", "Incidents that are not resolved.")
    yield f"opsdash_incidents_open {incidents}"
    yield from _of_channels(engine)


def _of_channels(engine: Engine) -> Iterable[str]:
    """What waits in the outbox, and how attempts to deliver have ended."""
    world = engine.runner.world
    states = {name: channel_state(world, name) for name in world.operation.alarms.channels}
    yield from _head("opsdash_outbox_pending", "gauge", "Messages that are not delivered.")
    for name, state in states.items():
        yield f"opsdash_outbox_pending{_labels(channel=name)} {len(state.waiting)}"
    yield from _head("opsdash_outbox_oldest_timestamp_seconds", "gauge", "Since when the oldest of them waits.")
    for name, state in states.items():
        oldest = world.get("messages", state.waiting[0]) if state.waiting else None
        if oldest is not None:
            created = oldest.message.created_at
            yield f"opsdash_outbox_oldest_timestamp_seconds{_labels(channel=name)} {created:.3f}"
    yield from _head("opsdash_deliveries", "counter", "Attempts to deliver a message, and messages given up.")
    for name, state in states.items():
        for outcome in (*(each.value for each in Delivery), GIVEN_UP):
            labels = _labels(channel=name, outcome=outcome)
            yield f"opsdash_deliveries_total{labels} {state.outcomes.get(outcome, 0)}"


def _head(name: str, kind: str, text: str) -> Iterable[str]:
    yield f"# TYPE {name} {kind}"
    yield f"# HELP {name} {text}"


def _labels(**labels: str) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items()) + "}"
