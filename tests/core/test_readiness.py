"""Readiness: each rule notices what is missing, and says nothing where nothing is, or where nobody knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from opsdash.core.readiness_rules import BY_ID
from opsdash.core.traces import SHARED_KEYS
from opsdash.model.channel import Audience, Channel
from opsdash.model.drill import Level, Responder, Schedule, Verdict
from opsdash.model.operation import Absence, CheckSpec, Component, Feature, Person, Response, ResponseKind, Tier
from opsdash.model.status import Status
from opsdash.model.world import CheckLive, CheckState, ComponentLive, ComponentState, Pause
from opsdash.testing import alarming, check, component, failure, provider
from tests.core.ready import (
    CHECKS,
    DAY,
    NOW,
    Stage,
    drill,
    past,
    proof,
    put,
    shop,
    small,
    switch,
    with_facts,
    with_runbook,
)

SWITCH = Response(ResponseKind.SWITCH, "shop")
OTHER = component("other", owners=("maria", "ken"), checks=["api"])
GONE = Person("ken", "Ken", left=NOW - DAY)


def mode(**settings: Any) -> dict[str, Any]:
    """The shop's failure modes: the usual one, with changes."""
    return {"failures": {"broken": failure("broken", "shop/active/api", response=SWITCH, **settings)}}


def looks_at(name: str, url: str) -> tuple[CheckSpec, ...]:
    """The shop's checks, one of which looks elsewhere."""
    return (*(each for each in CHECKS if each.id != name), check(name, raw={"url": url}))


def spare_down() -> dict[tuple[str, str], Any]:
    healthy = {"main": Status.OK, "spare": Status.DOWN}
    return {("components", "shop"): ComponentLive(status=Status.OK, providers=healthy)}


