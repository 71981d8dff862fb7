"""Drills are read strictly: what breaks something on purpose says how that ends; a mistake switches the drill off."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsdash.config.drills import parse_drill
from opsdash.config.files import Source
from opsdash.config.loader import KEPT
from opsdash.config.schema_drills import DrillModel
from opsdash.model.drill import DAY, Expect, Injection, Level, Load, Responder, Schedule, StopIf
from opsdash.model.status import Status
from opsdash.model.week import WeekTime, parse_week_time
from tests.config.test_problems import SOUND as EMAIL

if TYPE_CHECKING:
    from opsdash.config.loader import Loaded
    from opsdash.model.drill import Drill
    from tests.config.conftest import Workspace

SETTINGS = """\
timezone: Europe/Berlin
people: {maria: {}, ken: {}}
windows:
  nights: {kind: maintenance, cron: "0 1 * * *", for: 3h}
  year-end: {kind: freeze, until: 2027-01-02}
"""
CRM = """\
checks:
  port: {kind: tcp, host: crm.example, port: 443}
  kept: {kind: http, url: "http://crm.example/", connection: keep}
modes: {read-only: {enter: {kind: pointer, file: crm.json, key: mode, value: read-only}, verify: [port]}}
"""
SOUND = """\
title: Mail, each quarter
component: email
failure_mode: unreachable
level: contained
owner: maria
schedule: {every: 90d, windows: [nights, "tue-thu 10:00-15:00"]}
surprise: 5d
absent: [ken]
expect:
  detect: 1m
  acknowledge: 5m
  recover: 10m
  unaffected: [crm]
  mode: orders-only
  alarm: true
  runbook: true
  load: {http: {url: "http://mail.example/{component}"}, times: 50, over: 30s, failures: 1}
steady: [delivery, postmark/api, crm/port]
inject:
  command: {target: postmark, argv: [unplug, "{host}"]}
undo:
  command: {argv: [plug, "{as}"]}
verify_undone: [postmark/api]
limit: 15m
stop_if: [crm down for 2m, crm/port is down, active/api degraded for 10s]
"""


class Desk:
    """A workspace with a component that has all a drill may name, and another one beside it."""

    def __init__(self, workspace: Workspace) -> None:
        self.files = workspace
        (workspace.folder / "drills").mkdir()
        workspace.write("opsdash.yaml", SETTINGS)
        workspace.component(EMAIL)
        workspace.component(CRM, "crm")

    def drill(self, text: str | bytes, name: str = "quarterly.yaml") -> list[str]:
        """What is said of the workspace with this drill."""
        self.files.write(f"drills/{name}", text)
        return self.again()

    def again(self) -> list[str]:
        """What is said when it is read again."""
        return [str(problem) for problem in self.files.reload().problems]

    @property
    def loaded(self) -> Loaded:
        assert self.files.loaded is not None
        return self.files.loaded

    def __getitem__(self, name: str) -> Drill:
        return self.loaded.operation.drills[name]


@pytest.fixture
def desk(workspace: Workspace) -> Desk:
    return Desk(workspace)


def changed(old: str, new: str) -> str:
    """The sound drill with one change; an empty `old` adds a line at its end."""
    assert old in SOUND, old
    return SOUND.replace(old, new, 1) if old else SOUND + new


# --- what is sound ------------------------------------------------------------------------------------------------


def test_a_sound_drill_says_nothing_and_everything_is_there(desk: Desk) -> None:
    assert desk.drill(SOUND) == []
    drill = desk["quarterly"]
    assert (drill.id, drill.title, drill.component, drill.failure_mode) == (
        "quarterly", "Mail, each quarter", "email", "unreachable",
    )  # fmt: skip
    assert (drill.level, drill.owner, drill.responder, drill.absent) == (
        Level.CONTAINED, "maria", Responder.PEOPLE, ("ken",),
    )  # fmt: skip
    assert drill.runbook == "email-down", "the component's, since nobody names another"
    assert drill.schedule == Schedule(
        every=90 * DAY, timezone="Europe/Berlin", windows=("nights", "tue-thu 10:00-15:00"), remind=(7 * DAY, DAY)
    )
    assert drill.expect == Expect(
        detect=60.0,
        acknowledge=300.0,
        recover=600.0,
        unaffected=("crm",),
        mode="orders-only",
        alarm=True,
        runbook=True,
        load=Load("http", {"url": "http://mail.example/email"}, times=50, over=30.0, failures=1),
    )
    assert drill.steady == ("email/delivery", "email/postmark/api", "crm/port")
    assert drill.injections == (
        Injection("command", {"argv": ["unplug", "pm.example"]}, {"argv": ["plug", "pm-prod"]}, "email/postmark"),
    )
    assert (drill.verify_undone, drill.limit, drill.surprise) == (("email/postmark/api",), 900.0, 5 * DAY)
    assert drill.stop_if == (
        StopIf("crm", Status.DOWN, 120.0),
        StopIf("crm", Status.DOWN, 0.0, check="crm/port"),
        StopIf("email", Status.DEGRADED, 10.0, check="email/active/api"),
    )
    assert (drill.file, drill.off) == ("drills/quarterly.yaml", "")


SMALL = [
    "component: crm\nlevel: tabletop\nowner: maria\nfailure_mode: gone\nrunbook: email-down\n",
    "failure_mode: email/unreachable\nlevel: tabletop\nowner: maria\n",
    "component: email\nlevel: switch\nowner: maria\n",
    "component: email\nlevel: switch\nowner: maria\nto: ses\nrespond: opsdash\nhold: 2m\n",
    "component: email\nlevel: switch\nowner: maria\nto: orders-only\n",
    "failure_mode: email/limited\nlevel: switch\nowner: maria\nexpect: {mode: crm/read-only}\n",
    """\
