"""Kill tests: people write, things fail, messages are sent, and the engine is killed again and again.

A `Siege` is one operation over many engines. Two people keep doing all that can be done with incidents and runbooks;
two components fail and recover; one channel is a file, the other a server that is sometimes slow, sometimes busy, loses
connections, or says that it took what it has lost. The engine is killed with SIGKILL at random moments, the next one is
started, and so on; in some turns its disk is full before. What people were told was accepted is kept here, in a plain
list, and compared with what every next engine knows (`tests.lifecycle.kill_checks`).

The short form runs with the tests; `make kill-test` (tools/kill_test.py) does 200 and writes docs/kill-test.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import resource
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opsdash.service.client import EngineSession
from opsdash.service.session import SessionError
from tests.engine.support import Target, eventually_asked, http, serving, write_workspace
from tests.lifecycle import kill_checks
from tests.lifecycle.kill_checks import Chronicle
from tests.lifecycle.support import engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.engine.support import Request
    from tests.lifecycle.support import EngineProcess

    Arrived = Callable[[], dict[str, list[dict[str, Any]]]]

SOONEST, LATEST = 0.002, 2.0
"""Seconds after something was sent within which the engine is killed; the sooner, the more often."""

PATIENCE = 60.0
A_WHILE = 10.0
"""Seconds for which the sending of a message is waited for, to kill the engine in the middle of it."""

MOVES = 40
"""What a person does in one turn, at most."""

BOOK = "shop-down"
COMPONENTS = ("shop", "pay")
CHANNELS = ("log", "hook")

SETTINGS = """
people:
  maria: {name: Maria}
  ken: {name: Ken}
alarms:
  group_wait: 100ms
  channels:
    log: {kind: file, path: alarms.jsonl, format: json}
    hook: {kind: webhook, url: "URL/hook", timeout: 2s, confirm: json.id}
"""

COMPONENT = """
tier: essential
defaults: {every: 200ms, timeout: 5s, down_after: 1, up_after: 1}
checks: {door: {kind: file, path: NAME.up}}
"""

RUNBOOK = """---
title: The shop is down
component: shop
params:
  hint: {ask: What do you see?}
---

## Steps

### Look

- [ ] the page of the shop
- [ ] the page of the bank

```sh {check}
test -d .
```

### Drain

```sh {run}
echo "$OPSDASH_RUN drain $$" >> executed
sleep 0.1
```

### Restart

- [ ] tell the others

```sh {run once}
echo "$OPSDASH_RUN restart $$ $hint" >> executed
sleep 0.3
echo restarted
```

```sh {check}
test -s executed
```

### Verify

```sh {check}
true
```
"""


# --- what people ask for ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A request: with its key, and the word by which what follows from it is known, "" where nothing has one."""

    key: str
    who: str
    intent: str
    arguments: dict[str, Any]
    word: str = ""


@dataclass
class Ledger:
    """What came of all requests. lost: those without an answer; pending: of these, those that are asked again.

    subjects: what was begun by those that were accepted, by their keys.  not_begun: keys of those that were refused.
    """

    asked: dict[str, Asked] = field(default_factory=dict)
    accepted: list[Asked] = field(default_factory=list)
    subjects: dict[str, str] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    not_begun: set[str] = field(default_factory=set)
    lost: dict[str, Asked] = field(default_factory=dict)
    pending: list[Asked] = field(default_factory=list)
    repeated: int = 0
    odd: list[str] = field(default_factory=list)

    def note(self, asked: Asked, verdict: Any) -> None:
        """An answer has come."""
        self.lost.pop(asked.key, None)
        if asked in self.pending:
            self.pending.remove(asked)
        if verdict["accepted"]:
            self.accepted.append(asked)
            self.not_begun.discard(asked.key)
            self.subjects[asked.key] = verdict["subject"]
            return
        rule = verdict["refused"]["rule"]
        self.refused[rule] += 1
        self.not_begun.add(asked.key)
        if rule in ("bug", "arguments", "unknown_intent") or not verdict["refused"]["reason"]:
            self.odd.append(f"{asked.intent} was refused: {verdict['refused']}")


