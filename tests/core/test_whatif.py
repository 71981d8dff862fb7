"""What-if: something is taken away, and the core itself says what comes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from opsdash.core.whatif import WhatIf
from opsdash.core.whatif_results import Fate, Result, ranked
from opsdash.core.whatif_subjects import find
from opsdash.model.channel import Channel, Escalation, Route
from opsdash.model.operation import (
    ActionCall,
    Auto,
    Component,
    OldOut,
    Operation,
    Person,
    Response,
    ResponseKind,
    Severity,
    Step,
    Tier,
)
from opsdash.model.status import Reason, Status
from opsdash.model.switch import Refused, SwitchState
from opsdash.testing import (
    NEW_YEAR,
    Timeline,
    alarming,
    call,
    check,
    component,
    email,
    failure,
    mail_outside,
    mail_switch,
    operation,
    order_mail_only,
    provider,
)

MARIA = Person("maria", "Maria", alarms=("phone",))
KEN = Person("ken", "Ken", alarms=("mail",))
OWNED: dict[str, Any] = {"owners": ("maria", "ken"), "runbook": "email-down"}


def mail(**settings: Any) -> Component:
    return email(**(OWNED | settings))


def shop(*more: Component, **settings: Any) -> WhatIf:
    """An operation with `email`, and what else is given."""
    defaults: dict[str, Any] = {"people": [MARIA, KEN], "alarms": alarming("phone", "mail")}
    return WhatIf(operation(mail(), *more, **(defaults | settings)), NEW_YEAR)


def without(whatif: WhatIf, *names: str) -> Result:
    loss = find(whatif.subjects, names)
    assert not isinstance(loss, Refused), loss.reason
    return whatif.without(loss)


def fate(result: Result, component_id: str = "email") -> Fate:
    return next(each for each in result.fates if each.component == component_id)


# --- providers, modes, components ------------------------------------------------------------------------------------


def test_without_the_primary_the_backup_takes_over_and_users_lose_nothing() -> None:
    result = without(shop(), "email/postmark")
    found = fate(result)
    assert (found.was, found.status, found.after) == (Status.OK, Status.DOWN, Status.OK)
    assert [(each.id, each.offered) for each in found.failures] == [("provider-unreachable", True)]
    assert found.answered is not None
    assert (found.answered.target, found.answered.outcome) == ("ses", SwitchState.COMMITTED)
    assert [(each.id, each.before, each.after) for each in found.features] == [
        ("email/order-confirmations", "no", "yes"),
        ("email/newsletters", "no", "yes"),
    ]
    assert (result.lost(), result.unanswered, result.is_critical) == ((), (), False)


def test_without_the_backup_only_the_redundancy_is_lost_and_people_are_told() -> None:
    found = fate(without(shop(), "email/ses"))
    assert (found.status, found.redundancy, found.features) == (Status.OK, "lost", ())
    assert [(each.topic, each.at_once) for each in found.alarms] == [("redundancy", ("phone", "mail"))]


def test_without_both_providers_no_backup_is_ready_and_the_switch_is_not_offered() -> None:
    result = without(shop(), "email/postmark", "email/ses")
    found = fate(result)
    assert [each.id for each in found.failures] == ["nobody-delivers", "provider-unreachable"]
    assert found.answered is not None
    assert (found.answered.kind, found.answered.outcome) == (ResponseKind.RUNBOOK, None)
    assert result.lost(Tier.ESSENTIAL) == ("email/order-confirmations",)
    assert result.is_critical


def test_a_backup_that_is_not_ready_leaves_the_failure_unanswered_and_says_why() -> None:
    switch_only = {"down": failure("down", "email/active/api", response=Response(ResponseKind.SWITCH))}
    whatif = WhatIf(operation(mail(failures=switch_only), people=[MARIA]), NEW_YEAR)
    result = without(whatif, "email")
    assert result.unanswered[0] == (
        "email: switch is not possible: no backup is ready: Amazon SES: email/ses/api is down (taken away)"
    )


def test_a_degraded_mode_keeps_what_it_was_decided_to_keep_and_drops_the_rest() -> None:
    degrade = Response(ResponseKind.DEGRADE, "email", "order-mail-only")
    lone = mail(
        providers=(), switch=None,
        failures={"stuck": failure("stuck", "email/delivery", response=degrade)},
        modes={"order-mail-only": order_mail_only()},
    )  # fmt: skip
    result = without(WhatIf(operation(lone, people=[MARIA]), NEW_YEAR), "email")
    assert {each.id: each.after for each in result.features} == {
        "email/order-confirmations": "yes",
        "email/newsletters": "dropped",
    }
    assert (fate(result).after, result.lost()) == (Status.DEGRADED, ())


def test_an_essential_feature_that_a_degraded_mode_drops_is_lost() -> None:
    degrade = Response(ResponseKind.DEGRADE, "email", "order-mail-only")
    mode = order_mail_only(keeps=("newsletters",), drops=("order-confirmations",), verify=())
    lone = mail(
        providers=(), switch=None, modes={mode.id: mode},
        failures={"stuck": failure("stuck", "email/delivery", response=degrade)},
    )  # fmt: skip
    result = without(WhatIf(operation(lone, people=[MARIA]), NEW_YEAR), "email")
    assert result.lost() == ("email/order-confirmations",)


def test_without_the_front_door_a_switch_that_would_not_help_is_not_even_offered() -> None:
    result = without(shop(), "host:email-delivery")
    found = fate(result)
    assert (found.status, found.failures) == (Status.DOWN, ())
    assert "email: no entry of the register says what to do" in result.unanswered


def test_with_the_provider_gone_too_the_switch_is_carried_out_and_shown_not_to_help() -> None:
    result = without(shop(), "email/postmark", "host:email-delivery")
    found = fate(result)
    assert found.answered is not None
    assert found.answered.outcome is not SwitchState.COMMITTED
    assert any("switch does not help" in each for each in result.unanswered)
    assert result.lost() == ("email/order-confirmations",)


# --- hosts, credentials, zones ---------------------------------------------------------------------------------------


def test_a_host_takes_every_check_that_goes_there_and_on_loopback_the_port_tells_them_apart() -> None:
    checks = [
        check("email/postmark/api", raw={"url": "https://Mail.example:8443/status"}),
        check("email/ses/api", raw={"kind": "smtp", "host": "mail.example", "port": "25"}),
        check("email/delivery", raw={"url": "http://127.0.0.1:18105/last"}),
        check("email/newsletter", raw={"host": "localhost", "port": "18106"}),
    ]
    whatif = shop(checks=checks)
    hosts = {name: set(loss.checks) for name, loss in whatif.subjects.items() if name.startswith("host:")}
    assert hosts == {
        "host:mail.example": {"email/postmark/api", "email/ses/api"},
        "host:127.0.0.1:18105": {"email/delivery"},
        "host:localhost:18106": {"email/newsletter"},
    }


def test_settings_are_filled_in_before_hosts_are_looked_for_and_secrets_stay_names() -> None:
    raw = {"url": "https://${HOST}/", "headers": {"Authorization": "Bearer ${PM_TOKEN}"}, "body": "$${NOT_ONE}"}
    made = operation(mail(), checks=[check("email/postmark/api", raw=raw)], people=[MARIA])
    whatif = WhatIf(
        made, NEW_YEAR, filled=lambda raw: {**raw, "url": str(raw.get("url")).replace("${HOST}", "pm.example")}
    )
    assert {"host:pm.example", "credential:PM_TOKEN"} <= whatif.subjects.keys()
    assert "credential:NOT_ONE" not in whatif.subjects


def test_without_a_credential_the_provider_refuses_us_and_that_is_what_is_recognised() -> None:
    modes = (
        failure("refused", "email/active/api#auth", response=Response(ResponseKind.SWITCH)),
        failure("unreachable", "email/active/api", response=Response(ResponseKind.SWITCH)),
    )
    checks = [check("email/postmark/api", raw={"url": "https://pm.example/", "token": "${file:/run/pm-token}"})]
    made = operation(mail(failures={each.id: each for each in modes}), checks=checks, people=[MARIA])
    found = fate(without(WhatIf(made, NEW_YEAR), "credential:file:/run/pm-token"))
    assert [each.id for each in found.failures] == ["refused", "unreachable"]
    assert found.after is Status.OK


def test_the_reason_of_a_loss_is_told_also_where_no_failure_mode_asks_for_it() -> None:
    checks = [check("api/up", raw={"url": "https://api.example/", "token": "${KEY}"})]
    whatif = WhatIf(operation(component("api", checks=["up"]), checks=checks), NEW_YEAR)
    assert fate(without(whatif, "credential:KEY"), "api").reason is Reason.AUTH
    assert fate(without(whatif, "host:api.example"), "api").reason is Reason.TIMEOUT


def test_without_a_zone_every_provider_in_it_is_gone() -> None:
    providers = (
        provider("postmark", "api", as_name="pm-prod", values={"zone": "eu-1"}),
        provider("ses", "api", as_name="ses-eu", values={"zone": "eu-1"}),
    )
    made = operation(mail(providers=providers), people=[MARIA])
    result = without(WhatIf(made, NEW_YEAR), "zone:eu-1")
    assert result.lost(Tier.ESSENTIAL) == ("email/order-confirmations",)


def test_a_mechanism_whose_host_is_gone_leaves_it_open_who_serves_and_cannot_be_used() -> None:
    at_mailer = ActionCall(
        "http", {"url": "https://mailer.example/provider", "mechanism": "switch", "value": "{to.as}"}
    )
    switch = mail_switch(action=at_mailer, read=replace(at_mailer, raw={**at_mailer.raw, "value": ""}))
    result = without(
        WhatIf(operation(mail(switch=switch), people=[MARIA]), NEW_YEAR), "host:mailer.example", "email/postmark"
    )
    assert fate(result).answered is None
    assert "email: no entry of the register says what to do" in result.unanswered


# --- guards, and switches of every sort ------------------------------------------------------------------------------


def test_guards_that_do_not_pass_are_told_and_one_that_blocks_keeps_the_response_from_happening() -> None:
    lax, strict = mail(), mail(switch=mail_switch(guards={"proof": Severity.BLOCK}))
    objections, answers = [], []
    for made in (lax, strict):
        answered = fate(without(WhatIf(operation(made, people=[MARIA]), NEW_YEAR), "email/postmark")).answered
        assert answered is not None
        objections.append([each.rule for each in answered.objections])
        answers.append((answered.rule, answered.outcome))
    assert objections == [["proof"], ["proof"]]
    assert answers == [("", SwitchState.COMMITTED), ("proof", None)]


def test_a_switch_that_takes_two_people_has_two() -> None:
    made = operation(mail(switch=mail_switch(approvals=2)), people=[MARIA])
    answered = fate(without(WhatIf(made, NEW_YEAR), "email/postmark")).answered
    assert answered is not None
    assert answered.worked


def test_steps_around_a_switch_and_the_old_sides_silence_do_what_they_say() -> None:
    switch = mail_switch(
        before=(Step("fence", call("fence", "x"), down=("email/{from}/api",)),),
        after=(Step("warm", call("warm", "x"), verify=("email/{to}/api",)),),
        old_out=OldOut(stateless=False, check="email/{from}/api"),
    )
    whatif = WhatIf(operation(mail(switch=switch), people=[MARIA]), NEW_YEAR)
    answered = fate(without(whatif, "email/postmark")).answered
    assert answered is not None
    assert answered.worked, answered.detail


def test_a_component_that_switches_by_itself_does_so_and_nobody_has_to_confirm() -> None:
    whatif = WhatIf(
        operation(mail(switch=mail_switch(auto=Auto.ALWAYS, guards={}, hold=5.0)), anchors=1, people=[MARIA]), NEW_YEAR,
        tables={"proofs": {"email/ses": _proof()}},
    )  # fmt: skip
    answered = fate(without(whatif, "email/postmark")).answered
    assert answered is not None
    assert answered.worked


def _proof() -> Any:
    timeline = Timeline(operation(mail(), people=[MARIA]), outside=mail_outside())
    timeline.all_ok()
    timeline.advance(5)
    timeline.down("email/postmark/api", times=3)
    timeline.confirm("email")
    timeline.advance(60)
    return timeline.world.get("proofs", "email/ses")


# --- people and channels ---------------------------------------------------------------------------------------------


def test_the_one_person_who_owns_a_component_leaves_it_unanswered_and_two_do_not() -> None:
    lone = component("flows", checks=["run"], owners=("ken",))
    whatif = shop(lone)
    assert without(whatif, "person:ken").unanswered == ("flows: nobody who owns it is there",)
    assert without(whatif, "person:maria").unanswered == ()
    assert without(whatif, "person:maria", "person:ken").unanswered == (
        "email: nobody who owns it is there",
        "flows: nobody who owns it is there",
    )


def test_a_failure_mode_that_watches_for_absences_becomes_active_and_offers_its_response() -> None:
    away = {"away": failure("away", away=True, runbook="call-somebody")}
    whatif = shop(component("flows", checks=["run"], owners=("ken",), failures=away))
    found = fate(without(whatif, "person:ken"), "flows")
    assert ([each.id for each in found.failures], found.runbook) == (["away"], "call-somebody")


def test_alarms_are_routed_around_people_who_are_away() -> None:
    routes = [Route(to=("owner",), escalate=(Escalation(600.0, ("second",)),))]
    whatif = shop(alarms=alarming("phone", "mail", routes=routes))
    told = [(each.at_once, each.later) for each in fate(without(whatif, "email/postmark")).alarms]
    rerouted = [(each.at_once, each.later) for each in fate(without(whatif, "email/postmark", "person:maria")).alarms]
    assert (told, rerouted) == ([(("phone",), ("mail",))], [(("mail",), ("phone",))])


def test_without_the_only_channel_nobody_is_told_and_that_is_a_single_point_of_failure() -> None:
    whatif = shop(component("posts", checks=["up"], tier=Tier.DROPPABLE), alarms=alarming("phone"))
    result = without(whatif, "channel:phone")
    assert result.unheard == ("email",)
    assert result.is_critical
    assert (
        "email: nobody is told: nothing arrives over phone"
        in without(whatif, "email/postmark", "channel:phone").unanswered
    )


def test_a_channel_that_depends_on_what_has_failed_tells_nobody() -> None:
    whatif = shop(alarms=alarming(Channel("phone", "file", depends_on=("email",))))
    found = fate(without(whatif, "email/postmark"))
    assert [each.silent for each in found.alarms] == [("phone",)]
    assert "nobody is told: nothing arrives over phone" in found.unanswered


# --- neighbours ------------------------------------------------------------------------------------------------------


def test_what_depends_on_something_down_is_at_risk_and_no_longer_once_a_backup_serves() -> None:
    child = component(
        "shop", checks=["page"], depends_on=("email",), tier=Tier.ESSENTIAL, failures={"x": failure("x", "shop/page")}
    )
    gone, switched = (without(shop(child), name) for name in ("email", "email/postmark"))
    assert [(each.id, each.before, each.after) for each in gone.at_risk] == [("shop", "at risk", "at risk")]
    assert [(each.id, each.before, each.after) for each in switched.at_risk] == [("shop", "at risk", "yes")]
    assert gone.risked(Tier.ESSENTIAL) == ("shop",)


def test_a_child_that_fails_as_well_has_its_alarm_held_by_its_parent() -> None:
    child = component("shop", checks=["page"], depends_on=("email",))
    found = fate(without(shop(child), "email", "shop"), "shop")
    assert [each.held for each in found.alarms] == ["email is down"]


def test_a_failure_mode_of_another_component_that_looks_at_the_lost_check_becomes_active() -> None:
    watching = component(
        "shop", checks=["page"], failures={"no-mail": failure("no-mail", "email/delivery", runbook="r")}
    )
    found = fate(without(shop(watching), "email/postmark"), "shop")
    assert ([each.id for each in found.failures], found.status) == (["no-mail"], Status.OK)


# --- names, ranking, present state -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("emial", "did you mean email?"),
        ("email/postmrak", "did you mean email/postmark?"),
        ("person:kem", "did you mean person:ken?"),
        ("zone:mars", "there are: email"),
        ("channel:quiet", "there are: channel:mail, channel:phone"),
    ],
)
def test_a_name_that_nobody_has_is_answered_with_the_nearest(name: str, hint: str) -> None:
    found = find(shop().subjects, [name])
    assert isinstance(found, Refused)
    assert hint in found.reason


def test_the_kind_may_be_named_for_components_and_providers_as_well() -> None:
    assert without(shop(), "component:email") == without(shop(), "email")
    assert without(shop(), "provider:email/ses") == without(shop(), "email/ses")


def test_the_worst_single_loss_comes_first_and_what_changes_nothing_last() -> None:
    lone = component("flows", checks=["run"], owners=("ken",), tier=Tier.IMPORTANT, runbook="r")
    results = shop(lone).singles()
    names = [str(each.subjects[0]) for each in results]
    assert names[:2] == ["host:email-delivery", "email"]
    assert names.index("flows") < names.index("person:ken") < names.index("email/ses") < names.index("person:maria")
    assert results == ranked(reversed(results))


def test_a_pair_is_told_for_what_it_takes_only_together() -> None:
    pairs = shop().pairs()
    both = next(each for each in pairs if [str(one) for one in each.subjects] == ["email/postmark", "email/ses"])
    assert both.lost == (("email/newsletters", Tier.DROPPABLE), ("email/order-confirmations", Tier.ESSENTIAL))
    assert all(any(each.weight) for each in pairs)
    assert not any({"email", "email/ses"} == {str(one) for one in each.subjects} for each in pairs)


def test_from_the_present_state_a_backup_that_serves_already_is_what_can_be_lost() -> None:
    made = operation(mail(), people=[MARIA, KEN], alarms=alarming("phone"))
    outside = mail_outside()
    timeline = Timeline(made, outside=outside)
    timeline.all_ok()
    timeline.advance(5)
    outside.status["email/postmark/api"] = Status.DOWN
    timeline.down("email/postmark/api", times=3)
    timeline.confirm("email")
    timeline.advance(60)
    now = WhatIf(made, timeline.clock.wall, tables=timeline.world.tables)
    result = without(now, "email/ses")
    assert (fate(result).was, fate(result).status) == (Status.OK, Status.DOWN)
    assert "order-confirmations" in " ".join(result.lost())
    assert without(now, "email/postmark").fates == ()


def test_a_trial_changes_nothing_of_what_it_began_with() -> None:
    whatif = shop()
    first = without(whatif, "email/postmark")
    without(whatif, "email")
    whatif.pairs()
    assert without(shop(), "email/postmark") == first == without(whatif, "email/postmark")


# --- malformed workspaces --------------------------------------------------------------------------------------------


def _malformed() -> list[Operation]:
    nowhere = Response(ResponseKind.DEGRADE, "nobody", "no")
    broken = Component("broken", "Broken", problem="line 3: no mapping")
    dangling = component(
        "dangling", checks=["here"], depends_on=("nobody", "dangling"), owners=("nobody",),
        failures={"x": failure("x", "nobody/check", "dangling/active/none", response=nowhere)},
    )  # fmt: skip
    return [
        Operation(),
        operation(broken),
        operation(mail(switch=None, modes={}, off={"switch": "a bad key", "modes/order-mail-only": "another"})),
        operation(dangling, mail(removed=True, depends_on=("dangling",))),
        replace(operation(mail(), dangling), checks={}),
        operation(mail(switch=mail_switch(verify=("nobody/check",), read=None, old_out=None, needs=("nobody",)))),
        operation(component("empty"), component("bare", providers=(provider("only"), provider("other")))),
    ]


@pytest.mark.parametrize("made", _malformed(), ids=range(len(_malformed())))
def test_a_malformed_workspace_raises_nothing_and_the_whole_agrees_with_its_pieces(made: Operation) -> None:
    whatif = WhatIf(made, NEW_YEAR)
    whatif.singles()
    whatif.pairs()
    for loss in whatif.subjects.values():
        assert whatif.without(loss) == whatif.at_once(loss)