failure_mode: email/unreachable
level: synthetic
owner: maria
inject: {pretend: {}}
verify_undone: delivery
limit: 10m
""",
    """\
failure_mode: email/unreachable
level: real
owner: maria
schedule: {windows: nights}
approvals: 2
inject:
- fault_proxy: {control: a.sock}
- fault_proxy: {control: b.sock, target: ses}
verify_undone: delivery
limit: 10m
""",
]


@pytest.mark.parametrize("text", SMALL)
def test_other_drills_are_sound_too(desk: Desk, text: str) -> None:
    desk.files.component(CRM + "failures: {gone: {detected_by: [port]}}\nrunbook: email-down\n", "crm")
    assert desk.drill(text) == []
    assert desk["quarterly"].off == ""


def test_what_is_only_pretended_is_what_detects_the_failure_mode_where_nothing_is_named(desk: Desk) -> None:
    base = "level: synthetic\nowner: maria\nverify_undone: delivery\nlimit: 10m\n"
    assert desk.drill(base + "failure_mode: email/nobody\ninject: {pretend: {status: down}}\n") == []
    assert desk["quarterly"].injections == (
        Injection("pretend", {"status": "down"}, None, "email/postmark/api"),
        Injection("pretend", {"status": "down"}, None, "email/ses/api"),
    )
    assert desk.drill(base + "failure_mode: email/unreachable\ninject: {pretend: }\n") == []
    assert [each.target for each in desk["quarterly"].injections] == ["email/active/api"]
    desk.files.component(CRM + "failures: {gone: {rto: 5m}}\nrunbook: email-down\n", "crm")
    [told] = desk.drill(base.replace("delivery", "port") + "failure_mode: crm/gone\ninject: {pretend: }\n")
    assert "inject.pretend: nothing says what fails; name it: target: " in told


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("email", "email"),
        ("crm", "crm"),
        ("ses", "email/ses"),
        ("email/ses", "email/ses"),
        ("active", "email/active"),
        ("delivery", "email/delivery"),
        ("active/api", "email/active/api"),
        ("crm/port", "crm/port"),
        ("email/ses/api", "email/ses/api"),
    ],
)
def test_a_target_is_a_component_a_provider_or_a_check(desk: Desk, written: str, target: str) -> None:
    text = SOUND.replace('[unplug, "{host}"]', "[x]").replace('[plug, "{as}"]', "[x]")
    assert desk.drill(text.replace("target: postmark", f"target: {written}")) == []
    assert [each.target for each in desk["quarterly"].injections] == [target]


def test_what_takes_a_fault_back_is_told_apart_by_its_kind_and_order(desk: Desk) -> None:
    text = (
        SOUND.partition("inject:")[0]
        + """\
