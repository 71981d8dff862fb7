"""Every mistake is told in one line: file, line, key, what is wrong, what would be right. The rest still
loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsdash.config.files import Source
from opsdash.config.parse import parse
from opsdash.model.operation import Auto, Limit, ResponseKind, Severity
from tests.config.conftest import options

if TYPE_CHECKING:
    from tests.config.conftest import Workspace

SOUND = """\
title: Transactional email
tier: essential
owners: [maria, ken]
runbook: email-down
features:
  orders: {tier: essential, checks: [delivery]}
  news: {tier: droppable, checks: [newsletters]}
providers:
  postmark: {title: Postmark, host: pm.example, as: pm-prod}
  ses: {title: Amazon SES, host: ses.example, as: ses-eu}
each:
  api: {kind: http, url: "https://{host}/status", expect: [status == 200, json.healthy]}
checks:
  delivery: {kind: http, url: "http://m/x", expect: ['age(json.at) < duration("2m")'], facts: {provider: json.provider}}
  newsletters: {kind: tcp, host: mailer.example, port: 25}
switch:
  read: {kind: pointer, file: provider.json, key: provider}
  action: {kind: pointer, file: provider.json, key: provider, value: "{to.as}"}
  served_by: {check: delivery, value: facts.provider, at: json.at}
  old_out: stateless
  verify: [delivery]
modes:
  orders-only:
    keeps: [orders]
    drops: [news]
    read: {kind: pointer, file: mode.json, key: mode}
    enter: {kind: pointer, file: mode.json, key: mode, value: orders-only}
failures:
  nobody: {detected_by: {all: [postmark/api, ses/api]}, response: runbook}
  unreachable: {detected_by: [active/api], response: switch, rto: 5m}
  limited: {detected_by: ["active/api#rate_limited"], response: {degrade: orders-only}}
"""


def test_a_sound_file_says_nothing_and_everything_is_there(workspace: Workspace) -> None:
    workspace.component(SOUND)
    loaded = workspace.load()
    assert loaded.problems == ()
    email = loaded.operation.components["email"]
    assert [provider.as_name for provider in email.providers] == ["pm-prod", "ses-eu"]
    assert email.providers[1].checks == ("email/ses/api",)
    assert email.checks == ("email/delivery", "email/newsletters")
    assert email.switch is not None
    assert email.switch.verify == ("email/delivery",)
    assert [str(email.failures[name].response) for name in email.failures] == [
        "runbook", "switch", "degrade email to orders-only",
    ]  # fmt: skip
    assert {failure.runbook for failure in email.failures.values()} == {"email-down"}
    assert options(loaded, "email/ses/api").url == "https://ses.example/status"
    assert email.off == {}


def test_the_smallest_file_is_one_check(workspace: Workspace) -> None:
    workspace.component('checks: {api: {kind: http, url: "https://api.example/"}}\n', "shop")
    loaded = workspace.load()
    assert loaded.problems == ()
    spec = loaded.operation.checks["shop/api"]
    assert (spec.every, spec.timeout, str(spec.down_after), spec.up_after) == (30.0, 10.0, "3", 2)


def test_everything_that_a_switch_can_say_arrives(workspace: Workspace) -> None:
    more = """  verify: [delivery]
  before:
    fence:
      action: {kind: command, argv: [bin/fence, "{from.as}"]}
      undo: {kind: command, argv: [bin/unfence, "{from.as}"]}
      verify_down: ["{from}/api"]
      deadline: 5s
  after:
    reload: {action: {kind: command, argv: [bin/reload]}, undo: again, verify: [delivery], timeout: 1}
  lag: {check: "{to}/api", value: latency, most: 30}
  load: 400
  needs: []
  guards: {proof: block, shared_fate: warn}
  blockade: 2h
  steady: 1h
  auto: always
  hold: 45s
