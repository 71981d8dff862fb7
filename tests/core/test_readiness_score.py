"""The score of readiness: between 0 and 100, never lower for a gap that was closed, and kept once a day."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.core import readiness_trend
from opsdash.core.hosts import domain_of
from opsdash.core.readiness import gaps, operation_score, readiness, score
from opsdash.core.readiness_look import inline_secrets, is_credential
from opsdash.core.readiness_rules import ASPECTS, BY_ID, RULES, WHOLE_RULES
from opsdash.core.readiness_views import readiness_view
from opsdash.model.inputs import ReadinessSeen
from opsdash.model.operation import Feature, Response, ResponseKind, Tier
from opsdash.model.readiness import Gap, ReadinessPoint
from opsdash.model.records import CheckChanged, ReadinessNoted
from opsdash.model.status import Status
from opsdash.testing import NEW_YEAR, Timeline, alarming, check, component, failure, operation, provider
from tests.core.ready import CHECKS, Stage, drill, proof, shop, small, with_facts, with_runbook

DAY = 86400.0

NOTHING = {("proofs", f"shop/{what}"): None for what in ("main", "spare", "mode:small", "drill:shop-drill")}

WORST = Stage(
    shop(
        owners=("maria",),
        failures={each: failure(each) for each in ("a", "b", "c")},
        off={"checks/x": "a problem", "checks/y": "another one"},
        providers=(provider("main", "api", values={"zone": "a"}), provider("spare", "api", values={"zone": "a"})),
    ),
    others=tuple(component(f"c{number}", tier=Tier.DROPPABLE, checks=["api"]) for number in range(3)),
    checks=(*CHECKS, *(check(f"c{number}/api", raw={"host": "api.one.example"}) for number in range(3))),
    drills=(),
    channels=alarming(),
    anchors=0,
    rows={**NOTHING, ("seen_red", "shop/front"): None},
    facts=with_facts(dead_man=False),
)
"""An operation to which nearly everything is missing."""

EVERY = WORST.readiness().gaps
SOME = st.lists(st.sampled_from(range(len(EVERY))), unique=True)


@given(SOME)
def test_a_score_is_between_0_and_100_and_closing_a_gap_never_lowers_it(chosen: list[int]) -> None:
    whole = WORST.operation()
    found = [EVERY[number] for number in chosen]
    before = operation_score(whole, found)
    assert 0 <= before <= 100
    for closed in found:
        left = [gap for gap in found if gap is not closed]
        assert operation_score(whole, left) >= before
        assert score(_of(left, closed.component)) >= score(_of(found, closed.component))


def _of(found: list[Gap], name: str) -> list[Gap]:
    return [gap for gap in found if gap.component == name]


@given(st.permutations(range(len(EVERY))))
def test_the_order_of_gaps_changes_no_score(order: list[int]) -> None:
    whole = WORST.operation()
    assert operation_score(whole, [EVERY[number] for number in order]) == operation_score(whole, EVERY)


def test_the_scores_are_those_of_the_gaps_that_are_told() -> None:
    found = WORST.readiness()
    assert operation_score(WORST.operation(), found.gaps) == found.score
    for name, number in found.components.items():
        assert score(gap for gap in found.gaps if gap.component == name) == number


def test_the_worst_gap_comes_first_and_the_order_is_always_the_same() -> None:
    weights = [gap.weight for gap in EVERY]
    assert weights == sorted(weights, reverse=True)
    assert WORST.readiness().gaps == EVERY
    turned = replace(WORST, others=tuple(reversed(WORST.others)), people=tuple(reversed(WORST.people)))
    assert [(gap.rule, gap.component) for gap in gaps(turned.draft(), turned.facts)] == [
        (gap.rule, gap.component) for gap in EVERY
    ]


def test_the_same_gap_is_told_once() -> None:
    keys = [(gap.rule, gap.component, gap.subject) for gap in EVERY]
    assert len(keys) == len(set(keys))


SWITCH = Response(ResponseKind.SWITCH, "shop")

EDITS: list[tuple[str, Stage, Stage]] = [
    (
        "a backup is declared, and nothing is known of it",
        Stage(shop(providers=(provider("main", "api"),), switch=None, modes={}), rows=NOTHING),
        Stage(shop(switch=None, modes={}), rows=NOTHING),
    ),
    ("its switch is declared", Stage(shop(switch=None), rows=NOTHING), Stage(rows=NOTHING)),
    (
        "the backup is shown to work, and the way back is not",
        Stage(rows=NOTHING),
        Stage(rows={**NOTHING, ("proofs", "shop/spare"): proof()}),
    ),
    (
        "failure modes are written down, without detection, runbook or drill",
        Stage(shop(failures={}), drills=()),
        Stage(shop(failures={each: failure(each) for each in "abcdef"}), drills=()),
    ),
    (
        "one of three failure modes gets a broken runbook",
        Stage(shop(failures={each: failure(each, "shop/front", response=SWITCH) for each in "abc"})),
        Stage(
            shop(
                failures={
                    each: failure(each, "shop/front", response=SWITCH, runbook="shop-broken" if each == "a" else None)
                    for each in "abc"
                }
            ),
            facts=with_runbook(broken="it has no steps"),
        ),
    ),
    (
        "a runbook is written, broken, unapproved and out of date",
        Stage(shop(failures={"broken": failure("broken", "shop/front")})),
        Stage(facts=with_runbook(broken="it has no steps", review_due=0.0)),
    ),
    ("a drill is written, and not run", Stage(drills=(), rows=NOTHING), Stage(rows=NOTHING)),
    ("a drill is written, and off", Stage(drills=(), rows=NOTHING), Stage(drills=(drill(off="x"),), rows=NOTHING)),
    ("a mode is declared, and not entered", Stage(shop(modes={}), rows=NOTHING), Stage(rows=NOTHING)),
    (
        "a mode keeps what is essential, instead of a backup, and was not entered",
        Stage(shop(providers=(), switch=None, modes={}), rows=NOTHING),
        Stage(shop(providers=(), switch=None, modes={"small": small()}), rows=NOTHING),
    ),
    (
        "the runbook is mended, and was never read again nor approved",
        Stage(facts=with_runbook(broken="it has no steps")),
        Stage(facts=with_runbook(approved=False, review_due=0.0)),
    ),
    ("a first owner is named", Stage(shop(owners=())), Stage(shop(owners=("maria",)))),
]


@pytest.mark.parametrize(("before", "after"), [pytest.param(b, a, id=sentence) for sentence, b, a in EDITS])
def test_what_is_added_to_close_a_gap_never_costs_more_than_the_gap(before: Stage, after: Stage) -> None:
    assert after.readiness().score >= before.readiness().score


def test_an_essential_component_counts_more_than_a_droppable_one() -> None:
    def scored(tier: Tier) -> int:
        return Stage(others=(component("other", owners=("maria",), tier=tier, checks=["a"]),)).readiness().score

    assert scored(Tier.ESSENTIAL) < scored(Tier.IMPORTANT) < scored(Tier.DROPPABLE)


def test_an_operation_without_components_is_ready_for_nothing() -> None:
    empty = Timeline(operation())
    assert readiness(empty.draft(), with_facts()).score == 0


def test_the_points_of_a_component_are_a_hundred_and_no_rule_takes_more_than_its_aspect_has() -> None:
    assert sum(ASPECTS.values()) == 100
    for rule in RULES:
        assert max(rule.points) <= ASPECTS[rule.aspect], rule.id
        assert list(rule.points) == sorted(rule.points, reverse=True), rule.id
    assert sum(rule.points for rule in WHOLE_RULES) <= 30


def test_every_rule_says_why_it_matters_and_what_closes_it() -> None:
    assert len(BY_ID) == len(RULES) + len(WHOLE_RULES)
    assert all(rule.title and rule.why and rule.close for rule in BY_ID.values())


# --- size ----------------------------------------------------------------------------------------------------------


def test_two_thousand_components_with_ten_thousand_failure_modes_are_looked_at_once_each() -> None:
    names = [f"c{number:04}" for number in range(2000)]
    many = tuple(
        component(
            name,
            owners=("maria", "ken"),
            checks=["api"],
            depends_on=(names[number - 1],) if number % 20 else (),
            failures={f"f{each}": failure(f"f{each}", f"{name}/api") for each in range(5)},
        )
        for number, name in enumerate(names)
    )
    stage = Stage(others=many, checks=(*CHECKS, *(check(f"{name}/api", raw={"host": "big.example"}) for name in names)))
    looked = 0

    def count() -> None:
        nonlocal looked
        looked += 1

    found = readiness(stage.draft(), stage.facts, count)
    assert looked == 2001
    assert sum(gap.rule == "no-drill" for gap in found.gaps) == 10_000
    assert sum(gap.rule == "hidden-coupling" for gap in found.gaps) == 100, "one for each chain, not one for each pair"
    view = readiness_view(found, stage.draft(), measured=True, limit=50)
    assert (len(view["gaps"]), view["total"]) == (50, len(found.gaps))


def test_a_component_that_is_new_since_it_was_reckoned_has_no_score_yet() -> None:
    found = Stage().readiness()
    later = Stage(others=(component("new", checks=["a"]),)).draft()
    view = readiness_view(found, later, measured=True)
    assert [each["component"] for each in view["components"]] == ["shop"]


# --- what is remembered --------------------------------------------------------------------------------------------


def scored(timeline: Timeline, number: int) -> None:
    timeline.feed(ReadinessSeen(number, 3))


def test_a_score_is_kept_once_a_day() -> None:
    timeline = Timeline(operation(component("shop", checks=["a"])))
    for number in (50, 60):
        scored(timeline, number)
    timeline.advance(DAY)
    scored(timeline, 70)
    noted = [each for each in timeline.records if isinstance(each, ReadinessNoted)]
    assert [(each.score, each.gaps) for each in noted] == [(50, 3), (70, 3)]
    assert [each.score for each in readiness_trend.points(timeline.world)] == [50, 70]
    timeline.check_replay()


def test_days_that_nobody_asks_about_any_more_are_let_go() -> None:
    world = Timeline(operation(component("shop", checks=["a"]))).world
    for day in range(200):
        world.apply(readiness_trend.noted(world, ReadinessNoted(NEW_YEAR + day * DAY, day % 100, 0)))
    kept = readiness_trend.points(world)
    assert len(kept) == readiness_trend.KEPT
    assert kept[-1].at == NEW_YEAR + 199 * DAY


def test_the_score_is_compared_with_the_last_one_before_that_day() -> None:
    kept = [ReadinessPoint(NEW_YEAR + day * DAY, number) for day, number in ((0, 40), (20, 55), (29, 60))]
    now = NEW_YEAR + 30 * DAY
    assert readiness_trend.difference(kept, now, 62, 1) == 2
    assert readiness_trend.difference(kept, now, 62, 7) == 7
    assert readiness_trend.difference(kept, now, 62, 30) == 22
    assert readiness_trend.difference(kept, now, 62, 90) is None, "nobody knows"
    assert readiness_trend.difference(kept, now + 40 * DAY, 62, 7) is None, "that was too long before"


def test_a_check_that_was_once_confirmed_to_be_bad_is_remembered() -> None:
    timeline = Timeline(operation(component("shop", checks=["a", "b"])))
    timeline.down("shop/a", times=3)
    timeline.ok("shop/b")
    assert any(isinstance(each, CheckChanged) for each in timeline.records)
    timeline.ok("shop/a")
    timeline.ok("shop/a")
    assert timeline.world.get("checks", "shop/a").status is Status.OK
    assert timeline.world.get("seen_red", "shop/a") is not None
    assert timeline.world.get("seen_red", "shop/b") is None
    timeline.check_replay()


# --- what is recognised --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("api.eu.vendor.example", "vendor.example"),
        ("vendor.co.uk", "vendor.co.uk"),
        ("api.vendor.co.uk", "vendor.co.uk"),
        ("co.uk", "co.uk"),
        ("db", None),
        ("203.0.113.7", None),
        ("2001:db8::1", None),
        ("localhost", None),
        ("api.vendor.example.", "vendor.example"),
    ],
)
def test_the_registrable_domain_of_a_host(host: str, domain: str | None) -> None:
    assert domain_of(host) == domain


@pytest.mark.parametrize("key", ["password", "Authorization", "X-Api-Key", "client_secret", "token", "bearer"])
def test_a_key_of_a_secret_is_recognised(key: str) -> None:
    assert is_credential(key)


@pytest.mark.parametrize("key", ["key", "user", "password_file", "tokens_left", "value", "secretary", 7])
def test_a_key_that_only_looks_like_one_is_not(key: object) -> None:
    assert not is_credential(key)


@given(
    st.recursive(st.text() | st.none() | st.integers(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_whatever_stands_in_options_is_looked_through(raw: object) -> None:
    assert all(isinstance(key, str) for key in inline_secrets(raw))


def test_a_feature_without_a_tier_that_may_be_dropped_asks_for_no_mode() -> None:
    orders = {"orders": Feature("orders", "Orders", Tier.IMPORTANT)}
    assert not Stage(shop(features=orders, modes={})).gaps("nothing-drops")
