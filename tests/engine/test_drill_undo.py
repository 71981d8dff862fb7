"""What takes a fault back fails, hangs or has no effect, in a real engine with real guards: nobody is left in the dark.

And faults that were never made as a whole: a drill in which something else was broken than what its file says has
shown nothing.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING

import pytest

from opsdash.engine import guards
from opsdash.model import inputs as i
from opsdash.model.drill import Verdict
from tests.engine.drills import PATIENCE, RUNBOOK, run_of, until_state
from tests.engine.faults import QUICK, Thing
from tests.engine.support import eventually, running, status, write_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.engine.engine import Engine

SHOP = """
tier: essential
owners: [maria]
defaults: {every: 200ms, timeout: 5s, down_after: 2, up_after: 1}
checks: {front: {kind: file, path: thing/broken, exists: false}}
failures: {broken: {title: The shop is broken, detected_by: [front], response: runbook, runbook: shop-down}}
runbook: shop-down
"""
DRILL = """
title: The shop is broken
owner: maria
component: shop
failure_mode: broken
level: contained
expect: {detect: 5m}
verify_undone: [front]
limit: 5m
"""
BY_A_PROGRAM = """
inject: {command: {argv: [thing/fault, break]}}
undo: {command: {argv: [thing/fault, mend], verify: [thing/fault, gone]}}
"""
BY_AN_EXPERIMENT = (
    "inject: {{chaostoolkit: {{experiment: kill.json, program: [{python}, chaos.py], watch_for: {watch}}}}}\n"
)

CHAOS = """
import json, pathlib, signal, sys
told = {signal.SIGUSR1, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, told)
experiment = json.loads(pathlib.Path(sys.argv[-1]).read_text())
journal = next(word.partition("=")[2] for word in sys.argv if word.startswith("--journal-path="))
broken = pathlib.Path("thing/broken")
if experiment["holds"]:
    broken.touch()
    signal.sigwait(told)
    broken.unlink()
