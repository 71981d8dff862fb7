"""What must hold after a kill: nothing that was accepted is lost or there twice, in the journal, the world, documents.

All of it is compared with the journal and with what clients were told; nothing here uses the code that is tested, apart
from what reads the journal's lines.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from opsdash.service.places import places
from opsdash.storage.segments import read_entries, verify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from opsdash.service.client import EngineSession
    from opsdash.storage.entries import Entry
    from tests.lifecycle.kills import Asked, Siege

RECORD: dict[str, str] = {
    "note": "incident_noted",
    "edit_entry": "entry_edited",
    "offer_handover": "handover_offered",
    "rate": "incident_rated",
    "tell": "message_queued",
    "resolve": "incident_closed",
    "mark": "marked",
    "maintenance": "maintenance_set",
    "take_run": "run_taken",
    "set_parameter": "run_parameter_set",
}
"""The record in which the word of a request stands, once."""

ONE_EACH: dict[str, str] = {
    "tick": "run_ticked",
    "mark_step": "step_marked",
    "decide_block": "block_decided",
    "accept_handover": "handover_accepted",
    "set_parameter": "run_parameter_set",
    "cancel_block": "block_cancel_asked",
    "edit_entry": "entry_edited",
    "mark": "marked",
    "rate": "incident_rated",
}
"""Intents of which each one that was accepted is one record, and no other leads to it."""


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file; one that is being written is not there yet."""
    if not file.exists():
        return []
    whole = file.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line]


