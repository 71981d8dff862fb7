"""Makes docs/example-incident.md: an incident of the example operation, from its beginning to its report.

    make example-incident

Nothing is staged. The example operation runs, its market data really turns stale, two people follow the runbook in two
terminals, the engine is killed in the middle of a block. So times differ from run to run, and the page is made by hand
when the product has changed. The same story is a test (tests/operation/test_example_incident.py).
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import sys
import textwrap
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from opsdash import __version__
from opsdash.cli.example import Example, running
from opsdash.engine.clock import system_clock
from opsdash.service.client import EngineSession
from opsdash.service.places import account, places, read_engine_file
from opsdash.service.session import SessionError
from tools.commit import ROOT, commit
from tools.terminals import Terminal, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opsdash.model.views import IncidentView, WallRow

T = TypeVar("T")

PAGE = ROOT / "docs" / "example-incident.md"
COMPONENT, RUNBOOK, STEP = "market-data", "market-data-bad", "read-the-other-source"
MODE = "bad-data"
FEED, OTHER = "feed-a", "feed-b"

PAST = 20.0
"""Seconds between the last thing that people do and the failure, so that there is a past."""

READS = 1.5
"""Seconds for which somebody reads what is shown, before answering."""

WITHIN = 60.0
"""Seconds in which anything that is waited for has happened."""

LOOK_EVERY = 0.05
IN_TIME = 0.002
"""Seconds between two looks at what tells that a block is in its middle: that lasts half a second."""

ALARMS = Path(".opsdash/alarms.log")
"""What the example's channel for whoever is on duty writes."""

MOST_LINES, FIRST_LINES, LAST_LINES = 16, 9, 5
WIDEST = 116
PROSE = 120


class StoryError(Exception):
    """Something of the story did not happen."""


@dataclass
class Scene:
    """A part of the story: what was done, and what was to be seen in which terminal."""

    title: str
    what: str
    terminal: int
    shown: Sequence[str]


@dataclass
class Told:
    """The whole story.

    alarms: the lines of the file that is the channel.  handover: the note.  report: as it was written.
    acknowledged: what the engine had said yes to when it was killed, as types of records and how many of each.
    """

    scenes: list[Scene] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    handover: str = ""
    report: str = ""
    acknowledged: dict[str, int] = field(default_factory=dict)