class Person:
    """Somebody who does what can be done, over and over."""

    def __init__(self, name: str, ledger: Ledger, chance: random.Random, sent: Callable[[], None]) -> None:
        self.name = name
        self._ledger = ledger
        self._chance = chance
        self._sent = sent
        self._count = 0

    async def work(self, one: EngineProcess) -> None:
        """Until the engine is gone. What got no answer is asked again first, with the key that it had."""
        session = EngineSession(one.where, claim=self.name)
        try:
            for asked in [each for each in self._ledger.pending if each.who == self.name]:
                self._ledger.repeated += 1
                await self.ask(session, asked)
            for _ in range(MOVES):
                move = await self._choose(session)
                if move is not None:
                    await self.ask(session, self.request(*move))
                await asyncio.sleep(self._chance.uniform(0, 0.08))
        except SessionError as error:
            if one.process.returncode is None and not one.killed:
                self._ledger.odd.append(f"{self.name}: {error}, from an engine that was alive")

    def request(self, intent: str, arguments: dict[str, Any], word: str = "") -> Asked:
        """A request with a key of its own."""
        self._count += 1
        asked = Asked(f"{self.name}-{self._count}", self.name, intent, arguments, word)
        self._ledger.asked[asked.key] = asked
        return asked

    async def ask(self, session: EngineSession, asked: Asked) -> Any:
        """Ask, and write down what came of it."""
        self._sent()
        try:
            verdict = await session.submit(asked.intent, asked.arguments, asked.key)
        except SessionError:
            if asked.key not in self._ledger.lost:
                self._ledger.lost[asked.key] = asked
                if self._chance.random() < 0.7:
                    self._ledger.pending.append(asked)
            raise
        self._ledger.note(asked, verdict)
        return verdict

    def word(self) -> str:
        """One that nobody has used yet."""
        return f"{self.name}-says-{self._count + 1}-"

    async def _choose(self, session: EngineSession) -> tuple[str, dict[str, Any], str] | None:
        kind = self._chance.choices(("incident", "run", "else"), (5, 6, 2))[0]
        if kind == "incident":
            return self._with_incidents(await session.incidents(closed=True))
        if kind == "run":
            return self._with_run(await session.runbook(BOOK))
        return self._otherwise()

    def _otherwise(self) -> tuple[str, dict[str, Any], str]:
        word = self.word()
        if self._chance.random() < 0.5:
            return "mark", {"text": f"deploy {word}", "component": self._chance.choice(COMPONENTS)}, word
        return "maintenance", {"target": "fax", "seconds": 86400 + self._count, "reason": word}, word

    def _with_incidents(self, incidents: Any) -> tuple[str, dict[str, Any], str] | None:
        if not incidents:
            return None
        incident = self._chance.choice(incidents[:3])
        name, word = incident["id"], self.word()
        notes = [number for number, entry in enumerate(incident["entries"]) if entry["kind"] == "note"]
        moves: list[tuple[str, dict[str, Any], str]] = [
            ("note", {"incident": name, "text": f"saw {word}"}, word),
            ("note", {"incident": name, "text": f"did {word}\non two lines"}, word),
            ("ack", {"incident": name}, ""),
            ("ack", {"incident": name, "back": True}, ""),
            ("offer_handover", {"incident": name, "text": f"needs {word}"}, word),
            ("accept_handover", {"incident": name}, ""),
            ("rate", {"incident": name, "severity": self._chance.randint(1, 4), "reason": word}, word),
            ("tell", {"incident": name, "text": f"customers {word}", "channels": ["hook"]}, word),
        ]
        if notes:
            edit = {"incident": name, "entry": self._chance.choice(notes), "text": f"corrected {word}"}
            moves += [("edit_entry", edit, word)] * 2
        if incident["mitigated_at"] is not None and incident["closed_at"] is None:
            moves += [("resolve", {"incident": name, "text": f"over {word}"}, word)] * 2
        return self._chance.choice(moves)

    def _with_run(self, view: Any) -> tuple[str, dict[str, Any], str] | None:
        run, word = view["id"], self.word()
        if not run:
            return "open_run", {"runbook": BOOK}, ""
        if not view["yours"] and self._chance.random() < 0.6:
            return None
        if not view["yours"]:
            return "take_run", {"run": run, "reason": f"my turn {word}"}, word
        doubts = [
            ("decide_block", {"run": run, "step": step["id"], "block": block["index"], "decision": decision}, "")
            for step in view["steps"]
            for block in step["blocks"]
            if block["in_doubt"]
            for decision in ("done", "repeat", "repeat", "skip")
        ]
        if doubts and self._chance.random() < 0.7:
            return self._chance.choice(doubts)
        step = self._chance.choice(view["steps"])
        if not step["mark"] and all(each["mark"] for each in view["steps"] if each is not step):
            step = next(each for each in view["steps"] if not each["mark"])
        at = {"run": run, "step": step["id"]}
        moves = [("mark_step", {**at, "mark": self._chance.choice(("done", "done", "skipped", "failed", "open"))}, "")]
        moves += [("tick", {**at, "tick": n, "done": not done}, "") for n, (_, done) in enumerate(step["ticks"])]
        moves += [("run_block", {**at, "block": each["index"], "typed": "shop"}, "") for each in step["blocks"]] * 2
        moves += [("cancel_block", {**at, "block": each["index"]}, "") for each in step["blocks"]]
        moves.append(("set_parameter", {"run": run, "name": "hint", "value": word}, word))
        if all(each["mark"] for each in view["steps"]):
            moves += [("end_run", {"run": run}, "")] * 6
        return self._chance.choice(moves)