actions = [
    {"activity": {"name": name, "type": "action", "provider": {"type": "process"}}, "status": "succeeded",
     "output": {"status": code, "stdout": "", "stderr": ""}}
    for name, code in experiment["actions"].items()
]
pathlib.Path(journal).write_text(json.dumps({"status": "completed", "run": actions, "rollbacks": []}))
"""
"""What Chaos Toolkit does as far as opsdash sees it: breaks, waits to be told, mends, and exits with 0."""


@pytest.fixture
def thing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Thing:
    """What the drill `breaks` breaks. Its guard tries as often as any, without the pauses and within two seconds."""
    monkeypatch.setattr(guards, "Arming", functools.partial(guards.Arming, try_deadline=2.0, pauses=QUICK))
    thing = Thing(tmp_path)
    write_workspace(tmp_path, settings="people: {maria: {}, ken: {}}\n", shop=SHOP)
    for folder, name, text in (("runbooks", "shop-down.md", RUNBOOK), ("drills", "breaks.yaml", DRILL + BY_A_PROGRAM)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    return thing


async def begin(engine: Engine, latest: str = "") -> bool:
    """Begin the drill once its component is known to work; whether that was accepted."""
    await eventually(lambda: status(engine, "shop") == "ok", within=PATIENCE)
    verdict = await engine.submit(f"after {latest}", "maria", i.StartDrillIntent("breaks", latest=latest))
    return verdict["accepted"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("stuck", "thing/fault was killed after 1.5 s, still running"),
        ("deaf", "thing/fault exited with 0; thing/fault exited with 1"),
        ("wrecked", "thing/fault exited with 3; thing/fault exited with 1"),
    ],
)
async def test_an_undo_that_does_not_work_is_in_everybodys_face_until_a_person_says_that_it_is_gone(
    thing: Thing, how: str, said: str
) -> None:
    thing.misbehave(how)
    async with running(thing.workspace) as engine:
        assert await begin(engine)
        assert (await until_state(engine, "restoring")).undone is False
        assert thing.is_broken
        [fault] = engine.drilling.viewer().faults()
        assert said in fault["detail"]
        assert (fault["run"], fault["by_hand"]) == ("DRILL-1", ["thing/fault mend"])
        summary = engine.drilling.viewer().summary()
        assert summary is not None
        assert [each["run"] for each in summary["faults"]] == ["DRILL-1"]

        (thing.folder / "broken").unlink()  # by hand
        found = await until_state(engine, "ended")
        assert (found.verdict, found.why) == (Verdict.FAILED, ("the fault was found not to be gone",))
        plan = engine.drilling.viewer().plan("breaks", "ken")
        assert [each["result"] for each in plan["guards"] if each["rule"] == "fault_left"] == ["fail"]
        refused = (await engine.submit("again", "ken", i.StartDrillIntent("breaks", latest="DRILL-1")))["refused"]
        assert refused is not None
        assert refused["rule"] == "fault_left"

        silent = await engine.submit("silent", "ken", i.FaultGoneIntent("DRILL-1", " "))
        assert not silent["accepted"], "how does he know?"
        stated = await engine.submit("stated", "ken", i.FaultGoneIntent("DRILL-1", "I see that it sells"))
        assert stated["accepted"], stated["refused"]
        assert engine.drilling.viewer().faults() == []
        (thing.folder / how).unlink()
        await eventually(
            lambda: not engine.drilling.viewer().plan("breaks", "ken")["failed"],
            within=PATIENCE,
            hint=lambda: engine.drilling.viewer().plan("breaks", "ken")["guards"],
        )
        assert await begin(engine, "DRILL-1")
        assert (await until_state(engine, "ended", "DRILL-2")).undone is True


async def test_an_undo_that_hangs_once_is_ended_and_tried_again(thing: Thing) -> None:
    thing.misbehave("hang")
    async with running(thing.workspace) as engine:
        await begin(engine)
        found = await until_state(engine, "ended")
        assert (found.verdict, found.undone) == (Verdict.PASSED, True), found.why
        assert thing.calls().count("mend") >= 2
        assert engine.drilling.viewer().faults() == []


# --- Chaos Toolkit ---------------------------------------------------------------------------------------------------


def write_experiment(thing: Thing, *, holds: bool, watch: str, **actions: int) -> None:
    """Let the drill be an experiment. actions: by name, with the exit code of their programs."""
    files = {
        "chaos.py": CHAOS,
        "kill.json": json.dumps({"holds": holds, "actions": actions}),
        "drills/breaks.yaml": DRILL + BY_AN_EXPERIMENT.format(python=sys.executable, watch=watch),
    }
    for name, text in files.items():
        (thing.workspace / name).write_text(text)


async def test_an_experiment_whose_action_fails_at_once_has_broken_nothing_although_it_exits_with_0(
    thing: Thing,
) -> None:
    write_experiment(thing, holds=False, watch="60s", kill=1)
    async with running(thing.workspace) as engine:
        await begin(engine)
        found = await until_state(engine, "ended")
        assert found.verdict is Verdict.ABORTED
        assert found.why == ("a fault could not be made: kill.json ended with exit code 0; failed: kill",)


@pytest.mark.parametrize(
    ("second", "verdict", "why"),
    [
        (0, Verdict.PASSED, "everything that was expected came true in time"),
        (1, Verdict.ABORTED, "a fault was not made as a whole: kill.json: kill-the-other"),
    ],
)
async def test_an_experiment_of_which_an_action_failed_later_does_not_pass_although_what_it_broke_was_noticed(
    thing: Thing, second: int, verdict: Verdict, why: str
) -> None:
    write_experiment(thing, holds=True, watch="0s", **{"kill": 0, "kill-the-other": second})
    async with running(thing.workspace) as engine:
        await begin(engine)
        found = await until_state(engine, "ended")
        assert found.times.opened is not None
        assert (found.verdict, found.why, found.undone) == (verdict, (why,), True)
        assert run_of(engine).verdict is verdict
        assert not thing.is_broken
