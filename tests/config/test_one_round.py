"""Everything that is wrong is told in one round: two mistakes are told as one and the other, in whatever pair.

A sound workspace that uses nearly every key is broken in one place (that gives one problem), and then in every two
places of a file, and in every third two places of two files (that gives these two problems, no fewer and no more).
What cannot be judged while something else is wrong says so with `unless`: the options of a check whose kind nobody
knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from opsdash.config.loader import KEPT
from opsdash.config.problems import dotted
from tests.config.conftest import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable

WORKSPACE_FILE = "opsdash.yaml"
EMAIL = "checks/email.yaml"
RUNBOOK = "runbooks/email-down.md"

SOUND = {
    WORKSPACE_FILE: """\
title: Shop
timezone: Europe/Berlin
vars:
  MAILER: mailer.example
  ZONE: eu
  TENANT: shop
defaults: {every: 60s, timeout: 30s}
people:
  maria: {name: Maria, login: maria, contact: "+49 30 1234", away: [{from: 2026-12-24, until: 2026-12-26}]}
  ken:
    name: Ken
    left: 2027-01-31
anchors:
  router: {kind: tcp, host: router.example, port: 53}
engine:
  retention: {samples: 3d, minutes: 20d}
""",
    "checks/crm.yaml": """\
depends_on: []
checks:
  port: {kind: tcp, host: crm.example, port: 443}
features:
  leads: {checks: [port]}
failures:
  crm-gone: {detected_by: [port], response: runbook, runbook: email-down}
""",
    EMAIL: """\
title: Transactional email
tier: essential
owners: [maria, ken]
depends_on: [crm]
runbook: email-down
features:
  orders: {title: Orders, tier: essential, checks: [delivery]}
  news: {tier: droppable, checks: [newsletters]}
defaults:
  every: 15s
  up_after: 2
providers:
  postmark: {title: Postmark, host: pm.example, as: pm-prod}
  ses:
    title: Amazon SES
    host: ses.example
    as: ses-eu
    checks:
      quota: {kind: tcp, host: "{host}", port: 443}
each:
  api:
    kind: http
    url: "https://{host}/status"
    expect:
      - status == 200
      - json.healthy
    slow_after: 400ms
    max_latency: 800ms
checks:
  delivery:
    kind: http
    url: "http://${MAILER}/x"
    headers: {X-Zone: "${ZONE}", X-Tenant: "${TENANT}"}
    timeout: 4s
    expect: ['age(json.at) < duration("2m")']
    degraded_when: ["latency > 2.0"]
    facts:
      provider: json.provider
      sent: json.sent
  newsletters:
    kind: tcp
    host: mailer.example
    port: 25
    every: 30s
    down_after: 3 of 5
    expect: ["latency < 3.0"]
switch:
  read: {kind: pointer, file: provider.json, key: provider}
  action:
    kind: pointer
    file: provider.json
    key: provider
    value: "{to.as}"
  served_by: {check: delivery, value: facts.provider, at: json.at, times: 3}
  old_out: {check: "{from}/api", is: down}
  verify: [delivery, ses/api]
  settle: 2s
  deadline: 40s
  confirm: key
modes:
  orders-only:
    title: Order mail only
    as: orders
    keeps: [orders, crm/leads]
    drops: [news]
    read: {kind: pointer, file: mode.json, key: mode}
    enter: {kind: pointer, file: mode.json, key: mode, value: orders}
    verify: [delivery]
    review_after: 24h
failures:
  nobody: {title: Nobody delivers, detected_by: {at_least: 2, of: [postmark/api, ses/api]}, response: runbook}
  unreachable:
    detected_by: [active/api]
    response: switch
    rto: 5m
  limited:
    detected_by: ["active/api#rate_limited", crm/port]
    response: {degrade: orders-only}
    runbook: email-down
""",
    RUNBOOK: """\
---
title: What to do
component: email
failure_modes: [email/nobody]
owner: maria
reviewed: 2026-11-01
review_every: 90d
rto: 10m
---
# What to do

## Steps

### Look

**Time:** 2 min

**Expect:** it is there.

```opsdash {check}
check email/delivery
```

### Degrade

**Time:** 2 min