class Story:
    """Maria and Sam, two terminals, and an engine that dies.

    past: seconds before it fails.  reads: seconds for which somebody reads before giving an answer.
    """

    def __init__(self, example: Example, *, past: float = 0.0, reads: float = 0.0) -> None:
        self._example = example
        self._past = past
        self._where = places(example.workspace)
        environment = _environment(example)
        self._maria = Terminal(example.workspace, environment, reads)
        self._sam = Terminal(example.workspace, environment, reads)
        self.told = Told()

    def go(self) -> Told:
        """All of it. Raises StoryError and TerminalError with what did not happen."""
        self._try_the_backup()
        self._break()
        self._look_after_it()
        self._kill_the_engine_in_the_middle()
        self._resume()
        self._hand_over()
        self._take_over()
        self._heal_and_go_back()
        self._close()
        return self.told

    # --- what happens --------------------------------------------------------------------------------------------

    def _try_the_backup(self) -> None:
        maria = self._maria
        maria.run("failover", COMPONENT, "--yes", "--reason", "the backup is tried before it is needed")
        self._until("a backup could take over", self._redundant)
        maria.run("failback", COMPONENT, "--yes", "--reason", "it works")
        maria.run("mark", "vendor of feed A: new version of its API", "--component", COMPONENT, "--version", "5.0")
        self._until("all is well", lambda: self._redundant() and self._row()["status"] == "ok")
        _wait(self._past)
        self._scene(
            "Before",
            "Some day Maria tries the backup, which is proof that it works, and goes back. Later she notes a change "
            "that others have made.",
            maria,
        )

    def _break(self) -> None:
        self._maria.run("demo", "inject", FEED, "stale")
        self._until("the incident is open, with its failure mode", self._named)
        self._until("the alarm has arrived", lambda: self._alarms("problem"))
        self._maria.run("status", COMPONENT, code=1)
        self._maria.run("incident", "list")
        self._scene(
            "Market data turns stale",
            "Feed A still answers; what it says is an hour old. opsdash opens an incident with its failure mode, and "
            "what had been decided for it. The alarm arrives (below).",
            self._maria,
        )

    def _look_after_it(self) -> None:
        self._maria.run("incident", "ack", self._incident()["id"])
        self._scene("Somebody looks after it", "", self._maria)

    def _kill_the_engine_in_the_middle(self) -> None:
        with self._maria.begin("runbook", "run", RUNBOOK) as runbook:
            runbook.sees("approve it?")
            runbook.types("y")
            runbook.sees("Step 1 of")
            runbook.answers("x1", "✓ passed")
            runbook.answers("d", "Step 2 of")
            runbook.answers("a", "Step 3 of")
            runbook.answers("x1", "\n")
            self._until("the other source is being read", self._is_switching, every=IN_TIME)
            self._kill()
            runbook.sees("NOT KNOWN")
            runbook.answers("q", "left")
            runbook.ends()
        self.told.acknowledged = {
            "incident_acknowledged": 1,
            "runbook_approved": 1,
            "run_started": 1,
            "step_marked": 2,
            "block_started": 3,
        }
        self._scene(
            "The runbook, and an engine that dies in the middle of a block",
            "While the block that reads the other source runs, and has changed the pointer already, the engine is "
            "killed with `kill -9`. Maria's terminal starts the next one. That one does not know what the block has "
            "done, and does not repeat it.",
            self._maria,
        )

    def _resume(self) -> None:
        self._until("the switch that was cut short has ended", lambda: not self._switch()["live"])
        done = self._switch()["state"] == "committed"
        self._maria.run("switch", "show", COMPONENT)
        with self._maria.begin("runbook", "run", RUNBOOK) as runbook:
            runbook.sees("cut short")
            runbook.sees("Enter later:")
            runbook.types("d" if done else "r")
            if not done:
                runbook.answers("x1", "✓ passed")
            runbook.answers("d", "Step 4 of")
            runbook.answers("q", "left")
            runbook.ends()
        self._scene(
            "Resumed",
            "She looks at what became of it. The switch was verified, though only observed since the engine's end; so "
            "the block is done, and the runbook goes on.",
            self._maria,
        )

    def _hand_over(self) -> None:
        needs = "the vendor knows (ticket 4711); see whether anything was bought by it; go back once feed A is good"
        self._maria.run("incident", "handover", self._incident()["id"], needs, "--to", "sam")
        found = self._incident()["handover"]
        if found is None:
            raise StoryError("there is no handover note")
        self.told.handover = found["text"]
        self._scene(
            "Handed over",
            "Users are served again, the backup is in use, so there is none left. Maria's shift is over. The note "
            "(below) writes itself, but for what is needed.",
            self._maria,
        )

    def _take_over(self) -> None:
        self._sam.run("incident", "accept", self._incident()["id"], "--as", "sam")
        with self._sam.begin("runbook", "run", RUNBOOK, "--as", "sam") as runbook:
            runbook.sees("Step 4 of")
            runbook.answers("t1", "t1 [x]")
            runbook.answers("t2", "t2 [x]")
            runbook.answers("d", "Step 5 of")
            runbook.answers("q", "left")
            runbook.ends()
        self._scene(
            "Another person, another terminal",
            "Sam accepts the incident; with it the run is his, and he goes on where Maria was. They share an account "
            "here, so he says who he is.",
            self._sam,
        )

    def _heal_and_go_back(self) -> None:
        self._sam.run("demo", "inject", FEED, "ok")
        self._until("redundancy is back", lambda: self._redundant() and self._incident()["state"] == "resolved")
        with self._sam.begin("runbook", "run", RUNBOOK, "--as", "sam") as runbook:
            runbook.sees("Step 5 of")
            runbook.answers("x1", "✓ passed")
            runbook.answers("d", "Step 6 of")
            runbook.answers("s", "is closed")
            runbook.ends()
        self._scene(
            "Back to the primary",
            "The vendor mends its feed: redundancy is back, so opsdash calls the incident resolved by itself. Sam goes "
            "back at once instead of after the hour that the runbook asks for. The last step is for what did not "
            "happen; with its mark the run is closed.",
            self._sam,
        )

    def _close(self) -> None:
        incident = self._incident()["id"]
        self._until("its end has arrived", self._all_told)
        self._sam.run("incident", "resolve", incident, "a cache of the vendor was stuck", "--as", "sam")
        self._sam.run("incident", "report", incident, "-o", f"{incident}.md")
        self._scene("Closed, and told", "", self._sam)
        self.told.report = self._masked((self._example.workspace / f"{incident}.md").read_text(encoding="utf-8"))
        self.told.handover = self._masked(self.told.handover)
        self.told.alarms = [self._masked(line) for line in self._alarms("")]

    # --- looking -------------------------------------------------------------------------------------------------

    def _named(self) -> bool:
        row = self._row()
        return row["incident"] is not None and row["failure_id"] == MODE and MODE in self._incident()["failures"]

    def _redundant(self) -> bool:
        return self._row()["redundancy"] == "ready"

    def _row(self) -> WallRow:
        return self._ask(lambda session: session.component(COMPONENT))["row"]  # type: ignore[no-any-return]

    def _switch(self) -> Any:
        return self._ask(lambda session: session.switch(COMPONENT))

    def _incident(self) -> IncidentView:
        found = self._ask(lambda session: session.incidents(closed=True))
        if not found:
            raise StoryError("there is no incident")
        return found[0]  # type: ignore[no-any-return]

    def _alarms(self, kind: str) -> list[str]:
        """The lines that have arrived, of one kind of message."""
        file = self._example.workspace / ALARMS
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line for line in lines if f"  {kind}" in line]

    def _all_told(self) -> bool:
        """Whether nothing is left to tell: no alarm, nothing in the outbox, and that it is over was the last."""
        found = self._ask(lambda session: session.alarms())
        waiting = [each for each in found["outbox"] if each["state"] != "delivered"]
        lines = self._alarms("")
        return not found["alarms"] and not waiting and bool(lines) and "  resolved" in lines[-1]

    def _is_switching(self) -> bool:
        """Whether the pointer leads to the other source, which is so half a second before anything is verified."""
        pointer = self._example.services.state / "market-source.json"
        return OTHER in pointer.read_text(encoding="utf-8")

    def _ask(self, question: Callable[[EngineSession], Any]) -> Any:
        async def ask() -> Any:
            return await question(EngineSession(self._where))

        return asyncio.run(ask())

    def _until(self, what: str, met: Callable[[], T], every: float = LOOK_EVERY) -> T:
        until = time.monotonic() + WITHIN
        while True:
            try:
                if found := met():
                    return found
                trouble = "it does not hold"
            except SessionError as error:  # the next engine may be starting
                trouble = str(error)
            if time.monotonic() > until:
                last = self._example.last_words(5)
                raise StoryError(f"not within {WITHIN:.0f} s: {what}: {trouble}. The engine said last:\n{last}")
            _wait(every)

    def _kill(self) -> None:
        engine = read_engine_file(self._where)
        if engine is None:
            raise StoryError("no engine runs that could be killed")
        os.kill(engine.pid, signal.SIGKILL)

    # --- telling -------------------------------------------------------------------------------------------------

    def _scene(self, title: str, what: str, terminal: Terminal) -> None:
        shown = [self._masked(each) for each in terminal.transcript]
        terminal.transcript.clear()
        self.told.scenes.append(Scene(title, what, 1 if terminal is self._maria else 2, shown))

    def _masked(self, text: str) -> str:
        """Without what is of this machine alone: where the folder is, and what the account is called."""
        name = re.escape(account(os.getuid()))
        return re.sub(rf"\(claimed, {name}\)", "(claimed, shop)", text.replace(str(self._example.root), "~"))


