"""What is wrong between files, with the register, and with the calendar."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from opsdash.config.runbooks import lint, parse

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.model.runbook import Finding

TODAY = date(2026, 11, 23)
FRONT = "---\ncomponent: orders-db\nfailure_modes: [unreachable]\nowner: maria\nreviewed: 2026-11-01\n{more}---\n"


def check(root: Path, files: dict[str, str], today: date = TODAY) -> list[tuple[str, int]]:
    return [(finding.code, finding.line) for finding in findings_of(root, files, today)]


def findings_of(root: Path, files: dict[str, str], today: date = TODAY) -> tuple[Finding, ...]:
    folder = root / "runbooks"
    folder.mkdir(exist_ok=True)
    runbooks = {}
    for name, text in files.items():
        (folder / f"{name}.md").write_text(text)
        runbook, found = parse(name, text, f"runbooks/{name}.md")
        assert not [finding for finding in found if finding.severity.value == "error"]
        runbooks[name] = runbook
    return lint(
        runbooks,
        components={"orders-db", "shop"},
        failure_modes={"orders-db/unreachable"},
        checks={"orders-db/front", "orders-db/main/ping"},
        modes={"shop/plain"},
        today=today,
        root=root,
    )


def book(steps: str, more: str = "") -> str:
    """A clean front matter of six lines and more, the heading `Steps`, and `steps`."""
    return FRONT.format(more=more) + "## Steps\n" + steps


def test_a_good_runbook_has_no_finding(tmp_path: Path) -> None:
    steps = "### A\n```sh {run}\na\n```\n\n**Expect:** x\n\n**If this fails:** [B](#b)\n\n### B\nx\n"
    assert check(tmp_path, {"good": book(steps)}) == []


def test_names_that_nobody_has_are_found_where_they_stand(tmp_path: Path) -> None:
    text = book("### A\nx\n").replace("component: orders-db", "component: orders")
    found = findings_of(tmp_path, {"a": text})
    assert [(finding.code, finding.line) for finding in found] == [
        ("unknown-component", 2),
        ("unknown-failure-mode", 3),
    ]
    assert "did you mean 'orders-db'?" in found[0].message


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("failover orders", "unknown-component"),
        ("restore nobody", "unknown-component"),
        ("degrade shop fancy", "unknown-mode"),
        ("check orders-db/main/pong", "unknown-check"),
    ],
)
def test_a_command_that_names_nothing_is_an_error(tmp_path: Path, command: str, code: str) -> None:
    assert check(tmp_path, {"a": book(f"### A\n```opsdash {{run}}\n{command}\n```\n")}) == [(code, 10)]


def test_commands_that_name_something_are_fine(tmp_path: Path) -> None:
    lines = "failover orders-db\ndegrade shop plain\nrestore shop\ncheck orders-db/front\ncheck orders-db/main/ping\n"
    assert check(tmp_path, {"a": book(f"### A\n```opsdash {{run}}\n{lines}```\n")}) == []


@pytest.mark.parametrize(
    ("link", "code"),
    [
        ("b.md", None),
        ("b.md#call", None),
        ("B.md", "dead-link"),
        ("b.md#cal", "dead-link"),
        ("#nowhere", "dead-link"),
        ("#A", None),
        ("page.md#dba-1", None),
        ("page.md#html", None),
        ("page.md#nobody", "dead-link"),
        ("../checks/x.yaml", None),
        ("../checks/y.yaml", "dead-link"),
        ("my%20page.md", None),
        ("../../etc/passwd", "link-outside"),
        ("/etc/passwd", "link-outside"),
        ("a%00b", "dead-link"),
        ("x" * 5000, "dead-link"),
        ("https://a.example/x", None),
        ("mailto:ken@a.example", None),
    ],
)
def test_links_are_followed_across_files(tmp_path: Path, link: str, code: str | None) -> None:
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "x.yaml").write_text("")
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "page.md").write_text("# DBA\n> ## DBA\n\n<a id='html'></a>\n")
    (tmp_path / "runbooks" / "my page.md").write_text("x\n")
    files = {"a": book(f"### A\nfirst\n[see]({link})\n"), "b": book("### Call\nx\n")}
    assert check(tmp_path, files) == ([(code, 10)] if code else [])


def test_a_link_to_a_symbolic_link_out_of_the_workspace_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "out.md").symlink_to("/etc/hostname")
    assert check(tmp_path, {"a": book("### A\n[see](out.md)\n")}) == [("link-outside", 9)]


def test_a_dead_branch_is_an_error_where_a_dead_link_is_a_warning(tmp_path: Path) -> None:
    steps = "### A\n**If this fails:** [B](gone.md#b)\n\nSee [this](lost.md).\n"
    found = findings_of(tmp_path, {"a": book(steps)})
    assert [(finding.code, finding.severity.value, finding.line) for finding in found] == [
        ("dead-branch", "error", 9),
        ("dead-link", "warning", 11),
    ]


def test_danger_without_a_way_back_is_found(tmp_path: Path) -> None:
    steps = "### A\n```sh {run danger}\na\n```\n\n**Expect:** x\n"
    assert check(tmp_path, {"a": book(steps)}) == [("danger-without-undo", 8)]
    assert check(tmp_path, {"a": book(steps + "\n```sh {undo}\nb\n```\n")}) == []


def test_opsdash_itself_can_undo_what_it_does(tmp_path: Path) -> None:
    assert check(tmp_path, {"a": book("### A\n```opsdash {run danger}\nfailover shop\n```\n")}) == []


def test_a_run_without_expectation_is_found(tmp_path: Path) -> None:
    assert check(tmp_path, {"a": book("### A\n```sh {run}\na\n```\n")}) == [("no-expectation", 8)]
    assert check(tmp_path, {"a": book("### A\n```sh {run expect=x}\na\n```\n")}) == []
    assert check(tmp_path, {"a": book("### A\n```sh {run}\na\n```\n```sh {check}\nb\n```\n")}) == []


def test_times_and_waits_are_summed_up_against_the_rto(tmp_path: Path) -> None:
    steps = "### A\n**Time:** 8 min\n\n**Wait:** 2 min\n\n### B\n**Time:** 6 min\n"
    found = findings_of(tmp_path, {"a": book(steps, more="rto: 15m\n")})
    assert [(finding.code, finding.line) for finding in found] == [("over-rto", 6)]
    assert "16m" in found[0].message
    assert check(tmp_path, {"a": book(steps, more="rto: 16m\n")}) == []


def test_a_step_without_time_is_found_where_an_rto_was_promised(tmp_path: Path) -> None:
    steps = "### A\n**Time:** 1 min\n\n### B\nx\n"
    assert check(tmp_path, {"a": book(steps, more="rto: 15m\n")}) == [("no-time", 12)]
    assert check(tmp_path, {"a": book(steps)}) == []


def test_a_review_is_overdue_the_day_after_it_was_due(tmp_path: Path) -> None:
    files = {"a": book("### A\nx\n", more="review_every: 30d\n")}
    assert check(tmp_path, files, date(2026, 12, 1)) == []
    assert check(tmp_path, files, date(2026, 12, 2)) == [("review-overdue", 5)]


def test_a_review_in_the_future_is_no_review(tmp_path: Path) -> None:
    assert check(tmp_path, {"a": book("### A\nx\n")}, date(2026, 10, 31)) == [("reviewed-in-future", 5)]


def test_a_runbook_that_nobody_owns_and_reviewed_is_told_so(tmp_path: Path) -> None:
    assert check(tmp_path, {"a": "---\ntitle: x\n---\n## Steps\n### A\nx\n"}) == [
        ("no-owner", 1),
        ("never-reviewed", 1),
    ]


def test_a_page_without_steps_needs_neither_owner_nor_review(tmp_path: Path) -> None:
    assert check(tmp_path, {"a": "# Contacts\nken\n"}) == []


# --- ways ----------------------------------------------------------------------------------------------------------


def test_a_step_behind_the_end_is_unreachable_unless_something_leads_to_it(tmp_path: Path) -> None:
    end = "### A\nx\n\n### B\n**Then:** done\n\n### C\nx\n"
    assert check(tmp_path, {"a": book(end)}) == [("unreachable-step", 14)]
    assert check(tmp_path, {"a": book(end.replace("x\n\n### B", "**If this fails:** [C](#c)\n\n### B"))}) == []
    assert check(tmp_path, {"a": book(end.replace("x\n\n### B", "see [C](#c)\n\n### B"))}) == []
    assert check(tmp_path, {"a": book(end), "b": book("### X\nfirst [C](a.md#c)\n")}) == []
    assert check(tmp_path, {"a": book(end).replace("## Steps", "if late: [C](#c)\n## Steps")}) == []


def test_a_step_that_is_jumped_over_is_unreachable_and_so_is_what_only_it_leads_to(tmp_path: Path) -> None:
    steps = "### A\n**Then:** [D](#d)\n\n### B\nsee [E](#e)\n\n### C\nx\n\n### D\n**Then:** the end\n\n### E\nx\n"
    assert check(tmp_path, {"a": book(steps)}) == [
        ("unreachable-step", 11),
        ("unreachable-step", 14),
        ("unreachable-step", 20),
    ]


def test_steps_that_link_to_each_other_only_are_unreachable(tmp_path: Path) -> None:
    steps = "### A\n**Then:** done\n\n### B\n**Then:** [C](#c)\n\n### C\n**Then:** [B](#b)\n"
    assert [code for code, _ in check(tmp_path, {"a": book(steps)})] == ["unreachable-step"] * 2


def test_a_way_on_into_another_runbook_is_followed(tmp_path: Path) -> None:
    files = {"a": book("### A\n**Then:** [B](b.md#b)\n"), "b": book("### B\nx\n")}
    assert check(tmp_path, files) == []
    files["a"] = files["a"].replace("b.md#b", "b.md#c")
    assert check(tmp_path, files) == [("dead-branch", 9)]


def test_a_dead_link_names_its_columns(tmp_path: Path) -> None:
    found = findings_of(tmp_path, {"a": book("### A\nSee [this](lost.md).\n")})
    assert [(finding.column, finding.end_column) for finding in found] == [(12, 19)]


def test_a_review_that_is_overdue_is_told_in_the_same_words_every_day(tmp_path: Path) -> None:
    files = {"a": book("### A\nx\n", more="review_every: 30d\n")}
    told = {findings_of(tmp_path, files, day)[0].message for day in (date(2026, 12, 2), date(2027, 8, 30))}
    assert told == {"the review was due on 2026-12-01"}
