"""The four facts: what is measured after a switch, from which samples, and what they say.

A: the mechanism reads back the new side. B: the front door is served by it, so many times in a row. C: the old side no
longer serves. D: essential features pass. Each is true, false or unknown, with the evidence at hand.

Only samples that were requested after the action count, and where an answer names its own time, one that is older than
the action is no sample: unknown, never false. What is verified is pinned in the plan, whatever the files say meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsdash.core.steps import is_before, next_step
from opsdash.model.now import parse_moment
from opsdash.model.status import Status
from opsdash.model.switch import Fact, FactName, SwitchKind, Truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsdash.model.inputs import ReadDone
    from opsdash.model.observation import Observation
    from opsdash.model.operation import ServedBy, Step
    from opsdash.model.switch import Switch
    from opsdash.model.world import SwitchLive


NEVER_BEGUN = "the switch itself was never begun"


def is_whole(switch: Switch) -> bool:
    """Whether the four facts are what is measured now; else it is one step, after which others are to come."""
    if switch.undoing:
        return True
    return not is_before(switch) and not switch.step and next_step(switch) is None


def _step(switch: Switch) -> Step | None:
    """The step before or after the switch that is measured now; None for the switch itself, and for the whole."""
    return None if switch.undoing else switch.plan.step(switch.step)


def needs_reading(switch: Switch) -> bool:
    """Whether the mechanism is read for it: for the whole, and for the switch itself between two steps."""
    return not switch.step or switch.undoing


def deadline(switch: Switch) -> float:
    """Seconds that what is measured now may take to come about."""
    step = _step(switch)
    return switch.plan.deadline if step is None else step.deadline


def step_truth(switch: Switch, live: SwitchLive) -> tuple[Truth, str]:
    """Whether the step that a switch is at came about: its checks pass, or the mechanism reads back the new side.

    Where nothing is declared by which it could be told, the answer of its action has to do.
    """
    step = _step(switch)
    if not is_measured(switch):
        words = "nothing to verify it is declared"
        if live.doubt:
            return Truth.UNKNOWN, f"{live.doubt}; {words}"
        return (Truth.UNKNOWN if switch.in_doubt and step is not None else Truth.TRUE), words
    if step is None:
        fact, old = _mechanism(switch, live), _old_out(switch, live)
        return (old.truth, old.evidence) if old.truth is Truth.FALSE else (fact.truth, fact.evidence)
    watched = (*(f"check:{check}" for check in step.verify), *(f"down:{check}" for check in step.down))
    truth, _, evidence = _together(watched, live)
    return truth, evidence


def is_measured(switch: Switch) -> bool:
    """Whether anything tells if the step that a switch is at came about."""
    step = _step(switch)
    return switch.plan.read is not None if step is None else bool(step.verify or step.down)


def involved(switch: Switch) -> set[str]:
    """The checks whose samples are needed now."""
    plan = switch.plan
    step = _step(switch)
    if not is_whole(switch):
        return set() if step is None else {*step.verify, *step.down}
    if switch.undoing and is_before(switch):
        return set()
    checks = set(plan.verify)
    if plan.served_by is not None:
        checks.add(plan.served_by.check)
    if _watches_old(switch) and plan.old_out is not None:
        checks.add(plan.old_out.check)
    return checks


def _watches_old(switch: Switch) -> bool:
    """Whether a check tells that the old side is out. While undoing there is no old side to be watched."""
    old_out = switch.plan.old_out
    return old_out is not None and old_out.by_check and not switch.undoing and bool(switch.plan.source)


def with_observation(live: SwitchLive, switch: Switch, seen: Observation) -> SwitchLive:
    """Progress after one more result of a check that is involved, requested after the action."""
    plan = switch.plan
    step = _step(switch)
    if plan.served_by is not None and seen.check == plan.served_by.check:
        truth, evidence = _who_served(plan.served_by, switch, seen)
        live = _with_sample(live, FactName.FRONT_DOOR.value, truth, evidence)
    if _watches_old(switch) and plan.old_out is not None and seen.check == plan.old_out.check:
        evidence = f"{seen.check} is {seen.status.value}: {seen.detail}"
        live = _with_sample(live, FactName.OLD_OUT.value, _is(seen, plan.old_out.status), evidence)
    if seen.check in (plan.verify if step is None else step.verify):
        truth = {Status.UNKNOWN: Truth.UNKNOWN, Status.DOWN: Truth.FALSE}.get(seen.status, Truth.TRUE)
        live = _with_sample(live, f"check:{seen.check}", truth, f"{seen.check}: {seen.detail or seen.status.value}")
    if step is not None and seen.check in step.down:
        evidence = f"{seen.check} is {seen.status.value}: {seen.detail}"
        live = _with_sample(live, f"down:{seen.check}", _is(seen, Status.DOWN), evidence)
    return live


def with_reading(live: SwitchLive, switch: Switch, event: ReadDone) -> SwitchLive:
    """Progress after the mechanism was read once more, after the action."""
    live = _with_sample(live, FactName.MECHANISM.value, *_reads_wanted(switch, event))
    if _by_mechanism(switch):
        live = _with_sample(live, FactName.OLD_OUT.value, *_sees_old_out(switch, event))
    elif _half_done_tells(switch):
        half = _half_done(switch, event)
        live = _with_sample(live, FactName.OLD_OUT.value, Truth.FALSE if half else Truth.STATELESS, _serving(event))
    return live


def _by_mechanism(switch: Switch) -> bool:
    """Whether the mechanism tells if the old side is out."""
    old_out = switch.plan.old_out
    return old_out is not None and old_out.mechanism and not switch.undoing


def _half_done_tells(switch: Switch) -> bool:
    """Whether nothing else tells if the old side is out: then the mechanism does as soon as it says that both serve."""
    old_out = switch.plan.old_out
    return not switch.undoing and (old_out is None or old_out.stateless)


def _half_done(switch: Switch, event: ReadDone) -> bool:
    """Whether the mechanism leads to both sides, where it was to lead to the new one: an action that was cut short.

    Both may be up where that is stateless; but the switch is neither done nor without effect.
    """
    seen = event.serving or ()
    return event.value != switch.plan.wanted and switch.plan.wanted in seen and switch.plan.expected in seen


def _sees_old_out(switch: Switch, event: ReadDone) -> tuple[Truth, str]:
    """Whether the old side is no longer among those that the mechanism sees serving."""
    if event.serving is None:
        return Truth.UNKNOWN, f"the mechanism cannot tell who serves: {event.detail or 'it names one only'}"
    evidence = _serving(event)
    if switch.plan.expected is None:  # nobody knows who served before, so that only the new side may be left
        return (Truth.TRUE if set(event.serving) <= {switch.plan.wanted} else Truth.UNKNOWN), evidence
    return (Truth.FALSE if switch.plan.expected in event.serving else Truth.TRUE), evidence


def _serving(event: ReadDone) -> str:
    return f"it sees {', '.join(event.serving or ()) or 'nobody'} serving"


def _with_sample(live: SwitchLive, key: str, truth: Truth, evidence: str) -> SwitchLive:
    """The latest sample says what is known now; an unknown one neither advances nor resets the hits in a row."""
    before = live.hits.get(key, 0)
    hits = {Truth.TRUE: before + 1, Truth.UNKNOWN: before}.get(truth, 0)
    return replace(
        live,
        hits={**live.hits, key: hits},
        truth={**live.truth, key: truth},
        seen={**live.seen, key: evidence},
    )


def _is(seen: Observation, wanted: Status) -> Truth:
    if seen.status is Status.UNKNOWN:
        return Truth.UNKNOWN
    return Truth.TRUE if seen.status is wanted else Truth.FALSE


def _who_served(spec: ServedBy, switch: Switch, seen: Observation) -> tuple[Truth, str]:
    """Who answered at the front door."""
    wanted = switch.plan.expected if switch.undoing else switch.plan.wanted
    value = fact_value(seen, spec.value)
    if value is None:
        return Truth.UNKNOWN, f"{spec.check} does not say who answered: {seen.detail or seen.status.value}"
    if spec.at is not None:
        made_at = _moment(fact_value(seen, spec.at))
        if made_at is None:
            return Truth.UNKNOWN, f"{spec.check} does not say when it was answered"
        if switch.applied_at is not None and made_at < switch.applied_at:
            return Truth.UNKNOWN, f"answered by {value!r}, but before the action"
    return (Truth.TRUE if str(value) == wanted else Truth.FALSE), f"answered by {value!r}"


def fact_value(seen: Observation, path: str) -> Any:
    """A value that a check extracted: `facts.x` by its name, anything else by its whole path."""
    return seen.facts.get(path.removeprefix("facts."))


def _moment(value: Any) -> float | None:
    """When an answer says that it was made; None where it does not say."""
    try:
        return parse_moment(value)
    except ValueError:
        return None


def _reads_wanted(switch: Switch, event: ReadDone) -> tuple[Truth, str]:
    """Whether the mechanism says the new side; while undoing, the old one.

    Out of a degraded mode that has a `leave` of its own, anything else than the mode will do.
    """
    plan = switch.plan
    if event.value is None:
        return Truth.UNKNOWN, f"cannot be read: {event.detail}"
    evidence = f"it says {event.value!r}" + (", put there by this very switch" if event.by == switch.id else "")
    if switch.undoing:
        entered = plan.kind is SwitchKind.DEGRADE
        wanted = (switch.prior if plan.restores else None) if entered else plan.expected
    else:
        wanted = plan.wanted
    if wanted is None:
        left = plan.kind is SwitchKind.RESTORE and event.value != plan.expected
        left = left or (switch.undoing and event.value != plan.wanted)
        return (Truth.TRUE if left else Truth.FALSE), evidence
    if event.value != wanted and _serves_too(switch, event):
        return Truth.TRUE, f"{evidence}: the new side serves, and not alone"
    return (Truth.TRUE if event.value == wanted else Truth.FALSE), evidence


def _serves_too(switch: Switch, event: ReadDone) -> bool:
    """Whether the mechanism sees the new side serve beside others. That this is a split is for the next fact to say."""
    if _by_mechanism(switch):
        return switch.plan.wanted in (event.serving or ())
    return _half_done_tells(switch) and _half_done(switch, event)


# --- what the samples add up to ------------------------------------------------------------------------------------


def facts(switch: Switch, live: SwitchLive) -> tuple[Fact, ...]:
    """The four facts as far as they are known now."""
    return (_mechanism(switch, live), _front_door(switch, live), _old_out(switch, live), _features(switch, live))


def _single(name: FactName, live: SwitchLive, unseen: str) -> Fact:
    key = name.value
    truth = live.truth.get(key, Truth.UNKNOWN)
    return Fact(name, truth, live.seen.get(key, unseen), min(live.hits.get(key, 0), 1))


def _mechanism(switch: Switch, live: SwitchLive) -> Fact:
    if switch.plan.read is None:
        return Fact(FactName.MECHANISM, Truth.UNDECLARED, "no `read` is declared")
    return _single(FactName.MECHANISM, live, "not read yet")


def _front_door(switch: Switch, live: SwitchLive) -> Fact:
    spec = switch.plan.served_by
    if spec is None:
        return Fact(FactName.FRONT_DOOR, Truth.UNDECLARED, "no `served_by` is declared")
    if switch.undoing and is_before(switch):
        return Fact(FactName.FRONT_DOOR, Truth.UNDECLARED, NEVER_BEGUN)
    key = FactName.FRONT_DOOR.value
    hits, truth = live.hits.get(key, 0), live.truth.get(key, Truth.UNKNOWN)
    if truth is Truth.TRUE and hits < spec.times:
        truth = Truth.UNKNOWN
    return Fact(FactName.FRONT_DOOR, truth, live.seen.get(key, "no sample yet"), min(hits, spec.times), spec.times)


def _old_out(switch: Switch, live: SwitchLive) -> Fact:
    spec = switch.plan.old_out
    if _half_done_tells(switch) and live.truth.get(FactName.OLD_OUT.value) is Truth.FALSE:
        return _single(FactName.OLD_OUT, live, "")
    if spec is None:
        return Fact(FactName.OLD_OUT, Truth.UNDECLARED, "no `old_out` is declared")
    if switch.undoing:
        return Fact(FactName.OLD_OUT, Truth.UNDECLARED, "it is for the way there, and says nothing of the way back")
    if spec.stateless:
        return Fact(FactName.OLD_OUT, Truth.STATELESS, "both may be up")
    if not switch.plan.source and not spec.mechanism:
        return Fact(FactName.OLD_OUT, Truth.UNKNOWN, "nobody knows who served before")
    return _single(FactName.OLD_OUT, live, "no sample yet")


def _features(switch: Switch, live: SwitchLive) -> Fact:
    checks = switch.plan.verify
    if not checks:
        return Fact(FactName.FEATURES, Truth.UNDECLARED, "nothing to verify is declared")
    if switch.undoing and is_before(switch):
        return Fact(FactName.FEATURES, Truth.UNDECLARED, NEVER_BEGUN)
    truth, passed, evidence = _together([f"check:{check}" for check in checks], live)
    return Fact(FactName.FEATURES, truth, evidence, passed, len(checks))


def _together(keys: Sequence[str], live: SwitchLive) -> tuple[Truth, int, str]:
    """Whether all samples say true, how many do, and the evidence of the first that does not."""
    truths = [live.truth.get(key, Truth.UNKNOWN) for key in keys]
    passed = sum(truth is Truth.TRUE for truth in truths)
    truth = next((each for each in (Truth.UNKNOWN, Truth.FALSE) if each in truths), Truth.TRUE)
    worst = [key for key, each in zip(keys, truths, strict=True) if each is not Truth.TRUE]
    evidence = live.seen.get((worst or list(keys))[0], "no sample yet")
    return truth, passed, evidence