def _environment(example: Example) -> dict[str, str]:
    """What the commands see: a home of their own, with approvals of their own, and nothing else of this machine."""
    return {
        "HOME": str(example.root),
        "USER": account(os.getuid()),
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(ROOT),
        "OPSDASH_WORKSPACE": str(example.workspace),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "xterm",
        "NO_COLOR": "1",
    }


def _wait(seconds: float) -> None:
    """Other processes go on meanwhile."""
    select.select([], [], [], seconds)


# --- the page ----------------------------------------------------------------------------------------------------

HEAD = """# Example: an incident, from its beginning to its report

<!-- Made by `make example-incident`; not to be edited. -->"""

INTRODUCTION = """In the example operation (`opsdash demo`) market data turns stale. The incident opens with its
failure mode, Maria follows the runbook, the engine is killed in the middle of it, she resumes and hands over to Sam in
another terminal, who follows it to its end. opsdash writes the report. What it all means is in
[Incidents](incidents.md), [Runbooks](howto-runbooks.md) and [Alarms](alarms.md)."""

ORIGIN = """Made on {date} with version {version}, commit `{commit}`. All of it happened as it stands here, in real
terminals, and in a minute or two where a real one takes hours. Long output is cut, which is marked by `…`; a step that
is shown again is not repeated. The folder is called `~`, the account that both people share `shop`; times are UTC."""