inject:
- command: {argv: [one]}
- fault_proxy: {control: p.sock, mode: refuse}
- command: {argv: [two]}
undo:
- command: {argv: [undo-one]}
- command: {argv: [undo-two]}
verify_undone: [postmark/api]
limit: 15m
"""
    )
    assert desk.drill(text) == []
    assert [(each.raw.get("argv"), each.undo) for each in desk["quarterly"].injections] == [
        (["one"], {"argv": ["undo-one"]}),
        (None, None),
        (["two"], {"argv": ["undo-two"]}),
    ]


def test_nothing_is_taken_back_twice(desk: Desk) -> None:
    undos = "undo:\n- command: {argv: [plug]}\n- command: {argv: [plug, again]}\n"
    [told] = desk.drill(changed('undo:\n  command: {argv: [plug, "{as}"]}\n', undos))
    said = "23: undo[1].command: there is no fault that this command takes back; each takes back one fault of its kind"
    assert told == f"drills/quarterly.yaml:{said}"


def test_a_workspace_without_drills_has_none(workspace: Workspace) -> None:
    workspace.component(EMAIL)
    assert workspace.load().operation.drills == {}


# --- what is wrong ------------------------------------------------------------------------------------------------

MISTAKES: list[tuple[str, str, str]] = [
    # old, new, what is said behind the file's name
    ('  command: {argv: [plug, "{as}"]}', "  comand: {argv: [x]}", "22: undo.comand: there is no fault that this"),
    ('undo:\n  command: {argv: [plug, "{as}"]}\n', "", "20: inject.command: nothing takes this command back; it does"),
    ("verify_undone: [postmark/api]\n", "", "19: inject: nothing shows that the fault is gone; name checks"),
    ("limit: 15m\n", "", "19: inject: nothing ends the fault when nobody does; write how long"),
    ("limit: 15m", "limit: 9m", "24: limit: the fault is taken back after 9m, and recovery may take 10m"),
    ("over: 30s", "over: 30m", "17: expect.load.over: it goes on for 30m, and the fault is taken back after 15m"),
    ("level: contained", "level: tabletop", "19: inject: a tabletop drill breaks nothing; remove it, or choose"),
    ("level: contained", "level: synthetic", "20: inject.command: command touches more than opsdash"),
    ("level: contained\n", "", "1: level: the key is missing; write what the drill touches: tabletop, synthetic"),
    ("level: contained", "level: contaned", '4: level: \'contaned\' is not possible; did you mean "contained"?'),
    (', "tue-thu 10:00-15:00"', ", year-end", "6: schedule.windows[1]: year-end is a freeze, in which no drill"),
    ("[nights, ", "[night, ", "6: schedule.windows[0]: there is no window 'night'; did you mean \"nights\"?"),
    ("tue-thu 10", "tue-xyz 10", "6: schedule.windows[1]: 'tue-xyz' in 'tue-xyz 10:00-15:00' is no day; write mon"),
    ("every: 90d", "cron: 0 3 * *", "6: schedule.cron: '0 3 * *' has 4 fields; write minute"),
    ("every: 90d", 'every: 90d, cron: "0 3 * * 1"', "6: schedule.every: `cron` and `every` both say when it is due"),
    ('every: 90d, windows: [nights, "tue-thu 10:00-15:00"]', "remind: [1d]", "6: schedule: it does not say when"),
    ("every: 90d, ", "", "7: surprise: it is never due, so it cannot come as a surprise; add schedule"),
    ("surprise: 5d", "surprise: 90d", "7: surprise: this is not shorter than `every`"),
    ("component: email", "component: emial", "2: component: there is no component 'emial'; did you mean \"email\"?"),
    ("component: email\n", "", "1: component: the key is missing; name what fails"),
    ("failure_mode: unreachable", "failure_mode: crm/gone", "3: failure_mode: it is one of crm, and the component"),
    ("unreachable", "unreachble", "3: failure_mode: there is no failure mode 'unreachble'; did you mean \"unrea"),
    ("failure_mode: unreachable\n", "", "1: failure_mode: the key is missing: which failure is drilled?; there are:"),
    ("owner: maria\n", "", "1: owner: the key is missing; name the person"),
    ("owner: maria", "owner: mario", "5: owner: there is no person 'mario'; did you mean \"maria\"?"),
    ("absent: [ken]", "absent: [kne]", "8: absent[0]: there is no person 'kne'; did you mean \"ken\"?"),
    ("absent: [ken]", "absent: [maria]", "5: owner: maria is absent, and sees to it"),
    ("absent: [ken]", "absent: [maria, ken]", "8: absent: everybody is absent; nobody could"),
    ("absent: [ken]", "absent: [ken]\napprovals: 2", "9: approvals: it takes 2 people to begin it, and there is maria"),
    ("[crm]", "[crm, email]", "13: expect.unaffected[1]: email is what fails; name others"),
    ("[crm]", "[cmr]", "13: expect.unaffected[0]: there is no component 'cmr'; did you mean \"crm\"?"),
    ("mode: orders-only", "mode: order-only", "14: expect.mode: there is no degraded mode 'order-only'; did you mean"),
    ("mode: orders-only", "mode: crm/x", "14: expect.mode: there is no degraded mode 'crm/x'; there are: crm/read"),
    ("mode: orders-only", "mode: cmr/x", "14: expect.mode: there is no component 'cmr'"),
    (", times: 50", "", "17: expect.load: a load without `times` has no bounds; write times: 50"),
    (", over: 30s", "", "17: expect.load: a load without `over` has no bounds; write over: 30s"),
    ("times: 50, over: 30s", "times: 5000, over: 30s", "17: expect.load.times: 5000 times in 30s is more than 100 a"),
    ("times: 50", "times: 0", "17: expect.load.times: must be greater than or equal to 1"),
    ("failures: 1", "failures: 50", "17: expect.load.failures: all of them may fail"),
    ('http: {url: "http://mail.example/{component}"}, ', "", "17: expect.load: a load is one command or one http"),
    ('url: "http://mail.example/{component}"', 'urll: "http://x/"', "17: expect.load.http.urll: unknown key; did you"),
    ("mail.example/{component}", "mail.example/{host}", "17: expect.load.http.url: nothing can fill {host} here"),
    ("crm/port]\ni", "crm/prt]\ni", "18: steady[2]: there is no check 'crm/prt'; did you mean \"crm/port\"?"),
    ("[delivery, ", "[active/api, ", "18: steady[0]: active/… stands for another check after a switch"),
    ("undone: [postmark/api]", "undone: [postmark/ap]", "23: verify_undone[0]: there is no check 'postmark/ap'"),
    ("undone: [postmark/api]", "undone: [crm/kept]", "23: verify_undone[0]: crm/kept keeps its connection, which the"),
    ("target: postmark", "target: postmrak", "20: inject.command.target: there is no check, provider or component"),
    ("{host}", "{hots}", '20: inject.command.argv: nothing can fill {hots} here; did you mean "host"?'),
    ("inject:\n  command", "inject:\n  comand", "20: inject.comand: there is no injection kind 'comand'; did you"),
    ("argv: [unplug", "args: [unplug", '20: inject.command.args: unknown key; did you mean "argv"?'),
    ("{argv: [plug", "{argz: [plug", '22: undo.command.argz: unknown key; did you mean "argv"?'),
    ("  command: {argv: [plug", "  command: {argv: [x]}\n  http: {u: [plug", "21: undo: 2 kinds are named: command"),
    ("crm down for 2m", "crm ok for 2m", "25: stop_if[0]: 'crm ok for 2m' is no condition; write shop/checkout"),
    ("crm down for 2m", "cmr down for 2m", "25: stop_if[0]: there is no component or check 'cmr'; did you mean"),
    ("crm down for 2m", "crm down for 2", "25: stop_if[0]: '2' is no duration; write a number with a unit"),
    ("", "to: postmark\n", "26: to: postmark is the primary; there are: ses, orders-only"),
    ("", "to: se\n", "26: to: there is no provider or degraded mode 'se'; did you mean \"ses\"?"),
    ("", "runbook: email-dwon\n", '26: runbook: there is no runbooks/email-dwon.md; did you mean "email-down"?'),
    ("", "limmit: 5m\n", '26: limmit: unknown key; did you mean "limit"?'),
    ("", "approvals: 3\n", "26: approvals: must be less than or equal to 2"),
    ("", "respond: robot\n", "26: respond: 'robot' is not possible; there are: people, opsdash"),
    ("", "limit: 5m\n", "26: limit: the key is here twice"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES, ids=[said for _, _, said in MISTAKES])
def test_a_mistake_is_told_in_one_line_and_switches_the_drill_off(desk: Desk, old: str, new: str, said: str) -> None:
    [told] = desk.drill(changed(old, new))
    assert told.startswith(f"drills/quarterly.yaml:{said}")
    assert desk["quarterly"].off, "it is listed, and cannot be run"
    assert [problem.part for problem in desk.loaded.errors] == ["this drill"]
    assert desk["quarterly"].id == "quarterly"


def test_all_mistakes_are_told_in_one_round(desk: Desk) -> None:
    text = SOUND.replace("owner: maria", "owner: mario").replace("[crm]", "[cmr]").replace("limit: 15m", "limit: 15")
    assert [each.split(": ")[0] for each in desk.drill(text)] == [
        "drills/quarterly.yaml:5",
        "drills/quarterly.yaml:13",
        "drills/quarterly.yaml:24",
    ]


LEVELS = [
    ("level: real\n", "level: a real drill needs a window, and there is none; write schedule: {windows: "),
    ("level: contained\nhold: 1m\n", "level: a contained drill breaks something, and nothing says what"),
    ("level: synthetic\n", "level: a synthetic drill breaks something, and nothing says what"),
    ("level: contained\ninject: {pretend: {}}\nverify_undone: delivery\nlimit: 10m\n", "pretend breaks nothing"),
    ("level: tabletop\nundo: {command: {argv: [x]}}\n", "undo: a tabletop drill breaks nothing"),
    ("level: switch\nto: nobody\n", "to: there is no provider or degraded mode 'nobody'"),
]


@pytest.mark.parametrize(("lines", "said"), LEVELS, ids=[said for _, said in LEVELS])
def test_each_level_asks_for_what_it_touches(desk: Desk, lines: str, said: str) -> None:
    told = desk.drill(f"failure_mode: email/unreachable\nowner: maria\n{lines}")
    assert any(said in each for each in told), told
    assert desk["quarterly"].off


def test_a_switch_has_to_lead_somewhere(desk: Desk) -> None:
    [told] = desk.drill("failure_mode: email/nobody\nlevel: switch\nowner: maria\n")
    assert told.startswith("drills/quarterly.yaml:2: level: the response to nobody is a runbook, which leads to no ")
    assert told.endswith("; name one with `to`, or choose another level")
    told, *others = desk.drill("component: crm\nlevel: switch\nowner: maria\n")
    assert told == "drills/quarterly.yaml:2: level: crm has no `switch`"
    assert others == []


def test_a_tabletop_needs_a_runbook_and_so_does_who_expects_one(desk: Desk) -> None:
    desk.files.component(CRM + "failures: {gone: {detected_by: [port], response: {degrade: read-only}}}\n", "crm")
    text = "failure_mode: crm/gone\nowner: maria\nlevel: "
    assert desk.drill(f"{text}tabletop\n") == [
        "drills/quarterly.yaml:3: level: a runbook is gone through, and there is none; name it with `runbook`"
    ]
    assert desk.drill(f"{text}switch\nexpect: {{runbook: true}}\n") == [
        "drills/quarterly.yaml:4: expect.runbook: a runbook is gone through, and there is none; name it with `runbook`"
    ]


def test_what_shows_less_than_it_seems_is_a_warning_and_switches_nothing_off(desk: Desk) -> None:
    expires = "6: warning: schedule.every: its evidence expires after 100d, before it is due again; drill it more often"
    soon = "23: warning: limit: the fault is taken back after 4m, and the failure mode's rto is 5m; give it more time"
    for text, said in (
        (changed("every: 90d", "every: 120d"), expires),
        (changed("  recover: 10m\n", "").replace("limit: 15m", "limit: 4m"), soon),
    ):
        [told] = desk.drill(text)
        assert told.startswith(f"drills/quarterly.yaml:{said}")
        assert desk["quarterly"].off == ""


OFF = [
    # (file, old, new): a mistake elsewhere, told there alone; the drill is off for the same reason
    ("checks/email.yaml", "response: switch", "response: swich"),
    ("checks/email.yaml", "as: pm-prod", "as: [pm-prod]"),
    ("checks/email.yaml", "  newsletters: {kind: tcp", "  newsletters: {kind: tpc"),
    ("checks/email.yaml", "title: Transactional email", "title: ["),
    ("checks/email.yaml", "enter: {kind: pointer, file: mode.json", "enter: {kind: pointre, file: mode.json"),
    ("opsdash.yaml", "maria: {}, ken: {}", "maria: {}, ken: {login: [x]}"),
    ("opsdash.yaml", 'cron: "0 1 * * *"', 'cron: "0 1 * *"'),
    ("checks/crm.yaml", "port: {kind: tcp", "port: {kind: tpc"),
]


@pytest.mark.parametrize(("file", "old", "new"), OFF)
def test_what_is_off_for_a_reason_of_its_own_is_told_where_it_is(desk: Desk, file: str, old: str, new: str) -> None:
    text = changed("steady: [delivery", "steady: [newsletters, delivery")
    texts = {"checks/email.yaml": EMAIL, "checks/crm.yaml": CRM, "opsdash.yaml": SETTINGS}
    assert old in texts[file]
    desk.files.write(file, texts[file].replace(old, new))
    told = desk.drill(text)
    assert told
    assert not [each for each in told if each.startswith("drills/")], told


def test_a_drill_of_what_is_off_is_off_with_its_reason(desk: Desk) -> None:
    desk.files.component(EMAIL.replace("response: switch", "response: swich"))
    desk.drill(SOUND)
    assert "'swich' is no response" in desk["quarterly"].off
    desk.files.component("title: [")
    desk.again()
    desk.files.loaded = None
    desk.files.load()
    assert desk["quarterly"].off.startswith("email: line 2: ")


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "drills/quarterly.yaml: the file is empty"),
        ("[1, 2]", "drills/quarterly.yaml:1: the file is no mapping of keys"),
        ("title: [", "drills/quarterly.yaml:2: this is no YAML"),
        (b"\xff\xfe\xfa", "drills/quarterly.yaml:1: this is no UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_drill_that_is_off(desk: Desk, text: str | bytes, said: str) -> None:
    [told] = desk.drill(text)
    assert told.startswith(said)
    assert desk["quarterly"].off


def test_a_file_that_anybody_may_write_to_is_refused(desk: Desk) -> None:
    desk.files.write("drills/quarterly.yaml", SOUND).chmod(0o666)
    [told] = desk.again()
    assert told.startswith("drills/quarterly.yaml: everybody may write to this file")
    assert "everybody may write" in desk["quarterly"].off


def test_a_name_that_is_none_is_told_and_not_listed(desk: Desk) -> None:
    [told] = desk.drill(SOUND, "each quarter.yaml")
    assert "'each quarter' cannot be the name of a drill" in told
    assert desk.loaded.operation.drills == {}


def test_a_drill_has_one_file(desk: Desk) -> None:
    desk.drill(SOUND)
    [told] = desk.drill(SOUND, "quarterly.yml")
    assert told.startswith("drills/quarterly.yml: there is drills/quarterly.yaml too")


def test_comments_order_and_who_sees_to_it_leave_the_hash_as_it_is_and_what_is_shown_changes_it(desk: Desk) -> None:
    desk.drill(SOUND)
    first = desk["quarterly"].sha256
    lines = SOUND.splitlines(keepends=True)
    for same in (
        "# a comment\n" + SOUND,
        "".join([*lines[2:4], *lines[:2], *lines[4:]]),
        changed("title: Mail, each quarter\n", "").replace("absent: [ken]", "absent: []").replace(
            "owner: maria", "owner: ken").replace("absent: []", "absent: [ken]").replace("owner: ken", "owner: maria"),
        changed("surprise: 5d", "valid_for: 95d"),
        changed("every: 90d", "every: 80d"),
    ):  # fmt: skip
        assert desk.drill(same) == []
        assert desk["quarterly"].sha256 == first
    for other in (changed("recover: 10m", "recover: 9m"), changed("absent: [ken]\n", ""), changed("unplug", "unplugg")):
        assert desk.drill(other) == []
        assert desk["quarterly"].sha256 != first


# --- again --------------------------------------------------------------------------------------------------------


def test_a_drill_that_did_not_change_is_not_parsed_again(desk: Desk) -> None:
    desk.drill(SOUND)
    first = desk.loaded
    desk.again()
    assert desk.loaded.cache.drills["quarterly"] is first.cache.drills["quarterly"]
    assert desk.loaded.operation == first.operation
    assert not desk.loaded.changed()
    desk.files.write("drills/quarterly.yaml", changed("limit: 15m", "limit: 16m"))
    assert desk.loaded.changed()
    desk.again()
    assert desk["quarterly"].limit == 960.0
    assert desk.loaded.operation.sha256 != first.operation.sha256


@pytest.mark.parametrize("broken", ["title: [", changed("owner: maria", "owner: mario"), changed("limit: 15m", "x: 1")])
def test_a_drill_that_no_longer_loads_goes_on_in_its_last_good_version_and_the_problem_says_so(
    desk: Desk, broken: str
) -> None:
    desk.drill(SOUND)
    good = desk["quarterly"]
    told = desk.drill(broken)
    for _ in range(2):  # and again, when something else has changed
        assert desk["quarterly"] == good
        assert all(each.endswith(KEPT) for each in told), told
        desk.files.component(CRM + "title: CRM\n", "crm")
        told = desk.again()
    assert desk.drill(changed("limit: 15m", "limit: 20m")) == []
    assert desk["quarterly"].limit == 1200.0


def test_a_last_good_version_that_no_longer_fits_is_off_for_the_mistake_that_is_in_the_file(desk: Desk) -> None:
    desk.drill(SOUND)
    desk.files.write("opsdash.yaml", SETTINGS.replace("ken: {}", "kim: {}"))
    told = desk.drill(changed("limit: 15m", "limit: 15"))
    assert "15 is no duration" in desk["quarterly"].off
    assert not any(each.endswith(KEPT) for each in told)


def test_a_drill_whose_component_is_gone_is_off_and_one_whose_file_is_gone_is_gone(desk: Desk) -> None:
    desk.drill("component: crm\nfailure_mode: gone\nowner: maria\nlevel: tabletop\nrunbook: email-down\n")
    desk.files.component(CRM + "failures: {gone: {detected_by: [port]}}\nrunbook: email-down\n", "crm")
    assert desk.again() == []
    (desk.files.folder / "checks/crm.yaml").unlink()
    assert desk.again() == ["drills/quarterly.yaml:1: component: there is no component 'crm'; there are: email"]
    assert desk["quarterly"].off == "line 1: there is no component 'crm'; there are: email"
    (desk.files.folder / "drills/quarterly.yaml").unlink()
    assert desk.again() == []
    assert desk.loaded.operation.drills == {}


# --- times of the week ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "days", "cron", "length"),
    [
        ("tue-thu 10:00-15:00", ("tue", "wed", "thu"), "0 10 * * tue,wed,thu", 5 * 3600.0),
        ("Fri-Mon 8:30 - 9:00", ("mon", "fri", "sat", "sun"), "30 8 * * mon,fri,sat,sun", 1800.0),
        ("mon,wed 0:00-24:00", ("mon", "wed"), "0 0 * * mon,wed", DAY),
        ("22:15-23:45", ("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "15 22 * * *", 5400.0),
    ],
)
def test_a_time_of_the_week_is_a_window_that_comes_again(
    text: str, days: tuple[str, ...], cron: str, length: float
) -> None:
    found = parse_week_time(text)
    assert (found.days, found.cron, found.length) == (days, cron, length)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tuesday 10:00-15:00", "is no day"),
        ("tue- 10:00-15:00", "is no day"),
        ("tue 15:00-10:00", "ends before it begins; write two for a night"),
        ("10:00-10:00", "ends before it begins"),
        ("10:60-11:00", "names a time that no day has"),
        ("24:00-25:00", "names a time that no day has"),
        ("tue 10-15", "is no time of the week; write it as"),
        ("", "is no time of the week"),
    ],
)
def test_what_is_no_time_of_the_week_is_told_with_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_week_time(text)


@given(st.text(max_size=40) | st.from_regex(r"[a-z,-]{0,12} ?\d{1,2}:\d{2}-\d{1,2}:\d{2}", fullmatch=True))
def test_any_text_is_a_time_of_the_week_or_none(text: str) -> None:
    found: WeekTime | None = None
    with contextlib.suppress(ValueError):
        found = parse_week_time(text)
    assert found is None or (0 <= found.start < found.end <= 24 * 60 and found.days)


# --- anything -------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["email", "ses", "active/api", "maria", "90d", "10m", "crm down for 2m", "command", "", "a/b/c/d"]
)
SCALARS = st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats() | st.text(max_size=8) | WORDS
KEYS = st.sampled_from(
    ["command", "http", "pretend", "target", "argv", "cron", "every", "windows", "load", "times", "over"]
)
VALUES: Any = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
SOUND_PARTS = {
    "component": "email", "failure_mode": "unreachable", "level": "contained", "owner": "maria",
    "inject": {"command": {"argv": ["x"]}}, "undo": {"command": {"argv": ["y"]}}, "limit": "15m",
    "verify_undone": ["delivery"], "schedule": {"every": "90d"}, "expect": {"detect": "1m"},
}  # fmt: skip
MAPPINGS = st.dictionaries(st.sampled_from([*DrillModel.model_fields, "other"]), VALUES, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(mapping=MAPPINGS, based=st.booleans())
def test_any_mapping_gives_a_drill_and_problems_and_never_an_exception(
    desk: Desk, mapping: dict[str, Any], *, based: bool
) -> None:
    desk.files.loaded = None
    written = yaml.safe_dump({**SOUND_PARTS, **mapping} if based else mapping, sort_keys=False)
    told = desk.drill(written.encode())
    drill = desk["quarterly"]
    wrong = [each for each in told if "warning: " not in each]
    assert bool(drill.off) == bool(wrong), (drill.off, told)
    assert all(each.startswith("drills/quarterly.yaml") for each in told)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_drill_or_a_problem(data: bytes) -> None:
    parsed = parse_drill(Source("drills/x.yaml", None, data, "0"))
    assert parsed.model is not None or parsed.judged.problems


# --- many -----------------------------------------------------------------------------------------------------------


def test_two_thousand_components_with_ten_thousand_failure_modes_and_five_hundred_drills_load(
    workspace: Workspace,
) -> None:
    modes = "".join(f"  mode-{number}: {{detected_by: [port]}}\n" for number in range(5))
    for number in range(2000):
        checks = f"checks: {{port: {{kind: tcp, host: h{number}.example, port: 443}}}}\n"
        workspace.component(f"runbook: email-down\n{checks}failures:\n{modes}", f"part-{number}")
    (workspace.folder / "drills").mkdir()
    for number in range(500):
        workspace.write(
            f"drills/drill-{number}.yaml",
            f"failure_mode: part-{number * 4}/mode-{number % 5}\nlevel: synthetic\nowner: maria\nlimit: 10m\n"
            f"inject: {{pretend: {{status: down}}}}\nverify_undone: port\n"
            f"expect: {{unaffected: [part-{number * 4 + 1}]}}\n",
        )
    loaded = workspace.load()
    assert loaded.problems == ()
    operation = loaded.operation
    assert sum(len(each.failures) for each in operation.components.values()) == 10_000
    assert [each for each in operation.drills.values() if each.off] == []
    assert len(operation.drills) == 500
    assert operation.drills["drill-7"].injections == (Injection("pretend", {"status": "down"}, None, "part-28/port"),)
    again = workspace.reload()
    assert again.cache.drills["drill-7"] is loaded.cache.drills["drill-7"]
