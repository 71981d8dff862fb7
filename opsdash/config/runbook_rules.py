"""Every rule that a runbook can break: its stable code, how bad it is, why, and what to do about it.

The reference, the help of SARIF and the messages follow from this table.

An error is what would let opsdash execute something else than the author meant, or nothing at all while it looks
right. Everything that only makes a runbook less useful is a warning; what is merely good advice is marked as that.
"""

from __future__ import annotations

from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from opsdash.model.runbook import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

_E = Severity.ERROR
_W = Severity.WARNING


class Rule(NamedTuple):
    """How bad it is to break it, why, and what to do then.

    is_advice: the runbook can be followed as it stands; tools that know a third level show it as a note.
    """

    severity: Severity
    about: str
    remedy: str
    is_advice: bool = False

    @property
    def level(self) -> str:
        """The level in the words of SARIF: error, warning or note."""
        return "note" if self.is_advice else self.severity.value


RULES: dict[str, Rule] = {
    # --- the file
    "refused": Rule(
        _E,
        "The file may not be read, or others than its owner could have written it; a runbook holds commands.",
        "correct its owner and its permissions",
    ),
    "too-large": Rule(
        _E,
        "The file is larger than any that a person can follow; what is behind the limit was not read.",
        "split it into several runbooks that link to each other",
    ),
    "not-utf8": Rule(_E, "Bytes that are no text may be anything, also in a command.", "save the file as UTF-8"),
    "invisible-character": Rule(
        _E,
        "Characters that nobody sees and a shell or a terminal obeys make another command than the one that was read.",
        "delete the character; it hides or reorders what a reader sees",
    ),
    "unreadable": Rule(
        _E,
        "The Markdown library failed, so nobody knows what the file says.",
        "simplify the Markdown around that line and report this file as a bug of opsdash",
    ),
    "too-deep": Rule(
        _E,
        "Markdown is not read deeper than some levels; what lies there, and every step behind it, would be missing.",
        "take the list or the quote apart",
    ),
    "long-paragraph": Rule(
        _E,
        "A paragraph of that length is not searched for labels and links: unclosed brackets cost quadratic time.",
        "split the paragraph; labels and links in it are not read",
    ),
    # --- front matter
    "no-front-matter": Rule(
        _W,
        "Without front matter nobody knows which failure the runbook answers, and whom to ask.",
        "begin the file with a line ---, keys such as title and component, and a line ---",
    ),
    "late-front-matter": Rule(
        _E,
        "Front matter that does not begin on the first line is text, and all of it is lost.",
        "make --- the first line of the file",
    ),
    "open-front-matter": Rule(
        _E, "Front matter that never ends swallows the runbook.", "close the front matter with a line ---"
    ),
    "bad-yaml": Rule(
        _E,
        "The front matter cannot be read, so nothing of it counts.",
        "correct the YAML; put text with special characters between quotes",
    ),
    "unknown-key": Rule(_E, "A misspelt key is not read, and nobody notices.", "correct or delete the key"),
    "duplicate-key": Rule(_E, "Of two values only one can count.", "keep one of the two"),
    "bad-value": Rule(_E, "The value is not of the kind that its key needs.", "correct the value"),
    "bad-parameter": Rule(
        _E,
        "A parameter that cannot be asked for or given to a program as it stands stops whoever needs it in the middle.",
        "correct the parameter",
    ),
    "params-not-used": Rule(
        _W,
        "A parameter that no block uses is asked for in vain, or its name is misspelt in the block.",
        "use it in a block as $NAME, or delete it",
    ),
    # --- structure
    "no-steps": Rule(
        _E,
        "Without steps there is nothing to follow.",
        "add a heading '## Steps' and below it a heading '### …' for each step",
    ),
    "too-many-steps": Rule(
        _E,
        "Nobody follows that many steps in an incident.",
        "split it into several runbooks that link to each other",
    ),
    "steps-twice": Rule(
        _E,
        "With two lists of steps nobody knows which one counts.",
        "keep one heading '## Steps' and move all steps below it",
    ),
    "step-without-name": Rule(
        _E,
        "A step without letters or digits in its title has no anchor, so neither links nor runs can name it.",
        "give the step a title with letters or digits, so that links can point to it",
    ),
    "setext-heading": Rule(
        _W,
        "An underlined heading looks like a step and is none.",
        "write headings with #; underlined ones are neither steps nor section ends",
    ),
    "nested-heading": Rule(
        _W,
        "A heading in a list or quote looks like a step and is none.",
        "move the heading out of the list or quote, to the start of the line",
    ),
    "broken-heading": Rule(
        _W,
        "A heading without its space, or indented too far, looks like a step and is text.",
        "write '### ' with a space, at most three spaces from the start of the line",
    ),
    "step-outside-steps": Rule(
        _W,
        "A heading with ticks or labels of a step that stands outside '## Steps' is no step: no run ever comes to it.",
        "move it below '## Steps', or take the ticks and labels out of it",
    ),
    "unreachable-step": Rule(
        _W,
        "No way leads to the step: the one before it goes on elsewhere (**Then:**), and no link points to it.",
        "link to it from the step that needs it, or delete it",
    ),
    # --- fences and blocks
    "open-fence": Rule(
        _E,
        "A fence that is never closed makes everything below it a part of one block.",
        "close the fence with a line of its own, indented like its first line",
    ),
    "swallowed-step": Rule(
        _E,
        "A fence or HTML left open closes at the next mark; the step in between is text of a block that looks valid.",
        "close the fence before that line; if the line is code, write it differently",
    ),
    "not-a-fence": Rule(
        _E,
        "With a backtick behind its marks a fence is a paragraph, and what looks like a block is not one.",
        "use ~~~ for a fence whose first line contains a backtick",
    ),
    "not-one-role": Rule(
        _E,
        "A block without exactly one role looks executable and is not.",
        "write exactly one of run, check, undo, show, as in ```sh {check}",
    ),
    "bad-braces": Rule(
        _E,
        "Braces that cannot be read make a block that looks executable and is not.",
        "write the language, a space, and the attributes in braces, as in ```sh {run timeout=60s}",
    ),
    "bad-language": Rule(
        _E,
        "opsdash executes only some languages; a console transcript, for one, would run its prompts.",
        "only sh, bash, python and opsdash run; delete the braces of anything else",
    ),
    "bad-attribute": Rule(
        _E,
        "An attribute that is not understood would be left out, a time limit or an expectation among them.",
        "correct the attribute",
    ),
    "empty-block": Rule(
        _E,
        "A block without a command succeeds without doing anything.",
        "write the commands into the block, or delete it",
    ),
    "block-outside-step": Rule(
        _E,
        "A block that belongs to no step cannot be executed by anybody.",
        "move the block below a '###' heading under '## Steps'",
    ),
    "block-in-quote": Rule(
        _W,
        "A block in a quote is somebody else's words; it is never executed.",
        "take the block out of the quote; a quoted block is never executed",
    ),
    "block-in-html": Rule(
        _W,
        "A fence directly behind an HTML tag is HTML, and never executed.",
        "leave a blank line after the HTML tag; a fence inside HTML is never executed",
    ),
    "prompt-in-code": Rule(
        _E, "A prompt in front of the command is executed as a part of it.", "delete the prompt in front of the command"
    ),
    "odd-space": Rule(
        _W,
        "A space that is none joins two words of a command.",
        "replace it with a plain space; a shell takes it for a part of the word",
    ),
    "bad-command": Rule(_E, "A line of an opsdash block is no command that a runbook may hold.", "correct the line"),
    # --- labels, ticks, branches
    "joined-label": Rule(
        _E,
        "A label inside a paragraph is not seen: readers get one run-on line, and opsdash gets nothing.",
        "put a blank line before the label, otherwise it is part of the paragraph above",
    ),
    "repeated-label": Rule(
        _E, "Of two labels of one kind only the first counts.", "keep one of the two, or split the step"
    ),
    "unknown-label": Rule(_W, "A label that is nearly one is not read.", "use the exact label"),
    "unclear-duration": Rule(
        _W, "A time in words cannot be added up.", "write a plain duration, such as 2 min or 1h30m"
    ),
    "not-a-tick": Rule(
        _W,
        "What looks like a tick and is none cannot be set, and is forgotten.",
        "write '- [ ] ' with one space between the brackets and one after them",
    ),
    "ticked-in-file": Rule(
        _W,
        "A tick that is set in the file looks as if somebody had done it.",
        "write '- [ ] '; every run starts with all ticks unset",
    ),
    "branch-without-link": Rule(
        _W,
        "Where it goes on after a failure is said in words only, so no key leads there.",
        "add a link to a step or to another runbook, as in [Stand down](#stand-down)",
    ),
    "bad-branch": Rule(
        _E,
        "The way on leads to something that is no step.",
        "link to a step of this runbook or to another runbook",
    ),
    "branch-to-itself": Rule(
        _W, "The way on leads back to the step that has just failed.", "link to another step; this one has just failed"
    ),
    # --- between files
    "unknown-component": Rule(
        _E,
        "There is no component of that name, so nothing would be found, or switched.",
        "use the id of a component, the name of its file in checks/",
    ),
    "unknown-failure-mode": Rule(
        _E,
        "There is no failure mode of that name, so the runbook answers nothing.",
        "use component/failure-mode as it stands in the register",
    ),
    "unknown-check": Rule(_E, "There is no check of that name.", "use component/check or component/provider/check"),
    "unknown-mode": Rule(_E, "There is no degraded mode of that name.", "use a degraded mode of that component"),
    "dead-link": Rule(
        _W,
        "A link that leads nowhere is found during an incident.",
        "correct the link; anchors are the heading in lower case with hyphens for spaces",
    ),
    "dead-branch": Rule(
        _E,
        "After a failure the way on leads to a file or a heading that does not exist.",
        "correct the link; the jump would lead nowhere",
    ),
    "link-outside": Rule(
        _W,
        "A file outside the workspace is not where the runbook is read.",
        "link to a file of the workspace, or to a web address",
    ),
    # --- quality
    "danger-without-undo": Rule(
        _W,
        "A dangerous step without a way back leaves nobody a choice.",
        "add an {undo} block to the step, or say in words how to go back",
    ),
    "no-expectation": Rule(
        _W,
        "Nobody can tell whether the step worked.",
        "add a {check} block, an expect= attribute or a paragraph **Expect:**",
    ),
    "no-time": Rule(
        _W,
        "Without times nobody knows whether the promised RTO can be kept.",
        "add a paragraph **Time:** to each step, such as **Time:** 2 min",
        is_advice=True,
    ),
    "over-rto": Rule(
        _W,
        "By its author's own times the runbook takes longer than the RTO that it promises.",
        "shorten the way, or be honest and raise the RTO",
    ),
    "no-owner": Rule(
        _W,
        "Nobody is asked to keep the runbook true.",
        "name a person in the front matter: owner: maria",
        is_advice=True,
    ),
    "never-reviewed": Rule(
        _W,
        "Nobody says that the runbook was ever read through.",
        "read the runbook through and write reviewed: YYYY-MM-DD into the front matter",
        is_advice=True,
    ),
    "review-overdue": Rule(
        _W,
        "What the runbook describes has changed meanwhile, or nobody knows.",
        "read the runbook through and update reviewed:",
    ),
    "reviewed-in-future": Rule(
        _W, "A review that has not happened yet is none.", "write the day on which somebody read it", is_advice=True
    ),
}