def page(told: Told, date: str, version: str) -> str:
    """The whole page."""
    parts = [HEAD, _filled(INTRODUCTION), _filled(ORIGIN.format(date=date, version=__version__, commit=version))]
    parts.append("## What was done")
    seen: set[str] = set()
    for scene in told.scenes:
        parts += [f"### {scene.title}", *([_filled(scene.what)] if scene.what else [])]
        shown = "\n".join(_cut(each, seen) for each in scene.shown)
        parts += [f"Terminal {scene.terminal}:", f"```console\n{shown}\n```"]
    alarms = "\n".join(textwrap.fill(line, WIDEST, subsequent_indent="    ") for line in told.alarms)
    parts += [
        "## The alarms as they arrived",
        "The channel is a file, and each message a line of it, wrapped here.",
        f"```text\n{alarms}\n```",
        "## The handover note",
        f"```text\n{told.handover}\n```",
        "## The report",
        "As `opsdash incident report` wrote it, with headings one level lower. What a person has to add is marked.",
        re.sub(r"(?m)^(#+ )", r"#\1", told.report.rstrip()),
    ]
    return "\n\n".join(parts) + "\n"


def _filled(prose: str) -> str:
    return textwrap.fill(" ".join(prose.split()), PROSE, break_long_words=False, break_on_hyphens=False)


def _cut(transcript: str, seen: set[str]) -> str:
    """A command with what it said: nothing twice, no line too long, and the middle left out where there is much."""
    typed, *said = transcript.splitlines()
    lines = [line if len(line) <= WIDEST else f"{line[: WIDEST - 1]}…" for line in _once(said, seen)]
    if len(lines) > MOST_LINES and not any(line.startswith("> ") for line in lines):
        lines = [*lines[:FIRST_LINES], "  …", *lines[-LAST_LINES:]]
    return "\n".join([typed, *lines])


def _once(lines: Sequence[str], seen: set[str]) -> list[str]:
    """Steps, and the line that explains the keys, as they are shown first; later only what has become of a step.

    seen: what was shown already.
    """
    found: list[str] = []
    again = False
    for line in lines:
        step = re.match(r"Step \d+ of \d+: .*?  ", line)
        if step:
            again = step[0] in seen
            seen.add(step[0])
            found += [line, "  …"] if again else [line]
        elif line.startswith("xN run block"):
            again = False
            found += [] if line in seen else [line]
            seen.add(line)
        elif not again or re.match(r"  [xt]\d", line):
            found.append(line)
    return found


def main() -> int:
    """The command line."""
    try:
        with running() as example:
            told = Story(example, past=PAST, reads=READS).go()
    except (StoryError, TerminalError, SessionError) as error:
        print(f"the story did not come to its end: {error}", file=sys.stderr)
        return 1
    date = f"{datetime.fromtimestamp(system_clock().wall, UTC):%Y-%m-%d %H:%M} UTC"
    PAGE.write_text(page(told, date, commit()), encoding="utf-8")
    print(f"written: {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
