"""Every key, in one table: the screens' bindings, the key bar, the help, and the docs are made from it.

Plain letters, `/ : ? enter esc space` and F-keys only: chords with ctrl belong to tmux, screen and the terminal. What
has to be at hand on every screen, over a question and while something is typed, is on an F-key: no letter is free
there. Every action has an id, by which its key can be changed. Keys that `change` something are dimmed and refused when the board is
read-only. What acts on the operation shows a plan or asks first, and Enter confirms neither.
"""

# ruff: noqa: E501 - a table reads best with a row on a line

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.binding import Binding


class Scope(Enum):
    """Where an action is available. The value is the heading in the help."""

    EVERYWHERE = "Everywhere"
    LIST = "In lists and long pages"
    WALL = "Wall"
    COMPONENT = "Component"
    PLAN = "Plan of a switch"
    PROGRESS = "Progress of a switch"
    CHOICE = "Choices"
    INCIDENTS = "Incidents"
    RUNBOOK = "Runbook"
    RUNBOOKS = "List of runbooks"
    REGISTER = "Register"
    JOURNAL = "Journal"
    PEOPLE = "People"
    PROBLEMS = "Problems of the files"
    READINESS = "Readiness"
    WHATIF = "What-if"
    DRILLS = "Drills"
    DRILL = "Plan and course of a drill"


@dataclass(frozen=True, slots=True)
class Action:
    """Something a key does.

    keys: default keys, separated by commas, as Textual names them.  hint: shown in the key bar.
    types: what is typed behind it, however fast, is text and no key; so it acts before any other key is handed on.
    always: it acts over a question and while something is typed, too.
    """

    id: str
    keys: str
    label: str
    tooltip: str
    scopes: tuple[Scope, ...]
    changes: bool = False
    hint: bool = True
    types: bool = False
    always: bool = False


_W, _C = Scope.WALL, Scope.COMPONENT
_COMPONENT = (_W, _C)