# --- what happens to the operation -----------------------------------------------------------------------------------


class Receiver:
    """The server behind the channel `hook`. received: what it took; kind: whether it does what it should."""

    def __init__(self, target: Target, chance: random.Random) -> None:
        self.received: list[dict[str, Any]] = []
        self.moods: Counter[str] = Counter()
        self.kind = False
        self.came = asyncio.Event()
        self._chance = chance
        target.routes["/hook"] = self._take

    async def _take(self, request: Request) -> bytes | None:
        body = json.loads(request.body)
        mood = self._chance.choices(("ok", "slow", "busy", "lost", "liar"), (8, 3, 2, 2, 1))[0]
        mood = "ok" if self.kind else mood
        self.moods[mood] += 1
        self.came.set()
        if mood == "busy":
            return http(status=503)
        if mood == "liar":
            return http()
        if mood == "slow":
            await asyncio.sleep(self._chance.uniform(0.02, 0.6))
            if request.reader.at_eof():  # whoever sent it is dead; it would have been taken now
                return None
        self.received.append({**body, "header": request.headers["idempotency-key"]})
        if mood == "lost":
            return None
        return http(json.dumps({"id": body["id"]}))


class Weather:
    """Makes components fail until everybody was told, and recover until everybody was told of that."""

    def __init__(self, folder: Path, chance: random.Random, arrived: Arrived, chronicle: Chronicle) -> None:
        self._folder = folder
        self._chronicle = chronicle
        self._chance = chance
        self._arrived = arrived
        self._known: dict[str, dict[str, int]] = {}
        self.failures = 0
        for name in COMPONENTS:
            self.heal(name)

    def heal(self, name: str) -> None:
        """It works."""
        (self._folder / f"{name}.up").touch()

    def fails(self, name: str) -> bool:
        """Whether it does."""
        return not (self._folder / f"{name}.up").exists()

    def is_told(self, name: str) -> bool:
        """Whether all channels were told how it is since it last changed."""
        before = self._known.get(name)
        return before is None or all(count > before[each] for each, count in self._told(name).items())

    def _told(self, name: str, *, other: bool = False) -> dict[str, int]:
        """How often each channel was told what holds of it now (other: what does not)."""
        over = self.fails(name) is other
        arrived = {channel: {each["id"] for each in came} for channel, came in self._arrived().items()}
        counts = dict.fromkeys(CHANNELS, 0)
        self._chronicle.read()
        for each in self._chronicle.of("message_queued"):
            message, ends = each["message"], each.get("over", ())
            told = name in ends if over else name in message.get("about", ()) and name not in ends
            if told and message["id"] in arrived[message["channel"]]:
                counts[message["channel"]] += 1
        return counts

    def turn(self) -> None:
        """Change what everybody has been told of."""
        for name in COMPONENTS:
            if self.is_told(name) and self._chance.random() < 0.6:
                self.change(name)

    def change(self, name: str) -> None:
        """From one to the other."""
        self._known[name] = self._told(name, other=True)
        if self.fails(name):
            self.heal(name)
        else:
            self.failures += 1
            (self._folder / f"{name}.up").unlink()