""".replace(", timeout: 1", "")
    workspace.component(SOUND.replace("  verify: [delivery]\n", more, 1))
    loaded = workspace.load()
    assert loaded.problems == ()
    switch = loaded.operation.components["email"].switch
    assert switch is not None
    (fence,), (reload,) = switch.before, switch.after
    assert (fence.name, fence.down, fence.deadline, fence.again) == ("fence", ("email/{from}/api",), 5.0, False)
    assert (reload.name, reload.verify, reload.again) == ("reload", ("email/delivery",), True)
    assert switch.lag == Limit("email/{to}/api", "latency", 30.0)
    assert (switch.load, switch.blockade, switch.steady, switch.hold) == (400.0, 7200.0, 3600.0, 45.0)
    assert switch.guards == {"proof": Severity.BLOCK, "shared_fate": Severity.WARN}
    assert switch.auto is Auto.ALWAYS
    assert switch.mechanism == "pointer: file=provider.json, key=provider"
    assert loaded.bindings["email/ses/api"].judge.extract({"latency": 0.2}) == {"latency": 0.2}


def test_the_order_of_steps_is_part_of_what_a_proof_proves(workspace: Workspace) -> None:
    one = "a: {action: {kind: manual, instructions: x}, undo: again}"
    two = "b: {action: {kind: manual, instructions: y}, undo: again}"
    hashes = []
    for steps in (f"{one}, {two}", f"{two}, {one}"):
        workspace.component(SOUND.replace("  verify: [delivery]\n", f"  before: {{{steps}}}\n", 1))
        hashes.append(workspace.load().operation.components["email"].sha256)
    assert hashes[0] != hashes[1]


def test_a_proof_outlives_who_may_switch_and_when(workspace: Workspace) -> None:
    def digest(text: str) -> str:
        workspace.component(text)
        return workspace.load().operation.components["email"].sha256

    switch = "  verify: [delivery]\n"
    policy = (
        "  auto: always\n  hold: 1m\n  approve: 1\n  guards: {proof: block}\n  blockade: 2h\n  confirm: countdown\n"
    )
    before = digest(SOUND)
    assert digest(SOUND.replace(switch, switch + policy, 1).replace("owners: [maria, ken]", "owners: [ken]")) == before
    assert digest(SOUND.replace(switch, switch + "  deadline: 20s\n", 1)) != before
    assert digest(SOUND.replace("host: ses.example", "host: ses.example.org")) != before


def test_an_action_may_take_as_long_as_it_says(workspace: Workspace) -> None:
    text = 'action: {kind: pointer, timeout: 90s, file: provider.json, key: provider, value: "{to.as}"}'
    original = 'action: {kind: pointer, file: provider.json, key: provider, value: "{to.as}"}'
    workspace.component(SOUND.replace(original, text))
    loaded = workspace.load()
    assert loaded.problems == ()
    switch = loaded.operation.components["email"].switch
    assert switch is not None
    assert switch.action.timeout == 90.0
    assert "timeout" not in switch.action.raw


def test_the_effect_is_looked_for_as_long_as_the_action_may_need(workspace: Workspace) -> None:
    text = 'action: {kind: manual, instructions: "route to {to.as}", within: 15m}'
    original = 'action: {kind: pointer, file: provider.json, key: provider, value: "{to.as}"}'
    workspace.component(SOUND.replace(original, text))
    switch = workspace.load().operation.components["email"].switch
    assert switch is not None
    assert (switch.settle, switch.deadline) == (0.0, 900.0), "what a person does at once is seen at once"


def test_a_path_that_only_a_switch_wants_is_extracted_with_the_facts(workspace: Workspace) -> None:
    workspace.component(SOUND)
    binding = workspace.load().bindings["email/delivery"]
    found = binding.judge.extract({"json": {"provider": "pm-prod", "at": "2026-11-18T12:00:00Z"}})
    assert found == {"provider": "pm-prod", "json.at": "2026-11-18T12:00:00Z"}
    assert binding.judge.wants_json


CASES = [
    # (what is replaced, by what, the problem, the part that is off)
    (
        "api: {kind: http, url:",
        "api: {kind: http, urll:",
        '12: each.api.urll: unknown key; did you mean "url"?',
        "checks/postmark/api",
    ),
    (
        "kind: tcp, host",
        "kind: tpc, host",
        "15: checks.newsletters.kind: there is no check kind 'tpc'; did you mean \"tcp\"?",
        "checks/newsletters",
    ),
    (
        "{kind: tcp, host: mailer.example, port: 25}",
        "{kind: tcp, port: 25}",
        "15: checks.newsletters.host: the key is missing",
        "checks/newsletters",
    ),
    (
        "{kind: tcp, host: mailer.example, port: 25}",
        "{host: mailer.example}",
        "15: checks.newsletters.kind: the key is missing",
        "checks/newsletters",
    ),
    (
        "port: 25",
        "port: smtp",
        "15: checks.newsletters.port: a whole number is needed, not 'smtp'",
        "checks/newsletters",
    ),
    (
        "port: 25",
        "port: 25, every: 15",
        "15: checks.newsletters.every: 15 is no duration; write a number with a unit, such as 15s, 5m or 90d",
        "checks/newsletters",
    ),
    (
        "port: 25",
        "port: 25, down_after: 5 of 3",
        "15: checks.newsletters.down_after: '5 of 3' is no threshold; write 3, or 3 of 5 (1 to 60, the smaller first)",
        "checks/newsletters",
    ),
    (
        "port: 25",
        "port: 25, evry: 15s",
        '15: checks.newsletters.evry: unknown key; did you mean "every"?',
        "checks/newsletters",
    ),
    (
        "port: 25",
        "port: 25, port: 26",
        "15: checks.newsletters.port: the key is here twice; the first is in line 15; remove one of them",
        "checks/newsletters",
    ),
    (
        "port: 25",
        "port: 25, expect: [latncy < 0.5]",
        "15: checks.newsletters.expect[0]: there is no 'latncy' here; did you mean \"latency\"?",
        "checks/newsletters",
    ),
    (
        "port: 25",
        "port: 25, expect: ['latency <']",
        "15: checks.newsletters.expect[0]: this is no CEL expression, at character 10: mismatched input the end",
        "checks/newsletters",
    ),
    (
        "port: 25",
        "port: 25, expect: ['lenght(reply) > 1']",
        "15: checks.newsletters.expect[0]: there is no function 'lenght'",
        "checks/newsletters",
    ),
    (
        "port: 25",
        "port: 25, expect: ['latency > \"a\"']",
        "15: checks.newsletters.expect[0]: this cannot be computed",
        "checks/newsletters",
    ),
    ("port: 25", "port: 25, expect: [latency]", "15: checks.newsletters.expect[0]: this gives", "checks/newsletters"),
    (
        "facts: {provider: json.provider}",
        "facts: {provider: jsn.provider}",
        "14: checks.delivery.facts.provider: there is no 'jsn' here; did you mean \"json\"?",
        "checks/delivery",
    ),
    (
        "host: ses.example",
        "hots: ses.example",
        "12: each.api.url: the provider ses has no value 'host' for {host}; did you mean \"hots\"?",
        "checks/ses/api",
    ),
    (
        "host: ses.example",
        'host: "${SES_HOST}"',
        "12: each.api.url: the variable SES_HOST is not set; set it, or give it a default: ${SES_HOST:-default}",
        "checks/ses/api",
    ),
    (
        "as: ses-eu",
        "as: pm-prod",
        "10: providers.ses.as: postmark has the same name for the mechanism, 'pm-prod'",
        "providers/ses",
    ),
    (
        "  ses: {title",
        "  crm: {title",
        "10: providers.crm: 'crm' is a component too; a reference could mean either",
        "providers/crm",
    ),
    (
        "tier: essential\nowners",
        "tier: esential\nowners",
        "2: tier: 'esential' is not possible; did you mean \"essential\"?",
        "tier",
    ),
    (
        "owners: [maria, ken]",
        "owners: [maria, kne]",
        "3: owners[1]: there is no person 'kne'; did you mean \"ken\"?",
        None,
    ),
    (
        "runbook: email-down",
        "runbook: email-dwon",
        '4: runbook: there is no runbooks/email-dwon.md; did you mean "email-down"?',
        "runbook",
    ),
    ("title: Transactional email", "title: x\nchekcs: {}", '2: chekcs: unknown key; did you mean "checks"?', None),
    ("title: Transactional email", "title: x\nwindows: {}", "2: windows: this is not in this version", None),
    (
        "title: Transactional email",
        "depends_on: [crmm]",
        "1: depends_on[0]: there is no component 'crmm'; did you mean \"crm\"?",
        None,
    ),
    (
        "title: Transactional email",
        "depends_on: [email]",
        "1: depends_on[0]: this goes round in a circle: email → email",
        None,
    ),
    (
        "news: {tier: droppable, checks: [newsletters]}",
        "news: {checks: [newslettres]}",
        "7: features.news.checks[0]: there is no check 'newslettres'; did you mean \"newsletters\"?",
        "features/news",
    ),
    (
        "verify: [delivery]",
        "verify: [delivery, api]",
        "21: switch.verify[1]: there is no check 'api' of the component itself; did you mean \"active/api\" or",
        "switch",
    ),
    (
        "verify: [delivery]",
        "verify: [active/api]",
        "21: switch.verify[0]: active/… stands for another check after a switch",
        "switch",
    ),
    (
        "verify: [delivery]",
        "auto: allways",
        "21: switch.auto: 'allways' is not possible; did you mean \"always\"?",
        "switch",
    ),
    (
        "read: {kind: pointer, file: provider.json, key: provider}",
        "auto: shadow",
        "17: switch.auto: auto: shadow needs a `read`, to know what is in force; declare it",
        "switch/auto",
    ),
    (
        'action: {kind: pointer, file: provider.json, key: provider, value: "{to.as}"}',
        'auto: always\n  action: {kind: command, argv: [bin/switch, "{to.as}"]}',
        "18: switch.auto: auto: always needs an action that can compare and swap, and 'command' cannot; write",
        "switch/auto",
    ),
    (
        "verify: [delivery]",
        "verify: [delivery]\n  auto: always\n  approve: 2",
        "22: switch.auto: auto: always and approve: 2 contradict each other; write auto: shadow",
        "switch/auto",
    ),
    (
        "verify: [delivery]",
        "guards: {prooff: block}",
        "21: switch.guards.prooff: there is no guard 'prooff'; did you mean \"proof\"?",
        None,
    ),
    (
        "verify: [delivery]",
        "guards: {journal: warn}",
        "21: switch.guards.journal: the guard 'journal' always blocks; remove the line",
        None,
    ),
    (
        "verify: [delivery]",
        "guards: {proof: forbid}",
        "21: switch.guards.proof: 'forbid' is not possible",
        "switch",
    ),
    (
        "verify: [delivery]",
        "needs: [emial]",
        "21: switch.needs[0]: there is no component 'emial'; did you mean \"email\"?",
        None,
    ),
    (
        "verify: [delivery]",
        "needs: [email]",
        "21: switch.needs[0]: a component's switch cannot need the component itself; remove it",
        None,
    ),
    (
        "verify: [delivery]",
        'lag: {check: "{to}/replica", value: facts.behind, most: 30}',
        "21: switch.lag.check: there is no check 'postmark/replica'",
        "switch",
    ),
    (
        "verify: [delivery]",
        'lag: {check: "{to}/api", value: facts.behind, most: 30}',
        "21: switch.lag.value: the check email/ses/api has no fact 'behind'",
        "switch",
    ),
    (
        "verify: [delivery]",
        "before: {fence: {action: {kind: manual, instructions: pull the plug}}}",
        "21: warning: switch.before.fence: nothing takes fence back when the switch then cannot be carried out",
        None,
    ),
    (
        "verify: [delivery]",
        "before: {switch: {action: {kind: manual, instructions: x}, undo: again}}",
        "21: switch.before.switch: 'switch' is the name of the switch itself; give the step another name",
        "switch",
    ),
    (
        "verify: [delivery]",
        "after: {reload: {action: {kind: manual, instructions: x}, undo: twice}}",
        "21: switch.after.reload.undo: 'twice' is not possible; write an action, or again",
        "switch",
    ),
    (
        "verify: [delivery]",
        'after: {reload: {action: {kind: command, argv: [reload, "{too.as}"]}}}',
        '21: switch.after.reload.action.argv: nothing can fill {too.as} here; did you mean "to.as"?',
        "switch",
    ),
    (
        "verify: [delivery]",
        'before: {fence: {action: {kind: manual, instructions: x}, undo: again, verify_down: ["{from}/writes"]}}',
        "21: switch.before.fence.verify_down[0]: there is no check 'ses/writes'",
        "switch",
    ),
    (
        "read: {kind: pointer, file: provider.json, key: provider}",
        "old_out: mechanism",
        "17: switch.old_out: old_out: mechanism is what `read` sees, and there is no `read`; declare `read`",
        "switch",
    ),
    ("old_out: stateless", "old_out: none", "20: switch.old_out: 'none' is not possible; write stateless", "switch"),
    (
        "old_out: stateless",
        'old_out: {check: "{from}/accepts"}',
        "20: switch.old_out.check: there is no check 'ses/accepts'",
        "switch",
    ),
    (
        "value: facts.provider",
        "value: facts.prvider",
        "19: switch.served_by.value: the check email/delivery has no fact 'prvider'; did you mean \"provider\"?",
        "switch",
    ),
    (
        'value: "{to.as}"',
        'value: "{to.az}"',
        '18: switch.action.value: nothing can fill {to.az} here; did you mean "to.as"?',
        "switch",
    ),
    (
        "action: {kind: pointer",
        "action: {kind: ponter",
        "18: switch.action.kind: there is no action kind 'ponter'; did you mean \"pointer\"?",
        "switch",
    ),
    (
        "read: {kind: pointer, file: provider.json, key: provider}",
        "read: {kind: manual, text: look}",
        "17: switch.read.kind: the action kind 'manual' cannot tell what is in force",
        "switch",
    ),
    (
        "drops: [news]",
        "drops: [newz]",
        "25: modes.orders-only.drops[0]: there is no feature 'newz'; did you mean \"news\"?",
        "modes/orders-only",
    ),
    (
        "drops: [news]",
        "drops: [orders]",
        "25: modes.orders-only.drops[0]: 'orders' is kept and dropped at once",
        "modes/orders-only",
    ),
    (
        "enter: {kind: pointer, file: mode.json, key: mode, value: orders-only}",
        'enter: {kind: http, method: PUT, url: "http://x.example/", json: {mode: a}}',
        "23: modes.orders-only: the action kind 'http' cannot put back what was there before; say with `leave`",
        "modes/orders-only",
    ),
    (
        "response: switch",
        "response: swich",
        "30: failures.unreachable.response: 'swich' is no response; write switch, runbook or {degrade: MODE}",
        "failures/unreachable",
    ),
    (
        "{degrade: orders-only}",
        "{degrade: order-only}",
        "31: failures.limited.response: there is no degraded mode 'order-only'; did you mean \"orders-only\"?",
        "failures/limited",
    ),
    (
        "#rate_limited",
        "#rate_limit",
        "31: failures.limited.detected_by[0]: there is no reason 'rate_limit'; did you mean \"rate_limited\"?",
        "failures/limited",
    ),
    (
        "[active/api], response",
        "[active/apy], response",
        "30: failures.unreachable.detected_by[0]: there is no check 'active/apy'; did you mean \"active/api\"?",
        "failures/unreachable",
    ),
    (
        "{all: [postmark/api, ses/api]}",
        "{at_least: 3, of: [postmark/api, ses/api]}",
        "29: failures.nobody.detected_by: at_least must be a number from 1 to 2",
        "failures/nobody",
    ),
    (
        "{all: [postmark/api, ses/api]}",
        "{any: [postmark/api]}",
        "29: failures.nobody.detected_by: unknown form with any",
        "failures/nobody",
    ),
    (
        "response: runbook}",
        "response: runbook, runbook: no-such}",
        "29: failures.nobody.runbook: there is no runbooks/no-such.md",
        "failures/nobody/runbook",
    ),
]


@pytest.mark.parametrize(("old", "new", "problem", "part"), CASES, ids=[case[2][4:60] for case in CASES])
def test_a_mistake_is_told_with_line_and_hint_and_switches_off_its_part_alone(
    workspace: Workspace, old: str, new: str, problem: str, part: str | None
) -> None:
    assert SOUND.count(old) == 1
    workspace.component("checks: {port: {kind: tcp, host: crm.example, port: 443}}\n", "crm")
    workspace.component(SOUND)
    sound = workspace.load()
    assert sound.problems == ()
    workspace.component(SOUND.replace(old, new))
    broken = workspace.load()
    told = [str(each) for each in broken.problems]
    assert any(each.startswith(f"checks/email.yaml:{problem}") for each in told), told
    off = broken.operation.components["email"].off
    assert part is None or part in off
    assert broken.operation.components["crm"] == sound.operation.components["crm"]
    lost = sound.operation.checks.keys() - broken.operation.checks.keys()
    assert all(f"checks/{check.removeprefix('email/')}" in off or "providers/" in "".join(off) for check in lost)


def test_all_problems_of_all_files_are_told_at_once_in_order(workspace: Workspace) -> None:
    workspace.component("tier: hgih\nchecks: {a: {kind: htp}}\n", "a")
    workspace.component("owners: [nobody]\n", "b")
    workspace.write("opsdash.yaml", "timezone: Europe/Berln\n")
    assert [problem.split(": ")[0] for problem in workspace.problems()] == [
        "checks/a.yaml:1", "checks/a.yaml:2", "checks/b.yaml:1", "opsdash.yaml:1",
    ]  # fmt: skip


def test_a_file_that_is_no_mapping_loses_its_component_and_nothing_else(workspace: Workspace) -> None:
    workspace.component(SOUND)
    workspace.component("title: [oops\n", "crm")
    loaded = workspace.load()
    assert str(loaded.problems[0]).startswith("checks/crm.yaml:2: this is no YAML")
    problem = loaded.operation.components["crm"].problem
    assert problem is not None
    assert problem.startswith("line 2: this is no YAML")
    assert len(loaded.bindings) == 4


def test_what_cannot_do_without_a_broken_check_is_off_with_the_same_reason_and_told_once(workspace: Workspace) -> None:
    workspace.component(SOUND.replace('duration("2m")', 'duration("2m"'))
    loaded = workspace.load()
    assert len(loaded.problems) == 1
    email = loaded.operation.components["email"]
    assert email.switch is None
    assert {"checks/delivery", "switch", "features/orders"} <= email.off.keys()
    assert email.off["switch"] == email.off["checks/delivery"]
    unreachable = email.failures["unreachable"]
    assert unreachable.response.kind is ResponseKind.RUNBOOK, "still recognised, and there is still a runbook"
    assert email.off["failures/unreachable/response"] == email.off["switch"]
    assert email.modes["orders-only"].keeps == ()


def test_an_operation_never_names_what_is_not_in_it(workspace: Workspace) -> None:
    lines = SOUND.splitlines(keepends=True)
    for number in range(len(lines)):
        workspace.component("".join([*lines[:number], *lines[number + 1 :]]))
        operation = workspace.load().operation
        email = operation.components["email"]
        named = [check for feature in email.features.values() for check in feature.checks]
        named += email.switch.verify if email.switch else ()
        named += [
            str(s).partition("#")[0] for f in email.failures.values() if f.detected_by for s in f.detected_by.signals
        ]
        assert {check for check in named if "/active/" not in check} <= operation.checks.keys()
        for failure in email.failures.values():
            assert failure.response.mode is None or failure.response.mode in email.modes
            assert failure.response.kind is not ResponseKind.SWITCH or email.switch is not None
        for mode in email.modes.values():
            assert {*mode.keeps, *mode.drops} <= email.features.keys()


def test_a_circle_of_dependencies_is_cut_at_one_edge(workspace: Workspace) -> None:
    for name, parent in (("a", "b"), ("b", "c"), ("c", "a")):
        workspace.component(f"depends_on: [{parent}]\nchecks: {{x: {{kind: tcp, host: h, port: 1}}}}\n", name)
    loaded = workspace.load()
    assert [str(problem) for problem in loaded.problems] == [
        (
            "checks/c.yaml:1: depends_on[0]: this goes round in a circle: a → b → c → a; "
            "a component cannot explain its own failure; remove one of the entries"
        )
    ]
    assert loaded.operation.components["c"].depends_on == ()
    assert loaded.operation.dependents == {"b": ("a",), "c": ("b",)}


def test_another_components_checks_features_and_modes_can_be_named(workspace: Workspace) -> None:
    workspace.component(SOUND)
    workspace.component(
        """\
        checks: {model: {kind: tcp, host: h, port: 1}}
        features: {score: {checks: [model, email/delivery, email/ses/api]}}
        modes:
          all:
            keeps: [email/orders]
            drops: [score]
            enter: {kind: pointer, file: m.txt, value: all}
            verify: [email/delivery]
        failures:
          down: {detected_by: [email/active/api], response: {degrade: email/orders-only}, runbook: email-down}
        """,
        "scoring",
    )
    loaded = workspace.load()
    assert loaded.problems == ()
    scoring = loaded.operation.components["scoring"]
    assert scoring.features["score"].checks == ("scoring/model", "email/delivery", "email/ses/api")
    assert scoring.modes["all"].keeps == ("email/orders",)
    assert loaded.operation.watchers["email/*"] == ("email", "scoring")
    assert str(scoring.failures["down"].response) == "degrade email to orders-only"


def test_settings_of_a_check_come_from_the_check_the_file_the_workspace(workspace: Workspace) -> None:
    workspace.write("opsdash.yaml", "defaults: {every: 60s, timeout: 5s, down_after: 3 of 5}\n")
    workspace.component(
        """\
        defaults: {every: 15s}
        checks: {a: {kind: tcp, host: h, port: 1}, b: {kind: tcp, host: h, port: 1, every: 2s}}
        """
    )
    checks = workspace.load().operation.checks
    assert [(checks[f"email/{name}"].every, checks[f"email/{name}"].timeout) for name in "ab"] == [(15, 5), (2, 5)]
    assert str(checks["email/a"].down_after) == "3 of 5"


def test_a_provider_may_add_and_replace_checks_of_each(workspace: Workspace) -> None:
    workspace.component(
        """\
        providers:
          a: {port: 1, checks: {data: {kind: tcp, host: h, port: "{port}"}}}
          b: {port: 2, checks: {up: {kind: tcp, host: other, port: "{port}"}}}
        each: {up: {kind: tcp, host: h, port: "{port}"}}
        """
    )
    loaded = workspace.load()
    assert loaded.problems == ()
    assert sorted(loaded.bindings) == ["email/a/data", "email/a/up", "email/b/up"]
    assert options(loaded, "email/b/up").host == "other"
    assert options(loaded, "email/b/up").port == 2


def test_templates_are_filled_once_and_two_braces_are_one(workspace: Workspace) -> None:
    workspace.component(
        """\
        providers:
          a: {host: "{zone}", zone: eu}
        each: {up: {kind: http, url: "http://x.example/{host}", body: '{{"zone": "{zone}"', method: POST}}
        """
    )
    binding = workspace.load().bindings["email/a/up"]
    assert binding.check.raw["url"] == "http://x.example/{zone}", "a value is not looked at again"
    assert binding.check.raw["body"] == '{"zone": "eu"'


def test_people_are_away_from_the_first_moment_to_the_last_of_their_days(workspace: Workspace) -> None:
    workspace.write(
        "opsdash.yaml",
        """\
        timezone: Europe/Berlin
        people:
          maria: {name: Maria, away: [{from: 2026-12-24, until: 2026-12-26}, {from: 2027-02-30}]}
          ken: {left: 2026-11-01}
          lena:
        """,
    )
    workspace.component("checks: {a: {kind: tcp, host: h, port: 1}}\n")
    loaded = workspace.load()
    people = loaded.operation.people
    christmas = people["maria"].away
    assert [(absence.start, absence.end) for absence in christmas] == [(1798066800.0, 1798326000.0)]
    assert people["ken"].left == 1793487600.0
    assert people["lena"].name == "lena"
    [problem] = [str(problem) for problem in loaded.problems]
    assert problem.startswith("opsdash.yaml:3: people.maria.away[1].from: '2027-02-30' is no date; write it as")


def test_what_is_surely_a_mistake_and_harmless_is_a_warning(workspace: Workspace) -> None:
    workspace.component(
        """\
        each: {a: {kind: tcp, host: h, port: 1}}
        checks: {b: {kind: tcp, host: h, port: 1, timeout: 2s, max_latency: 3s}}
        failures: {c: {detected_by: [b]}}
        """
    )
    loaded = workspace.load()
    assert loaded.errors == ()
    assert [str(problem)[:60] for problem in loaded.problems] == [
        "checks/email.yaml:1: warning: each: there are no providers, ",
        "checks/email.yaml:2: warning: checks.b.max_latency: this is ",
        "checks/email.yaml:3: warning: failures.c: the response is a ",
    ]


def test_the_hash_of_a_component_is_that_of_its_content(workspace: Workspace) -> None:
    def digest(text: str) -> str:
        workspace.component(text)
        return workspace.load().operation.components["email"].sha256

    before = digest("title: a\ntier: important\n")
    assert digest("# a comment\ntier:   important\ntitle: 'a'\n") == before
    assert digest("title: a\ntier: essential\n") != before
    first = digest("providers: {a: {}, b: {}}\n")
    assert digest("providers: {b: {}, a: {}}\n") != first, "another one is the primary"


@given(st.binary(max_size=400))
def test_no_bytes_at_all_make_a_component_file_raise(data: bytes) -> None:
    parsed = parse(Source("checks/x.yaml", None, data, ""))
    assert parsed.model is not None or parsed.problem is not None


_JSONISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["http", "switch", "5s", "{a}", "${B}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    ["title", "tier", "owners", "depends_on", "features", "runbook", "defaults", "providers", "each", "checks",
     "switch", "modes", "failures", "nonsense"]
)  # fmt: skip
_ENTRY = st.dictionaries(
    st.sampled_from(
        ["kind", "url", "every", "checks", "action", "enter", "read", "detected_by", "response", "as", "expect"]
    ),
    _JSONISH,
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        _KEYS,
        st.dictionaries(st.sampled_from(["a", "b", "c d"]), _ENTRY | _JSONISH, max_size=3) | _ENTRY | _JSONISH,
        max_size=6,
    )
)
def test_whatever_stands_under_the_right_keys_there_is_an_operation(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]
) -> None:
    import json

    from opsdash.config.loader import load

    folder = tmp_path_factory.mktemp("w")
    (folder / "checks").mkdir()
    (folder / "opsdash.yaml").write_text("title: x\n")
    (folder / "checks" / "x.yaml").write_text(json.dumps(content))
    loaded = load(folder, {"PATH": "/usr/bin"}, 1.8e9)
    again = load(folder, {"PATH": "/usr/bin"}, 1.8e9, loaded)
    assert again.problems == loaded.problems
    assert loaded.operation.components.keys() == {"x"}


def test_how_often_a_heartbeat_comes_is_not_how_often_it_is_looked_at(workspace: Workspace) -> None:
    workspace.component("checks: {nightly: {kind: heartbeat, every: 1d, grace: 2h}}\n")
    loaded = workspace.load()
    assert loaded.problems == ()
    spec = loaded.operation.checks["email/nightly"]
    assert (spec.passive, spec.every) == (True, 30.0)
    assert options(loaded, "email/nightly").every == 86400


# --- connections that are kept ---------------------------------------------------------------------------------------

KEPT = '"http://m/x", connection: keep'
REPLACED = "keeps its connection and may go on talking to what was replaced"
HINT = "; give it connection: new, or name another check"


def keeping(old: str, new: str) -> str:
    assert old in SOUND
    return SOUND.replace('"http://m/x"', KEPT).replace(old, new)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            keeping("  served_by: {check: delivery, value: facts.provider, at: json.at}\n", ""),
            {f"20: switch.verify[0]: email/delivery {REPLACED}{HINT}"},
        ),
        (
            keeping("  verify: [delivery]\n", "").replace("tier: essential, checks", "tier: important, checks"),
            {f"19: switch.served_by.check: email/delivery {REPLACED}{HINT}"},
        ),
        (
            keeping("  verify: [delivery]\n", "  verify: [newsletters]\n")
            .replace(
                "served_by: {check: delivery, value: facts.provider, at: json.at}",
                "served_by: {check: ses/api, value: status}",
            )
            .replace("keeps: [orders]", "verify: [newsletters, delivery]"),
            {f"24: modes.orders-only.verify[1]: email/delivery {REPLACED}{HINT}"},
        ),
        (
            SOUND.replace("json.healthy]", "json.healthy], connection: keep").replace(
                "old_out: stateless", 'old_out: {check: "{from}/api", is: down}'
            ),
            {f"20: switch.old_out.check: email/ses/api {REPLACED}{HINT}"},
        ),
    ],
    ids=["verify", "served_by", "verify of a mode", "old_out"],
)
def test_a_check_that_keeps_its_connection_is_no_witness_of_a_switch(
    workspace: Workspace, text: str, problems: set[str]
) -> None:
    workspace.component(text)
    found = [problem for problem in workspace.problems() if REPLACED in problem]
    assert {problem.removeprefix("checks/email.yaml:") for problem in found} >= problems
    assert workspace.loaded is not None
    email = workspace.loaded.operation.components["email"]
    assert "email/delivery" in email.checks  # the check itself goes on


def test_where_nothing_is_named_the_essential_features_are_the_witnesses(workspace: Workspace) -> None:
    text = keeping("  verify: [delivery]\n", "").replace(
        "  served_by: {check: delivery, value: facts.provider, at: json.at}\n", ""
    )
    workspace.component(text)
    why = "and without `verify` it has to prove the feature orders"
    assert workspace.problems() == [
        f"checks/email.yaml:{line}: {path}: email/delivery {REPLACED}, {why}{HINT}"
        for line, path in ((16, "switch.verify"), (21, "modes.orders-only.verify"))
    ]
    workspace.component(text.replace("{tier: essential, checks", "{tier: important, checks"))
    assert workspace.problems() == []


def test_a_check_that_begins_to_keep_its_connection_ends_the_switch_that_went_by_it(workspace: Workspace) -> None:
    workspace.component(SOUND)
    assert workspace.load().operation.components["email"].switch is not None
    workspace.component(SOUND.replace('"http://m/x"', KEPT))
    email = workspace.reload().operation.components["email"]
    assert email.switch is None
    assert "orders-only" not in email.modes
    workspace.component(SOUND)
    assert workspace.reload().operation.components["email"].switch is not None


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("connection: kept", "checks.api.connection: 'kept' is not possible; did you mean \"keep\"?"),
        ("http2: true", "checks.api: HTTP/2 is agreed upon by TLS; write an https:// URL, or remove `http2`"),
        (
            "proxy: proxy.example",
            "checks.api.proxy: no proxy opsdash can use; write http://host:port, or socks5://host:port",
        ),
    ],
)
def test_ways_that_lead_nowhere_are_told(workspace: Workspace, keys: str, problem: str) -> None:
    workspace.component(f"checks: {{api: {{kind: http, url: 'http://a.example/', {keys}}}}}\n")
    assert workspace.problems() == [f"checks/email.yaml:1: {problem}"]


def test_the_way_to_a_file_is_not_for_a_key(workspace: Workspace) -> None:
    workspace.component("checks: {leads: {kind: dataset, file: leads.json, connection: keep}}\n")
    assert workspace.problems() == [
        "checks/email.yaml:1: checks.leads: `connection`, `proxy` and `http2` concern a `url`; a file is read as it is"
    ]


def test_neither_a_reading_nor_an_action_keeps_a_connection(workspace: Workspace) -> None:
    http = "{kind: http, url: 'http://m/provider', connection: keep"
    workspace.component(
        SOUND.replace(
            "read: {kind: pointer, file: provider.json, key: provider}", f"read: {http}, value: json.p}}"
        ).replace(
            "enter: {kind: pointer, file: mode.json, key: mode, value: orders-only}",
            f"enter: {http}}}\n    leave: {http}}}",
        )
    )
    words = "a kept connection goes on talking to the old server after a switch; write new"
    assert workspace.problems() == [
        f"checks/email.yaml:{line}: {path}.connection: {words}"
        for line, path in ((17, "switch.read"), (27, "modes.orders-only.enter"), (28, "modes.orders-only.leave"))
    ]


def test_a_proxys_password_is_masked_wherever_it_could_show(workspace: Workspace) -> None:
    workspace.component(
        "checks: {api: {kind: http, url: 'https://a.example/', proxy: 'http://ops:${PROXY_PASSWORD}@p.example:3128'}}\n"
    )
    loaded = workspace.load({"PROXY_PASSWORD": "correct-horse"})
    assert loaded.problems == ()
    assert options(loaded, "email/api").way().proxy.login == (b"ops", b"correct-horse")
    assert "correct-horse" not in loaded.secrets.mask("http://ops:correct-horse@p.example:3128")
    assert "correct-horse" not in repr(loaded.bindings) + repr(options(loaded, "email/api"))