ACTIONS: tuple[Action, ...] = (
    # wall and component
    Action("failover", "f", "failover", "show the plan of a switch to a backup", _COMPONENT, changes=True),
    Action("failback", "F", "failback", "show the plan of the switch back to the primary", _COMPONENT, changes=True),
    Action("degrade", "g", "degrade", "enter or leave a degraded mode that was decided in advance", _COMPONENT, changes=True),
    Action("drill", "D", "drill", "show the plan of its drill, or the drill that is running", (_W, _C, Scope.DRILLS)),
    Action("runbook", "r", "runbook", "open the runbook of what failed, beside its live status", (_W, _C, Scope.REGISTER, Scope.RUNBOOKS, Scope.INCIDENTS)),
    Action("ack", "a", "ack", "acknowledge the incident: I am on it", (_W, _C, Scope.INCIDENTS), changes=True),
    Action("incident", "i", "incident", "open its incident, or write down a new one", _COMPONENT),
    Action("switch", "w", "switch", "show the running or the last switch, and the ways out of an unknown one", _COMPONENT, hint=False),
    Action("poll", "R", "poll now", "run all its checks now", (_W, _C, Scope.RUNBOOK), changes=True, hint=False),
    Action("suspend", "P", "pause", "stop polling it for a while, or start again", _COMPONENT, changes=True, hint=False),
    Action("maintenance", "M", "maintenance", "mute its alarms for a while, or end that; its checks go on", _COMPONENT, changes=True, hint=False),
    Action("filter", "slash", "filter", "show only what matches: text, !not, status:down, tier:essential, owner:maria", (_W, Scope.JOURNAL, Scope.REGISTER, Scope.INCIDENTS, Scope.RUNBOOKS, Scope.READINESS, Scope.WHATIF, Scope.DRILLS), types=True),
    Action("faults", "z", "faults only", "show only what needs attention, or everything again", (_W,)),
    Action("sort", "s", "sort", "order by attention, name, tier, latency or time of change", (_W,)),
    Action("hold", "p", "hold", "hold the screen still, or let it go on; the engine goes on in any case", (_W,), hint=False),
    Action("demo", "x", "break something", "in the demo: choose a service and a fault", (_W,), changes=True),
    Action("previous", "left_square_bracket", "previous", "the component before", (_C,), hint=False),
    Action("next", "right_square_bracket", "next", "the component after", (_C,), hint=False),
    Action("more", "m", "more", "more room: full text of every check, or the runbook over the full width", (_C, Scope.RUNBOOK)),
    # plan and progress
    Action("confirm", "y", "carry out", "carry out what is shown", (Scope.PLAN, Scope.DRILL), changes=True),
    Action("target", "t", "other target", "plan the switch to the next provider instead", (Scope.PLAN,)),
    Action("reason", "e", "edit reason", "change the reason that is written to the journal", (Scope.PLAN, Scope.DRILL)),
    Action("copy", "c", "copy command", "copy the equivalent manual command, or what undoes a drill by hand", (Scope.PLAN, Scope.RUNBOOK, Scope.READINESS, Scope.DRILLS, Scope.DRILL), hint=False),
    Action("undo", "u", "undo", "lead it back to where it came from", (Scope.PROGRESS,), changes=True),
    Action("settle", "s", "settle", "state the outcome yourself, with a reason", (Scope.PROGRESS,), changes=True),
    Action("take_over", "t", "take over", "observe again, without firing anything", (Scope.PROGRESS,), changes=True),
    Action("abort", "a", "call off", "call it off before it has done anything, or ask whoever began it to", (Scope.PROGRESS,), changes=True),
    Action("yes", "y", "yes", "answer the question with yes", (Scope.CHOICE,)),
    Action("choose", "enter", "choose", "choose what the cursor is on", (Scope.CHOICE,)),
    # drills
    Action("finish", "E", "finish", "say that enough was seen: it is undone, and judged by what has come true", (Scope.DRILL,), changes=True),
    Action("stop", "X", "stop", "end it before its time: what was broken is undone at once", (Scope.DRILL,), changes=True),
    Action("gone", "x", "fault is gone", "state that a fault which nobody could verify to be gone is gone, with a reason", (Scope.DRILLS,), changes=True),
    Action("allow", "A", "allow drills", "let drills begin again after they were halted, with a reason", (Scope.DRILLS,), changes=True),
    # runbook
    Action("tick", "space", "tick", "tick the line, or take the tick back", (Scope.RUNBOOK,), changes=True),
    Action("execute", "x", "run block", "run the block under the cursor (enter does, too), or decide about one that was cut short", (Scope.RUNBOOK,), changes=True),
    Action("step_done", "y", "step done", "call the step done", (Scope.RUNBOOK,), changes=True),
    Action("step_failed", "n", "step failed", "call the step failed, and go to the step it names for that", (Scope.RUNBOOK,), changes=True),
    Action("step_skipped", "s", "skip", "skip the step", (Scope.RUNBOOK,), changes=True),
    Action("run_checks", "a", "checks", "run the coming checks one after another, up to the first that does not pass, or to what is no check", (Scope.RUNBOOK,), changes=True),
    Action("cancel_block", "X", "cancel", "end the block that is running, with all that it has started", (Scope.RUNBOOK,), changes=True, hint=False),
    Action("take_run", "t", "take over", "drive the run that somebody else drives, with a reason", (Scope.RUNBOOK,), changes=True, hint=False),
    Action("approve", "A", "approve", "show what the runbook would execute, and approve it as it is now", (Scope.RUNBOOK,), changes=True, hint=False),
    Action("difference", "d", "difference", "show what was edited since the run began, and go on by it", (Scope.RUNBOOK,), changes=True, hint=False),
    Action("rehearse", "h", "rehearse", "follow it without changing anything: checks run, the rest is shown", (Scope.RUNBOOK,), hint=False),
    Action("end_run", "E", "end run", "close this run of the runbook", (Scope.RUNBOOK,), changes=True, hint=False),
    # incidents, people
    Action("note", "n", "note", "write a line into the timeline", (Scope.INCIDENTS,), changes=True),
    Action("write", "e", "write", "write a longer note in your editor; the board goes on", (Scope.INCIDENTS,), changes=True),
    Action("resolve", "x", "resolve", "say that it is over, and close the incident", (Scope.INCIDENTS,), changes=True),
    Action("severity", "s", "severity", "set how bad it is", (Scope.INCIDENTS,), changes=True, hint=False),
    Action("hand_over", "H", "hand over", "write the note with which somebody else takes over", (Scope.INCIDENTS,), changes=True),
    Action("accept", "t", "take over", "take it over as its handover note says", (Scope.INCIDENTS,), changes=True),
    Action("mitigated", "m", "mitigated", "say that users are served again, where no check can tell", (Scope.INCIDENTS,), changes=True, hint=False),
    Action("cancel", "X", "cancel", "say that it was none", (Scope.INCIDENTS,), changes=True, hint=False),
    Action("reopen", "O", "reopen", "say that it is not over after all", (Scope.INCIDENTS,), changes=True, hint=False),
    Action("closed", "C", "closed ones", "show closed and cancelled incidents, too", (Scope.INCIDENTS,)),
    Action("away", "w", "away", "say that the person is away, and until when", (Scope.PEOPLE,), changes=True),
    Action("back", "b", "back again", "say that the person is back", (Scope.PEOPLE,), changes=True),
    # lists
    Action("open", "enter", "open", "open what the cursor is on", (_W, Scope.INCIDENTS, Scope.RUNBOOKS, Scope.REGISTER, Scope.JOURNAL, Scope.READINESS, Scope.WHATIF, Scope.DRILLS)),
    Action("up", "up,k", "up", "one up", (Scope.LIST,), hint=False),
    Action("down", "down,j", "down", "one down", (Scope.LIST,), hint=False),
    Action("page_up", "pageup", "page up", "one page up", (Scope.LIST,), hint=False),
    Action("page_down", "pagedown", "page down", "one page down", (Scope.LIST,), hint=False),
    Action("first", "home", "first", "to the beginning", (Scope.LIST,), hint=False),
    Action("last", "end,G", "last", "to the end", (Scope.LIST,), hint=False),
    # everywhere
    Action("leave", "escape", "back", "back, or away from a question without effect", (Scope.EVERYWHERE,)),
    Action("close", "q", "back, quit", "back; at the wall: leave the board", (Scope.EVERYWHERE,), hint=False),
    Action("view_wall", "1", "wall", "all components", (Scope.EVERYWHERE,), hint=False),
    Action("view_incidents", "2", "incidents", "what is open, and its timeline", (Scope.EVERYWHERE,), hint=False),
    Action("view_runbooks", "3", "runbooks", "all runbooks", (Scope.EVERYWHERE,), hint=False),
    Action("view_register", "4", "register", "every way to fail, and what was decided for it", (Scope.EVERYWHERE,), hint=False),
    Action("view_journal", "5", "journal", "everything that happened", (Scope.EVERYWHERE,), hint=False),
    Action("view_people", "6", "people", "who is away, and what nobody covers", (Scope.EVERYWHERE,), hint=False),
    Action("view_drills", "7", "drills", "planned failures: what is due, what the latest showed, what may still be broken", (Scope.EVERYWHERE,), hint=False),
    Action("view_readiness", "8", "readiness", "would it survive each of its failures? the gaps, worst first", (Scope.EVERYWHERE,), hint=False),
    Action("view_whatif", "9", "what-if", "what would fail, what would answer, what nobody answers", (Scope.EVERYWHERE,), hint=False),
    Action("view_problems", "exclamation_mark", "problems", "problems of the workspace's files", (Scope.EVERYWHERE,), hint=False),
    Action("last_view", "minus", "last view", "back to the view before this one", (Scope.EVERYWHERE,), hint=False),
    Action("command", "colon,ctrl+p", "command", "type what you want: a view, a component, a runbook, a theme", (Scope.EVERYWHERE,), types=True),
    Action("halt", "f9", "halt drills", "undo what any drill has broken, and let none begin until somebody allows it; asks first", (Scope.EVERYWHERE,), changes=True, hint=False, always=True),
    Action("help", "question_mark,f1", "help", "all keys", (Scope.EVERYWHERE,)),
)  # fmt: skip