MOST_COMPARED = 2000
"""Names among which the nearest is looked for; among more of them that would take longer than the rest of the work."""

MOST_TOLD = 20
"""Findings of one rule in one file that are told; the others are counted. A broken file must not flood the others."""


class Span(NamedTuple):
    """Columns of a line, from 1, in characters; `end` is the one behind the last. 0 stands for not known."""

    begin: int = 0
    end: int = 0


NOWHERE = Span()


class Findings:
    """Collects what is wrong with one runbook. Lines outside the file are pulled into it."""

    def __init__(self, runbook: str, path: str, last_line: int) -> None:
        self._runbook = runbook
        self._path = path
        self._last_line = last_line
        self._found: list[Finding] = []
        self._told: Counter[str] = Counter()

    def add(self, code: str, line: int, message: str, remedy: str | None = None, *, span: Span = NOWHERE) -> None:
        """Report that rule `code` is broken at `line`; `span`: from which column up to which, where that is known."""
        self._told[code] += 1
        if self._told[code] > MOST_TOLD:
            return
        self._found.append(self._finding(code, line, message, remedy, span))

    def _finding(self, code: str, line: int, message: str, remedy: str | None = None, span: Span = NOWHERE) -> Finding:
        rule = RULES[code]
        line = min(max(line, 1), self._last_line)
        path = self._path
        return Finding(rule.severity, code, message, remedy or rule.remedy, self._runbook, path, line, *span)

    def told_in_full(self, code: str) -> bool:
        """Whether one more finding of that rule would be told, so that a hint for it is worth its cost."""
        return self._told[code] < MOST_TOLD

    @property
    def has_error(self) -> bool:
        """Whether the runbook may be executed no more."""
        return any(finding.severity is Severity.ERROR for finding in self._found)

    def in_order(self) -> tuple[Finding, ...]:
        """All findings by line, and how many more there are of a rule that is broken again and again."""
        more = [
            self._finding(code, 1, f"the same on {count - MOST_TOLD} more line{'' if count == MOST_TOLD + 1 else 's'}")
            for code, count in sorted(self._told.items())
            if count > MOST_TOLD
        ]
        return tuple(sorted([*self._found, *more], key=lambda finding: finding.line))


def nearest(word: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?` where there is something like it, else all that is valid."""
    names = sorted(valid)
    close = get_close_matches(word[:80], names, n=1, cutoff=0.6) if len(names) <= MOST_COMPARED else []
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid are {', '.join(names)}" if 0 < len(names) <= 12 else ""