FIRES: dict[str, list[tuple[str, Stage]]] = {
    "unreadable": [("its file cannot be read", Stage(Component("shop", "Shop", problem="no YAML")))],
    "no-failure-modes": [("it has none", Stage(shop(failures={})))],
    "switched-off": [("a check is off", Stage(shop(off={"checks/front": "there is no such kind"})))],
    "no-detection": [
        ("no check detects it", Stage(shop(failures={"broken": failure("broken", runbook="shop-broken")})))
    ],
    "no-response": [
        ("it is to be answered by a runbook that is not there", Stage(shop(failures={"x": failure("x", "shop/front")})))
    ],
    "no-runbook": [("there is only the key", Stage(shop(**mode())))],
    "runbook-broken": [
        ("there is no such file", Stage(facts=with_facts(runbooks={}))),
        ("it cannot be followed", Stage(facts=with_runbook(broken="it has no steps"))),
    ],
    "runbook-not-approved": [("nobody has approved it", Stage(facts=with_runbook(approved=False)))],
    "runbook-overdue": [("it was to be read yesterday", Stage(facts=with_runbook(review_due=NOW - DAY)))],
    "never-red": [
        ("one was never red", Stage(rows={("seen_red", "shop/front"): None})),
        ("there is no check", Stage(component("shop", owners=("maria", "ken")))),
    ],
    "single-provider": [
        ("there is one provider", Stage(shop(providers=(provider("main", "api"),), switch=None, modes={}))),
        (
            "the mode keeps something else",
            Stage(shop(providers=(), switch=None, modes={"small": small(keeps=("extras",))})),
        ),
        (
            "the mode belongs to another one",
            Stage(
                shop(providers=(), switch=None, modes={}),
                others=(replace(OTHER, modes={"small": small(keeps=("shop/orders",))}),),
            ),
        ),
    ],
    "no-switch": [("nothing says how to get there", Stage(shop(switch=None)))],
    "backup-unproven": [("it was never proved", Stage(rows={("proofs", "shop/spare"): None}))],
    "backup-old": [("it was proved in another quarter", Stage(rows={("proofs", "shop/spare"): proof(days=101)}))],
    "backup-changed": [("the file was edited since", Stage(rows={("proofs", "shop/spare"): proof(sha256="another")}))],
    "backup-not-ready": [("it is down", Stage(live=spare_down()))],
    "shared-fate": [
        (
            "both are in one zone",
            Stage(
                shop(
                    providers=(
                        provider("main", "api", values={"zone": "a"}),
                        provider("spare", "api", values={"zone": "a"}),
                    )
                )
            ),
        ),
        ("both are on one host", Stage(checks=looks_at("shop/spare/api", "https://api.one.example:8443/"))),
        ("both are of one domain", Stage(checks=looks_at("shop/spare/api", "https://eu.one.example/"))),
        (
            "both log in with one credential",
            Stage(
                checks=(
                    CHECKS[0],
                    *(check(each.id, raw={**each.raw, "auth": {"bearer": "${VENDOR_TOKEN}"}}) for each in CHECKS[1:]),
                )
            ),
        ),
        (
            "both have one address",
            Stage(
                live={
                    ("checks", f"shop/{each}/api"): CheckLive(facts={"address": "203.0.113.7"})
                    for each in ("main", "spare")
                }
            ),
        ),
        (
            "one issuer has signed both",
            Stage(
                live={("checks", f"shop/{each}/api"): CheckLive(facts={"issuer": "CN=A"}) for each in ("main", "spare")}
            ),
        ),
        (
            "a setting fills in the same host",
            Stage(
                checks=(
                    CHECKS[0],
                    check("shop/main/api", raw={"url": "https://${A}/"}),
                    check("shop/spare/api", raw={"url": "https://${B}/"}),
                ),
                facts=with_facts(fill=lambda _: {"url": "https://same.example/"}),
            ),
        ),
    ],
    "facts-not-declared": [
        ("nobody says who serves", Stage(shop(switch=switch(served_by=None)))),
        ("nothing is verified", Stage(shop(switch=switch(verify=())))),
    ],
    "failback-never": [("nobody ever went back", Stage(rows={("proofs", "shop/main"): None}))],
    "nothing-drops": [("no mode drops what may be dropped", Stage(shop(modes={})))],
    "mode-unproven": [("it was never entered", Stage(rows={("proofs", "shop/mode:small"): None}))],
    "mode-old": [("it was entered long ago", Stage(rows={("proofs", "shop/mode:small"): proof(days=101)}))],
    "mode-changed": [
        ("the file was edited since", Stage(rows={("proofs", "shop/mode:small"): proof(sha256="another")}))
    ],
    "no-drill": [
        ("there is none", Stage(drills=())),
        ("there is one of something else", Stage(drills=(drill(failure_mode=""),))),
    ],
    "drill-off": [("it is off", Stage(drills=(drill(off="it has no undo"),)))],
    "drill-never-run": [("it was never run", Stage(rows={("drill_past", "shop-drill"): None}))],
    "drill-failed": [
        ("its latest run has failed", Stage(rows={("drill_past", "shop-drill"): past(verdict=Verdict.FAILED)}))
    ],
    "drill-old": [
        (
            "its evidence is older than it says itself",
            Stage(rows={("drill_past", "shop-drill"): past(valid_for=DAY / 2)}),
        )
    ],
    "drill-overdue": [
        ("it should have been run again", Stage(drills=(drill(schedule=Schedule(every=DAY / 2)),))),
    ],
    "drill-changed": [
        ("the component was edited since", Stage(rows={("drill_past", "shop-drill"): past(sha256="another")}))
    ],
    "no-owner": [
        ("nobody is named", Stage(shop(owners=()))),
        ("all have left", Stage(shop(owners=("ken",)), people=(GONE,))),
    ],
    "one-owner": [
        ("there is one", Stage(shop(owners=("maria",)))),
        ("the other one has left", Stage(people=(Person("maria", "Maria"), GONE))),
    ],
    "owners-away": [
        ("both are away now", Stage(rows={("absences", each): Absence(NOW - DAY, None) for each in ("maria", "ken")})),
        (
            "both will be, for a day",
            Stage(
                people=(
                    Person("maria", "Maria", away=(Absence(NOW + 2 * DAY, NOW + 6 * DAY),)),
                    Person("ken", "Ken", away=(Absence(NOW + 5 * DAY, NOW + 9 * DAY),)),
                )
            ),
        ),
    ],
    "hidden-coupling": [
        (
            "another component goes to the same host",
            Stage(others=(OTHER,), checks=(*CHECKS, check("other/api", raw={"host": "API.one.example", "port": 5432}))),
        ),
        (
            "another component logs in with the same",
            Stage(
                others=(OTHER,),
                checks=(
                    check("shop/front", raw={"headers": {"Authorization": "Bearer ${VENDOR}"}}),
                    *CHECKS[1:],
                    check("other/api", raw={"auth": {"bearer": "${VENDOR}"}}),
                ),
            ),
        ),
        (
            "another component uses the same vendor",
            Stage(others=(OTHER,), checks=(*CHECKS, check("other/api", raw={"url": "https://files.one.example/"}))),
        ),
    ],
    "alarm-circle": [
        ("its only channel depends on it", Stage(channels=alarming(Channel("mail", "apprise", depends_on=("shop",))))),
        (
            "its only channel goes to a host at which it is checked",
            Stage(channels=alarming(Channel("mail", "apprise", hosts=frozenset({"api.one.example"})))),
        ),
    ],
    "secret-inline": [
        (
            "a token stands in the file",
            Stage(checks=(check("shop/front", raw={"auth": {"bearer": "s3cret-value"}}), *CHECKS[1:])),
        ),
        (
            "a password stands in an address",
            Stage(
                checks=(check("shop/front", raw={"url": "https://me:s3cret-value@front.shop.example/"}), *CHECKS[1:])
            ),
        ),
    ],
    "no-channel": [
        ("there is none", Stage(channels=alarming())),
        ("there is one for customers", Stage(channels=alarming(Channel("page", "file", audience=Audience.CUSTOMERS)))),
    ],
    "no-dead-man": [("nobody waits for its signs of life", Stage(facts=with_facts(dead_man=False)))],
    "no-anchors": [("there are none", Stage(anchors=0))],
    "channel-secret": [
        (
            "the password of a channel stands in the file",
            Stage(channels=alarming(Channel("mail", "webhook", {"secret": "s3cret-value"}))),
        )
    ],
}

