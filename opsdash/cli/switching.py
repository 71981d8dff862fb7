"""Failover, failback, degrade and restore: one conversation with the engine, whichever end is moved.

Plan, guards, question, intent, then watching until the outcome is known. The plan is shown first and nothing has
happened yet; the intent names what the plan said, so that whoever was faster is noticed (`changed`). An answer that got
lost is *unknown*, not failed, and is never sent again.

With `--json` standard output has one object, at the end; the conversation is on standard error.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import (
    UsageError,
    add_as,
    add_json,
    add_workspace,
    first_results,
    refusal,
    with_engine,
)
from opsdash.cli.terminal import (
    RESULT,
    TRUTH,
    Painted,
    Role,
    ask,
    bold,
    can_ask,
    dim,
    out,
    out_json,
    say,
    sign,
    table,
)
from opsdash.core.switch_views import commands_back, commands_there
from opsdash.model.switch import MAIN
from opsdash.model.units import format_duration
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from opsdash.model.views import FactView, PlanView, SwitchView
    from opsdash.service.client import EngineSession

LOOK_EVERY = 0.1
LOST_FOR = 60.0
"""Seconds for which a lost engine is waited for before the outcome is called unknown."""

OUTCOMES: dict[str, tuple[Painted, int]] = {
    "committed": (Painted("✓ done and verified", Role.OK), exits.COMMITTED),
    "aborted": (Painted("- not started: nothing was changed", Role.DEGRADED), exits.NOT_DONE),
    "no_effect": (Painted("✗ NO EFFECT: it was carried out, and does not show", Role.DOWN), exits.NOT_DONE),
    "split": (Painted("✗ SPLIT: both sides may be serving", Role.DOWN), exits.NOT_DONE),
    "refused": (Painted("- refused: nothing was done", Role.DEGRADED), exits.REFUSED),
    "reverted": (Painted("✗ REVERTED by somebody else after it was done", Role.DOWN), exits.NOT_DONE),
    "undone": (Painted("- undone: back to where it was", Role.DEGRADED), exits.NOT_DONE),
    "unknown": (Painted("? NOT KNOWN: look before you do anything again", Role.UNKNOWN), exits.OUTCOME_UNKNOWN),
    "needs_human": (Painted("✗ NEEDS A PERSON", Role.DOWN), exits.OUTCOME_UNKNOWN),
}
BUSY: dict[str, str] = {
    "intent": "written down; reading who serves now",
    "fencing": "at the steps before it",
    "acting": "acting",
    "settling": "waiting for it to settle",
    "verifying": "verifying",
    "undoing": "undoing",
}
TITLES = {"failover": "Failover", "failback": "Failback", "degrade": "Degraded mode", "restore": "Back to normal"}
NO_SUCH_THING = frozenset({"unknown_component", "unknown_provider", "unknown_mode"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    component: str
    kind: str
    target: str | None
    only_plan: bool
    yes: bool
    json: bool
    reason: str
    overrides: tuple[str, ...]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments that all four commands have."""
    parser.add_argument("component", metavar="COMPONENT")
    parser.add_argument("--plan", action="store_true", help="only show what would be done, and what speaks against it")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; it is recorded")
    parser.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="RULE",
        help="go ahead although this guard fails; it is recorded (may be given several times)",
    )
    add_json(parser)
    add_as(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace, kind: str, target: str | None) -> int:
    """Plan it, ask, do it, and watch it."""
    wanted = Wanted(
        component=arguments.component,
        kind=kind,
        target=target,
        only_plan=arguments.plan,
        yes=arguments.yes,
        json=arguments.json,
        reason=arguments.reason,
        overrides=tuple(arguments.override),
    )
    return with_engine(arguments, lambda session: move(session, wanted))


async def move(session: EngineSession, wanted: Wanted) -> int:
    """One switch from its plan to its outcome. Returns the exit code."""
    plan = await _plan(session, wanted)
    if plan["refused"] is not None:
        return _refused(wanted, plan, refusal(plan["refused"]), rule=plan["refused"]["rule"])
    show_plan(plan, to_stderr=not wanted.only_plan or wanted.json)
    obstacle = _obstacle(plan, wanted)
    if wanted.only_plan:
        if wanted.json:
            status = "refused" if obstacle else "planned"
            out_json({"component": wanted.component, "status": status, "reason": obstacle, "plan": plan})
        elif obstacle:
            say(obstacle)
        return exits.REFUSED if obstacle else exits.OK
    if obstacle:
        return _refused(wanted, plan, obstacle)
    if not wanted.yes:
        if not can_ask():
            return _refused(wanted, plan, "nobody can be asked here: look at it with --plan, then add --yes")
        if not _confirmed(plan, wanted):
            say("Nothing was done.")
            return exits.NOT_DONE
    return await _carry_out(session, wanted, plan)