class Chronicle:
    """The journal as it was found so far. What was there once has to stay as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = places(folder).state / "journal"
        self.entries: list[Entry] = []
        self.wrong: list[str] = []

    def read(self) -> None:
        """Read on, from where it ended."""
        since = self.entries[-1].seq if self.entries else 0
        found = list(read_entries(self.folder, since - 1)) if self.folder.exists() else []
        if self.entries and (not found or found[0] != self.entries[-1]):
            self.wrong.append(f"entry {since} was there, and is not there as it was")
        self.entries += found[1:] if self.entries else found

    def of(self, *types: str) -> Iterator[dict[str, Any]]:
        """The data of all entries of some types, each with its type."""
        return ({**entry.data, "type": entry.type} for entry in self.entries if entry.type in types)


# --- after each kill -------------------------------------------------------------------------------------------------


def of_the_journal(siege: Siege) -> list[str]:
    """What is wrong with the journal, and with what blocks have done."""
    chronicle = siege.chronicle
    chronicle.read()
    wrong, chronicle.wrong = chronicle.wrong, []
    found = Counter(each["key"] for each in chronicle.of("request_accepted"))
    wrong += [f"request {key} is in the journal {count} times" for key, count in found.items() if count > 1]
    wrong += [f"request {key}, which nobody made, is in the journal" for key in found if key not in siege.ledger.asked]
    begun = {each["run"] for each in chronicle.of("run_started")}
    for each in siege.ledger.accepted:
        went_on = each.intent == "open_run" and siege.ledger.subjects[each.key] in begun
        if each.key not in found and not went_on:
            wrong.append(f"{each} was accepted, and is not in the journal")
    wrong += [f"request {key} was refused, and is in the journal" for key in siege.ledger.not_begun if key in found]
    wrong += list(_words(chronicle, siege.ledger.asked.values(), found))
    intents = Counter(siege.ledger.asked[key].intent for key in found if key in siege.ledger.asked)
    for intent, kind in ONE_EACH.items():
        count = sum(
            not each.get("automatic", False) and each.get("source", "asked") == "asked" for each in chronicle.of(kind)
        )
        if count != intents[intent]:
            wrong.append(f"{intents[intent]} of {intent} were accepted, and {count} records {kind} are there")
    wrong += list(_blocks(chronicle, siege.folder / "executed"))
    siege.tally.checks["the journal after a kill"] += 1
    return wrong


def _words(chronicle: Chronicle, asked: Iterable[Asked], found: Counter[str]) -> Iterator[str]:
    texts: dict[str, str] = defaultdict(str)
    for kind in set(RECORD.values()):
        texts[kind] = "\n".join(json.dumps(each) for each in chronicle.of(kind))
    for each in asked:
        if each.word and each.intent in RECORD:
            count = texts[RECORD[each.intent]].count(f"{each.word}")
            wanted = 1 if each.key in found else 0
            most = 2 if each.intent == "tell" else 1
            if not wanted <= count <= most * wanted:
                yield f"{each} is {count} times in the journal, and its request {found[each.key]} times"


def _blocks(chronicle: Chronicle, executed: Path) -> Iterator[str]:
    """Each program that ran was on record before, ran once, and not again undecided; what was cut short is unknown."""
    state: dict[tuple[str, str, int], str] = {}
    pids: set[tuple[str, str, str]] = set()
    passed: set[tuple[str, str, str]] = set()
    for each in chronicle.of("engine_started", "block_started", "block_spawned", "block_finished", "block_decided"):
        if each["type"] == "engine_started":
            state = {key: "cut short" if was == "started" else was for key, was in state.items()}
            continue
        result = each.get("result", {})
        key = (each["run"], each.get("step") or result["step"], each.get("block", result.get("block", 0)))
        before = state.get(key)
        match each["type"]:
            case "block_started":
                if before in ("started", "cut short", "unknown") and each.get("role") == "run":
                    yield f"{key} was started again while it was {before}, and nobody had decided that"
                state[key] = "started"
            case "block_spawned":
                pids.add((key[0], key[1], str(each["pid"])))
            case "block_finished":
                state[key] = result["state"]
                if before == "cut short" and state[key] != "unknown":
                    yield f"{key} was cut short, and is called {state[key]}"
                if state[key] == "passed" and result.get("role") == "run":
                    passed.add((key[0], key[1], str(result.get("pid"))))
            case _:
                state[key] = f"decided to be {each['decision']}"
    lines = [tuple(line.split()[:3]) for line in executed.read_text().splitlines()] if executed.exists() else []
    ran = Counter(lines)
    yield from (f"{key} ran {count} times" for key, count in ran.items() if count > 1)
    yield from (f"{key} ran, and is not on record" for key in ran if key not in pids)
    yield from (f"{key} has passed, and did not run" for key in passed - set(ran))


# --- what the next engine shows --------------------------------------------------------------------------------------


async def of_the_world(chronicle: Chronicle, session: EngineSession, checks: Counter[str]) -> list[str]:
    """What an engine shows otherwise than the journal has it."""
    wrong = list(_incidents(chronicle, await session.incidents(closed=True)))
    runs = {each["id"]: await session.run(each["id"]) for each in await session.runs(limit=1000)}
    wrong += list(_runs(chronicle, runs))
    book: Any = await session.runbook("shop-down")
    wrong += list(_open_run(chronicle, book))
    windows = {each["reason"] for each in await session.windows()}
    last = [each["reason"] for each in chronicle.of("maintenance_set")][-1:]
    wrong += [f"the maintenance {each} is not shown" for each in last if each not in windows]
    checks["what the next engine shows"] += 1
    return wrong


def _incidents(chronicle: Chronicle, shown: Iterable[Any]) -> Iterator[str]:
    there = {each["id"]: each for each in shown}
    acked: dict[str, str | None] = {}
    edited: dict[tuple[str, int], str] = {}
    noted: dict[str, list[str]] = defaultdict(list)
    for each in chronicle.of(
        "incident_opened", "incident_noted", "entry_edited", "incident_acknowledged", "incident_unacknowledged",
        "incident_resolved", "incident_closed", "incident_cancelled", "incident_reopened",
    ):  # fmt: skip
        name = each["incident"]
        match each["type"]:
            case "incident_noted":
                noted[name].append(each["text"])
            case "entry_edited":
                edited[name, each["entry"]] = each["text"]
            case "incident_acknowledged":
                acked[name] = each["who"]
            case "incident_opened":
                noted[name] += []
            case _:
                acked[name] = None
    for name, texts in noted.items():
        if name not in there:
            yield f"{name} is not shown"
            continue
        entries = there[name]["entries"]
        known = {line["text"] for line in entries} | {
            change["text"] for line in entries for change in line["edits"] if change["text"] is not None
        }
        yield from (f"{name} does not show {text!r}" for text in texts if text not in known)
        if acked.get(name) and there[name]["acknowledged_by"] != acked[name]:
            yield f"{name} was acknowledged by {acked[name]}, and shows {there[name]['acknowledged_by']}"
    for (name, entry), text in edited.items():
        line = there[name]["entries"][entry]["text"] if name in there else None
        if line != text:
            yield f"line {entry} of {name} was corrected to {text!r}, and is {line!r}"


def _marks(chronicle: Chronicle) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for each in chronicle.of("step_marked"):
        found[each["run"], each["step"]] = "" if each["mark"] == "open" else each["mark"]
    return found


def _runs(chronicle: Chronicle, runs: dict[str, Any]) -> Iterator[str]:
    marks = _marks(chronicle)
    for each in chronicle.of("run_started"):
        if each["run"] not in runs:
            yield f"{each['run']} is not listed"
            continue
        run = runs[each["run"]]
        for step in run["steps"]:
            wanted = marks.get((run["id"], step["id"]), "")
            if step["mark"] != wanted:
                yield f"step {step['id']} of {run['id']} was marked {wanted!r}, and is {step['mark']!r}"
    ended = {each["run"] for each in chronicle.of("run_ended")}
    for name, run in runs.items():
        if (run["ended_at"] is not None) != (name in ended):
            yield f"{name} ended: {name in ended}; shown: {run['ended_at']}"


def _open_run(chronicle: Chronicle, view: Any) -> Iterator[str]:
    name = view["id"]
    ticks = {(each["step"], each["tick"]): each["done"] for each in chronicle.of("run_ticked") if each["run"] == name}
    values = {each["name"]: each["value"] for each in chronicle.of("run_parameter_set") if each["run"] == name}
    taken = [each["who"] for each in chronicle.of("run_started", "run_taken") if each["run"] == name]
    for step in view["steps"]:
        for number, (_, done) in enumerate(step["ticks"]):
            if done != ticks.get((step["id"], number), False):
                yield f"tick {number} of step {step['id']} of {name} is {done}"
    for param in view["params"]:
        if param["value"] != values.get(param["name"]):
            yield f"{param['name']} of {name} is {param['value']!r}, and was set to {values.get(param['name'])!r}"
    if taken and view["driver"] != taken[-1]:
        yield f"{name} is driven by {taken[-1]}, and {view['driver']} is shown"


# --- when all is over ------------------------------------------------------------------------------------------------


def at_the_end(siege: Siege) -> list[str]:
    """What is wrong when everything has come to its end, and no engine runs any more."""
    wrong = [f"the journal: {problem}" for problem in verify(siege.chronicle.folder)]
    arrived = siege.arrived()
    for channel, came in arrived.items():
        queued = [
            each["message"] for each in siege.chronicle.of("message_queued") if each["message"]["channel"] == channel
        ]
        wrong += list(_arrivals(channel, queued, came))
        over = [
            set(each.get("over", ()))
            for each in siege.chronicle.of("message_queued")
            if each["message"]["channel"] == channel
        ]
        wrong += list(_ends(channel, queued, over))
    wrong += list(_documents(siege))
    wrong += list(_reports(siege))
    return wrong


def _arrivals(channel: str, queued: list[dict[str, Any]], came: list[dict[str, Any]]) -> Iterator[str]:
    """All that was queued arrived, in that order, each under one key, and nothing else."""
    keys = {each["id"]: each["key"] for each in queued}
    seen: dict[str, set[str]] = defaultdict(set)
    bodies: dict[str, set[str]] = defaultdict(set)
    for each in came:
        seen[each["id"]] |= {each["key"], each.get("header", each["key"])}
        bodies[each["id"]].add(f"{each['title']}\n{each['body']}")
    yield from (f"{name} was queued for {channel}, and never arrived" for name in keys if name not in seen)
    yield from (f"{name} arrived over {channel}, and was never queued" for name in seen if name not in keys)
    yield from (
        f"{name} arrived over {channel} with keys {found}" for name, found in seen.items() if found != {keys.get(name)}
    )
    yield from (f"{name} arrived over {channel} with several texts" for name, found in bodies.items() if len(found) > 1)
    order = list(dict.fromkeys(each["id"] for each in came))
    if order != [each["id"] for each in queued]:
        yield f"over {channel} came {order}, in another order than {[each['id'] for each in queued]}"
    by_key = Counter(keys.values())
    yield from (f"two messages have the key {key}" for key, count in by_key.items() if count > 1)


def _ends(channel: str, queued: list[dict[str, Any]], over: list[set[str]]) -> Iterator[str]:
    """Of each alarm the channel is told that it begins and ends in turns, and in the end that it is over."""
    known: set[str] = set()
    for message, ends in zip(queued, over, strict=True):
        if message["kind"] not in ("problem", "resolved"):
            continue
        begins = set(message.get("about", ())) - ends
        yield from (f"{channel} was told twice that {each} began: {message['id']}" for each in begins & known)
        yield from (f"{channel} was told that {each} is over, of which it knew nothing" for each in ends - known)
        known = (known | begins) - ends
    yield from (f"{channel} was never told that {each} is over" for each in known)


def _documents(siege: Siege) -> Iterator[str]:
    """What the engines wrote is what follows from the journal, and has all that was accepted."""
    folder = places(siege.folder).state / "documents"
    before = _read(folder)
    said = _opsdash(siege, "journal", "rebuild")
    after = _read(folder)
    if said:
        yield said
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"{name} is another document after a rebuild: {_differs(before.get(name), after.get(name))}"
    texts = json.dumps(after)
    for each in siege.ledger.accepted:
        if each.intent in ("note", "edit_entry") and each.word not in texts:
            yield f"{each} is in no document"
    siege.tally.checks["documents"] += len(after)


def _differs(one: Any, other: Any) -> str:
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return f"{one!r:.300} and {other!r:.300}"
    return "; ".join(
        f"{key}: {one.get(key)!r:.300} and {other.get(key)!r:.300}" for key in one if one.get(key) != other.get(key)
    )


def _read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in sorted(folder.glob("*.json")):
        for collection, documents in json.loads(file.read_text()).items():
            found |= {f"{collection} {name}": document for name, document in documents.items()}
    return found


def _reports(siege: Siege) -> Iterator[str]:
    said = _opsdash(siege, "journal", "verify")
    if said:
        yield said
    for each in siege.chronicle.of("incident_opened"):
        said = _opsdash(siege, "incident", "report", each["incident"])
        siege.tally.checks["reports"] += 1
        if said:
            yield said


def _opsdash(siege: Siege, *words: str) -> str:
    """Run a command; "" if it worked, otherwise what it said."""
    command = [sys.executable, "-P", "-m", "opsdash", *words, "-w", str(siege.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return (
        "" if done.returncode == 0 else f"opsdash {' '.join(words)} ended with {done.returncode}: {done.stderr[-500:]}"
    )
