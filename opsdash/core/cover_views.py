"""Cover as the JSON shapes of `opsdash.model.cover_views`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import cover, people, practice
from opsdash.core.rota import on_duty
from opsdash.model.operation import TIER_ORDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsdash.core.cover import Gap, Reader
    from opsdash.core.practice import Deed
    from opsdash.model.cover import Rota
    from opsdash.model.cover_views import AloneView, CoverageView, CoverGapView, CoverView, DeedView, RotaView
    from opsdash.model.operation import Component


def coverage(reader: Reader, wall: float) -> CoverageView:
    """Cover of the whole operation, what matters most first."""
    operation = reader.operation
    components = sorted(operation.components.values(), key=lambda each: TIER_ORDER[each.tier])
    return {
        "components": [_component(reader, each, wall) for each in components],
        "rotas": [_rota(reader, each, wall) for each in operation.rotas.values()],
        "warn_before": operation.cover.warn_before,
        "rota_ahead": operation.cover.rota_ahead,
    }


def deed_views(deeds: Sequence[Deed]) -> list[DeedView]:
    """Deeds, in their order."""
    return [
        {
            "person": deed.person,
            "component": deed.component,
            "what": deed.what,
            "words": practice.what_words(deed.what),
            "at": deed.at,
            "by": deed.by,
        }
        for deed in deeds
    ]


def alone_by_person(reader: Reader, wall: float) -> dict[str, list[AloneView]]:
    """What nobody else stands behind, by the people who are the last, as it is now."""
    found: dict[str, list[AloneView]] = {}
    for component in reader.operation.components.values():
        last: dict[str, None] = {}
        for names in (people.owners_at(reader, component, wall), practice.can_run(reader, component, wall)):
            there = [each for each in names if people.is_there(reader, each, wall)]
            last.update(dict.fromkeys(there or names) if len(there) < 2 else {})
        for person in last:
            words = cover.lost(reader, person, component, wall, wall)
            if words:
                found.setdefault(person, []).append({"component": component.id, "words": "; ".join(words)})
    return found


def alone_views(reader: Reader, person: str, wall: float, component: str | None = None) -> list[AloneView]:
    """What nobody else stands behind while a person is away: of all components, or of one."""
    following = cover.next_absence(reader, person, wall)
    when = wall if following is None else following
    components = reader.operation.components
    asked = components.values() if component is None else [components[component]] if component in components else []
    found = ((each.id, cover.lost(reader, person, each, wall, when)) for each in asked)
    return [{"component": name, "words": "; ".join(words)} for name, words in found if words]


def _component(reader: Reader, component: Component, wall: float) -> CoverView:
    owners = people.owners_at(reader, component, wall)
    rotas = (reader.operation.rotas.get(name) for name in component.rotas)
    runners = practice.can_run(reader, component, wall)
    latest: dict[str, Deed] = {}
    for deed in practice.of_component(reader, component.id, wall):
        latest.setdefault(deed.person, deed)
    found = cover.gaps(reader, component, wall, reader.operation.cover.warn_before)
    return {
        "component": component.id,
        "title": component.title,
        "tier": component.tier.value,
        "owners": owners,
        "present": people.present_owners(reader, component, wall),
        "on_duty": list(dict.fromkeys(each for rota in rotas if rota is not None for each in on_duty(rota, wall))),
        "can_run": deed_views([latest[person] for person in runners]),
        "bus_factor": len(runners),
        "gaps": [_gap(gap, cover.words(reader, component, gap, wall)) for gap in found],
        "next_driver": cover.next_driver(reader, component, owners or reader.operation.people, wall),
    }


def _rota(reader: Reader, rota: Rota, wall: float) -> RotaView:
    now = [shift for shift in rota.shifts if shift.start <= wall < shift.end]
    following = cover.next_shift(rota, wall)
    found = cover.rota_gaps(reader, rota, wall, wall + reader.operation.cover.rota_ahead)
    return {
        "id": rota.id,
        "file": rota.file,
        "on_duty": on_duty(rota, wall),
        "until": max((shift.end for shift in now), default=None),
        "next": following.person if following else None,
        "next_at": following.start if following else None,
        "gaps": [_gap(gap, f"nobody is on duty {cover.span(reader, gap, wall)}") for gap in found],
        "known_until": rota.until,
    }


def _gap(gap: Gap, words: str) -> CoverGapView:
    return {"what": gap.what, "since": gap.since, "until": gap.until, "people": list(gap.people), "words": words}