async def _plan(session: EngineSession, wanted: Wanted) -> PlanView:
    try:
        await first_results(session, wanted.component)
    except SessionError as error:
        known = [row["id"] for row in (await session.snapshot())["rows"]]
        if wanted.component in known:
            raise
        from opsdash.cli.status import unknown_component

        raise unknown_component(wanted.component, known) from error
    return await session.plan(wanted.component, wanted.kind, wanted.target)


def _obstacle(plan: PlanView, wanted: Wanted) -> str:
    """What forbids it for good, as the command line stands; "" if nothing does."""
    failed = [guard for guard in plan["guards"] if guard["rule"] in plan["failed"]]
    hard = [guard for guard in failed if not guard["overridable"]]
    if hard:
        return "in the way, and not to be overridden: " + "; ".join(_guard(guard) for guard in hard)
    missing = [guard for guard in failed if guard["rule"] not in wanted.overrides]
    if missing and (wanted.yes or wanted.only_plan or not can_ask()):
        rules = " ".join(f"--override {guard['rule']}" for guard in missing)
        return f"in the way: {'; '.join(_guard(guard) for guard in missing)}; to go ahead all the same: {rules}"
    if failed and not (wanted.reason or plan["reason"]):
        return f"overriding {', '.join(plan['failed'])} needs a reason: --reason TEXT"
    return ""


def _guard(guard: Any) -> str:
    return f"{guard['title']}: {guard['evidence']} [{guard['rule']}]"


def _refused(wanted: Wanted, plan: PlanView, why: str, rule: str = "") -> int:
    if rule in NO_SUCH_THING:
        raise UsageError(why)
    if wanted.json:
        out_json({"component": wanted.component, "status": "refused", "reason": why, "plan": plan})
    say(Painted("refused: ", Role.DOWN), why)
    return exits.REFUSED


# --- the plan, and the question ----------------------------------------------------------------------------------


def show_plan(plan: PlanView, *, to_stderr: bool) -> None:
    """The plan with its guards. Nothing has happened yet."""
    line = say if to_stderr else out
    ends = f"{plan['source_title'] or 'normal operation'} → {plan['target_title'] or 'normal operation'}"
    line(bold(f"{TITLES.get(plan['kind'], plan['kind'])} of {plan['title']}: {ends}"))
    table(
        [
            [sign(RESULT, guard["result"]), guard["title"], guard["evidence"], dim(_age(guard["age"]))]
            for guard in plan["guards"]
        ],
        to_stderr=to_stderr,
        indent="  ",
    )
    extras = {
        "keeps": ", ".join(plan["keeps"]),
        "drops": ", ".join(plan["drops"]),
        "reason": plan["reason"],
        "last time": plan["last"],
    }
    lines = [*extras.items(), *(("note", text) for text in plan["notes"]), *_by_hand(plan)]
    table([[dim(name), text] for name, text in lines if text], to_stderr=to_stderr, indent="  ")


def _by_hand(plan: PlanView) -> Iterator[tuple[str, str]]:
    """The equivalent commands in order, there and back; with the steps around the switch by their names."""
    for what, commands in (("by hand", commands_there(plan)), ("undo by hand", commands_back(plan))):
        for name, command in commands:
            first, *others = command.splitlines() or [""]
            yield f"{what}, {name}" if plan["steps"] else what, first
            yield from (("", line) for line in others)


def _age(seconds: float | None) -> str:
    return "" if seconds is None else f"{format_duration(seconds)} ago"


