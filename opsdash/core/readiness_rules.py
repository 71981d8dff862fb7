"""The rules of readiness, as one table: what is missing, why that matters, how it is closed, and what it costs.

A rule about components has a function that looks at one of them; a rule about the operation looks at all. Both yield
what they find. A rule is silent about what nobody knows, and about what another rule says already.

`ASPECTS` divides the hundred points of a component; `points` of a rule are those that it takes off its aspect, by the
tier of the component: essential, important, droppable. 0: the rule is silent there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opsdash.core import gaps_around, gaps_register, gaps_ways
from opsdash.model.operation import TIER_ORDER, Tier
from opsdash.model.readiness import Aspect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opsdash.core.readiness_look import Found, Look
    from opsdash.model.operation import Component

ASPECTS: dict[Aspect, int] = {
    Aspect.REGISTER: 25,
    Aspect.BACKUP: 25,
    Aspect.MODES: 10,
    Aspect.DRILLS: 20,
    Aspect.PEOPLE: 10,
    Aspect.ISOLATION: 10,
}
"""The hundred points of a component."""

WHOLE = 30
"""Points out of a hundred that gaps of the operation as a whole can take off its score."""

WEIGHTS: dict[Tier, int] = {Tier.ESSENTIAL: 5, Tier.IMPORTANT: 3, Tier.DROPPABLE: 1}
"""How much a component counts in the operation's score."""

