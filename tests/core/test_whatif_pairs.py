"""Two losses at once: computing again only what is connected gives what computing everything together gives."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from opsdash.core.whatif import WhatIf
from opsdash.core.whatif_pairs import Pairs
from opsdash.core.whatif_results import Result, Together, union
from opsdash.core.whatif_subjects import Loss, find
from opsdash.model.channel import Channel, Route
from opsdash.model.operation import Component, DegradedMode, Feature, Operation, Person, Response, ResponseKind, Tier
from opsdash.model.switch import Refused
from opsdash.testing import (
    NEW_YEAR,
    alarming,
    call,
    check,
    component,
    failure,
    mail_switch,
    operation,
    provider,
)

NAMES = ("a", "b", "c", "d")
PEOPLE = ("maria", "ken")
TIERS = st.sampled_from(Tier)


@st.composite
def _components(draw: st.DrawFn, name: str) -> tuple[Component, list[Any]]:
    """A component with up to two providers, which may depend on others, watch others, and lean on others."""
    others = [each for each in NAMES if each != name]
    backed = draw(st.booleans())
    host = draw(st.sampled_from(["one.example", "two.example", f"{name}.example"]))
    zones = [draw(st.sampled_from(["east", "west"])) for _ in range(2)]
    providers = [provider(each, "api", values={"zone": zone}) for each, zone in zip(("x", "y"), zones, strict=True)]
    mode = DegradedMode(
        "less", "Less", "less", call("less", "less"), keeps=("main",), drops=("more",), restores=True,
        read=call("less"), verify=(f"{draw(st.sampled_from([name, *others]))}/door",),
    )  # fmt: skip
    failures = [
        failure("down", f"{name}/active/api", response=Response(ResponseKind.SWITCH), runbook="r") if backed
        else failure("down", f"{name}/door", response=Response(ResponseKind.DEGRADE, name, "less")),
        failure("other", f"{draw(st.sampled_from(others))}/door"),
        failure("away", away=True),
    ]  # fmt: skip
    wanted = draw(st.sets(st.sampled_from([each.id for each in failures])))
    features = {
        "main": Feature("main", "Main", draw(TIERS), (f"{name}/door",)),
        "more": Feature("more", "More", Tier.DROPPABLE, (f"{name}/more",)),
    }
    found = component(
        name,
        checks=("door", "more"),
        providers=providers if backed else (),
        tier=draw(TIERS),
        owners=tuple(draw(st.sets(st.sampled_from(PEOPLE)))),
        depends_on=tuple(sorted(draw(st.sets(st.sampled_from(others), max_size=2)))),
        features=features,
        switch=mail_switch(served_by=None, verify=(f"{name}/door",)) if backed and draw(st.booleans()) else None,
        modes={} if backed else {"less": mode},
        failures={each.id: each for each in failures if each.id in wanted},
    )
    specs = [check(f"{name}/door", raw={"url": f"https://{host}/", "token": draw(st.sampled_from(["${T}", ""]))})]
    return found, specs


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    """A small operation: up to four components that share hosts, credentials, zones and people."""
    found = [draw(_components(name)) for name in NAMES[: draw(st.integers(2, 4))]]
    phone = Channel("phone", "file", depends_on=tuple(draw(st.sets(st.sampled_from(NAMES), max_size=1))))
    routes = [Route(severity=1, to=("owners",)), Route(severity=2, to=("phone",), tiers=("important",))]
    return operation(
        *(each for each, _ in found),
        checks=[spec for _, specs in found for spec in specs],
        people=[Person("maria", "Maria", alarms=("phone",)), Person("ken", "Ken", alarms=("mail",))],
        alarms=alarming(phone, "mail", routes=routes[: draw(st.integers(0, 2))]),
    )


def _both(whatif: WhatIf, one: str, other: str) -> Loss:
    found = find(whatif.subjects, [one, other])
    assert not isinstance(found, Refused)
    return found


def _each(whatif: WhatIf, one: str, other: str) -> list[Loss]:
    return [whatif.subjects[each] for each in (one, other)]


def _apart(whatif: WhatIf, one: str, other: str) -> Result:
    return union(*(whatif.without(loss) for loss in _each(whatif, one, other)))


def _toll(result: Result) -> tuple[set[str], set[str], set[str]]:
    return set(result.lost()), set(result.stays_down()), set(result.unanswered)


def test_a_component_that_goes_together_with_its_only_owner_has_nobody_and_says_so() -> None:
    made = operation(
        component("a", checks=["door"], owners=("maria",)),
        component("b", checks=["door"]),
        people=[Person("maria", "Maria", alarms=("phone",))],
        alarms=alarming("phone"),
    )
    whatif = WhatIf(made, NEW_YEAR)
    found = whatif.without(_both(whatif, "a", "person:maria"))
    assert found == whatif.at_once(_both(whatif, "a", "person:maria"))
    assert "a: none of its owners is there (Maria)" in [told.title for told in found.fates[0].alarms]


@settings(deadline=None, max_examples=60)
@given(operations(), st.data())
def test_what_is_computed_in_pieces_is_what_the_whole_operation_in_one_trial_comes_to(
    made: Operation, data: st.DataObject
) -> None:
    whatif = WhatIf(made, NEW_YEAR)
    one = data.draw(st.sampled_from(list(whatif.subjects)))
    other = data.draw(st.sampled_from(list(whatif.subjects)))
    loss = _both(whatif, one, other)
    assert whatif.without(loss) == whatif.at_once(loss)


@settings(deadline=None, max_examples=60)
@given(operations(), st.data())
def test_two_losses_that_have_nothing_to_do_with_each_other_do_what_each_does_by_itself(
    made: Operation, data: st.DataObject
) -> None:
    whatif = WhatIf(made, NEW_YEAR)
    pairs = [pair for pair in combinations(whatif.subjects, 2) if not _meet(whatif, *pair)]
    if not pairs:
        return
    one, other = data.draw(st.sampled_from(pairs))
    assert _apart(whatif, one, other) == whatif.at_once(_both(whatif, one, other))


def _meet(whatif: WhatIf, one: str, other: str) -> bool:
    """Whether two subjects concern the same, each other's company, or the same people and channels."""
    reach = whatif.reach
    losses = _each(whatif, one, other)
    first, second = (reach.concerned(loss) for loss in losses)
    silent = [loss.channels or {each for each in whatif.operation.alarms.channels if _cuts(whatif, loss, each)}
              for loss in losses]  # fmt: skip
    groups = reach.groups(first | second)
    together = any(first & set(group) and second & set(group) for group in groups)
    crossed = any(
        silent[1 - number] or losses[1 - number].people & reach.people[each]
        for number, concerned in enumerate((first, second))
        for each in concerned
    )
    return together or crossed or bool(silent[0] and silent[1])


def _cuts(whatif: WhatIf, loss: Loss, channel: str) -> bool:
    return bool(reach_of(whatif, loss) & set(whatif.operation.alarms.channels[channel].depends_on))


def reach_of(whatif: WhatIf, loss: Loss) -> frozenset[str]:
    """The components that a loss concerns."""
    return whatif.reach.concerned(loss)


@settings(deadline=None, max_examples=40)
@given(operations(), st.data())
def test_what_a_pair_takes_only_together_is_what_it_takes_beyond_both(made: Operation, data: st.DataObject) -> None:
    whatif = WhatIf(made, NEW_YEAR)
    one, other = data.draw(st.sampled_from(list(combinations(whatif.subjects, 2))))
    connected = Pairs(whatif, whatif.reach)
    is_connected = (one, other) in connected.connected()
    found = connected.together(one, other) if is_connected else Together(())
    tolls = (_toll(whatif.at_once(loss)) for loss in (_both(whatif, one, other), *_each(whatif, one, other)))
    more = [both - first - second for both, first, second in zip(*tolls, strict=True)]
    assert [{key for key, _ in found.lost}, set(found.down), set(found.unanswered)] == more
