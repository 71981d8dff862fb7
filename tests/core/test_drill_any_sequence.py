"""Whatever people, outages and guards do, in whatever order: a fault that was made on purpose is never forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from opsdash.core import drill_marks
from opsdash.core.drill_states import TRANSITIONS
from opsdash.model import inputs as i
from opsdash.model.drill import (
    FAULT_MAY_BE_IN_PLACE,
    PROVES,
    Drill,
    DrillState,
    Expect,
    Level,
    Load,
    Responder,
    StopIf,
)
from opsdash.model.effects import Inject
from opsdash.model.records import DrillAdvanced, DrillEnded, DrillStarted
from opsdash.model.status import Status
from opsdash.testing import component, email, mail_outside, operation
from opsdash.testing_drills import DrillTimeline, Faults, drill, with_drills

if TYPE_CHECKING:
    from collections.abc import Callable

PRIMARY, STANDBY, FRONT, CRM = "email/postmark/api", "email/ses/api", "email/delivery", "crm/api"
LOAD = Load("http", {}, times=5, over=3.0)

DRILLS: dict[str, Drill] = {
    each.id: each
    for each in (
        drill("contained", steady=(CRM,), limit=120.0, expect=Expect(load=LOAD)),
        drill("by-people", responder=Responder.PEOPLE, limit=60.0, stop_if=(StopIf("crm", lasts=5.0),)),
        drill("pretended", level=Level.SYNTHETIC, limit=60.0),
        drill("switched", level=Level.SWITCH, hold=5.0, expect=Expect(unaffected=("crm",))),
        drill("talked", level=Level.TABLETOP, responder=Responder.PEOPLE),
    )
}

MOVES = [
    *(f"begin {name}" for name in DRILLS), "begin contained", "begin contained",
    "stop", "finish", "halt", "allow", "state that it is gone",
    "the guard cannot be armed", "the guard says nothing", "the injection fails", "the injection says nothing",
    "the fault sticks", "nobody can tell", "the undo is said not to work", "the load says nothing", "all answer",
    "the guard dies", "the guard undoes by itself", "an old answer comes",
    "crm fails", "the backup fails", "the primary fails", "all works", "checks say nothing", "offline", "online",
    "fail over", "fail back", "pause", "resume", "an incident by hand", "resolve it",
    "moment", "second", "ten seconds", "ten seconds", "minute", "minute", "five minutes",
    "an hour forward", "an hour back", "kill", "the files change", "the disk is full", "the disk is not full",
]  # fmt: skip


class Play:
    """Email, a CRM, drills of all levels, and everything that can happen to them."""

    def __init__(self) -> None:
        self.faults = Faults(breaks={PRIMARY: Status.DOWN})
        self.outside = mail_outside()
        parts = operation(email(), component("crm", checks=["api"]), anchors=1)
        self.files = with_drills(parts, *DRILLS.values())
        self.timeline = DrillTimeline(self.files, outside=self.outside, faults=self.faults)
        self.timeline.live_on(15)
        self.moves: dict[str, Callable[[], object]] = {
            "stop": lambda: self.timeline.want(i.StopDrillIntent(self.run_id, "so")),
            "finish": lambda: self.timeline.want(i.FinishDrillIntent(self.run_id, "so")),
            "halt": lambda: self.timeline.want(i.HaltDrillsIntent("so")),
            "allow": lambda: self.timeline.want(i.AllowDrillsIntent("so")),
            "state that it is gone": self.gone,
            "the guard cannot be armed": lambda: setattr(self.faults, "arm_error", "no"),
            "the guard says nothing": lambda: self.faults.silent.update({"arm", "undo"}),
            "the injection fails": lambda: setattr(self.faults, "inject_error", "no"),
            "the injection says nothing": lambda: self.faults.silent.add("inject"),
            "the fault sticks": lambda: setattr(self.faults, "stuck", True),
            "nobody can tell": lambda: setattr(self.faults, "undone", None),
            "the undo is said not to work": lambda: setattr(self.faults, "undone", False),
            "the load says nothing": lambda: self.faults.silent.add("load"),
            "all answer": self.all_answer,
            "the guard dies": lambda: self.timeline.feed(i.GuardGone(self.run_id)),
            "the guard undoes by itself": self.undoes,
            "an old answer comes": lambda: self.timeline.feed(i.Injected("DRILL-1")),
            "crm fails": lambda: self.says(CRM, Status.DOWN),
            "the backup fails": lambda: self.says(STANDBY, Status.DOWN),
            "the primary fails": lambda: self.says(PRIMARY, Status.DOWN),
            "all works": self.all_works,
            "checks say nothing": lambda: self.says(CRM, Status.UNKNOWN),
            "offline": lambda: self.says("anchors/1", Status.DOWN),
            "online": lambda: self.outside.status.pop("anchors/1", None),
            "fail over": lambda: self.timeline.confirm("email"),
            "fail back": lambda: self.timeline.confirm("email", "failback"),
            "pause": lambda: self.timeline.want(i.PauseIntent("email", 60.0)),
            "resume": lambda: self.timeline.want(i.ResumeIntent("email")),
            "an incident by hand": lambda: self.timeline.want(i.OpenIncidentIntent("crm", "smoke")),
            "resolve it": self.resolve,
            "moment": lambda: self.timeline.live_on(0.06),
            "second": lambda: self.timeline.live_on(1),
            "ten seconds": lambda: self.timeline.live_on(10),
            "minute": lambda: self.timeline.live_on(60),
            "five minutes": lambda: self.timeline.live_on(300),
            "an hour forward": lambda: self.jump(3600.0),
            "an hour back": lambda: self.jump(-3600.0),
            "kill": self.kill,
            "the files change": self.files_change,
            "the disk is full": lambda: self.timeline.feed(i.JournalState("full")),
            "the disk is not full": lambda: self.timeline.feed(i.JournalState("")),
        }

    @property
    def run_id(self) -> str:
        run = drill_marks.open_run(self.timeline.world)
        return "DRILL-0" if run is None else run.id

    def move(self, move: str) -> None:
        if move.startswith("begin "):
            name = move.removeprefix("begin ")
            self.timeline.begin(name, overrides=("below",), reason="so", typed="email")
        else:
            self.moves[move]()

    def gone(self) -> None:
        """A person who says so has looked."""
        for each in drill_marks.red(self.timeline.world):
            self.faults.in_place.discard(each.run)
            self.faults.armed.discard(each.run)
            self.timeline.want(i.FaultGoneIntent(each.run, "looked"))

    def all_answer(self) -> None:
        self.faults.arm_error = self.faults.inject_error = ""
        self.faults.silent.clear()
        self.faults.stuck, self.faults.undone = False, True

    def undoes(self) -> None:
        if self.run_id in self.faults.armed:
            self.faults.take_back(self.run_id, self.outside)
            if not self.faults.stuck:
                self.timeline.feed(i.Undone(self.run_id, self.faults.undone, "guard"))

    def says(self, check: str, status: Status) -> None:
        self.outside.status[check] = status

    def all_works(self) -> None:
        self.outside.status.clear()
        if self.faults.in_place:
            self.outside.status.update(self.faults.breaks)

    def resolve(self) -> None:
        for name in ("crm", "email"):
            incident = self.timeline.incident(name)
            if incident is not None:
                self.timeline.want(i.ResolveIntent(incident.id, "so"))

    def jump(self, seconds: float) -> None:
        self.timeline.clock.jump(seconds)
        self.timeline.feed(i.ClockJumped(seconds))

    def kill(self) -> None:
        self.timeline = self.timeline.crash()
        self.timeline.live_on(2)

    def files_change(self) -> None:
        now = self.timeline.world.operation
        self.timeline.reload(with_drills(now, *(() if now.drills else DRILLS.values())))

    def check(self) -> None:
        world = self.timeline.world
        run = drill_marks.open_run(world)
        red = {each.run for each in drill_marks.red(world)}
        for left in self.faults.in_place:
            watched = run is not None and run.id == left and run.state in FAULT_MAY_BE_IN_PLACE
            believed = self.believed_gone(left)
            assert watched or left in red or believed, "a fault is never forgotten"
        still_open = [each for each in world.tables["drills"].values() if each.is_open]
        assert len(still_open) <= 1, "never two drills at once"
        assert [each.id for each in still_open] == ([] if run is None else [run.id])
        assert not run or run.state is not DrillState.ENDED
        injected = [each.run for each in self.timeline.wanted(Inject)]
        assert len(injected) == len(set(injected)), "nothing is broken twice"
        pretended = {each.run for each in self.timeline.live.tables["pretended"].values()}
        assert pretended <= ({run.id} if run is not None else set()), "nothing is pretended without its run"
        self.check_records()

    def believed_gone(self, run: str) -> bool:
        """A guard that says it is gone, and whose word the checks do not contradict, is believed."""
        found = self.timeline.world.get("drills", run)
        return found is not None and found.undone is True

    def check_records(self) -> None:
        states: dict[str, DrillState] = {}
        for record in self.timeline.records:
            if isinstance(record, DrillStarted):
                states[record.run.id] = DrillState.ARMING
            elif isinstance(record, DrillAdvanced):
                assert record.state in TRANSITIONS[states[record.run]].values(), "only ways that are in the table"
                states[record.run] = record.state
            elif isinstance(record, DrillEnded):
                assert DrillState.ENDED in TRANSITIONS[states[record.run.id]].values()
                states[record.run.id] = DrillState.ENDED
                assert record.run.verdict is not None
                assert record.run.why
                if record.run.verdict in PROVES:
                    assert record.run.undone is True or not record.run.faulty
                    assert record.run.recovered
                    assert record.run.missing == 0
                    assert record.run.stopped_as is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(MOVES), min_size=10, max_size=40))
def test_whatever_happens_a_fault_is_never_forgotten_and_every_drill_ends(moves: list[str]) -> None:
    play = Play()
    for move in moves:
        play.move(move)
        play.check()
    play.all_answer()
    play.move("finish")
    play.move("stop")
    play.timeline.live_on(2400)
    play.check()
    assert drill_marks.open_run(play.timeline.world) is None, "every drill comes to an end"
    assert play.timeline.live.tables["drills"] == {}
    assert play.timeline.live.tables["pretended"] == {}
    play.timeline.check_replay()