```opsdash {run}
degrade email orders-only
```
""",
}


@dataclass(frozen=True)
class Mistake:
    """One replacement, and the one problem that follows from it. unless: while what it hides behind is wrong."""

    file: str
    old: str
    new: str
    place: str
    said: str
    unless: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What other mistakes call it."""
        return self.place or self.said


def _of(file: str, *found: tuple[str, str, str, str] | tuple[str, str, str, str, tuple[str, ...]]) -> list[Mistake]:
    return [Mistake(file, *each) for each in found]


SERVED = ("switch.served_by.check",)
KIND = ("checks.newsletters.kind",)
MISTAKES = [
    *_of(
        WORKSPACE_FILE,
        ("Europe/Berlin", "Europe/Berln", "timezone", "there is no time zone"),
        ("  MAILER: mailer.example", "  MAILER: [mailer.example]", "vars.MAILER", "must be a text or a number"),
        ("ZONE: eu", 'ZONE: "${NO_ZONE}"', "vars.ZONE", "NO_ZONE is not set"),
        ("every: 60s", "every: 60", "defaults.every", "60 is no duration"),
        ("timeout: 30s", "timeout: 0s", "defaults.timeout", "must be longer than 0"),
        ("name: Maria", "name: [Maria]", "people.maria.name", "a text is needed"),
        ("login: maria", "login: 5", "people.maria.login", "a text is needed"),
        ("from: 2026-12-24", "from: 2026-12-32", "people.maria.away[0].from", "is no date"),
        ("until: 2026-12-26", "til: 2026-12-26", "people.maria.away[0].til", "unknown key"),
        ("left: 2027-01-31", "left: soon", "people.ken.left", "is no date"),
        ("kind: tcp", "kind: tpc", "anchors.router.kind", "there is no check kind"),
        ("port: 53", "port: dns", "anchors.router.port", "a whole number", ("anchors.router.kind",)),
        ("samples: 3d", "samples: 3", "engine.retention.samples", "3 is no duration"),
        ("title: Shop", "title: Shop\ncalendars: {}", "calendars", "not in this version"),
        ("engine:\n", "engine:\n  group: no-such-group\n", "engine.group", "there is no group"),
    ),
    *_of(
        EMAIL,
        ("title: Transactional", "colour: red\ntitle: Transactional", "colour", "unknown key"),
        ("tier: essential\nowners", "tier: esential\nowners", "tier", "not possible"),
        ("[maria, ken]", "[maria, kne]", "owners[1]", "there is no person"),
        ("depends_on: [crm]", "depends_on: [cmr]", "depends_on[0]", "there is no component"),
        ("runbook: email-down\nfeatures", "runbook: email-dwon\nfeatures", "runbook", "there is no runbooks/"),
        ("title: Orders", "titel: Orders", "features.orders.titel", "unknown key"),
        ("tier: essential, checks", "tier: high, checks", "features.orders.tier", "not possible"),
        ("checks: [newsletters]", "checks: [newsletter]", "features.news.checks[0]", "there is no check"),
        ("tier: droppable", "tier: [x]", "features.news.tier", "not possible"),
        ("  every: 15s", "  every: 15", "defaults.every", "15 is no duration"),
        ("up_after: 2", "up_after: two", "defaults.up_after", "a whole number"),
        ("host: pm.example", "host: [pm.example]", "providers.postmark.host", "a text or a number"),
        ("title: Postmark", "title: [Postmark]", "providers.postmark.title", "a text is needed"),
        ("as: ses-eu", "as: 5", "providers.ses.as", "a text is needed"),
        ("title: Amazon SES", "title: [x]", "providers.ses.title", "a text is needed"),
        ("port: 443}\neach", "port: https}\neach", "providers.ses.checks.quota.port", "a whole number"),
        ('host: "{host}", port', 'host: "{hots}", port', "providers.ses.checks.quota.host", "no value 'hots'"),
        ('    kind: http\n    url: "https', '    kind: htp\n    url: "https', "each.api.kind", "no check kind"),
        ("https://{host}/status", "https://${NO_HOST}/status", "each.api.url", "NO_HOST is not set"),
        ("status == 200", "status = 200", "each.api.expect[0]", "no CEL expression"),
        ("json.healthy", "jsn.healthy", "each.api.expect[1]", "there is no 'jsn'", ("each.api.kind",)),
        ("slow_after: 400ms", "slow_after: 400", "each.api.slow_after", "400 is no duration"),
        ("max_latency: 800ms", "max_latncy: 800ms", "each.api.max_latncy", "unknown key", ("each.api.kind",)),
        ('    kind: http\n    url: "http:', '    kind: [http]\n    url: "http:', "checks.delivery.kind", "a text is"),
        ("http://${MAILER}/x", "ftp://${MAILER}/x", "checks.delivery.url", "", ("checks.delivery.kind", "vars.MAILER")),
        ("${ZONE}", "${ZONR}", "checks.delivery.headers.X-Zone", "ZONR is not set"),
        ("${TENANT}", "${TENANTS}", "checks.delivery.headers.X-Tenant", "TENANTS is not set"),
        ("timeout: 4s", "timeout: 4", "checks.delivery.timeout", "4 is no duration"),
        ("age(json.at)", "agee(json.at)", "checks.delivery.expect[0]", "there is no function 'agee'"),
        ("latency > 2.0", "latenz > 2.0", "checks.delivery.degraded_when[0]", "no 'latenz'", ("checks.delivery.kind",)),
        ("provider: json.provider", "provider: [x]", "checks.delivery.facts.provider", "a text is needed"),
        ("sent: json.sent", "sent: json..sent", "checks.delivery.facts.sent", "is no path"),
        ("    kind: tcp\n", "    kind: tpc\n", "checks.newsletters.kind", "there is no check kind"),
        ("host: mailer.example", "hots: mailer.example", "checks.newsletters.hots", "unknown key", KIND),
        ("port: 25", 'port: "${NO_PORT}"', "checks.newsletters.port", "NO_PORT is not set"),
        ("every: 30s", "every: 30", "checks.newsletters.every", "30 is no duration"),
        ("down_after: 3 of 5", "down_after: 5 of 3", "checks.newsletters.down_after", "is no threshold"),
        ("latency < 3.0", "latncy < 3.0", "checks.newsletters.expect[0]", "there is no 'latncy'", KIND),
        ("provider.json, key: provider}", "provider.json, kye: provider}", "switch.read.kye", "unknown key"),
        ("    key: provider\n    value", "    key: [p]\n    value", "switch.action.key", "a text is needed"),
        ("file: provider.json\n", 'file: "${NO_FILE}"\n', "switch.action.file", "NO_FILE is not set"),
        ("{to.as}", "{to.az}", "switch.action.value", "nothing can fill"),
        ("served_by: {check: delivery", "served_by: {check: delivry", "switch.served_by.check", "there is no check"),
        ("value: facts.provider", "value: facts.prvider", "switch.served_by.value", "no fact", SERVED),
        ("at: json.at", "at: json..at", "switch.served_by.at", "is no path"),
        ("times: 3", "times: many", "switch.served_by.times", "a whole number"),
        ("{from}/api", "{from}/apy", "switch.old_out.check", "there is no check"),
        ("is: down", "is: gone", "switch.old_out.is", "not possible"),
        ("verify: [delivery, ses/api]", "verify: [delivery, ses/apj]", "switch.verify[1]", "there is no check"),
        ("settle: 2s", "setle: 2s", "switch.setle", "unknown key"),
        ("deadline: 40s", "deadline: 40", "switch.deadline", "40 is no duration"),
        ("confirm: key", "confirm: never", "switch.confirm", "not possible"),
        ("title: Order mail only", "title: [x]", "modes.orders-only.title", "a text is needed"),
        ("as: orders\n", 'as: "${NO_MODE}"\n', "modes.orders-only.as", "NO_MODE is not set"),
        ("crm/leads]", "crm/laeds]", "modes.orders-only.keeps[1]", "there is no feature"),
        ("drops: [news]", "drops: [newz]", "modes.orders-only.drops[0]", "there is no feature"),
        ("file: mode.json, key: mode}", "file: mode.json}", "modes.orders-only.read", "say which `key`"),
        ("enter: {kind: pointer", "enter: {kind: ponter", "modes.orders-only.enter.kind", "there is no action kind"),
        ("verify: [delivery]", "verify: [delivrey]", "modes.orders-only.verify[0]", "there is no check"),
        ("review_after: 24h", "review_after: 24", "modes.orders-only.review_after", "24 is no duration"),
        ("title: Nobody delivers", "title: [x]", "failures.nobody.title", "a text is needed"),
        ("at_least: 2", "at_least: 3", "failures.nobody.detected_by", "at_least must be"),
        ("ses/api]}", "ses/apl]}", "failures.nobody.detected_by.of[1]", "there is no check"),
        ("[active/api]", "[active/apk]", "failures.unreachable.detected_by[0]", "there is no check"),
        ("response: switch", "response: swich", "failures.unreachable.response", "is no response"),
        ("rto: 5m", "rto: 5", "failures.unreachable.rto", "5 is no duration"),
        ("#rate_limited", "#rate_limit", "failures.limited.detected_by[0]", "there is no reason"),
        ("crm/port]", "crm/prt]", "failures.limited.detected_by[1]", "there is no check"),
        ("{degrade: orders-only}", "{degrade: order-only}", "failures.limited.response", "no degraded mode"),
        ("    runbook: email-down", "    runbook: email-up", "failures.limited.runbook", "there is no runbooks/"),
    ),
    *_of(
        RUNBOOK,
        ("component: email", "componet: email", "", "unknown key 'componet'"),
        ("[email/nobody]", "[email/nobdy]", "", "there is no failure mode 'email/nobdy'"),
        ("owner: maria", "owner: [maria]", "", "owner must be text"),
        ("reviewed: 2026-11-01", "reviewed: soon", "", "is no date"),
        ("review_every: 90d", "review_every: 90", "", "review_every:"),
        ("rto: 10m", "rto: long", "", "rto:"),
        ("### Look\n\n**Time:** 2 min", "### Look\n\n**Time:** soon", "", "is no plain duration"),
        ("check email/delivery", "check email/delivry", "", "there is no check 'email/delivry'"),
        ("degrade email orders-only", "degrade email orders-onli", "", "no degraded mode 'email/orders-onli'"),
        ("```opsdash {run}", "```opsdash {run timeot=3s}", "", "timeot"),
    ),
]  # fmt: skip

