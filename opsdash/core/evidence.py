"""Evidence of a switch: everything that was known, decided, done and seen, as one document that stands for itself.

It is made from the journal's records alone, so that it can be made again, and it carries the hashes of the entries that
it was made from: whoever has the journal can check that nothing was left out or changed.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from opsdash.core.evolve import evolve
from opsdash.core.markdown import cell, line
from opsdash.core.switch_views import detail_of, fact_title, switch_times
from opsdash.core.telling import tell, who_of
from opsdash.model import records as r
from opsdash.model.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opsdash.model.records import Record
    from opsdash.model.switch import Switch

VERSION = 1
"""Of the document's shape."""

PHASES = ("detect", "decide", "act", "settle", "verify")


def is_about(record: Record, switch: str) -> bool:
    """Whether a record belongs to the evidence of a switch."""
    if isinstance(record, r.SwitchIntended):
        return record.switch.id == switch
    if isinstance(record, r.Proved):
        return record.by == switch
    return getattr(record, "switch", None) == switch


def gather(records: Sequence[Record]) -> Switch | None:
    """The switch as it is after its records; None where its beginning is not among them."""
    world = World()
    found: Switch | None = None
    for record in records:
        world.apply(evolve(world, record))
        if isinstance(record, r.SwitchIntended):
            found = record.switch
    return None if found is None else world.get("switches", found.id)


def gather_all(records: Iterable[Record]) -> list[Switch]:
    """Every switch whose beginning is among the records, as it is after them; the oldest first."""
    world = World()
    found: dict[str, Switch] = {}
    for record in records:
        world.apply(evolve(world, record))
        name = record.switch.id if isinstance(record, r.SwitchIntended) else getattr(record, "switch", "")
        switch: Switch | None = world.get("switches", name)
        if switch is not None:
            found[name] = switch
    return list(found.values())


def document(
    switch: Switch,
    records: Sequence[Record],
    entries: Iterable[Mapping[str, Any]],
    plan: Mapping[str, Any],
    manual: Mapping[str, str],
) -> dict[str, Any]:
    """The evidence of a switch as JSON.

    entries: number, time, type, hash and previous hash of the journal's entries behind `records`. plan: as it was
    journaled. manual: the equivalent commands by what they do.
    """
    wall = switch.ended_at if switch.ended_at is not None else records[-1].at
    content = json.dumps(plan, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return {
        "evidence": VERSION,
        "switch": switch.id,
        "component": switch.plan.component,
        "kind": switch.plan.kind.value,
        "source": switch.plan.source,
        "target": switch.plan.target,
        "who": switch.who,
        "approved_by": switch.approved_by,
        "cause": switch.cause.value,
        "reason": switch.reason,
        "overrides": list(switch.overrides),
        "incident": switch.incident,
        "intended_at": switch.intended_at,
        "ended_at": switch.ended_at,
        "outcome": switch.state.value,
        "detail": detail_of(switch),
        "in_doubt": switch.in_doubt,
        "times": switch_times(switch, wall),
        "guards": [
            {"rule": each.rule, "title": each.title, "result": each.result.value,
             "evidence": each.evidence, "age": each.age}
            for each in switch.plan.guards
        ],
        "steps": list(switch.begun),
        "facts": [
            {"name": fact_title(switch, each.name), "truth": each.truth.value, "evidence": each.evidence,
             "hits": each.hits, "needed": each.needed}
            for each in switch.facts
        ],
        "by_hand": dict(manual),
        "plan_sha256": hashlib.sha256(content.encode("ascii")).hexdigest(),
        "history": [{"at": each.at, "who": who_of(each), "what": tell(each)} for each in records],
        "journal": list(entries),
    }  # fmt: skip


def markdown(found: Mapping[str, Any], moment: Callable[[float | None], str]) -> str:
    """The same for people. moment: a time in words."""
    ends = f"{found['source'] or 'normal operation'} → {found['target'] or 'normal operation'}"
    times = found["times"]
    took = ", ".join(f"{name} {times[name]:.1f} s" for name in PHASES if name in times)
    people = line(found["who"]) + (f", agreed by {line(found['approved_by'])}" if found["approved_by"] else "")
    lines = [
        f"# {found['kind'].capitalize()} of {found['component']}: {ends}",
        "",
        f"**{found['outcome'].replace('_', ' ')}**, `{found['switch']}`, {moment(found['intended_at'])}",
        "",
        f"- who: {people} ({found['cause']})",
        f"- why: {line(found['reason']) or 'no reason was given'}",
    ]
    lines += [f"- overridden: {', '.join(found['overrides'])}"] if found["overrides"] else []
    lines += [f"- incident: {found['incident']}"] if found["incident"] else []
    lines += [f"- times: {took}; {times.get('total', 0.0):.1f} s from the key to the end"]
    lines += [f"- {line(found['detail'])}"] if found["detail"] else []
    lines += ["", "## Guards", "", "| guard | result | evidence |", "|---|---|---|"]
    lines += [f"| {cell(each['title'])} | {each['result']} | {cell(each['evidence'])} |" for each in found["guards"]]
    lines += ["", "## Facts", "", "| fact | truth | evidence |", "|---|---|---|"]
    lines += [f"| {cell(each['name'])} | {each['truth']} | {cell(each['evidence'])} |" for each in found["facts"]]
    lines += ["", "## By hand", ""]
    for what, command in found["by_hand"].items():
        lines += [f"{what}:", "", *(f"    {each}" for each in command.splitlines()), ""]
    lines += ["## What happened", ""]
    lines += [f"- {moment(each['at'])} {each['who']}: {line(each['what'])}" for each in found["history"]]
    lines += ["", "## Journal", "", "| entry | type | sha256 |", "|---|---|---|"]
    lines += [f"| {each['seq']} | {each['type']} | `{each['hash']}` |" for each in found["journal"]]
    lines += ["", f"plan: sha256 `{found['plan_sha256']}`"]
    return "\n".join(lines) + "\n"