def _confirmed(plan: PlanView, wanted: Wanted) -> bool:
    """Ask. Enter alone never confirms."""
    failed = [rule for rule in plan["failed"] if rule not in wanted.overrides]
    if plan["needs"] == "typed":
        final = any(step["no_return"] for step in plan["steps"])
        otherwise = "has a point of no return" if final else "drops something essential"
        why = f"overrides {', '.join(plan['failed'])}" if failed or plan["failed"] else otherwise
        name = plan["component"]
        return ask(Painted(f"This {why}. Type {name} to go ahead:", Role.DEGRADED)) == name
    return ask(bold("Go ahead? y, or anything else to leave:")).lower() in {"y", "yes"}


# --- doing it ----------------------------------------------------------------------------------------------------


async def _carry_out(session: EngineSession, wanted: Wanted, plan: PlanView) -> int:
    known = {guard["rule"] for guard in plan["guards"]}
    intent = {
        "component": plan["component"],
        "generation": plan["generation"],
        "source": plan["source"],
        "target": plan["target"],
        "reason": wanted.reason or plan["reason"],
        "overrides": list(dict.fromkeys([*plan["failed"], *(rule for rule in wanted.overrides if rule in known)])),
        "typed": plan["component"] if plan["needs"] == "typed" or wanted.overrides else "",
    }
    try:
        verdict = await session.submit(plan["kind"], intent, os.urandom(12).hex())
    except SessionError as error:
        return _lost(wanted.component, wanted.json, f"not known whether the request arrived: {error}")
    if verdict["refused"] is not None:
        return _refused(wanted, plan, refusal(verdict["refused"]))
    return await follow(session, wanted.component, verdict["subject"], json=wanted.json)


async def follow(session: EngineSession, component: str, switch_id: str, *, json: bool) -> int:
    """Watch a switch until it has ended or only a person can lead it on. Returns the exit code."""
    try:
        return await _watch(session, component, switch_id, json=json)
    except asyncio.CancelledError:
        say(f"the switch goes on without this window; `opsdash switch show {component}` shows it")
        raise


async def _watch(session: EngineSession, component: str, switch_id: str, *, json: bool) -> int:
    watcher = _Watcher()
    loop = asyncio.get_running_loop()
    heard = loop.time()
    while True:
        try:
            switch = await session.switch(component)
        except SessionError as error:
            if loop.time() - heard > LOST_FOR:
                return _lost(component, json, f"the engine is lost: {error}")
        else:
            heard = loop.time()
            if switch is not None and switch["id"] == switch_id:
                watcher.tell(switch)
                if not switch["live"]:
                    return _ended(switch, json)
        await asyncio.sleep(LOOK_EVERY)


def _lost(component: str, json: bool, why: str) -> int:
    if json:
        out_json({"component": component, "status": "unknown", "reason": why})
    say(Painted("? NOT KNOWN: ", Role.UNKNOWN), why)
    say(f"look with `opsdash switch show {component}` before you do anything again")
    return exits.OUTCOME_UNKNOWN


class _Watcher:
    """Tells what is new about a switch, on standard error."""

    def __init__(self) -> None:
        self._place = ("", "")
        self._begun: list[str] = []
        self._asked: str | None = None
        self._facts: dict[str, tuple[str, int]] = {}

    def tell(self, switch: SwitchView) -> None:
        """A line for a new state, and for each fact that changed."""
        elapsed = f"{switch['times'].get('total', 0.0):5.1f}s "
        for name in [each for each in switch["begun"] if len(switch["begun"]) > 1 and each not in self._begun]:
            if name != switch["step"]:
                say(dim(elapsed), Painted(f"▸ {name}", Role.BUSY))
        self._begun = switch["begun"]
        place = (switch["state"], switch["step"])
        if place != self._place:
            self._place = place
            if switch["state"] in BUSY:
                at = f": {switch['step']}" if switch["step"] else ""
                say(dim(elapsed), Painted(f"▸ {BUSY[switch['state']]}{at}", Role.BUSY))
        if switch["abort_asked"] not in {None, self._asked}:
            self._asked = switch["abort_asked"]
            say(Painted(asked_words(switch), Role.DEGRADED))
        for fact in switch["facts"]:
            seen = (fact["truth"], fact["hits"])
            news = seen != self._facts.get(fact["name"], ("unknown", 0))
            if news and fact["truth"] not in {"not declared", "stateless"}:
                self._facts[fact["name"]] = seen
                say(dim(elapsed), "  ", *_fact(fact))


