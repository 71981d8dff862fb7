"""What only all runbooks together, the register and the calendar can tell about a runbook.

`parse` judges one file. `lint` looks at the rest: links and anchors between files, names that nothing in the
workspace has, dangerous steps without a way back, reviews that are overdue. It changes no runbook: a dead link to a
page is bad, but no reason to refuse the step before it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.config.runbook_markdown import heading_anchors, html_anchors, is_address, read_document
from opsdash.config.runbook_rules import Findings, nearest
from opsdash.config.runbook_source import MAX_BYTES, one_line, read_source
from opsdash.model.runbook import Role
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import date

    from opsdash.model.runbook import Block, Command, Finding, Link, Runbook, Step

_TIME = re.compile(r"^\s*\*\*Time:\*\*", re.MULTILINE)


def lint(
    runbooks: Mapping[str, Runbook],
    *,
    components: AbstractSet[str],
    failure_modes: AbstractSet[str],
    checks: AbstractSet[str],
    today: date,
    root: Path,
    modes: AbstractSet[str] | None = None,
    hidden: Callable[[str, str], bool] = lambda _section, _name: False,
) -> tuple[Finding, ...]:
    """Everything that is wrong with `runbooks`, beyond what `parse` found in each file.

    failure_modes: as `component/failure-mode`.  checks: as `component/check` and `component/provider/check`.
    modes: degraded modes as `component/mode`, None to leave them unchecked.  root: the workspace; the path of
    each runbook is relative to it (or absolute).  hidden: whether a name (as above) of a section of a component's file
    (`failures`, `checks`, `modes`) is missing only because of a problem that is told elsewhere.
    """
    known = _Known(components, failure_modes, checks, modes, hidden)
    files = _Files(runbooks, root)
    found: list[Finding] = []
    for runbook in runbooks.values():
        findings = Findings(runbook.id, runbook.path, max(runbook.text.count("\n") + 1, 1))
        _check_names(runbook, known, findings)
        _check_links(runbook, files, findings)
        if runbook.steps:
            _check_steps(runbook, findings)
            _check_times(runbook, findings)
            _check_review(runbook, today, findings)
        found.extend(findings.in_order())
    return tuple(found)


class _Known:
    """The names that exist in the workspace."""

    def __init__(
        self,
        components: AbstractSet[str],
        failure_modes: AbstractSet[str],
        checks: AbstractSet[str],
        modes: AbstractSet[str] | None,
        hidden: Callable[[str, str], bool],
    ) -> None:
        self.hidden = hidden
        self.components = components
        self.failure_modes = failure_modes
        self.checks = checks
        self.modes = modes


def _check_names(runbook: Runbook, known: _Known, findings: Findings) -> None:
    if runbook.component and runbook.component not in known.components:
        line = _front_line(runbook, "component")
        findings.add("unknown-component", line, _no_such("component", runbook.component, known.components))
    for failure in runbook.failure_modes:
        if failure not in known.failure_modes and not known.hidden("failures", failure):
            line = _front_line(runbook, "failure_modes")
            findings.add("unknown-failure-mode", line, _no_such("failure mode", failure, known.failure_modes))
    for step in runbook.steps:
        for block in step.blocks:
            for command in block.commands:
                _check_command(command, known, findings)


def _check_command(command: Command, known: _Known, findings: Findings) -> None:
    verb, name, *rest = command.argv
    if verb == "check":
        if name not in known.checks and not known.hidden("checks", name):
            findings.add("unknown-check", command.line, _no_such("check", name, known.checks))
        return
    if name not in known.components:
        findings.add("unknown-component", command.line, _no_such("component", name, known.components))
    elif verb == "degrade" and known.modes is not None:
        mode = f"{name}/{rest[0]}"
        if mode not in known.modes and not known.hidden("modes", mode):
            findings.add("unknown-mode", command.line, _no_such("degraded mode", mode, known.modes))


def _no_such(what: str, name: str, valid: AbstractSet[str]) -> str:
    return f"there is no {what} {one_line(name, 60)!r}{nearest(name, valid)}"


def _front_line(runbook: Runbook, key: str) -> int:
    return _written_at(runbook, key) or 1


def _written_at(runbook: Runbook, key: str) -> int | None:
    """The line of a key of the front matter. What is written and has no value has been told already."""
    lines = runbook.text.split("\n")
    return next((number for number, line in enumerate(lines, 1) if line.startswith(f"{key}:")), None)


class _Files:
    """What links may point to: the runbooks, other Markdown files with their anchors, and any other file."""

    def __init__(self, runbooks: Mapping[str, Runbook], root: Path) -> None:
        self._root = root.resolve()
        self._runbooks = {self.place(Path(runbook.path)): runbook for runbook in runbooks.values()}
        self._anchors: dict[Path, frozenset[str] | None] = {}

    def place(self, path: Path) -> Path:
        """The absolute path of a file named relative to the workspace."""
        return (self._root / path).resolve()

    def problem(self, runbook: Runbook, link: Link) -> tuple[str, str] | None:
        """Why a link of `runbook` leads nowhere: (code, message)."""
        target, _, anchor = link.target.partition("#")
        target = target.partition("?")[0]
        shown = one_line(link.target, 80)
        try:
            place = self.place(Path(runbook.path).parent / target) if target else self.place(Path(runbook.path))
            if not place.is_relative_to(self._root):
                return "link-outside", f"the link to {shown!r} leaves the workspace"
            anchors = self._anchors_of(place)
            exists = anchors is not None or place.exists()
        except (OSError, ValueError, RuntimeError) as error:
            return "dead-link", f"the link to {shown!r} cannot be followed ({type(error).__name__})"
        if not exists:
            return "dead-link", f"the link to {shown!r} leads to a file that does not exist"
        if anchor and anchors is not None and anchor.lower() not in anchors and anchor not in anchors:
            return (
                "dead-link",
                f"the link to {shown!r} leads to a heading that does not exist{nearest(anchor, anchors)}",
            )
        return None

    def _anchors_of(self, place: Path) -> frozenset[str] | None:
        runbook = self._runbooks.get(place)
        if runbook is not None:
            return frozenset(runbook.anchors)
        if place not in self._anchors:
            self._anchors[place] = _anchors_in(place)
        return self._anchors[place]


def _anchors_in(place: Path) -> frozenset[str] | None:
    """The anchors of a Markdown file, None where the file is something else or cannot be read as Markdown."""
    if place.suffix.lower() not in {".md", ".markdown"} or not place.is_file():
        return None
    with place.open("rb") as file:
        raw = file.read(MAX_BYTES)
    try:
        document = read_document(read_source(raw).text)
    except ValueError:
        return None
    return frozenset([*heading_anchors(document).values(), *html_anchors(document)])


def _check_links(runbook: Runbook, files: _Files, findings: Findings) -> None:
    branches = {step.if_fails for step in runbook.steps}
    judged = {f"#{step.id}" for step in runbook.steps} | {target for target in branches if _is_own(target)}
    for link in runbook.links:
        if link.target in judged or is_address(link.target) or not link.target:
            continue
        problem = files.problem(runbook, link)
        if problem:
            code, message = problem
            is_dead_branch = link.target in branches and code == "dead-link"
            findings.add("dead-branch" if is_dead_branch else code, link.line, message)


def _is_own(target: str | None) -> bool:
    """Whether a branch stays in its file: `parse` has judged it."""
    return target is not None and target.startswith("#")


def _check_steps(runbook: Runbook, findings: Findings) -> None:
    for step in runbook.steps:
        changing = [block for block in step.blocks if block.role is Role.RUN]
        own = [block for block in changing if not block.commands]  # opsdash can undo what it does itself
        if step.danger and own and not any(block.role is Role.UNDO for block in step.blocks):
            findings.add("danger-without-undo", step.line, f"{step.title!r} is dangerous and has no way back")
        if changing and not _has_expectation(step, changing):
            findings.add("no-expectation", step.line, f"{step.title!r} does not say how success looks")


def _has_expectation(step: Step, changing: list[Block]) -> bool:
    if step.expect or any(block.role is Role.CHECK for block in step.blocks):
        return True
    return all(block.expect or block.commands for block in changing)


def _check_times(runbook: Runbook, findings: Findings) -> None:
    timed = [step for step in runbook.steps if step.time is not None]
    if runbook.rto is None:
        return
    missing = next((step for step in runbook.steps if step.time is None and not _TIME.search(step.text)), None)
    if missing is not None:
        message = f"{len(runbook.steps) - len(timed)} of {len(runbook.steps)} steps name no time, this one first"
        findings.add("no-time", missing.line, message)
    total = sum((step.time or 0.0) + (step.wait_for or 0.0) for step in runbook.steps)
    if total > runbook.rto:
        message = f"the steps take {format_duration(total)}, the RTO is {format_duration(runbook.rto)}"
        findings.add("over-rto", _front_line(runbook, "rto"), message)


def _check_review(runbook: Runbook, today: date, findings: Findings) -> None:
    if runbook.owner is None and not _written_at(runbook, "owner"):
        findings.add("no-owner", 1, "nobody owns this runbook")
    if runbook.reviewed is None:
        if not _written_at(runbook, "reviewed"):
            findings.add("never-reviewed", 1, "nobody has reviewed this runbook")
        return
    line = _front_line(runbook, "reviewed")
    if runbook.reviewed > today:
        findings.add("reviewed-in-future", line, f"reviewed on {runbook.reviewed}, which is not yet")
    if runbook.review_every is None:
        return
    late = (today - runbook.reviewed) - timedelta(seconds=runbook.review_every)
    if late > timedelta(0):
        findings.add("review-overdue", line, f"the review is overdue by {format_duration(late.total_seconds())}")
