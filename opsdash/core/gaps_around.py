"""Gaps around a component: people, what it shares with others, alarms, secrets; and gaps of the operation as a whole.

Each function yields what it finds; `core.readiness_rules` lists them.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from opsdash.core import people
from opsdash.core.circles import circle
from opsdash.core.gaps_register import FEW, named
from opsdash.core.hosts import domain_of
from opsdash.core.readiness_look import Found, domains_of, inline_secrets
from opsdash.model.channel import Audience
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opsdash.core.readiness_look import Look
    from opsdash.model.operation import Component

SOON = 14 * 86400.0
"""Seconds ahead for which it is asked whether an owner will be there."""

WORKSPACE = "opsdash.yaml"


# --- people --------------------------------------------------------------------------------------------------------


def no_owner(look: Look, component: Component) -> Iterator[Found]:
    """Nobody owns it, or everybody who did has left."""
    if not _staying(look, component):
        whose = "has nobody who owns it" if not component.owners else "belongs to people who have all left"
        yield Found(f"{component.title} {whose}", "name two people as `owners`")


def one_owner(look: Look, component: Component) -> Iterator[Found]:
    """One person alone knows it."""
    staying = _staying(look, component)
    if len(staying) == 1:
        name = look.operation.people[staying[0]].name
        yield Found(
            f"{name} is the only one who knows {component.title}",
            "show it to a second person, let them run a drill of it, and add them to `owners`",
            subject=staying[0],
        )


def _staying(look: Look, component: Component) -> list[str]:
    known = look.operation.people
    return [each for each in component.owners if each in known and not people.has_left(known[each], look.wall)]


def owners_away(look: Look, component: Component) -> Iterator[Found]:
    """There is a time within the next two weeks at which no owner is there."""
    at = _uncovered_from(look, component)
    if at is None:
        return
    names = named([look.operation.people[each].name for each in _staying(look, component)])
    when = "now" if at <= look.wall else f"in {format_duration(at - look.wall)}"
    yield Found(
        f"nobody covers {component.title} {when}: {names} will be away" if at > look.wall
        else f"nobody covers {component.title} now: {names} is not there",
        "find somebody who stands in, and add them to `owners`",
    )  # fmt: skip


def _uncovered_from(look: Look, component: Component) -> float | None:
    """The first time, from now on, at which all owners are away; None if there is none that is near."""
    staying = _staying(look, component)
    if not staying:
        return None
    moments = {look.wall}
    for owner in staying:
        person, recorded = look.operation.people[owner], look.draft.get("absences", owner)
        starts = [each.start for each in (*person.away, recorded) if each is not None]
        moments |= {each for each in (*starts, person.left) if each is not None and 0 < each - look.wall <= SOON}
    for moment in sorted(moments):
        if not people.present_owners(look.draft, component, moment):
            return moment
    return None


# --- isolation -----------------------------------------------------------------------------------------------------


def hidden_coupling(look: Look, component: Component) -> Iterator[Found]:
    """It shares a host, a credential or a domain with components that it has, by the files, nothing to do with."""
    ground = look.ground(component)
    domains_told: set[str | None] = set()
    for word, things in (
        ("host", ground.hosts),
        ("credential", ground.credentials),
        ("domain", domains_of(ground)),
    ):
        for thing in sorted(things):
            sharing = look.sharing(word, thing)
            if component.id not in sharing or len(sharing) == 1 or thing in domains_told:
                continue
            domains_told |= {domain_of(thing)} if word == "host" else set()
            yield Found(
                f"{component.title} shares the {word} {thing} with {_others(component, sharing)}, and nothing says "
                "that they depend on each other",
                "separate them, or make what they share a component and name it in `depends_on`",
                subject=thing,
            )


def _others(component: Component, sharing: Mapping[str, None]) -> str:
    """The others in words; looking at the first few of them, however many there are."""
    first = [each for each in islice(sharing, FEW + 1) if each != component.id][:FEW]
    more = len(sharing) - 1 - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def alarm_circle(look: Look, component: Component) -> Iterator[Found]:
    """All channels that are told of it go through it."""
    why = circle(look.draft, component, look.hosts_of_checks.get(component.id, set()))
    if why:
        reasons = named([f"{name} {reason}" for name, reason in sorted(why.items())])
        yield Found(
            f"when {component.title} fails, nobody is told of it: {reasons}",
            f"add a channel to its route that works without {component.id}",
            file=WORKSPACE,
        )


def secret_inline(look: Look, component: Component) -> Iterator[Found]:
    """A secret stands in the file itself."""
    places = [f"{place}: {key}" for place, raw in look.raws(component) for key in inline_secrets(raw)]
    if places:
        yield Found(
            f"the file of {component.title} contains secrets where everybody who reads it sees them: {named(places)}",
            "move them out, and refer to them: ${NAME}, ${file:PATH} or ${cmd:ARGV}",
        )


# --- the operation -------------------------------------------------------------------------------------------------


def no_channel(look: Look) -> Iterator[Found]:
    """Nobody is told of anything."""
    channels = look.operation.alarms.channels.values()
    if not any(each.audience is Audience.TEAM for each in channels):
        yield Found(
            "no channel is declared: whoever does not look at the board hears of nothing",
            "declare one under `alarms: {channels: …}`, and try it with `opsdash alarms test`",
            file=WORKSPACE,
        )


def channel_secret(look: Look) -> Iterator[Found]:
    """A secret of a channel stands in opsdash.yaml itself."""
    channels = look.operation.alarms.channels
    places = [f"{name}: {key}" for name, each in channels.items() for key in inline_secrets(each.raw)]
    if places:
        yield Found(
            f"{WORKSPACE} contains secrets of channels where everybody who reads it sees them: {named(places)}",
            "move them out, and refer to them: ${NAME}, ${file:PATH} or ${cmd:ARGV}",
            file=WORKSPACE,
        )


def no_dead_man(look: Look) -> Iterator[Found]:
    """When opsdash itself dies, nobody hears of that."""
    if look.facts.dead_man is False:
        yield Found(
            "when opsdash itself dies, nobody elsewhere notices",
            "name somebody who expects its signs of life, as `dead_man: {url: …}` (docs/howto-dead-man.md)",
            file=WORKSPACE,
        )


def no_anchors(look: Look) -> Iterator[Found]:
    """Whether opsdash is cut off or everything else has failed cannot be told."""
    if not look.operation.anchors:
        yield Found(
            "opsdash cannot tell whether it is cut off itself, or everything else has failed",
            "name three targets outside that hardly ever fail, as `anchors`",
            file=WORKSPACE,
        )
