"""A thing that can be broken and mended by a program, and misbehaves while it is mended; and what guards it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opsdash.config.secrets import resolve_secrets
from opsdash.engine import guards
from opsdash.engine.clock import system_clock
from opsdash.kinds.resolver import Resolver
from opsdash.model.drill import Injection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opsdash.engine.guards import Guard, GuardEvent, Leftover, Outcome

SCRIPT = """#!/bin/sh
cd "$(dirname "$0")" || exit 9
echo "$1" >>calls
case $1 in
break) [ -e slow ] && sleep 0.5; : >broken;;
mend)
  if [ -s failures ]; then tail -n +2 failures >rest; mv rest failures; printf '%0300d' 0; exit 1; fi
  if [ -e hang ]; then rm hang; exec sleep 60; fi
  [ -e stuck ] && exec sleep 60
  [ -e wrecked ] && exit 3
  [ -e deaf ] || rm -f broken;;
gone) [ -e unclear ] && exit 7; [ ! -e broken ];;
esac
"""
QUICK = (0.0,) * 5
"""Pauses between the tries of a test: none."""


@dataclass
class Thing:
    """Can be broken. folder: of the program and of what it has done, inside a workspace."""

    workspace: Path
    name: str = "thing"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "fault").write_text(SCRIPT)
        (self.folder / "fault").chmod(0o755)

    @property
    def folder(self) -> Path:
        return self.workspace / self.name

    @property
    def is_broken(self) -> bool:
        return (self.folder / "broken").exists()

    def calls(self) -> list[str]:
        """What was done with it, in order."""
        try:
            return (self.folder / "calls").read_text().split()
        except FileNotFoundError:
            return []

    def misbehave(self, how: str, text: str = "") -> None:
        """`failures` (a line for each), `hang` (once), `stuck` (always), `wrecked`, `deaf`, `unclear`, or `slow` (to
        break).
        """
        (self.folder / how).write_text(text)

    def injection(self, **more: Any) -> Injection:
        """What breaks it and mends it."""
        fault = f"{self.name}/fault"
        undo = {"argv": [fault, "mend"], "verify": [fault, "gone"], **more}
        return Injection("command", {"argv": [fault, "break"]}, undo)


@dataclass
class Desk:
    """Who arms guards. told: what the guards did."""

    workspace: Path
    told: list[GuardEvent] = field(default_factory=list)
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.workspace / ".opsdash"

    def hands(self) -> guards.Hands:
        """What the engine would inject with."""
        return guards.Hands(
            workspace=self.workspace,
            resolver=Resolver(),
            clock=system_clock,
            resolve=lambda raw: resolve_secrets(raw, self.environment, self.workspace, variables=self.variables),
            mask=lambda text: text,
            variables=self.variables,
        )

    def arming(self, *injections: Injection, run: str = "run-1", limit: float = 60.0, **more: Any) -> guards.Arming:
        """What a guard is armed with, in a test's pace."""
        more = {"try_deadline": 10.0, "pauses": QUICK, **more}
        return guards.Arming(run, "a-drill", injections, limit, self.workspace, **more)

    async def arm(self, *injections: Injection, **more: Any) -> Guard:
        """A guard that is ready."""
        return await guards.arm(self.arming(*injections, **more), self.state, self.hands(), self.told.append)

    def log(self, run: str = "run-1") -> list[dict[str, Any]]:
        """What the guard has written."""
        text = (self.state / "drills" / run / "guard.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    async def leftovers(self) -> tuple[Leftover, ...]:
        """The runs whose faults may still be there."""
        return await asyncio.to_thread(guards.leftovers, self.state)

    def events(self, run: str = "run-1") -> list[str]:
        """The kinds of its lines."""
        return [entry["event"] for entry in self.log(run)]


async def ended(guard: Guard) -> Outcome:
    """What became of it; a test does not wait for ever."""
    async with asyncio.timeout(60):
        return await guard.ended()