QUESTIONS = frozenset({Scope.PLAN, Scope.PROGRESS, Scope.CHOICE, Scope.DRILL})
"""Where a question stands over the screen: the keys of everywhere do not act, but for those that always do."""

BY_ID: dict[str, Action] = {action.id: action for action in ACTIONS}

_NAMES = {
    "slash": "/", "colon": ":", "question_mark": "?", "exclamation_mark": "!", "minus": "-", "escape": "esc",
    "left_square_bracket": "[", "right_square_bracket": "]", "up": "↑", "down": "↓", "pageup": "pgup",
    "pagedown": "pgdn",
}  # fmt: skip


def actions_of(*scopes: Scope) -> list[Action]:
    """Actions that are available in one of the scopes."""
    return [action for action in ACTIONS if set(action.scopes) & set(scopes)]


def key_name(key: str) -> str:
    """A key as it is printed on a keyboard."""
    return _NAMES.get(key, key)


def keys_of(action: Action, changed: Mapping[str, str]) -> list[str]:
    """The keys of an action, printed; `changed` maps ids to other keys."""
    return [key_name(key.strip()) for key in changed.get(action.id, action.keys).split(",")]


def bindings(*scopes: Scope, also: tuple[str, ...] = ()) -> list[Binding]:
    """Textual's bindings for the actions of some scopes, and for single ones by id."""
    from textual.binding import Binding

    return [
        Binding(
            action.keys,
            action.id,
            action.label,
            tooltip=action.tooltip,
            id=action.id,
            show=False,
            priority=action.types or action.always,
        )
        for action in (*actions_of(*scopes), *(BY_ID[name] for name in also))
    ]


