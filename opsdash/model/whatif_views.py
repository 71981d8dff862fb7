"""What-if as clients see it: as JSON on the command line, and on the board."""

from __future__ import annotations

from typing import TypedDict


class WhatIfFeature(TypedDict):
    """What users have of a feature: `yes`, `no`, `unknown`, `dropped` or `at risk`, before and after the response."""

    id: str
    title: str
    tier: str
    before: str
    after: str


class WhatIfFailure(TypedDict):
    """An entry of the register that becomes active."""

    id: str
    title: str
    response: str
    runbook: str | None
    offered: bool


class WhatIfGuard(TypedDict):
    """A guard that does not pass: `warn`, `fail` or `unknown`."""

    rule: str
    result: str
    evidence: str


class WhatIfAnswer(TypedDict):
    """What becomes of the response. refused: "" where it was begun.  outcome: as a switch ends, None for a runbook."""

    kind: str
    component: str
    target: str
    rule: str
    refused: str
    guards: list[WhatIfGuard]
    outcome: str | None
    detail: str
    by_itself: bool


class WhatIfAlarm(TypedDict):
    """An alarm and its channels; held: why it waits, "" where it is raised."""

    topic: str
    title: str
    held: str
    at_once: list[str]
    later: list[str]
    silent: list[str]
    note: str


class WhatIfFate(TypedDict):
    """What becomes of a component: its status at the start, with the loss, and after the response."""

    component: str
    title: str
    tier: str
    was: str
    status: str
    reason: str | None
    cause: str
    after: str
    redundancy: str
    failures: list[WhatIfFailure]
    answer: WhatIfAnswer | None
    runbook: str | None
    features: list[WhatIfFeature]
    alarms: list[WhatIfAlarm]
    present: list[str]
    unanswered: list[str]


class WhatIfLine(TypedDict):
    """A loss in a ranking. critical: alone, it is a single point of failure.  lost, at_risk: features after the
    response.  down: components at first; stays_down: those that people have to repair.
    """

    subjects: list[str]
    critical: bool
    lost: list[WhatIfFeature]
    at_risk: list[WhatIfFeature]
    down: list[str]
    degraded: list[str]
    unknown: list[str]
    switched: list[str]
    redundancy_lost: list[str]
    stays_down: list[str]
    unanswered: list[str]


class WhatIfView(WhatIfLine):
    """All that comes of a loss."""

    fates: list[WhatIfFate]
    features: list[WhatIfFeature]


class LostFeature(TypedDict):
    """A feature of a pair, and its tier."""

    id: str
    tier: str


class WhatIfPair(TypedDict):
    """What two losses take only together; lost and at_risk are features."""

    subjects: list[str]
    lost: list[LostFeature]
    at_risk: list[LostFeature]
    stays_down: list[str]
    unanswered: list[str]