Told = frozenset[tuple[str, str, str]]


class Broken:
    """The sound workspace with some mistakes in it, loaded by difference: what did not change is not read again."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        for file, text in SOUND.items():
            workspace.write(file, text)

    def told(self, mistakes: Iterable[Mistake]) -> Told | None:
        """What is said, as file, place and message; None where two of the mistakes are about the same words."""
        texts = dict(SOUND)
        for mistake in mistakes:
            if texts[mistake.file].count(mistake.old) != 1:
                return None
            texts[mistake.file] = texts[mistake.file].replace(mistake.old, mistake.new)
        for file, text in texts.items():
            if (self.workspace.folder / file).read_text() != text:
                self.workspace.write(file, text)
        problems = self.workspace.load().problems
        return frozenset((each.file, dotted(each.path), each.message) for each in problems)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Broken:
    return Broken(Workspace(tmp_path_factory.mktemp("workspace")))


@pytest.fixture(scope="module")
def alone(broken: Broken) -> list[Told]:
    """What is told of each mistake when it is the only one."""
    return [broken.told([mistake]) or frozenset() for mistake in MISTAKES]


def test_the_workspace_is_sound(broken: Broken) -> None:
    assert broken.told([]) == frozenset()


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=lambda number: MISTAKES[number].name)
def test_a_mistake_is_one_problem_at_its_place(alone: list[Told], number: int) -> None:
    mistake = MISTAKES[number]
    [(file, place, message)] = alone[number]
    assert (file, place) == (mistake.file, mistake.place)
    assert mistake.said in message


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=lambda number: MISTAKES[number].name)
def test_two_mistakes_are_told_as_the_one_and_the_other(broken: Broken, alone: list[Told], number: int) -> None:
    first = MISTAKES[number]
    for other in range(number + 1, len(MISTAKES)):
        second = MISTAKES[other]
        if first.file != second.file and (number + other) % 3:
            continue
        both = None if _hides(first, second) else broken.told([first, second])
        if both is not None:
            assert both == alone[number] | alone[other], f"{first.name} and {second.name}"


def _hides(first: Mistake, second: Mistake) -> bool:
    return first.name in second.unless or second.name in first.unless


ECHOES = [
    # (file, what is replaced, by what, the only thing that is said)
    (WORKSPACE_FILE, "title: Shop", "title: [", "opsdash.yaml:3: this is no YAML"),
    (WORKSPACE_FILE, "people:", "peple:", 'opsdash.yaml:8: peple: unknown key; did you mean "people"?'),
    (WORKSPACE_FILE, "vars:", "varz:", 'opsdash.yaml:3: varz: unknown key; did you mean "vars"?'),
    (EMAIL, "\nchecks:", "\nchekcs:", 'checks/email.yaml:29: chekcs: unknown key; did you mean "checks"?'),
    (EMAIL, "\nproviders:", "\nprovders:", 'checks/email.yaml:12: provders: unknown key; did you mean "providers"?'),
    (EMAIL, "\neach:", "\neech:", 'checks/email.yaml:20: eech: unknown key; did you mean "each"?'),
    (EMAIL, "\nfeatures:", "\nfeatres:", 'checks/email.yaml:6: featres: unknown key; did you mean "features"?'),
    (EMAIL, "\nmodes:", "\nmods:", 'checks/email.yaml:60: mods: unknown key; did you mean "modes"?'),
    (EMAIL, "\nswitch:", "\nswich:", 'checks/email.yaml:47: swich: unknown key; did you mean "switch"?'),
    (EMAIL, "\nswitch:", "\nchecks: {}\nswitch:", "checks/email.yaml:47: checks: the key is here twice"),
    (EMAIL, "    port: 25", "    {port: 25}: ", "checks/email.yaml:43: checks.newsletters: a key cannot be a list"),
    (EMAIL, "    port: 25", "    <<: {port: 25}", "checks/email.yaml:43: checks.newsletters.<<: merge keys are no"),
    (EMAIL, "    port: 25", "    port: !secret 25", "checks/email.yaml:43: checks.newsletters.port: tags such as"),
    (EMAIL, "   kind: tcp\n", "   knid: tcp\n", "checks/email.yaml:40: checks.newsletters.kind: the key is missing"),
    (EMAIL, "is: down}", "iis: down}", 'checks/email.yaml:55: switch.old_out.iis: unknown key; did you mean "is"?'),
    ("checks/crm.yaml", "depends_on: []", "depends_on: [", "checks/crm.yaml:3: this is no YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "said"), ECHOES, ids=[each[3][:60] for each in ECHOES])
def test_what_only_follows_from_a_mistake_is_not_told(
    workspace: Workspace, file: str, old: str, new: str, said: str
) -> None:
    broken = Broken(workspace)
    text = SOUND[file]
    assert text.count(old) == 1
    workspace.write(file, text.replace(old, new))
    [problem] = broken.workspace.problems()
    assert problem.startswith(said)


def test_a_runbook_that_may_not_be_read_is_told_once(workspace: Workspace) -> None:
    broken = Broken(workspace)
    (workspace.folder / RUNBOOK).chmod(0o666)
    [problem] = broken.workspace.problems()
    assert problem.startswith(f"{RUNBOOK}: everybody may write to this file")


def test_of_a_foreign_file_the_first_wrong_keys_are_told_and_the_rest_is_counted(workspace: Workspace) -> None:
    workspace.component("".join(f"key{number}: 1\n" for number in range(20_000)))
    problems = workspace.problems()
    assert "checks/email.yaml:1: 19800 more keys of this file are wrong" in problems
    assert len(problems) == 201


def test_a_section_whose_name_is_misspelt_at_a_reload_goes_on_as_it_was(workspace: Workspace) -> None:
    broken = Broken(workspace)
    good = broken.workspace.load().operation.components["email"]
    bindings = broken.workspace.load().bindings.keys()
    for section in ("checks", "each", "providers", "features", "modes", "failures", "switch"):
        workspace.write(EMAIL, SOUND[EMAIL].replace(f"\n{section}:", f"\n{section}s:"))
        loaded = workspace.reload()
        kept = loaded.operation.components["email"]
        assert loaded.bindings.keys() == bindings, section
        assert [each.id for each in kept.providers] == [each.id for each in good.providers], section
        assert (kept.checks, kept.features) == (good.checks, good.features), section
        assert (kept.switch, kept.modes, kept.failures) == (good.switch, good.modes, good.failures), section
        [problem] = loaded.problems
        assert problem.hint.endswith(KEPT)