SILENT: dict[str, list[tuple[str, Stage]]] = {
    "no-failure-modes": [
        ("all that it has are switched off", Stage(shop(failures={}, off={"failures/broken": "a bad check"})))
    ],
    "no-detection": [
        (
            "the absence of people is what is noticed",
            Stage(shop(failures={"x": failure("x", away=True, runbook="shop-broken")})),
        )
    ],
    "no-response": [
        (
            "the runbook that it names is switched off",
            Stage(shop(failures={"x": failure("x", "shop/front")}, off={"failures/x/runbook": "no such file"})),
        )
    ],
    "no-runbook": [
        ("the runbook that it names is switched off", Stage(shop(**mode(), off={"runbook": "no such file"})))
    ],
    "runbook-broken": [("runbooks were not read", Stage(facts=with_facts(runbooks=None)))],
    "runbook-not-approved": [
        ("it executes nothing", Stage(facts=with_runbook(approved=None))),
        ("it cannot be executed anyway", Stage(facts=with_runbook(approved=False, broken="it has no steps"))),
    ],
    "runbook-overdue": [("it is due tomorrow", Stage(facts=with_runbook(review_due=NOW + DAY)))],
    "never-red": [
        (
            "it is red for the first time, before the table knew",
            Stage(rows={("seen_red", "shop/front"): None, ("checks", "shop/front"): CheckState(Status.DOWN, NOW)}),
        )
    ],
    "single-provider": [
        ("a degraded mode keeps what is essential", Stage(shop(providers=(provider("main", "api"),), switch=None))),
        ("it is only important", Stage(shop(tier=Tier.IMPORTANT, providers=(), switch=None, modes={}))),
        (
            "a provider is switched off by a problem",
            Stage(shop(providers=(), switch=None, modes={}, off={"providers/spare": "x"})),
        ),
    ],
    "no-switch": [("it is switched off by a problem", Stage(shop(switch=None, off={"switch": "a bad action"})))],
    "backup-unproven": [
        (
            "nothing leads to the backup, which is told of",
            Stage(shop(switch=None), rows={("proofs", "shop/spare"): None}),
        )
    ],
    "backup-old": [("it counts for one more day", Stage(rows={("proofs", "shop/spare"): proof(days=99)}))],
    "backup-not-ready": [
        ("nobody measures", Stage(live=spare_down(), facts=with_facts(measured=False))),
        ("nothing is known of it yet", Stage(live={("components", "shop"): ComponentLive()})),
        ("it is paused", Stage(live=spare_down(), rows={("pauses", "shop"): Pause(NOW + DAY, NOW, "ken")})),
        ("it serves", Stage(live=spare_down(), rows={("components", "shop"): ComponentState(active="spare")})),
        ("nobody knows who serves", Stage(live=spare_down(), rows={("components", "shop"): ComponentState()})),
    ],
    "shared-fate": [
        (
            "both are on this machine",
            Stage(checks=tuple(check(each.id, raw={"url": "http://127.0.0.1:80/"}) for each in CHECKS)),
        ),
        (
            "measured addresses are this machine's",
            Stage(
                live={
                    ("checks", f"shop/{each}/api"): CheckLive(facts={"address": "127.0.0.1"})
                    for each in ("main", "spare")
                }
            ),
        ),
        (
            "the domain is the house's own",
            Stage(
                others=tuple(component(f"c{number}", owners=("maria", "ken"), checks=["api"]) for number in range(4)),
                checks=(
                    *(check(f"c{number}/api", raw={"url": f"https://c{number}.one.example/"}) for number in range(4)),
                    *looks_at("shop/spare/api", "https://eu.one.example/"),
                ),
            ),
        ),
        ("a front door is nobody's", Stage(checks=looks_at("shop/front", "https://api.one.example/"))),
    ],
    "facts-not-declared": [("both may be up", Stage(shop(switch=switch())))],
    "failback-never": [
        (
            "nobody has ever been on the backup",
            Stage(rows={("proofs", "shop/main"): None, ("proofs", "shop/spare"): None}),
        )
    ],
    "nothing-drops": [
        (
            "nothing may be dropped",
            Stage(shop(modes={}, features={"orders": Feature("orders", "Orders", Tier.ESSENTIAL)})),
        ),
        (
            "another component's mode drops it",
            Stage(shop(modes={}), others=(replace(OTHER, modes={"small": small(drops=("shop/extras",))}),)),
        ),
        ("the mode is switched off by a problem", Stage(shop(modes={}, off={"modes/small": "a bad action"}))),
    ],
    "no-drill": [("one of several can be run", Stage(drills=(drill(), replace(drill(off="x"), id="a"))))],
    "drill-never-run": [("another one was passed", Stage(drills=(drill(), replace(drill(), id="a-new-one"))))],
    "drill-overdue": [
        ("it is due tomorrow", Stage(drills=(drill(schedule=Schedule(every=2 * DAY)),))),
        ("it has no schedule", Stage(drills=(drill(),))),
    ],
    "owners-away": [
        ("one of them is there", Stage(rows={("absences", "ken"): Absence(NOW - DAY, None)})),
        (
            "it is in a month",
            Stage(people=tuple(Person(each, each, away=(Absence(NOW + 30 * DAY, None),)) for each in ("maria", "ken"))),
        ),
        (
            "one is back before the other goes",
            Stage(
                people=(
                    Person("maria", "Maria", away=(Absence(NOW - DAY, NOW + 5 * DAY),)),
                    Person("ken", "Ken", away=(Absence(NOW + 5 * DAY, NOW + 9 * DAY),)),
                )
            ),
        ),
        ("nobody owns it, which is told of", Stage(shop(owners=()))),
    ],
    "hidden-coupling": [
        (
            "one depends on the other",
            Stage(
                others=(replace(OTHER, depends_on=("shop",)),),
                checks=(*CHECKS, check("other/api", raw={"url": "https://api.one.example/"})),
            ),
        ),
        (
            "both are switched by a component that is named as what that needs",
            Stage(
                shop(switch=switch(needs=("balancer",))),
                others=(
                    replace(OTHER, depends_on=("balancer",)),
                    component("balancer", owners=("maria", "ken"), checks=["port"]),
                ),
                checks=(
                    *CHECKS,
                    check("other/api", raw={"host": "api.one.example"}),
                    check("balancer/port", raw={"host": "api.one.example"}),
                ),
            ),
        ),
        (
            "both are on this machine",
            Stage(
                others=(OTHER,),
                checks=(
                    check("shop/front", raw={"host": "localhost"}),
                    *CHECKS[1:],
                    check("other/api", raw={"host": "localhost"}),
                ),
            ),
        ),
        (
            "both ask a component that is checked there, too",
            Stage(
                shop(depends_on=("db",)),
                others=(replace(OTHER, depends_on=("db",)), component("db", owners=("maria", "ken"), checks=["port"])),
                checks=(
                    *CHECKS,
                    check("other/api", raw={"host": "api.one.example"}),
                    check("db/port", raw={"host": "api.one.example"}),
                ),
            ),
        ),
        (
            "they have a setting in common, and no secret",
            Stage(
                others=(OTHER,),
                checks=(
                    check("shop/front", raw={"path": "${STATE}"}),
                    *CHECKS[1:],
                    check("other/api", raw={"path": "${STATE}"}),
                ),
            ),
        ),
    ],
    "alarm-circle": [
        (
            "another channel works without it",
            Stage(channels=alarming("log", Channel("mail", "apprise", depends_on=("shop",)))),
        ),
        ("there is no channel, which is told of", Stage(channels=alarming())),
    ],
    "secret-inline": [
        (
            "a reference stands there",
            Stage(
                checks=(
                    check("shop/front", raw={"auth": {"basic": {"user": "me", "password": "${file:/run/secret}"}}}),
                    *CHECKS[1:],
                )
            ),
        ),
        (
            "a name like a secret's is that of a pointer's key",
            Stage(shop(modes={"small": replace(small(), enter=put("small"))})),
        ),
        (
            "the address has a reference in it",
            Stage(checks=(check("shop/front", raw={"url": "https://me:${PASSWORD}@front.shop.example/"}), *CHECKS[1:])),
        ),
    ],
    "no-dead-man": [("nobody knows", Stage(facts=with_facts(dead_man=None)))],
}


