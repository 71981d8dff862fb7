"""Every rule that a runbook can break: its stable code, how bad it is, and what to do about it.

An error is what would let opsdash execute something else than the author meant, or nothing at all while it looks
right. Everything that only makes a runbook less useful is a warning.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from opsdash.model.runbook import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

_E = Severity.ERROR
_W = Severity.WARNING


class Rule(NamedTuple):
    """How bad it is to break it, and what to do then."""

    severity: Severity
    remedy: str


RULES: dict[str, Rule] = {
    # the file
    "too-large": Rule(_E, "split it into several runbooks that link to each other"),
    "not-utf8": Rule(_E, "save the file as UTF-8"),
    "invisible-character": Rule(_E, "delete the character; it hides or reorders what a reader sees"),
    "unreadable": Rule(_E, "simplify the Markdown around that line and report this file as a bug of opsdash"),
    "long-paragraph": Rule(_E, "split the paragraph; labels and links in it are not read"),
    # front matter
    "no-front-matter": Rule(_W, "begin the file with a line ---, keys such as title and component, and a line ---"),
    "late-front-matter": Rule(_E, "make --- the first line of the file"),
    "open-front-matter": Rule(_E, "close the front matter with a line ---"),
    "bad-yaml": Rule(_E, "correct the YAML; put text with special characters between quotes"),
    "unknown-key": Rule(_E, "correct or delete the key"),
    "duplicate-key": Rule(_E, "keep one of the two"),
    "bad-value": Rule(_E, "correct the value"),
    "bad-parameter": Rule(_E, "correct the parameter"),
    "unused-parameter": Rule(_W, "use it in a block as $name, or delete it"),
    # structure
    "no-steps": Rule(_E, "add a heading '## Steps' and below it a heading '### …' for each step"),
    "too-many-steps": Rule(_E, "split it into several runbooks that link to each other"),
    "steps-twice": Rule(_E, "keep one heading '## Steps' and move all steps below it"),
    "step-without-name": Rule(_E, "give the step a title with letters or digits, so that links can point to it"),
    "setext-heading": Rule(_W, "write headings with #; underlined ones are neither steps nor section ends"),
    "nested-heading": Rule(_W, "move the heading out of the list or quote, to the start of the line"),
    "broken-heading": Rule(_W, "write '### ' with a space, at most three spaces from the start of the line"),
    # fences and blocks
    "open-fence": Rule(_E, "close the fence with a line of its own, indented like its first line"),
    "swallowed-step": Rule(_E, "close the fence before that line; if the line is code, write it differently"),
    "not-a-fence": Rule(_E, "use ~~~ for a fence whose first line contains a backtick"),
    "not-one-role": Rule(_E, "write exactly one of run, check, undo, show, as in ```sh {check}"),
    "bad-braces": Rule(_E, "write the language, a space, and the attributes in braces, as in ```sh {run timeout=60s}"),
    "bad-language": Rule(_E, "only sh, bash, python and opsdash run; delete the braces of anything else"),
    "bad-attribute": Rule(_E, "correct the attribute"),
    "empty-block": Rule(_E, "write the commands into the block, or delete it"),
    "block-outside-step": Rule(_E, "move the block below a '###' heading under '## Steps'"),
    "block-in-quote": Rule(_W, "take the block out of the quote; a quoted block is never executed"),
    "block-in-html": Rule(_W, "leave a blank line after the HTML tag; a fence inside HTML is never executed"),
    "prompt-in-code": Rule(_E, "delete the prompt in front of the command"),
    "odd-space": Rule(_W, "replace it with a plain space; a shell takes it for a part of the word"),
    "bad-command": Rule(_E, "correct the line"),
    # labels, ticks, branches
    "joined-label": Rule(_E, "put a blank line before the label, otherwise it is part of the paragraph above"),
    "repeated-label": Rule(_E, "keep one of the two, or split the step"),
    "unknown-label": Rule(_W, "use the exact label"),
    "unclear-duration": Rule(_W, "write a plain duration, such as 2 min or 1h30m"),
    "not-a-tick": Rule(_W, "write '- [ ] ' with one space between the brackets and one after them"),
    "ticked-in-file": Rule(_W, "write '- [ ] '; every run starts with all ticks unset"),
    "branch-without-link": Rule(_W, "add a link to a step or to another runbook, as in [Stand down](#stand-down)"),
    "bad-branch": Rule(_E, "link to a step of this runbook or to another runbook"),
    "branch-to-itself": Rule(_W, "link to another step; this one has just failed"),
    # between files
    "unknown-component": Rule(_E, "use the id of a component, the name of its file in checks/"),
    "unknown-failure-mode": Rule(_E, "use component/failure-mode as it stands in the register"),
    "unknown-check": Rule(_E, "use component/check or component/provider/check"),
    "unknown-mode": Rule(_E, "use a degraded mode of that component"),
    "dead-link": Rule(_W, "correct the link; anchors are the heading in lower case with hyphens for spaces"),
    "dead-branch": Rule(_E, "correct the link; the jump would lead nowhere"),
    "link-outside": Rule(_W, "link to a file of the workspace, or to a web address"),
    # quality
    "danger-without-undo": Rule(_W, "add an {undo} block to the step, or say in words how to go back"),
    "no-expectation": Rule(_W, "add a {check} block, an expect= attribute or a paragraph **Expect:**"),
    "no-time": Rule(_W, "add a paragraph **Time:** to each step, such as **Time:** 2 min"),
    "over-rto": Rule(_W, "shorten the way, or be honest and raise the RTO"),
    "no-owner": Rule(_W, "name a person in the front matter: owner: maria"),
    "never-reviewed": Rule(_W, "read the runbook through and write reviewed: YYYY-MM-DD into the front matter"),
    "review-overdue": Rule(_W, "read the runbook through and update reviewed:"),
    "reviewed-in-future": Rule(_W, "write the day on which somebody read it"),
}


class Findings:
    """Collects what is wrong with one runbook. Lines outside the file are pulled into it."""

    def __init__(self, runbook: str, path: str, last_line: int) -> None:
        self._runbook = runbook
        self._path = path
        self._last_line = last_line
        self._found: list[Finding] = []

    def add(self, code: str, line: int, message: str, remedy: str | None = None) -> None:
        """Report that rule `code` is broken at `line`."""
        rule = RULES[code]
        line = min(max(line, 1), self._last_line)
        self._found.append(
            Finding(rule.severity, code, message, remedy or rule.remedy, self._runbook, self._path, line)
        )

    @property
    def has_error(self) -> bool:
        """Whether the runbook may be executed no more."""
        return any(finding.severity is Severity.ERROR for finding in self._found)

    def in_order(self) -> tuple[Finding, ...]:
        """All findings, by line."""
        return tuple(sorted(self._found, key=lambda finding: finding.line))


def nearest(word: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?` where there is something like it, else all that is valid."""
    names = sorted(valid)
    close = get_close_matches(word[:80], names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid are {', '.join(names)}" if 0 < len(names) <= 12 else ""
