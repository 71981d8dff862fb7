"""systemd as `systemctl` shows it: the units of this machine (or of another, behind ssh), and what they do.

`systemctl show` is what is read: its properties are the same in every language and version, and it tells of a unit
that does not exist instead of failing.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, WithJsonSchema

from opsdash.kinds.base import StrictOptions
from opsdash.kinds.processes import Argv, Tool, ToolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsdash.kinds.base import ActionContext

_UNIT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.\\@-]{0,250}")
_TYPES: Final = frozenset(
    {"service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice", "scope", "device"}
)
_LAST_RAN: Final = "InactiveEnterTimestampMonotonic"
_SHOWN: Final = (
    "LoadState", "LoadError", "ActiveState", "SubState", "UnitFileState", "InvocationID", "NRestarts", _LAST_RAN
)  # fmt: skip
ACTIVE: Final = frozenset({"active", "reloading", "refreshing"})
SERVING: Final = ACTIVE | {"deactivating"}
ENDED: Final = frozenset({"inactive", "failed"})
_KNOWN: Final = SERVING | ENDED | {"activating", "maintenance"}
NO_JOB: Final = frozenset({2, 3, 4, 5, 6})
"""Exit codes of `systemctl start` and `stop` by which there was no job: bad call, not permitted, no such unit, …"""


def _unit(value: Any) -> str:
    if not isinstance(value, str) or not _UNIT.fullmatch(value):
        raise ValueError(f"{value!r} is no name of a unit, such as mailer-a.service")
    return value


def units_of(value: Any) -> Any:
    """One unit or several, as they may be written."""
    return (value,) if isinstance(value, str) else value


Unit = Annotated[str, BeforeValidator(_unit), WithJsonSchema({"type": "string"})]
Units = Annotated[
    tuple[Unit, ...],
    BeforeValidator(units_of),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
"""One unit, or several."""


class UnitPlace(StrictOptions):
    scope: Literal["system", "user"] = "system"
    """Whose units: those of the machine, or those of the account that opsdash runs as."""

    program: Argv = ("systemctl",)
    """The program, with arguments that each call begins with."""

    def tool(self, context: ActionContext) -> Tool:
        users = self.scope == "user"
        argv = [*self.program, *(["--user"] if users else [])]
        return Tool(argv, cwd=context.workspace, env=_user_bus() if users else {}, deadline=context.deadline)


def _user_bus() -> dict[str, str]:
    """Where the account's own systemd is found; programs get no other variables of ours."""
    found = {name: os.environ[name] for name in ("DBUS_SESSION_BUS_ADDRESS",) if name in os.environ}
    return {"XDG_RUNTIME_DIR": os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}", **found}


def full_name(name: str) -> str:
    """The name with its type: `mailer-a` is `mailer-a.service`."""
    return name if name.rpartition(".")[2] in _TYPES else f"{name}.service"


@dataclass(frozen=True, slots=True)
class UnitState:
    """A unit as systemd shows it. `name` is what the author calls it."""

    name: str
    load: str
    error: str
    active: str
    sub: str
    file: str
    invocation: str
    restarts: str
    last_ran: int

    def __str__(self) -> str:
        return f"{self.name} is {self.active} ({self.sub})"

    @property
    def is_active(self) -> bool:
        return self.active in ACTIVE

    @property
    def flaw(self) -> str:
        """Why it cannot be started; empty when it can."""
        if self.load == "loaded":
            return ""
        return f"{self.name} is {self.load}" + (f": {self.error}" if self.error else "")


async def show_units(tool: Tool, units: Sequence[str]) -> list[UnitState]:
    """The present states of units, in their order. Raises ToolError."""
    finished = await tool.run("show", f"--property={','.join(_SHOWN)}", *units)
    if finished.exit_code != 0:
        raise ToolError(finished.evidence(tool.argv[0]))
    blocks = [block for block in finished.stdout.split("\n\n") if block.strip()]
    if len(blocks) != len(units) or finished.truncated:
        raise ToolError(f"{tool.argv[0]} told of {len(blocks)} units where {len(units)} were asked for")
    return [_state(unit, block) for unit, block in zip(units, blocks, strict=True)]


def _state(unit: str, block: str) -> UnitState:
    said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    if said.get("ActiveState") not in _KNOWN:
        raise ToolError(f"{unit} is said to be {said.get('ActiveState')!r}, which is no known state")
    *texts, last_ran = (said.get(key, "") for key in _SHOWN)
    load, error, active, sub, file, invocation, restarts = texts
    error = error.partition(" ")[2].strip('"')
    return UnitState(
        unit, load, error, active, sub, file, invocation, restarts, int(last_ran) if last_ran.isdecimal() else 0
    )


def told_of(states: Sequence[UnitState]) -> str:
    return ", ".join(map(str, states))
