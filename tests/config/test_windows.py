"""Windows of opsdash.yaml: what they may say, and that a mistake never makes one be about more than was meant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from opsdash.model.cron import cron_flaw, with_weekday_names
from opsdash.model.window import WindowKind

if TYPE_CHECKING:
    from tests.config.conftest import Workspace

WEB = "checks: {api: {kind: tcp, host: a.example, port: 80}}\n"
SOUND = """\
timezone: Europe/Berlin
windows:
  nightly: {kind: maintenance, title: Nightly import, components: [crm], tags: [web], cron: "0 3 * * *", for: 1h30m}
  year-end: {kind: freeze, from: 2026-12-20, until: 2027-01-02}
  move: {kind: maintenance, tags: [web], from: "2026-12-01T08:00", until: "2026-12-01T12:00", timezone: UTC}
"""


def office(workspace: Workspace, settings: str) -> list[str]:
    """What is said about opsdash.yaml, with two components beside it."""
    workspace.write("opsdash.yaml", settings)
    workspace.component(WEB, "crm")
    workspace.component(f"tags: [web, eu]\n{WEB}", "shop")
    return workspace.problems()


def window(line: str) -> str:
    return f"windows:\n  one: {line}\n"


def known(workspace: Workspace) -> list[str]:
    assert workspace.loaded is not None
    return sorted(workspace.loaded.operation.windows)


def test_windows_that_come_again_and_windows_with_dates(workspace: Workspace) -> None:
    assert office(workspace, SOUND) == []
    assert workspace.loaded is not None
    found = workspace.loaded.operation.windows
    nightly, year_end, move = found["nightly"], found["year-end"], found["move"]
    assert (nightly.kind, nightly.title, nightly.components) == (WindowKind.MAINTENANCE, "Nightly import", ("crm",))
    assert (nightly.tags, nightly.cron, nightly.length) == (("web",), "0 3 * * *", 5400.0)
    assert (nightly.timezone, move.timezone) == ("Europe/Berlin", "UTC")
    assert (year_end.kind, year_end.title) == (WindowKind.FREEZE, "year-end")
    assert year_end.start == datetime(2026, 12, 19, 23, tzinfo=UTC).timestamp()
    assert year_end.until == datetime(2027, 1, 2, 23, tzinfo=UTC).timestamp(), "the last day belongs to it"
    assert move.until == datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp()
    shop, crm = (workspace.loaded.operation.components[name] for name in ("shop", "crm"))
    assert shop.tags == ("web", "eu")
    assert nightly.covers(shop)
    assert nightly.covers(crm)
    assert year_end.covers(crm)
    assert not move.covers(crm)


WHEN = "from: 2026-12-01, until: 2026-12-02"
MISTAKES = [
    ("{kind: maintainance, " + WHEN + "}", "windows.one.kind: ", 'did you mean "maintenance"?'),
    ("{" + WHEN + "}", "windows.one.kind: the key is missing", ""),
    ("{kind: freeze}", "windows.one: it never ends", "write `until: DATE`"),
    ("{kind: freeze, from: 2026-12-01}", "windows.one: it never ends", "write `until: DATE`"),
    ("{kind: freeze, from: 2026-12-02, until: 2026-12-01}", "windows.one.until: it ends (2026-12-01) before", ""),
    ("{kind: freeze, until: never}", "windows.one.until: 'never' is no date", "2026-12-24"),
    ('{kind: freeze, cron: "0 3 * * *"}', "windows.one.cron: `cron` says when it begins", "add `for: 2h`"),
    ('{kind: freeze, cron: "0 3 * *", for: 2h}', "windows.one.cron: '0 3 * *' has 4 fields", "write minute"),
    ('{kind: freeze, cron: "0 25 * * *", for: 2h}', "windows.one.cron: '25' is no hour", "write 0 to 23"),
    ('{kind: freeze, cron: "0 3 1 * mon", for: 2h}', "a day of the month and a weekday", "name one of them"),
    ('{kind: freeze, cron: "0 3 * * *", for: 40d}', "windows.one.for: it may last 31d at most", "until"),
    ('{kind: freeze, cron: "0 3 * * *", for: 2}', "windows.one.for: 2 is no duration", ""),
    ('{kind: freeze, cron: "0 3 * * *", for: 2h, until: 2026-12-01}', "windows.one.until: `until` does not go", ""),
    ("{kind: freeze, for: 2h, " + WHEN + "}", "windows.one.for: `for` belongs to `cron`", ""),
    ("{kind: freeze, timezone: Europe/Berln, " + WHEN + "}", "there is no time zone", 'did you mean "Europe/Berlin"?'),
    ("{kind: freeze, components: [cmr], " + WHEN + "}", "there is no component 'cmr'", 'did you mean "crm"?'),
    ("{kind: freeze, component: crm, " + WHEN + "}", "one.component: unknown key", 'did you mean "components"?'),
    ("{kind: freeze, components: {crm: 1}, " + WHEN + "}", "windows.one.components: a list is needed", ""),
    ("5", "windows.one: a mapping of keys is needed", ""),
]


@pytest.mark.parametrize(("line", "message", "hint"), MISTAKES, ids=[message for _, message, _ in MISTAKES])
def test_a_mistake_is_told_in_one_line_and_switches_off_that_window_alone(
    workspace: Workspace, line: str, message: str, hint: str
) -> None:
    told = office(workspace, window(line) + "  other: {kind: freeze, until: 2026-12-31}\n")
    assert len(told) == 1, told
    assert told[0].startswith("opsdash.yaml:2: ")
    assert message in told[0]
    assert hint in told[0]
    assert known(workspace) == ["other"]


def test_an_entry_that_names_nobody_is_left_out_and_the_window_is_never_about_everything_by_that(
    workspace: Workspace,
) -> None:
    told = office(workspace, window("{kind: maintenance, components: [crm, shpo], until: 2026-12-31}"))
    assert len(told) == 1
    assert "windows.one.components[1]: there is no component 'shpo'; did you mean \"shop\"?" in told[0]
    assert workspace.loaded is not None
    assert workspace.loaded.operation.windows["one"].components == ("crm",)


def test_an_unknown_tag_is_a_warning_since_somebody_may_get_it_later(workspace: Workspace) -> None:
    told = office(workspace, window("{kind: maintenance, tags: [wbe], until: 2026-12-31}"))
    assert told == [
        "opsdash.yaml:2: warning: windows.one.tags[0]: no component has the tag 'wbe'; did you mean \"web\"?"
    ]
    assert workspace.loaded is not None
    found = workspace.loaded.operation.windows["one"]
    assert not any(found.covers(each) for each in workspace.loaded.operation.components.values())


def test_a_window_that_is_over_is_a_warning(workspace: Workspace) -> None:
    told = office(workspace, window("{kind: freeze, from: 2026-01-01, until: 2026-01-02}"))
    assert told == ["opsdash.yaml:2: warning: windows.one.until: it was over on 2026-01-02; remove the window"]


def test_a_window_that_is_broken_goes_on_in_its_last_good_version_and_says_so(workspace: Workspace) -> None:
    office(workspace, window("{kind: freeze, until: 2026-12-31}"))
    workspace.write("opsdash.yaml", window("{kind: freeze, until: 2026-12-41}"))
    told = [str(problem) for problem in workspace.reload().problems]
    assert len(told) == 1
    assert "the last good version stays in use" in told[0]
    assert known(workspace) == ["one"]
    workspace.write("opsdash.yaml", "title: none\n")
    assert (workspace.reload().problems, known(workspace)) == ((), [])


def test_tags_of_a_component_are_names(workspace: Workspace) -> None:
    told = office(workspace, "title: x\n")
    assert told == []
    workspace.component(f"tags: [web, 'no good', 5, eu, web]\n{WEB}", "shop")
    told = workspace.problems()
    assert [each.partition(";")[0] for each in told] == [
        "checks/shop.yaml:1: tags[1]: 'no good' is no name",
        "checks/shop.yaml:1: tags[2]: a text is needed, not 5",
    ]
    assert workspace.loaded is not None
    assert workspace.loaded.operation.components["shop"].tags == ("web", "eu")
    workspace.component(f"tags: {{web: eu}}\n{WEB}", "shop")
    (problem,) = (str(each) for each in workspace.reload().problems)
    assert problem.startswith("checks/shop.yaml:1: tags: a list is needed")
    assert "the last good version stays in use" in problem
    assert workspace.loaded.operation.components["shop"].tags == ("web", "eu"), "it stays in its windows"
    assert "shop/api" in workspace.loaded.bindings, "a wrong tag switches nothing off"


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("0 3 * * 0", "0 3 * * sun"),
        ("0 3 * * 7", "0 3 * * sun"),
        ("0 3 * * 1-5", "0 3 * * mon,tue,wed,thu,fri"),
        ("0 3 * * 5-7", "0 3 * * fri,sat,sun"),
        ("0 3 * * */2", "0 3 * * sun,tue,thu,sat"),
        ("0 3 * * mon-fri", "0 3 * * mon-fri"),
        ("0 3 * * *", "0 3 * * *"),
        ("nonsense", "nonsense"),
    ],
)
def test_weekdays_are_those_of_cron_whatever_a_calendar_counts_from(expression: str, names: str) -> None:
    assert with_weekday_names(expression) == names


@pytest.mark.parametrize("expression", ["*/15 8-18 * * mon-fri", "0,30 3 1,15 * *", "0 3 * jan-mar *", "5/10 * * * *"])
def test_cron_expressions_as_people_write_them_are_sound(expression: str) -> None:
    assert cron_flaw(expression) == ""


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "60 * * * *", "0 3 0 * *", "0 3 * * 8", "*/0 * * * *", "5-1 * * * *"]
)
def test_cron_expressions_that_mean_nothing_are_refused(expression: str) -> None:
    assert cron_flaw(expression)