Points = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. title: what is missing, in the table.  why: why it matters.  close: what closes it.

    also: further aspects that are empty because of it, with their points, so that closing it cannot cost more than it.
    """

    id: str
    aspect: Aspect
    title: str
    why: str
    close: str
    points: Points
    find: Callable[[Look, Component], Iterable[Found]]
    also: Mapping[Aspect, int] = field(default_factory=dict)

    def costs(self, tier: Tier, share: float) -> dict[Aspect, float]:
        """Points that it takes off each aspect of a component of that tier; empty: it is silent there."""
        points = self.points[TIER_ORDER[tier]]
        return {self.aspect: points * share, **self.also} if points else {}


@dataclass(frozen=True, slots=True)
class WholeRule:
    """One rule about the operation as a whole."""

    id: str
    title: str
    why: str
    close: str
    points: int
    find: Callable[[Look], Iterable[Found]]


def _equal(points: int) -> Points:
    return points, points, points


UNREADABLE = Rule(
    "unreadable",
    Aspect.REGISTER,
    "the component's file cannot be read",
    "Nothing is checked, and nobody is told.",
    "correct the file",
    _equal(25),
    gaps_register.unreadable,
    {aspect: points for aspect, points in ASPECTS.items() if aspect is not Aspect.REGISTER},
)
"""Where it applies, the others have nothing to look at."""

RULES: tuple[Rule, ...] = (
    UNREADABLE,
    # the register
    Rule(
        "no-failure-modes",
        Aspect.REGISTER,
        "nothing says how the component can fail",
        "What is not written down is not decided, and is decided by whoever is awake at 3 a.m.",
        "write `failures:`",
        _equal(25),
        gaps_register.no_failure_modes,
        {Aspect.DRILLS: ASPECTS[Aspect.DRILLS]},
    ),
    Rule(
        "switched-off",
        Aspect.REGISTER,
        "a problem has switched off a part of the file",
        "What the file promises is not there: a check that does not run, a key that does nothing.",
        "correct the file",
        _equal(10),
        gaps_register.switched_off,
    ),
    Rule(
        "no-detection",
        Aspect.REGISTER,
        "no check detects a failure mode",
        "Users notice it first.",
        "write `detected_by`",
        _equal(12),
        gaps_register.no_detection,
    ),
    Rule(
        "no-response",
        Aspect.REGISTER,
        "a failure mode has no response",
        "It will be recognised, and then nobody knows what to do.",
        "write a runbook, or another response",
        _equal(12),
        gaps_register.no_response,
    ),
    Rule(
        "no-runbook",
        Aspect.REGISTER,
        "a failure mode has a response on a key, and no runbook",
        "The key may not help, and the way back needs one, too.",
        "write a runbook",
        (8, 8, 4),
        gaps_register.no_runbook,
    ),
    Rule(
        "runbook-broken",
        Aspect.REGISTER,
        "a runbook is gone, or cannot be followed step by step",
        "It is opened when there is no time to mend it.",
        "correct it: `opsdash runbook lint`",
        (8, 8, 4),
        gaps_register.runbook_broken,
    ),
    Rule(
        "runbook-not-approved",
        Aspect.REGISTER,
        "nobody has approved what a runbook would execute",
        "Its blocks will wait for an approval in the middle of the incident.",
        "approve it: `opsdash runbook run`",
        (4, 4, 2),
        gaps_register.runbook_not_approved,
    ),
    Rule(
        "runbook-overdue",
        Aspect.REGISTER,
        "the review of a runbook is overdue",
        "It describes what was there then.",
        "read it, correct it, set `reviewed`",
        (4, 4, 2),
        gaps_register.runbook_overdue,
    ),
    Rule(
        "never-red",
        Aspect.REGISTER,
        "a check was never seen to fail",
        "A check that cannot fail looks exactly like one that passes.",
        "drill what it looks at",
        (3, 3, 1),
        gaps_register.never_red,
    ),
    # backups
    Rule(
        "single-provider",
        Aspect.BACKUP,
        "an essential component has a single provider",
        "When it fails, nothing takes over, and all that is left is waiting.",
        "declare a backup, or a degraded mode that keeps its essential features",
        (25, 0, 0),
        gaps_ways.single_provider,
    ),
    Rule(
        "no-switch",
        Aspect.BACKUP,
        "there is a backup, and no switch to it",
        "Somebody will look for the way to it while it is needed.",
        "declare `switch:`",
        _equal(25),
        gaps_ways.no_switch,
    ),
    Rule(
        "backup-unproven",
        Aspect.BACKUP,
        "a backup was never shown to work",
        "A backup that was never tested is a hope.",
        "switch to it and back, or drill it",
        _equal(20),
        gaps_ways.backup_unproven,
    ),
    Rule(
        "backup-old",
        Aspect.BACKUP,
        "the proof of a backup is too old",
        "What worked a hundred days ago has met a hundred days of changes around it.",
        "switch to it and back, or drill it",
        _equal(10),
        gaps_ways.backup_old,
    ),
    Rule(
        "backup-changed",
        Aspect.BACKUP,
        "the component's definition has changed since its backup was proved",
        "What was proved is not what is there.",
        "switch to it and back, or drill it",
        _equal(10),
        gaps_ways.backup_changed,
    ),
    Rule(
        "backup-not-ready",
        Aspect.BACKUP,
        "a backup could not take over now",
        "The next failure of the primary is an outage.",
        "see to what the plan names: `opsdash failover COMPONENT --plan`",
        (12, 12, 8),
        gaps_ways.backup_not_ready,
    ),
    Rule(
        "shared-fate",
        Aspect.BACKUP,
        "primary and backup share something that takes both out",
        "Two providers on one host, in one zone or behind one credential are one.",
        "move one of them",
        (8, 8, 4),
        gaps_ways.shared_fate,
    ),
    Rule(
        "facts-not-declared",
        Aspect.BACKUP,
        "of the facts that are verified after a switch, some are not declared",
        "A reply of OK is no proof. What is not declared cannot be verified.",
        "declare `read`, `served_by`, `old_out`, `verify`",
        (4, 4, 2),
        gaps_ways.facts_not_declared,
    ),
    Rule(
        "failback-never",
        Aspect.BACKUP,
        "the way back to the primary was never practised",
        "The second outage of an incident happens on the way back.",
        "switch back once, verified",
        (3, 3, 1),
        gaps_ways.failback_never,
    ),
    # degraded modes
    Rule(
        "nothing-drops",
        Aspect.MODES,
        "features may be dropped, and no degraded mode drops them",
        "It was decided that they can be done without, and not how.",
        "declare a degraded mode under `modes:`",
        (10, 0, 0),
        gaps_ways.nothing_drops,
    ),
    Rule(
        "mode-unproven",
        Aspect.MODES,
        "a degraded mode was never entered and verified",
        "Nobody knows whether what it keeps is really kept.",
        "enter and leave it once, or drill it",
        _equal(10),
        gaps_ways.mode_unproven,
    ),
    Rule(
        "mode-old",
        Aspect.MODES,
        "the proof of a degraded mode is too old",
        "What worked a hundred days ago has met a hundred days of changes around it.",
        "enter and leave it once, or drill it",
        _equal(5),
        gaps_ways.mode_old,
    ),
    Rule(
        "mode-changed",
        Aspect.MODES,
        "the component's definition has changed since its degraded mode was proved",
        "What was proved is not what is there.",
        "enter and leave it once, or drill it",
        _equal(5),
        gaps_ways.mode_changed,
    ),
    # drills
    Rule(
        "no-drill",
        Aspect.DRILLS,
        "nobody practises a failure mode",
        "Whether people know what to do shows in the incident.",
        "write a drill; a tabletop one touches nothing",
        (20, 16, 8),
        gaps_register.no_drill,
    ),
    Rule(
        "drill-off",
        Aspect.DRILLS,
        "the only drill of a failure mode is switched off by a problem",
        "It looks like a drill, and will never be one.",
        "correct its file",
        (18, 14, 7),
        gaps_register.drill_off,
    ),
    Rule(
        "drill-never-run",
        Aspect.DRILLS,
        "a drill was never run",
        "A drill proves something when it is passed, not when it is written.",
        "run it",
        (16, 13, 6),
        gaps_register.drill_never_run,
    ),
    Rule(
        "drill-failed",
        Aspect.DRILLS,
        "the latest run of a drill has failed",
        "It is known that this does not work.",
        "mend what failed, run it again",
        (16, 13, 6),
        gaps_register.drill_failed,
    ),
    Rule(
        "drill-old",
        Aspect.DRILLS,
        "the evidence of a drill is too old",
        "People, and what they know, have changed since.",
        "run it",
        (10, 8, 4),
        gaps_register.drill_old,
    ),
    Rule(
        "drill-changed",
        Aspect.DRILLS,
        "what a drill has proved has changed since",
        "What was proved is not what is there.",
        "run it",
        (10, 8, 4),
        gaps_register.drill_changed,
    ),
    Rule(
        "drill-overdue",
        Aspect.DRILLS,
        "a drill is overdue by its own schedule",
        "Its evidence still counts, and will not for long.",
        "run it",
        (5, 4, 2),
        gaps_register.drill_overdue,
    ),
    # people
    Rule(
        "no-owner",
        Aspect.PEOPLE,
        "nobody owns the component",
        "Everybody will think that somebody else looks after it.",
        "name two `owners`",
        _equal(10),
        gaps_around.no_owner,
    ),
    Rule(
        "one-owner",
        Aspect.PEOPLE,
        "one person alone knows the component",
        "People are ill, on a plane, or gone.",
        "show it to a second person",
        (7, 7, 5),
        gaps_around.one_owner,
    ),
    Rule(
        "owners-away",
        Aspect.PEOPLE,
        "all owners are away, now or within two weeks",
        "The failure will not wait until they are back.",
        "find somebody who stands in",
        (3, 3, 1),
        gaps_around.owners_away,
    ),
    # isolation
    Rule(
        "hidden-coupling",
        Aspect.ISOLATION,
        "components share a host, credential or domain, and nothing says so",
        "They will fail together, and each will look like a failure of its own.",
        "separate them, or declare what they share as a component they depend on",
        (4, 4, 2),
        gaps_around.hidden_coupling,
    ),
    Rule(
        "alarm-circle",
        Aspect.ISOLATION,
        "all alarms about the component go through the component",
        "Of the failure that matters most nobody is told.",
        "add a channel that works without it",
        (6, 6, 3),
        gaps_around.alarm_circle,
    ),
    Rule(
        "secret-inline",
        Aspect.ISOLATION,
        "a secret stands in the file itself",
        "Whoever reads the file, a backup of it or its history has it.",
        "refer to it: ${NAME}, ${file:PATH}, ${cmd:ARGV}",
        (4, 4, 4),
        gaps_around.secret_inline,
    ),
)

WHOLE_RULES: tuple[WholeRule, ...] = (
    WholeRule(
        "no-channel",
        "no alarm channel is declared",
        "Whoever does not look at the board hears of nothing.",
        "declare one under `alarms: {channels: …}`",
        15,
        gaps_around.no_channel,
    ),
    WholeRule(
        "no-dead-man",
        "nobody expects a sign of life of opsdash",
        "When opsdash dies, its silence looks like good news.",
        "declare `dead_man`",
        7,
        gaps_around.no_dead_man,
    ),
    WholeRule(
        "no-anchors",
        "no anchors are declared",
        "When opsdash is cut off, everything looks down, and alarms ring for nothing.",
        "declare `anchors`",
        5,
        gaps_around.no_anchors,
    ),
    WholeRule(
        "channel-secret",
        "a secret of a channel stands in opsdash.yaml itself",
        "Whoever reads the file, a backup of it or its history has it.",
        "refer to it: ${NAME}, ${file:PATH}, ${cmd:ARGV}",
        3,
        gaps_around.channel_secret,
    ),
)

BY_ID: dict[str, Rule | WholeRule] = {rule.id: rule for rule in RULES} | {rule.id: rule for rule in WHOLE_RULES}
