"""Preflights: a mechanism that is slow to answer is asked once, however often somebody looks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from opsdash.core.draft import Draft
from opsdash.core.planning import plan
from opsdash.engine.preflights import Preflights
from opsdash.model.switch import Plan, SwitchKind
from opsdash.testing import Timeline, email, mail_outside, mail_switch, operation

if TYPE_CHECKING:
    from opsdash.model.operation import ActionCall
    from opsdash.model.world import Live, World


class SlowMechanism:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.answers = asyncio.Event()

    async def preflight(self, key: str, call: ActionCall, expected: str | None = None) -> None:  # noqa: ARG002
        self.asked.append(expected)
        await self.answers.wait()


class Standing:
    """A runner whose world stands still."""

    def __init__(self, timeline: Timeline) -> None:
        self.world: World = timeline.world
        self.live: Live = timeline.live

    async def settled(self) -> None:
        """Nothing is on its way."""


def shop() -> Timeline:
    timeline = Timeline(operation(email(switch=mail_switch())), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    return timeline


def planned(timeline: Timeline) -> Plan:
    found = plan(Draft(timeline.world, timeline.live, timeline.clock()), "email", SwitchKind.FAILOVER, "ses")
    assert isinstance(found, Plan)
    return found


def preflights(timeline: Timeline, mechanism: SlowMechanism) -> Preflights:
    return Preflights(
        clock=timeline.clock,
        runner=cast("Any", Standing(timeline)),
        executor=cast("Any", mechanism),
        draft=lambda: Draft(timeline.world, timeline.live, timeline.clock()),
    )


async def test_a_plan_that_is_looked_at_again_and_again_asks_a_slow_mechanism_once() -> None:
    timeline, mechanism = shop(), SlowMechanism()
    found = preflights(timeline, mechanism)
    await asyncio.gather(*(found.freshen(planned(timeline)) for _ in range(5)))
    found.look(timeline.clock())
    assert len(mechanism.asked) == 1
    mechanism.answers.set()
    await found.freshen(planned(timeline))
    await found.freshen(planned(timeline))
    assert len(mechanism.asked) == 3, "it has answered, and that was not kept here: it is asked anew"


async def test_what_is_expected_by_now_is_asked_although_what_was_expected_before_has_no_answer_yet() -> None:
    timeline, mechanism = shop(), SlowMechanism()
    found = preflights(timeline, mechanism)
    await found.freshen(planned(timeline))
    timeline.read("email", "by-hand")
    await found.freshen(planned(timeline))
    assert mechanism.asked == ["pm-prod", None], "nobody knows who serves"
    mechanism.answers.set()