def key_problems(changed: Mapping[str, str]) -> list[str]:
    """What is wrong with a mapping of ids to keys: unknown ids, two actions on one key, Enter on a confirmation."""
    problems = []
    for unknown in sorted(set(changed) - set(BY_ID)):
        near = difflib.get_close_matches(unknown, BY_ID, n=1)
        problems.append(f"{unknown}: no action has this id" + (f"; did you mean {near[0]}?" if near else ""))
    problems += [
        f"{confirming}: Enter never confirms; choose another key"
        for confirming in ("confirm", "yes")
        if "enter" in changed.get(confirming, "")
    ]
    for scope in Scope:
        taken: dict[str, str] = {}
        common = () if scope in QUESTIONS else (Scope.EVERYWHERE, Scope.LIST)
        around = [action for action in ACTIONS if action.always and scope in QUESTIONS]
        pairs = [
            (action.id, key) for action in (*actions_of(scope, *common), *around) for key in keys_of(action, changed)
        ]
        problems += [
            f"{name}: {key} is the key of {taken[key]} there ({scope.value})"
            for name, key in pairs
            if taken.setdefault(key, name) != name and (name in changed or taken[key] in changed)
        ]
    return list(dict.fromkeys(problems))


def keymap_markdown() -> str:
    """The table of all keys, for the docs."""
    lines = [
        "A key marked with * changes something; a read-only board refuses it. What acts on the operation shows a plan",
        "or asks first, and Enter confirms neither.",
    ]
    for scope in Scope:
        lines += ["", f"## {scope.value}", "", "| key | action | id | |", "|---|---|---|---|"]
        lines += [
            f"| {' '.join(f'`{key}`' for key in keys_of(action, {}))} | {action.label}{'*' if action.changes else ''} "
            f"| `{action.id}` | {action.tooltip} |"
            for action in actions_of(scope)
        ]
    return "\n".join(lines) + "\n"
