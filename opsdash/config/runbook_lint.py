"""What only all runbooks together, the register and the calendar can tell about a runbook.

`parse` judges one file. `lint` looks at the rest: links and anchors between files, names that nothing in the
workspace has, dangerous steps without a way back, reviews that are overdue. It changes no runbook: a dead link to a
page is bad, but no reason to refuse the step before it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.config.runbook_markdown import heading_anchors, html_anchors, is_address, read_document
from opsdash.config.runbook_rules import NOWHERE, Findings, Span, nearest
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
    entrances = files.entrances()
    found: list[Finding] = []
    for runbook in runbooks.values():
        findings = Findings(runbook.id, runbook.path, max(runbook.text.count("\n") + 1, 1))
        _check_names(runbook, known, findings)
        _check_links(runbook, files, findings)
        if runbook.steps:
            _check_ways(runbook, entrances.get(runbook.id, frozenset()), findings)
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
        _no_such("component", line, runbook.component, known.components, findings)
    line = _front_line(runbook, "failure_modes")
    for failure in runbook.failure_modes:
        if failure not in known.failure_modes and not known.hidden("failures", failure):
            _no_such("failure mode", line, failure, known.failure_modes, findings)
    for step in runbook.steps:
        for block in step.blocks:
            for command in block.commands:
                _check_command(command, known, findings)


def _check_command(command: Command, known: _Known, findings: Findings) -> None:
    verb, name, *rest = command.argv
    if verb == "check":
        if name not in known.checks and not known.hidden("checks", name):
            _no_such("check", command.line, name, known.checks, findings)
        return
    if name not in known.components:
        _no_such("component", command.line, name, known.components, findings)
    elif verb == "degrade" and known.modes is not None:
        mode = f"{name}/{rest[0]}"
        if mode not in known.modes and not known.hidden("modes", mode):
            _no_such("degraded mode", command.line, mode, known.modes, findings)


_UNKNOWN = {
    "component": "unknown-component",
    "failure mode": "unknown-failure-mode",
    "check": "unknown-check",
    "degraded mode": "unknown-mode",
}


def _no_such(what: str, line: int, name: str, valid: AbstractSet[str], findings: Findings) -> None:
    code = _UNKNOWN[what]
    hint = nearest(name, valid) if findings.told_in_full(code) else ""
    findings.add(code, line, f"there is no {what} {one_line(name, 60)!r}{hint}")


def _front_line(runbook: Runbook, key: str) -> int:
    return _written_at(runbook, key) or 1


def _written_at(runbook: Runbook, key: str) -> int | None:
    """The line of a key of the front matter. What is written and has no value has been told already."""
    place = 0 if runbook.text.startswith(f"{key}:") else runbook.text.find(f"\n{key}:") + 1
    return runbook.text.count("\n", 0, place) + 1 if place or runbook.text.startswith(f"{key}:") else None


class _Files:
    """What links may point to: the runbooks, other Markdown files with their anchors, and any other file."""

    def __init__(self, runbooks: Mapping[str, Runbook], root: Path) -> None:
        self._root = root.resolve()
        self._runbooks = {self.place(Path(runbook.path)): runbook for runbook in runbooks.values()}
        self._anchors: dict[Path, frozenset[str] | None] = {
            place: frozenset(runbook.anchors) for place, runbook in self._runbooks.items()
        }
        self._targets: dict[tuple[str, str], Path] = {}

    def place(self, path: Path) -> Path:
        """The absolute path of a file named relative to the workspace."""
        return (self._root / path).resolve()

    def entrances(self) -> dict[str, set[str]]:
        """The anchors of each runbook, by its id, to which other runbooks link."""
        found: dict[str, set[str]] = {}
        ids = {place: runbook.id for place, runbook in self._runbooks.items()}
        for runbook in self._runbooks.values():
            for link in runbook.links:
                target, _, anchor = link.target.partition("#")
                if target and anchor and not is_address(link.target):
                    with suppress(OSError, ValueError, RuntimeError):
                        name = ids.get(self._target(runbook, target))
                        if name is not None:
                            found.setdefault(name, set()).add(anchor)
        return found

    def _target(self, runbook: Runbook, target: str) -> Path:
        """Where a relative path in a runbook leads. Raises OSError, ValueError and RuntimeError."""
        key = (runbook.path, target.partition("?")[0])
        if key not in self._targets:
            self._targets[key] = self.place(Path(runbook.path).parent / key[1])
        return self._targets[key]

    def problem(self, runbook: Runbook, link: Link, *, hint: bool) -> tuple[str, str] | None:
        """Why a link of `runbook` leads nowhere: (code, message). hint: say what was probably meant, too."""
        target, _, anchor = link.target.partition("#")
        shown = one_line(link.target, 80)
        try:
            place = self._target(runbook, target) if target else self.place(Path(runbook.path))
            if not place.is_relative_to(self._root):
                return "link-outside", f"the link to {shown!r} leaves the workspace"
            anchors = self._anchors_of(place)
            exists = anchors is not None or place.exists()
        except (OSError, ValueError, RuntimeError) as error:
            return "dead-link", f"the link to {shown!r} cannot be followed ({type(error).__name__})"
        if not exists:
            return "dead-link", f"the link to {shown!r} leads to a file that does not exist"
        if anchor and anchors is not None and anchor.lower() not in anchors and anchor not in anchors:
            meant = nearest(anchor, anchors) if hint else ""
            return "dead-link", f"the link to {shown!r} leads to a heading that does not exist{meant}"
        return None

    def _anchors_of(self, place: Path) -> frozenset[str] | None:
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
    branches = {target for step in runbook.steps for target in (step.if_fails, step.then)}
    judged = {f"#{step.id}" for step in runbook.steps} | {target for target in branches if _is_own(target)}
    lines = runbook.text.split("\n")
    for link in runbook.links:
        if link.target in judged or is_address(link.target) or not link.target:
            continue
        problem = files.problem(runbook, link, hint=findings.told_in_full("dead-link"))
        if problem:
            code, message = problem
            is_dead_branch = link.target in branches and code == "dead-link"
            findings.add("dead-branch" if is_dead_branch else code, link.line, message, span=_span(lines, link))


def _span(lines: list[str], link: Link) -> Span:
    """Where the target of a link stands in its line, if it stands there as it was read, and once."""
    line = lines[link.line - 1]
    written = f"]({link.target})"
    begin = line.find(written)
    if begin < 0 or line.count(written) > 1:
        return NOWHERE
    return Span(begin + 3, begin + 3 + len(link.target))


def _check_ways(runbook: Runbook, entrances: AbstractSet[str], findings: Findings) -> None:
    """Every step can be come to: by the step before it, by a link, or from another runbook.

    A step goes on at the next one unless it says where (**Then:**), so without that word all are on the way.
    """
    steps = runbook.steps
    if all(step.then is None for step in steps):
        return
    number = {f"#{step.id}": index for index, step in enumerate(steps)}
    begins = [step.line for step in steps]
    leads: dict[int, list[int]] = {}
    for link in runbook.links:
        if link.target in number:
            at = bisect_right(begins, link.line) - 1
            within = at if at >= 0 and link.line <= steps[at].end_line else -1
            leads.setdefault(within, []).append(number[link.target])
    known = {0, *leads.get(-1, ()), *(number[f"#{each}"] for each in entrances if f"#{each}" in number)}
    waiting = list(known)
    while waiting:
        index = waiting.pop()
        following = [index + 1] if steps[index].then is None and index + 1 < len(steps) else []
        fresh = {*following, *leads.get(index, ())} - known
        known |= fresh
        waiting += fresh
    for index, step in enumerate(steps):
        if index not in known:
            findings.add("unreachable-step", step.line, f"no way leads to {step.title!r}")


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
    period = timedelta(seconds=runbook.review_every)
    if today - runbook.reviewed > period:
        findings.add("review-overdue", line, f"the review was due on {runbook.reviewed + period}")