def cases(table: dict[str, list[tuple[str, Stage]]]) -> list[Any]:
    return [
        pytest.param(rule, stage, id=f"{rule}: {sentence}")
        for rule, found in table.items()
        for sentence, stage in found
    ]


def test_where_nothing_is_missing_no_rule_says_anything() -> None:
    found = Stage().readiness()
    assert [gap.text for gap in found.gaps] == []
    assert (found.score, dict(found.components)) == (100, {"shop": 100})


@pytest.mark.parametrize(("rule", "stage"), cases(FIRES))
def test_a_rule_notices_what_is_missing(rule: str, stage: Stage) -> None:
    found = [gap for gap in stage.gaps(rule) if gap.component in {"shop", ""}]
    assert found
    assert all(gap.points > 0 and gap.text and gap.close for gap in found)
    assert stage.readiness().score < 100


@pytest.mark.parametrize(("rule", "stage"), cases(SILENT))
def test_a_rule_is_silent_where_nothing_is_missing_or_nobody_knows(rule: str, stage: Stage) -> None:
    assert [gap.text for gap in stage.gaps(rule) if gap.component in {"shop", ""}] == []


def test_every_rule_is_seen_to_notice_something() -> None:
    assert set(FIRES) == set(BY_ID)


def test_a_file_that_cannot_be_read_is_one_gap_and_not_twenty() -> None:
    found = Stage(Component("shop", "Shop", tier=Tier.ESSENTIAL, problem="no YAML")).readiness()
    assert [gap.rule for gap in found.gaps] == ["unreadable"]
    assert found.score == 0