def asked_words(switch: SwitchView) -> str:
    """Who wants it to be called off, and what becomes of that."""
    if switch["called_off"]:
        return f"called off by {switch['abort_asked']}: no further step is begun, and what was begun is taken back"
    how = f"opsdash switch abort {shlex.quote(switch['component'])}"
    return f"{switch['abort_asked']} asks for it to be called off; {switch['who']} can do that: {how}"


def _fact(fact: FactView) -> list[str | Painted]:
    count = f" {fact['hits']} of {fact['needed']}" if fact["needed"] > 1 else ""
    evidence = f" ({fact['evidence']})" if fact["evidence"] else ""
    return [sign(TRUTH, fact["truth"]), f"  {fact['title']}{count}{evidence}"]


def _ended(switch: SwitchView, json: bool) -> int:
    code = exit_code(switch)
    if json:
        out_json({"component": switch["component"], "status": switch["state"], "reason": switch["detail"] or None,
                  "switch": switch})  # fmt: skip
    else:
        show_switch(switch)
    return code


def exit_code(switch: SwitchView) -> int:
    """The exit code for a switch's state; one that is still going on is not known."""
    return OUTCOMES.get(switch["state"], OUTCOMES["unknown"])[1]


def show_switch(switch: SwitchView) -> None:
    """A switch with its outcome, facts and times, as data."""
    title = TITLES.get(switch["kind"], switch["kind"])
    ends = f"{switch['source_title'] or 'normal operation'} → {switch['target_title'] or 'normal operation'}"
    state = switch["state"]
    busy = Painted(f"▸ {BUSY.get(state, state)}", Role.BUSY)
    stated = Painted(f"- {state.replace('_', ' ')}, as {switch['stated_by']} states", Role.DEGRADED)
    known = stated if switch["stated_by"] else OUTCOMES.get(state, (busy, 0))[0]
    out(bold(f"{title} of {switch['component']}: {ends}"), "  ", known)
    if len(switch["sequence"]) > 1:
        out(f"  {_steps(switch)}")
    if switch["live"] and switch["abort_asked"]:
        out(Painted(f"  {asked_words(switch)}", Role.DEGRADED))
    if switch["detail"]:
        out("  ", switch["detail"])
    for fact in switch["facts"]:
        out("  ", *_fact(fact))
    if switch["times"]:
        out("  ", times(switch))
    overrides = f", overriding {', '.join(switch['overrides'])}" if switch["overrides"] else ""
    reason = f": {switch['reason']}" if switch["reason"] else ""
    second = f" and {switch['approved_by']}" if switch["approved_by"] else ""
    itself = "opsdash by itself" if switch["cause"] == "auto" else f"{switch['who']}{second}"
    out(dim(f"  {switch['id']} by {itself}{overrides}{reason}"))
    if switch["in_doubt"]:
        out(Painted("  the engine ended while it was in flight; since then it was only observed", Role.DEGRADED))
    for way in switch["ways_out"]:
        out("  way out: ", _way_out(way, switch["component"]))


def _steps(switch: SwitchView) -> str:
    """Where it is among its steps."""
    left = [name for name in switch["sequence"] if name not in switch["begun"]]
    at = f"at the step {switch['step'] or MAIN}; " if switch["live"] and switch["begun"] else ""
    begun = ", ".join(switch["begun"]) or "none"
    return f"{at}steps begun: {begun}" + (f"; not begun: {', '.join(left)}" if left else "")


def times(switch: SwitchView) -> str:
    """Where the time went."""
    parts = [f"{name} {switch['times'][name]:.1f} s" for name in ("act", "settle", "verify") if name in switch["times"]]
    away = switch["kind"] in {"failover", "degrade"}
    noticed = switch["times"].get("decide") if away else None
    decide = "" if noticed is None else f"; decided {format_duration(noticed)} after it was noticed"
    return f"{switch['times'].get('total', 0.0):.1f} s: {', '.join(parts)}{decide}"


def _way_out(way: str, component: str) -> str:
    quoted = shlex.quote(component)
    commands = {
        "undo": f"opsdash switch undo {quoted}",
        "settle": f"opsdash switch settle {quoted} committed|aborted|undone --reason TEXT",
        "take_over": f"opsdash switch take-over {quoted}",
        "abort": f"opsdash switch abort {quoted}",
    }
    return commands.get(way, way)
