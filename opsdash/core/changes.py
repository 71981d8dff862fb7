"""What changed before something failed: edited files, other versions, and what people or pipelines have marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import alarms
from opsdash.model.change import Change, ChangeKind
from opsdash.model.incident import EntryKind
from opsdash.model.records import IncidentNoted, Marked, VersionChanged
from opsdash.model.switch import Refused

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.incident import Incident
    from opsdash.model.inputs import MarkIntent
    from opsdash.model.observation import Observation

BEFORE = 6 * 3600.0
"""Seconds before a failure in which a change may have to do with it."""

MOST = 10
"""Changes that are shown with an incident, the latest ones."""

LONGEST_VERSION = 100


def before(draft: Draft, component: str, began: float) -> list[Change]:
    """The changes in the hours before of a component, what it depends on and the whole operation; newest last."""
    concerned = {"", component, *alarms.ancestors(draft, component)}
    found: list[Change] = [draft.get("changes", key) for key in draft.keys("changes")]
    near = [each for each in found if each.component in concerned and began - BEFORE <= each.at <= draft.now.wall]
    return sorted(near, key=lambda each: each.at)[-MOST:]


def tell(change: Change) -> str:
    """A change in a sentence."""
    version = f" ({change.version})" if change.version and change.kind is ChangeKind.MARK else ""
    where = f"{change.component}: " if change.component and change.kind is ChangeKind.MARK else ""
    link = f" {change.link}" if change.link else ""
    return f"changed before: {where}{change.text}{version}{link}"


def mark(draft: Draft, who: str, intent: MarkIntent) -> Refused | None:
    """Something was changed. What fails at the moment learns of it too."""
    if not intent.text.strip():
        return Refused("empty", "say what was changed, such as 'deploy of the shop'")
    if intent.component and draft.component(intent.component) is None:
        return Refused("unknown_component", f"there is no component {intent.component!r}")
    now = draft.now.wall
    draft.emit(Marked(now, who, intent.text.strip(), intent.component, intent.version, intent.link))
    change = Change(now, ChangeKind.MARK, intent.component, intent.text.strip(), who, intent.version, intent.link)
    for key in draft.keys("incidents"):
        incident = draft.get("incidents", key)
        concerned = {
            *incident.components,
            *(up for each in incident.components for up in alarms.ancestors(draft, each)),
        }
        if incident.is_open and (not intent.component or intent.component in concerned):
            text = tell(change).removeprefix("changed before: ")
            draft.emit(IncidentNoted(now, key, who, EntryKind.CHANGE, f"changed: {text}", pinned=True))
    if intent.component:
        draft.touch(intent.component)
    return None


def _concerns(draft: Draft, incident: Incident, component: str) -> bool:
    """Whether a change of a component ("": of everything) may have to do with an incident."""
    return not component or any(
        component == each or component in alarms.ancestors(draft, each) for each in incident.components
    )


def observed(draft: Draft, seen: Observation) -> None:
    """A check reports the fact `version`: remember it, and that it changed."""
    told = seen.facts.get("version")
    if not isinstance(told, str | int | float) or isinstance(told, bool):
        return
    version = str(told)[:LONGEST_VERSION]
    known = draft.get("versions", seen.check)
    if version and version != known:
        draft.emit(VersionChanged(draft.now.wall, seen.check, version, known or ""))