# --- the siege -------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """How often what was done."""

    kills: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    full: int = 0


class Siege:
    """One operation, killed again and again. wrong: whatever is not as it has to be, in words."""

    def __init__(self, folder: Path, target: Target, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - moments, no secrets
        self.folder = write_workspace(
            folder,
            settings=SETTINGS.replace("URL", target.url),
            fax="tier: droppable\nchecks: {there: {kind: file, path: opsdash.yaml}}\n",
            **{name: COMPONENT.replace("NAME", name) for name in COMPONENTS},
        )
        (self.folder / "runbooks").mkdir()
        (self.folder / "runbooks" / f"{BOOK}.md").write_text(RUNBOOK)
        self.ledger = Ledger()
        self.tally = Tally()
        self.sent = asyncio.Event()
        self.receiver = Receiver(target, self.chance)
        self.chronicle = Chronicle(self.folder)
        self.weather = Weather(self.folder, self.chance, self.arrived, self.chronicle)
        self.people = [Person(name, self.ledger, self.chance, self.sent.set) for name in ("maria", "ken")]
        self.wrong: list[str] = []

    def arrived(self) -> dict[str, list[dict[str, Any]]]:
        """What has arrived over each channel, in its order."""
        return {"log": kill_checks.lines_of(self.folder / "alarms.jsonl"), "hook": self.receiver.received}

    # --- turns -----------------------------------------------------------------------------------------------------

    async def turn(self) -> None:
        """One engine: what it shows is compared with what must not be lost; people work; it is killed."""
        self.weather.turn()
        how = self.chance.choices(("request", "message", "start", "full disk"), (10, 6, 2, 2))[0]
        if how == "message" and all(map(self.weather.is_told, COMPONENTS)):
            how = "request"
        async with engine(self.folder, wait=False) as one:
            if how == "start":
                await asyncio.sleep(self._moment())
                await one.kill()
            else:
                await one.until_it_answers(PATIENCE)
                await self._used(one, how)
            self._listen(one)
        self.tally.kills[how] += 1
        self.wrong += kill_checks.of_the_journal(self)

    async def _used(self, one: EngineProcess, how: str) -> None:
        await self.look(one)
        self.sent.clear()
        self.receiver.came.clear()
        if how == "full disk":
            await self._full(one)
        at_work = [asyncio.ensure_future(each.work(one)) for each in self.people]
        try:
            trigger = self.receiver.came if how == "message" else self.sent
            with contextlib.suppress(TimeoutError):  # a message may have to wait for minutes until it is tried again
                async with asyncio.timeout(A_WHILE):
                    await trigger.wait()
            await asyncio.sleep(self._moment())
            one.killed = True
            await one.kill()
        finally:
            await asyncio.gather(*at_work)

    def _moment(self) -> float:
        share = self.chance.random()
        return SOONEST * math.exp(share * math.log(LATEST / SOONEST))

    def _listen(self, one: EngineProcess) -> None:
        """What the engine has said of itself."""
        for sign in ("this is a bug", "Traceback"):
            if sign in one.said:
                self.wrong.append(f"the engine says {sign!r}: {one.said[-2000:]}")

    async def look(self, one: EngineProcess) -> None:
        """Compare what an engine shows with the journal."""
        session = EngineSession(one.where)
        self.chronicle.read()
        self.wrong += await kill_checks.of_the_world(self.chronicle, session, self.tally.checks)

    async def _full(self, one: EngineProcess) -> None:
        """The disk takes nothing more: what is wanted is refused in words, and is there when it is wanted again."""
        self.tally.full += 1
        person, session = self.people[0], EngineSession(one.where, claim="maria")
        incidents = await session.incidents(closed=True)
        segment = max((one.where.state / "journal").glob("*.jsonl"))
        limit_files(one.process.pid, segment.stat().st_size)
        word = person.word()
        asked = [
            person.request("mark", {"text": f"deploy {word}"}, word),
            person.request("maintenance", {"target": "fax", "seconds": 90000, "reason": word + "b"}, word + "b"),
        ]
        if incidents:
            note = {"incident": incidents[0]["id"], "text": f"saw {word}c"}
            asked.append(person.request("note", note, word + "c"))
        for each in asked:
            refused = (await session.submit(each.intent, each.arguments, each.key))["refused"]
            if refused is None or refused["rule"] != "journal" or "nothing was done" not in refused["reason"]:
                self.wrong.append(f"on a full disk {each.intent} was not refused as it should: {refused}")
            else:
                self.ledger.not_begun.add(each.key)
        if self.chance.random() < 0.3:  # and then it is killed
            limit_files(one.process.pid, resource.RLIM_INFINITY)
            return
        limit_files(one.process.pid, resource.RLIM_INFINITY)
        for each in asked:

            async def taken(each: Asked = each) -> bool:
                verdict = await session.submit(each.intent, each.arguments, each.key)
                if verdict["accepted"]:
                    self.ledger.note(each, verdict)
                return verdict["accepted"]

            await eventually_asked(taken, within=PATIENCE)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """All is well at last: what waits arrives, what is open is closed, and everything is counted."""
        self.receiver.kind = True
        async with engine(self.folder) as one:
            await self.look(one)
            session = EngineSession(one.where, claim="maria")
            await self._until_all_is_told(session)
            for name in COMPONENTS:
                if self.weather.fails(name):
                    self.weather.change(name)
            await self._until_all_is_told(session)
            await eventually_asked(lambda: self._is_at_rest(session), within=PATIENCE, hint=lambda: one.said)
            await self._close(session)
            await self.look(one)
            one.signal(15)
            if await one.ended(40) != 0:
                self.wrong.append(f"it did not end well: {one.said}")
            self._listen(one)
        self.wrong += kill_checks.of_the_journal(self)
        self.wrong += kill_checks.at_the_end(self)
        self.wrong += self.ledger.odd

    async def _until_all_is_told(self, session: EngineSession) -> None:
        until = asyncio.get_running_loop().time() + PATIENCE
        while untold := [name for name in COMPONENTS if not self.weather.is_told(name)]:
            if asyncio.get_running_loop().time() > until:
                view = await session.alarms()
                fails = {name: self.weather.fails(name) for name in untold}
                self.wrong.append(f"nobody was told how these are (True: failing): {fails}; alarms: {view['alarms']}")
                return
            await asyncio.sleep(0.1)

    @staticmethod
    async def _is_at_rest(session: EngineSession) -> bool:
        view = await session.alarms()
        return not view["alarms"] and all(each["state"] in ("delivered", "given_up") for each in view["outbox"])

    async def _close(self, session: EngineSession) -> None:
        """People bring everything to its end."""
        maria = self.people[0]
        view: Any = await session.runbook(BOOK)
        if view["id"]:
            if not view["yours"]:
                taken = {"run": view["id"], "reason": "the last one"}
                await maria.ask(session, maria.request("take_run", taken, "the last one"))

            async def ended() -> bool:
                verdict = await session.submit("end_run", {"run": view["id"]})
                return verdict["accepted"]

            await eventually_asked(ended, within=PATIENCE)
        incidents = await session.incidents(closed=True)
        for incident in incidents:
            if incident["closed_at"] is None and incident["cancelled_at"] is None:
                word = maria.word()
                closing = maria.request("resolve", {"incident": incident["id"], "text": word}, word)
                verdict = await maria.ask(session, closing)
                assert verdict["accepted"], verdict
        if incidents:
            word = maria.word()
            last = {"incident": incidents[0]["id"], "text": f"after all {word}"}
            await maria.ask(session, maria.request("note", last, word))


def limit_files(pid: int, size: int) -> None:
    """No file of a process grows beyond `size` bytes from now on."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@asynccontextmanager
async def siege(folder: Path, seed: int) -> AsyncIterator[Siege]:
    """An operation that will be killed often."""
    async with serving() as target:
        yield Siege(folder, target, seed)


async def besieged(
    folder: Path, kills: int, seed: int, progress: Callable[[int, Siege], None] = lambda *_: None
) -> Siege:
    """Kill it so often, let all come to its end, and give what was found."""
    async with siege(folder, seed) as one:
        for number in range(kills):
            await one.turn()
            progress(number, one)
        await one.end()
    one.wrong = list(dict.fromkeys(one.wrong))
    return one