def test_each_gap_names_the_command_or_the_file_that_closes_it() -> None:
    for stages in FIRES.values():
        for _, stage in stages:
            for gap in stage.readiness().gaps:
                if gap.component == "shop" and stage.shop.file:
                    assert gap.command or gap.file, gap


def test_a_gap_never_tells_the_secret_that_it_is_about() -> None:
    for rule in ("secret-inline", "channel-secret"):
        for _, stage in FIRES[rule]:
            assert "s3cret-value" not in repr(stage.gaps(rule))


def test_one_of_several_things_has_its_share_of_the_points() -> None:
    two = {each: failure(each, "shop/front", response=SWITCH, runbook="shop-broken") for each in ("broken", "late")}
    (gap,) = Stage(shop(failures=two)).gaps("no-drill")
    assert (gap.subject, gap.points) == ("late", 10.0)


def test_the_command_leads_to_the_backup_and_degraded_mode_that_are_meant() -> None:
    (backup,) = Stage(rows={("proofs", "shop/spare"): None}).gaps("backup-unproven")
    (degraded,) = Stage(rows={("proofs", "shop/mode:small"): None}).gaps("mode-unproven")
    (drilled,) = Stage(rows={("drill_past", "shop-drill"): None}).gaps("drill-never-run")
    assert backup.command == "opsdash failover shop --to spare"
    assert degraded.command == "opsdash degrade shop small"
    assert drilled.command == "opsdash drill run shop-drill"


