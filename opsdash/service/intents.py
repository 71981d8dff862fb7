"""Intents as they come over the wire: a name and arguments, checked before they reach the engine."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from opsdash.model import inputs as i
from opsdash.model.switch import Refused, SwitchKind
from opsdash.model.text import clean, clean_lines
from opsdash.service import run_intents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opsdash.engine.engine import Engine

TEXT_LIMIT = 2000
"""Characters of a text that a person may send."""

NOTE_LIMIT = 16_000
SEVERAL_LINES = frozenset({("note", "text"), ("edit_entry", "text"), ("offer_handover", "text")})
"""Intents and their arguments that may be a longer text of several lines."""

LARGEST = 253_402_300_799.0
"""Numbers beyond this are no time (the year 9999), no duration and no position."""

MEANINGLESS = frozenset({"unknown_intent", "arguments"})
"""Rules by which a request is refused that makes no sense, whatever the state of the operation."""

KINDS: dict[str, type] = {
    "undo": i.UndoIntent,
    "settle": i.SettleIntent,
    "take_over": i.TakeOverIntent,
    "abort": i.AbortIntent,
    "lift_blockade": i.LiftBlockadeIntent,
    "resume_auto": i.ResumeAutoIntent,
    "ack": i.AckIntent,
    "note": i.NoteIntent,
    "edit_entry": i.EditEntryIntent,
    "resolve": i.ResolveIntent,
    "cancel_incident": i.CancelIncidentIntent,
    "reopen": i.ReopenIntent,
    "rate": i.RateIntent,
    "incident_time": i.TimeIntent,
    "role": i.RoleIntent,
    "offer_handover": i.OfferHandoverIntent,
    "accept_handover": i.AcceptHandoverIntent,
    "mark": i.MarkIntent,
    "open_incident": i.OpenIncidentIntent,
    "pause": i.PauseIntent,
    "resume": i.ResumeIntent,
    "maintenance": i.MaintenanceIntent,
    "end_maintenance": i.EndMaintenanceIntent,
    "test_alarm": i.AlarmTestIntent,
    "tell": i.TellIntent,
    "poll": i.PollIntent,
    "away": i.AwayIntent,
    "end_run": i.EndRunIntent,
    "take_run": i.TakeRunIntent,
    "cancel_block": i.CancelBlockIntent,
    "decide_block": i.DecideBlockIntent,
    "stop_drill": i.StopDrillIntent,
    "finish_drill": i.FinishDrillIntent,
    "halt_drills": i.HaltDrillsIntent,
    "allow_drills": i.AllowDrillsIntent,
    "fault_gone": i.FaultGoneIntent,
}
OF_A_RUNBOOK: dict[str, Callable[[Engine, dict[str, Any]], i.Intent | Refused]] = {
    "open_run": run_intents.open_run,
    "run_block": run_intents.run_block,
    "run_checks": run_intents.run_checks,
    "accept_run": run_intents.accept_run,
    "approve_runbook": run_intents.approve_runbook,
}
OF_A_STEP: dict[str, Callable[[Engine, dict[str, Any], Callable[..., Any]], i.Intent | Refused]] = {
    "tick": run_intents.tick,
    "mark_step": run_intents.mark_step,
}
SWITCHES = frozenset(kind.value for kind in SwitchKind)
NAMES = frozenset({*KINDS, *SWITCHES, *OF_A_RUNBOOK, *OF_A_STEP, "set_parameter", "start_drill"})


def parse(engine: Engine, name: str, arguments: Mapping[str, Any]) -> i.Intent | Refused:
    """The intent that is meant, or why it makes no sense."""
    try:
        given = {key: _cleaned(value, lines=(name, key) in SEVERAL_LINES) for key, value in arguments.items()}
    except (ValueError, RecursionError) as error:
        return Refused("arguments", f"an argument is {error}" if isinstance(error, ValueError) else "too deep")
    if name in SWITCHES:
        switch: i.Intent | Refused = _build(i.SwitchIntent, {**given, "kind": name})
        return switch
    if name == "set_parameter":
        return run_intents.set_parameter(engine, given, arguments)
    if name in OF_A_RUNBOOK:
        return OF_A_RUNBOOK[name](engine, given)
    if name in OF_A_STEP:
        return OF_A_STEP[name](engine, given, _build)
    if name == "start_drill":
        return _start_drill(engine, given)
    kind = KINDS.get(name)
    if kind is None:
        return Refused("unknown_intent", f"there is no intent {name!r}; there are: {', '.join(sorted(NAMES))}")
    intent: i.Intent | Refused = _build(kind, given)
    return intent


def _start_drill(engine: Engine, given: dict[str, Any]) -> i.StartDrillIntent | Refused:
    """A drill is begun; its evidence is to hold the hash of the runbook's text, which only the engine knows."""
    parsed: i.StartDrillIntent | Refused = _build(
        i.StartDrillIntent, {name: value for name, value in given.items() if name != "runbook_sha256"}
    )
    if isinstance(parsed, Refused):
        return parsed
    drill = engine.loaded.operation.drills.get(parsed.drill)
    runbook = engine.loaded.runbooks.get("" if drill is None else drill.runbook or "")
    return replace(parsed, runbook_sha256="" if runbook is None else runbook.sha256)


def _cleaned(value: Any, *, lines: bool = False) -> Any:
    if isinstance(value, str):
        return clean_lines(value, NOTE_LIMIT) if lines else clean(value, TEXT_LIMIT)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= LARGEST):
        raise ValueError("a number out of all range")
    return value


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _build(kind: type, arguments: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    unknown = sorted(arguments.keys() - known)
    if unknown:
        names = ", ".join(clean(name, 40) for name in unknown)
        return Refused("arguments", f"it takes no {names}; it takes {', '.join(sorted(known))}")
    try:
        return _adapter(kind).validate_python(dict(arguments))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Refused("arguments", f"{where}: {first['msg']}")
