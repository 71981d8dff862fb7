"""Whatever comes in, in whatever order: a decision never fails, and what must always hold holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from opsdash.core import topics
from opsdash.core.evolve import evolve
from opsdash.core.outcomes import CARRYING_OUT, LIVE_STATES, TRANSITIONS, UNDECIDED
from opsdash.core.steps import undo_trouble
from opsdash.core.ways_out import ways_out
from opsdash.model import inputs as i
from opsdash.model.alarm import alarm_key, parts_of
from opsdash.model.effects import Apply, RunBlock
from opsdash.model.incident import IncidentKind
from opsdash.model.operation import Auto, OldOut, Operation, Person, Step
from opsdash.model.records import BlockStarted, Proved, Record, SwitchAdvanced, SwitchEnded, SwitchIntended
from opsdash.model.run import BlockRef, BlockResult, BlockState, Decision, RunMode
from opsdash.model.status import Reason, Status
from opsdash.model.switch import MAIN, FactName, SwitchKind, SwitchState, Truth
from opsdash.model.window import Occurrence, WindowKind, WindowSpec
from opsdash.testing import Timeline, call, component, email, failure, mail_outside, mail_switch, operation

MARIA = Person("maria", "Maria")
NIGHTLY = WindowSpec("nightly", WindowKind.MAINTENANCE, "Nightly", tags=("web",), cron="0 3 * * *", length=3600.0)


def _operations() -> list[Operation]:
    more: dict[str, Any] = {"owners": ("maria",), "depends_on": ("email",), "tags": ("web",)}
    sales = component("sales", checks=["page"], failures=_sales_failures(), **more)
    bare = component("email", checks=["delivery"])
    fenced = email(switch=mail_switch(read=None, old_out=OldOut(stateless=False, check="email/{from}/api"), settle=0.0))
    return [
        operation(email(), sales, people=[MARIA], anchors=1, windows={"nightly": NIGHTLY}),
        operation(fenced, sales, people=[MARIA], anchors=1, sha256="fenced"),
        operation(bare, sales, people=[MARIA], sha256="bare"),
        operation(sales, people=[MARIA], sha256="sales alone"),
    ]


def _sales_failures() -> dict[str, Any]:
    modes = [failure("no-mail", "email/active/api"), failure("nobody", away=True), failure("door", "email/delivery")]
    return {mode.id: mode for mode in modes}


OPERATIONS = _operations()
CHECKS = sorted({check for each in OPERATIONS for check in each.checks})
COMPONENTS = ["email", "sales", "fax"]
VALUES = st.sampled_from(["pm-prod", "ses-eu", "nobody", "transactional-only", "everything", None])

Move = Callable[[Timeline], object]


def _observe(check: str, status: Status, reason: Reason, who: str | None) -> Move:
    facts = {"provider": who, "json.at": None} if who else {}

    def step(timeline: Timeline) -> None:
        known = {**facts, "json.at": timeline.clock.wall} if facts else {}
        timeline.observe(check, status, None if status is Status.OK else reason, facts=known)

    return step


def _confirm(component_id: str, kind: SwitchKind, target: str | None, *, force: bool) -> Move:
    overrides = ["target_healthy", "preflight", "dropped_pass"] if force else []
    typed = component_id if force else ""
    return lambda timeline: timeline.confirm(
        component_id, kind, target, overrides=overrides, reason="so" if force else "", typed=typed
    )


def _want(intent: i.Intent) -> Move:
    return lambda timeline: timeline.want(intent)


def _feed(event: i.Input) -> Move:
    return lambda timeline: timeline.feed(event)


def _calendar(opened: bool) -> Move:
    def step(timeline: Timeline) -> None:
        now = timeline.clock.wall
        timeline.feed(i.WindowsOpen((Occurrence("nightly", now, now + 3600.0),) if opened else ()))

    return step


def _answer(result: str, prior: str | None) -> Move:
    def step(timeline: Timeline) -> None:
        if timeline.wanted(Apply):
            timeline.applied(result, prior=prior)

    return step


COMPONENT = st.sampled_from(COMPONENTS)
RUN_STEPS = (("step", "sha of step"), ("other", "sha of other"))
INTENTS = st.one_of(
    st.builds(i.UndoIntent, COMPONENT),
    st.builds(i.SettleIntent, COMPONENT, st.sampled_from(SwitchState), st.sampled_from(["", "so"])),
    st.builds(i.TakeOverIntent, COMPONENT),
    st.builds(i.AbortIntent, COMPONENT),
    st.builds(i.LiftBlockadeIntent, COMPONENT, st.sampled_from(["", "so"])),
    st.builds(i.ResumeAutoIntent, st.sampled_from(["", "so"])),
    st.builds(i.AckIntent, st.sampled_from(["INC-1", "INC-2", "INC-9"])),
    st.builds(i.ResolveIntent, st.sampled_from(["INC-1", "INC-2", "INC-9"])),
    st.builds(i.NoteIntent, st.sampled_from(["INC-1", "INC-9"]), st.sampled_from(["", "hello"])),
    st.builds(i.OpenIncidentIntent, COMPONENT, st.sampled_from(["", "smoke"])),
    st.builds(i.PauseIntent, COMPONENT, st.sampled_from([0.0, 60.0])),
    st.builds(i.ResumeIntent, COMPONENT),
    st.builds(i.MaintenanceIntent, st.sampled_from([*COMPONENTS, "tag:web"]), st.sampled_from([0.0, 60.0, 4000.0])),
    st.builds(i.EndMaintenanceIntent, st.sampled_from([*COMPONENTS, "tag:web"])),
    st.builds(i.PollIntent, st.sampled_from([*COMPONENTS, "email/ses", "email/delivery"])),
    st.builds(i.AwayIntent, st.sampled_from(["maria", "nobody"]), st.none(), back=st.booleans()),
    st.builds(
        i.OpenRunIntent, st.just("book"), COMPONENT, st.just("sha"), st.just(RUN_STEPS), st.sampled_from(RunMode)
    ),
    st.builds(i.TakeRunIntent, st.just("RUN-1"), st.sampled_from(["", "so"])),
    st.builds(i.AcceptRunIntent, st.just("RUN-1"), st.sampled_from(["sha", "other"]), st.just(RUN_STEPS[:1])),
    st.builds(i.SetParameterIntent, st.just("RUN-1"), st.just("name"), st.just("value")),
    st.builds(i.CancelBlockIntent, st.just("RUN-1"), st.just("step"), st.integers(0, 1)),
    st.builds(i.DecideBlockIntent, st.just("RUN-1"), st.just("step"), st.integers(0, 1), st.sampled_from(Decision)),
    st.builds(i.RunChecksIntent, st.just("RUN-1"), st.just((BlockRef("step", 0, "check", "true", ends_step=True),))),
    st.builds(i.ApproveRunbookIntent, st.just("book"), st.just("sha")),
    st.builds(i.TickIntent, st.just("RUN-1"), st.just("step"), st.integers(0, 2), st.booleans()),
    st.builds(i.MarkStepIntent, st.just("RUN-1"), st.just("step"), st.sampled_from(["done", "open", "?"])),
    st.builds(
        i.RunBlockIntent,
        st.just("RUN-1"),
        st.just("step"),
        st.integers(0, 1),
        st.just("true"),
        st.sampled_from(["run", "check"]),
        once=st.booleans(),
        typed=COMPONENT,
    ),
    st.builds(i.EndRunIntent, st.just("RUN-1")),
)
BLOCK = BlockResult("step", 0, BlockState.PASSED, 1.0)
STEPS: st.SearchStrategy[Move] = st.one_of(
    st.builds(
        _observe,
        st.sampled_from(CHECKS),
        st.sampled_from([Status.OK, Status.DEGRADED, Status.DOWN, Status.UNKNOWN]),
        st.sampled_from([Reason.TIMEOUT, Reason.RATE_LIMITED]),
        st.sampled_from([None, "pm-prod", "ses-eu"]),
    ),
    st.builds(
        _confirm,
        COMPONENT,
        st.sampled_from(SwitchKind),
        st.sampled_from([None, "ses", "postmark", "order-mail-only"]),
        force=st.booleans(),
    ),
    st.builds(_want, INTENTS),
    st.builds(
        lambda what, value: lambda t: t.read("email", value, what),
        st.sampled_from(["switch"] * 3 + ["order-mail-only"]),
        VALUES,
    ),
    st.builds(_answer, st.sampled_from(["applied", "refused", "not_started", "unknown"]), VALUES),
    st.builds(lambda seconds: lambda t: t.advance(seconds), st.sampled_from([0.1, 1.0, 2.5, 35.0, 400.0, 300000.0])),
    st.builds(lambda n: _feed(i.Loaded(OPERATIONS[n])), st.integers(0, len(OPERATIONS) - 1)),
    st.builds(lambda check: _feed(i.Overdue(check)), st.sampled_from(CHECKS)),
    st.builds(_calendar, st.booleans()),
    st.sampled_from(
        [
            _feed(i.ClockJumped(3600.0)),
            _feed(i.JournalState("full")),
            _feed(i.JournalState("")),
            _feed(i.PreflightDone("email/ses", False, "no")),
            _feed(i.BlockDone("RUN-1", BLOCK)),
            _feed(i.BlockDone("RUN-1", BLOCK, ("name", "found"))),
            _feed(i.BlockUp("RUN-1", "step", 0, 4711, "boot:1")),
            _feed(i.Beat("email/delivery", "ok")),
            _feed(i.Stopping("asked to")),
        ]
    ),
)


def _check_invariants(timeline: Timeline) -> None:
    draft = timeline.draft()
    for key, state in timeline.world.tables["components"].items():
        still_open = [
            each for each in timeline.world.tables["incidents"].values() if each.component == key and each.is_open
        ]
        assert len(still_open) <= 1, "one open incident for each component"
        assert all(each.id == state.incident for each in still_open)
        component_now = draft.component(key)
        if component_now is not None and not component_now.removed:
            shown = timeline.health(key).status
            checks = (*component_now.checks, *(c for p in component_now.providers for c in p.checks))
            if shown is Status.DOWN:
                assert any(draft.check(check).status is Status.DOWN for check in checks), "unknown never counts as down"
    due = {
        each.component
        for each in timeline.world.tables["incidents"].values()
        if each.is_open and each.recovered_at is None and each.kind is not IncidentKind.NOTE
    }
    alarms = {key: alarm for key, alarm in timeline.world.tables["alarms"].items() if not parts_of(key)[1]}
    assert set(alarms) == due, "an alarm stands exactly as long as there is something to tell"
    for key, topic in itertools.product(timeline.world.operation.components, topics.RULES):
        known = timeline.world.get("alarms", alarm_key(key, topic))
        component_now = draft.component(key)
        assert component_now is not None
        to_tell = topics.due(draft, component_now, topic, "" if known is None else known.title)
        assert (known is not None) == bool(to_tell), f"so does that of {topic}"
    in_flight = {key for key, each in timeline.world.tables["switches"].items() if each.state in LIVE_STATES}
    assert set(timeline.live.tables["switches"]) == in_flight, "progress belongs to what is in flight"
    for run in timeline.world.tables["runs"].values():
        assert run.current in {"", *(step for step, _ in run.steps)}, "the current step is one of the run"
    begun = [(each.run, each.step, each.block) for each in timeline.records if isinstance(each, BlockStarted)]
    assert len(timeline.wanted(RunBlock)) <= len(begun), "no block is executed without its record"
    fired = [apply.action_id for apply in timeline.wanted(Apply)]
    assert len(fired) == len(set(fired)), "no action is fired twice"
    _check_records(timeline.records)
    for switch in timeline.world.tables["switches"].values():
        if switch.state in UNDECIDED | {SwitchState.NO_EFFECT}:
            ways = ways_out(switch)
            assert "undo" in ways or (undo_trouble(switch) and ways), "there is a way back, or a person is told why not"


def _check_records(records: list[Record]) -> None:
    """What the records of all switches say, whatever came in between."""
    states: dict[str, SwitchState] = {}
    last: dict[str, str] = {}
    for record in records:
        if isinstance(record, SwitchIntended):
            before = states.get(last.get(record.switch.plan.component, ""))
            assert before not in LIVE_STATES | UNDECIDED, "never two switches of a component at once"
            last[record.switch.plan.component] = record.switch.id
            states[record.switch.id] = SwitchState.INTENT
        elif isinstance(record, SwitchAdvanced | SwitchEnded):
            assert record.state in TRANSITIONS[states[record.switch]].values(), "only ways that are in the table"
            states[record.switch] = record.state
            if isinstance(record, SwitchEnded) and record.state is SwitchState.COMMITTED and record.who is None:
                truths = {fact.name: fact.truth for fact in record.facts}
                shown = (truths[FactName.MECHANISM], truths[FactName.FRONT_DOOR])
                assert Truth.TRUE in shown, "never committed without facts"
                assert not {Truth.FALSE, Truth.UNKNOWN} & set(truths.values())


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=10, max_size=50))
def test_no_sequence_of_inputs_breaks_what_must_always_hold(steps: list[Move]) -> None:
    timeline = Timeline(OPERATIONS[0])
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    for step in steps:
        step(timeline)
        _check_invariants(timeline)
    timeline.check_replay()
    later = timeline.crash()
    assert later.wanted(Apply) == [], "a start never acts"
    _check_invariants(later)


@settings(max_examples=10, deadline=None)
@given(st.lists(STEPS, min_size=10, max_size=50))
def test_the_same_inputs_always_lead_to_the_same_records(steps: list[Move]) -> None:
    once, twice = (Timeline(OPERATIONS[0]) for _ in range(2))
    for step in steps:
        step(once)
        step(twice)
    assert once.records == twice.records
    assert once.effects == twice.effects


# --- with an outside that answers ------------------------------------------------------------------------------------

NAMES = {"pm-prod": "postmark", "ses-eu": "ses"}
MOVES = [
    "fail over", "fail back", "degrade", "restore", "undo", "settle committed", "settle aborted", "take over",
    "mechanism says postmark", "mechanism says ses", "mechanism says nobody", "mechanism is silent",
    "actions work", "actions do nothing", "actions are refused", "answers are lost",
    "front door fails", "front door cannot be measured", "front door does not say who", "front door works",
    "moment", "settle time", "minute", "kill", "kill before the last record",
    "somebody else confirms", "call off", "ask to call off", "end the blockade", "let opsdash go on",
    "the primary dies", "the primary works", "the fence is refused", "the fence is lost", "steps work",
    "an hour forward", "an hour back",
]  # fmt: skip


OFTEN = [
    *MOVES,
    *["fail over", "undo", "front door cannot be measured", "settle time", "settle time", "minute", "minute"],
]


QUIESCE = Step("quiesce", call("quiesce", "on"), undo=call("quiesce", "off"))
FENCE = Step("fence", call("fence", "{from.as}"), undo=call("fence", "nobody"))
RELOAD = Step("reload", call("reload", "{to.as}"), again=True)

WAYS: dict[str, dict[str, Any]] = {
    "alone": {},
    "with steps": {"before": (QUIESCE, FENCE), "after": (RELOAD,)},
    "by two people": {"approvals": 2},
    "by itself": {"auto": Auto.ALWAYS, "blockade": 60.0},
    "by itself, with steps": {"auto": Auto.ALWAYS, "before": (QUIESCE, FENCE), "after": (RELOAD,)},
    "in shadow": {"auto": Auto.SHADOW},
}
"""What the switch of email may look like."""


class Play:
    """Email, an outside that answers, and an engine that is killed now and then."""

    def __init__(self, way: str = "alone") -> None:
        self.outside = mail_outside()
        switch = mail_switch(**WAYS[way])
        self.timeline = Timeline(operation(email(switch=switch), anchors=1), outside=self.outside)
        self.timeline.advance(1)
        self.timeline.all_ok()
        self.ready()

    def ready(self) -> None:
        """The backup is proved, and the action could be carried out."""
        self.timeline.feed(i.PreflightDone("email/ses", True, "fine"))
        proof = Proved(self.timeline.clock.wall, "email", "ses", "drill-1", "sha of email")
        self.timeline.records.append(proof)
        self.timeline.world.apply(evolve(self.timeline.world, proof))

    def move(self, move: str) -> None:
        moves: dict[str, Callable[[], object]] = {
            "fail over": lambda: self.confirm("failover", "ses"),
            "fail back": lambda: self.confirm("failback"),
            "degrade": lambda: self.confirm("degrade"),
            "restore": lambda: self.confirm("restore"),
            "undo": lambda: self.timeline.want(i.UndoIntent("email")),
            "settle committed": lambda: self.settle(SwitchState.COMMITTED),
            "settle aborted": lambda: self.settle(SwitchState.ABORTED),
            "take over": lambda: self.timeline.want(i.TakeOverIntent("email")),
            "mechanism says postmark": lambda: self.says("pm-prod"),
            "mechanism says ses": lambda: self.says("ses-eu"),
            "mechanism says nobody": lambda: self.says("nobody"),
            "mechanism is silent": lambda: self.says(None),
            "actions work": lambda: self.actions("applied", effective=True),
            "actions do nothing": lambda: self.actions("applied", effective=False),
            "actions are refused": lambda: self.actions("refused", effective=False),
            "answers are lost": lambda: self.actions("unknown", effective=True),
            "front door fails": lambda: self.front_door(Status.DOWN),
            "front door cannot be measured": lambda: self.front_door(Status.UNKNOWN),
            "front door does not say who": self.outside.facts.clear,
            "front door works": lambda: self.front_door(Status.OK),
            "moment": lambda: self.timeline.advance(0.1),
            "settle time": lambda: self.timeline.advance(2.5),
            "minute": lambda: self.timeline.advance(65),
            "somebody else confirms": lambda: self.confirm("failover", "ses", who="ken"),
            "call off": lambda: self.timeline.want(i.AbortIntent("email")),
            "ask to call off": lambda: self.timeline.want(i.AbortIntent("email"), "ken"),
            "end the blockade": lambda: self.timeline.want(i.LiftBlockadeIntent("email", "so")),
            "let opsdash go on": lambda: self.timeline.want(i.ResumeAutoIntent("so")),
            "the primary dies": lambda: self.primary(Status.DOWN),
            "the primary works": lambda: self.primary(Status.OK),
            "the fence is refused": lambda: self.outside.results.update({"fence": "refused"}),
            "the fence is lost": lambda: self.outside.results.update({"fence": "unknown"}),
            "steps work": self.outside.results.clear,
            "an hour forward": lambda: self.jump(3600.0),
            "an hour back": lambda: self.jump(-3600.0),
            "kill": self.kill,
            "kill before the last record": lambda: self.kill(lost=1),
        }
        moves[move]()

    def confirm(self, kind: str, target: str | None = None, who: str = "maria") -> None:
        overrides = ["target_healthy", "dropped_pass", "somebody_serves"]
        self.timeline.confirm("email", kind, target, overrides=overrides, reason="so", typed="email", who=who)

    def primary(self, status: Status) -> None:
        self.outside.status["email/postmark/api"] = status
        for _ in range(3):
            self.timeline.observe("email/postmark/api", status, None if status is Status.OK else Reason.TIMEOUT)

    def jump(self, seconds: float) -> None:
        self.timeline.clock.wall += seconds
        self.timeline.feed(i.ClockJumped(seconds))

    def settle(self, state: SwitchState) -> None:
        self.timeline.want(i.SettleIntent("email", state, "so"))

    def says(self, value: str | None) -> None:
        self.outside.says["email/switch"] = value

    def actions(self, result: str, *, effective: bool) -> None:
        self.outside.result, self.outside.effective = result, effective

    def front_door(self, status: Status) -> None:
        self.outside.status["email/delivery"] = status
        self.outside.facts.update(mail_outside().facts)

    def kill(self, lost: int = 0) -> None:
        fired = {apply.action_id for apply in self.outside.applied}
        records = self.timeline.records
        last = records[-1] if records else None
        # what has been fired was recorded before: only what came after the action can have been lost
        if lost and isinstance(last, SwitchIntended | SwitchAdvanced) and fired:
            lost = 0
        self.timeline = self.timeline.crash(len(records) - lost)
        self.timeline.advance(0.5)
        self.timeline.all_ok()
        self.ready()

    def check(self) -> None:
        """Each action was announced by a record, with its step, and none was carried out twice."""
        _check_invariants(self.timeline)
        announced = {
            (record.switch, record.step or MAIN)
            for record in self.timeline.records
            if isinstance(record, SwitchAdvanced) and record.state in CARRYING_OUT
        }
        for apply in self.outside.applied:
            mechanism = apply.call.raw["mechanism"]
            step = MAIN if mechanism in ("switch", "order-mail-only") else mechanism
            assert (apply.switch, step) in announced, "never an action without its record"
        fired = [apply.action_id for apply in self.outside.applied]
        assert len(fired) == len(set(fired))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(WAYS)), st.lists(st.sampled_from(OFTEN), min_size=20, max_size=60))
def test_whatever_people_and_outages_do_nothing_is_fired_twice_and_in_the_end_the_truth_is_known(
    way: str,
    moves: list[str],
) -> None:
    play = Play(way)
    for move in moves:
        play.move(move)
        play.check()
    play.timeline.advance(120)
    assert play.timeline.live.tables["switches"] == {}, "every switch comes to an end, or to a person"
    says = play.outside.says["email/switch"]
    found = play.timeline.state("email")
    assert found.active == NAMES.get(says or "")
    assert found.active is None or (found.on_backup_since is not None) is (found.active == "ses")
    in_force = play.outside.says["email/order-mail-only"] == "transactional-only"
    assert found.mode == ("order-mail-only" if in_force else None)
    play.timeline.check_replay()