def test_where_a_drill_would_prove_it_that_is_the_command() -> None:
    drills = (
        drill(level=Level.SYNTHETIC),
        replace(drill(level=Level.REAL), id="real"),
        replace(drill(level=Level.CONTAINED), id="by-people"),
        replace(drill(level=Level.CONTAINED, responder=Responder.OPSDASH), id="contained"),
        replace(drill(level=Level.SWITCH, off="it has no owner"), id="off"),
        replace(drill(level=Level.CONTAINED, to="small"), id="less"),
    )
    (backup,) = Stage(drills=drills, rows={("proofs", "shop/spare"): None}).gaps("backup-unproven")
    (degraded,) = Stage(drills=drills, rows={("proofs", "shop/mode:small"): None}).gaps("mode-unproven")
    assert backup.command == "opsdash drill run contained"
    assert degraded.command == "opsdash drill run less"


def test_what_is_shared_is_named() -> None:
    (gap,) = Stage(checks=looks_at("shop/spare/api", "https://api.one.example/x")).gaps("shared-fate")
    assert gap.text == "what takes main out may take spare out as well: both have host api.one.example"


@pytest.mark.parametrize("key", SHARED_KEYS)
def test_what_the_file_says_of_both_providers_is_shared_by_its_key(key: str) -> None:
    def both(main: str, spare: str) -> Stage:
        ways = (provider("main", "api", values={key: main}), provider("spare", "api", values={key: spare}))
        return Stage(shop(providers=ways))

    (gap,) = both("one", "one").gaps("shared-fate")
    assert gap.text.endswith(f"both have {key} one")
    assert both("one", "other").gaps("shared-fate") == []


def test_a_thousand_components_on_one_host_are_named_by_the_first_few() -> None:
    names = [f"c{number:04}" for number in range(1000)]
    stage = Stage(
        others=tuple(component(name, checks=["api"]) for name in names),
        checks=(*CHECKS, *(check(f"{name}/api", raw={"host": "big.example"}) for name in names)),
    )
    gap = next(gap for gap in stage.gaps("hidden-coupling") if gap.component == "c0500")
    assert "c0000, c0001, c0002, c0003 and 995 more" in gap.text
