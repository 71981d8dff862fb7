"""An operation to which nothing is missing, for tests that take one thing away and look which rule notices."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from opsdash.core.draft import Draft
from opsdash.core.readiness import readiness
from opsdash.model.drill import Drill, DrillEvidence, DrillPast, Level, Verdict
from opsdash.model.now import Now
from opsdash.model.operation import (
    ActionCall,
    CheckSpec,
    Component,
    DegradedMode,
    Feature,
    OldOut,
    Operation,
    Person,
    Response,
    ResponseKind,
    ServedBy,
    SwitchSpec,
    Tier,
)
from opsdash.model.readiness import Facts, Gap, Readiness, RunbookFacts
from opsdash.model.status import Status
from opsdash.model.world import ComponentLive, ComponentState, Live, Proof, World
from opsdash.testing import alarming, check, component, failure, operation, provider

NOW = 1_790_000_000.0
DAY = 86400.0
SHA = "sha of shop"


def put(value: str) -> ActionCall:
    return ActionCall("pointer", {"file": f"/srv/{value}.json", "value": value})


def switch(**changes: Any) -> SwitchSpec:
    """A switch all of whose facts are declared."""
    settings: dict[str, Any] = {
        "action": put("switch"),
        "read": put("read"),
        "served_by": ServedBy("shop/front", "facts.provider"),
        "old_out": OldOut(stateless=True),
        "verify": ("shop/front",),
    }
    return SwitchSpec(**(settings | changes))


def small(**changes: Any) -> DegradedMode:
    """A degraded mode that keeps what is essential and drops the rest."""
    settings: dict[str, Any] = {"title": "Small", "as_name": "small", "enter": put("small")}
    return DegradedMode("small", **(settings | {"keeps": ("orders",), "drops": ("extras",)} | changes))


def shop(**changes: Any) -> Component:
    """An essential component to which nothing is missing."""
    settings: dict[str, Any] = {
        "title": "Shop",
        "tier": Tier.ESSENTIAL,
        "owners": ("maria", "ken"),
        "checks": ("front",),
        "providers": (provider("main", "api"), provider("spare", "api")),
        "features": {
            "orders": Feature("orders", "Orders", Tier.ESSENTIAL, ("shop/front",)),
            "extras": Feature("extras", "Extras", Tier.DROPPABLE),
        },
        "switch": switch(),
        "modes": {"small": small()},
        "failures": {
            "broken": failure(
                "broken", "shop/active/api", response=Response(ResponseKind.SWITCH, "shop"), runbook="shop-broken"
            )
        },
        "file": "checks/shop.yaml",
        "sha256": SHA,
    }
    return component("shop", **(settings | changes))


def drill(**changes: Any) -> Drill:
    """The drill of the shop's failure mode."""
    settings: dict[str, Any] = {"title": "Broken", "component": "shop", "failure_mode": "broken"}
    return Drill("shop-drill", **(settings | changes))


def proof(days: float = 1.0, sha256: str = SHA) -> Proof:
    """Something was shown to work so many days ago."""
    return Proof(NOW - days * DAY, "a switch", sha256)


def _proofs() -> dict[str, Any]:
    return {f"shop/{what}": proof() for what in ("main", "spare", "mode:small")}


def past(days: float = 1.0, sha256: str = SHA, verdict: Verdict = Verdict.PASSED, **changes: Any) -> DrillPast:
    """The shop's drill was last run so many days ago."""
    evidence = DrillEvidence(
        "DRILL-1", "shop-drill", "shop", Level.TABLETOP, NOW - days * DAY, verdict, {"component": sha256}, **changes
    )
    if verdict is Verdict.FAILED:
        return DrillPast(evidence, failed=evidence)
    return DrillPast(evidence, proved=evidence)


CHECKS = (
    check("shop/front", raw={"url": "https://front.shop.example/"}),
    check("shop/main/api", raw={"url": "https://api.one.example/"}),
    check("shop/spare/api", raw={"url": "https://api.other.example/"}),
)


KNOWN = Facts(runbooks={"shop-broken": RunbookFacts("runbooks/shop-broken.md")}, dead_man=True, measured=True)


@dataclass
class Stage:
    """What is looked at. rows, live: by table and key, besides what is there anyway; None takes it away."""

    shop: Component = field(default_factory=shop)
    others: tuple[Component, ...] = ()
    checks: tuple[CheckSpec, ...] = CHECKS
    people: tuple[Person, ...] = (Person("maria", "Maria"), Person("ken", "Ken"), Person("lena", "Lena"))
    drills: tuple[Drill, ...] = field(default_factory=lambda: (drill(),))
    channels: Any = field(default_factory=lambda: alarming("log"))
    anchors: int = 3
    rows: dict[tuple[str, str], Any] = field(default_factory=dict)
    live: dict[tuple[str, str], Any] = field(default_factory=dict)
    facts: Facts = field(default_factory=lambda: KNOWN)

    def operation(self) -> Operation:
        """The operation as its files say."""
        return operation(
            self.shop,
            *self.others,
            checks=self.checks,
            people=self.people,
            anchors=self.anchors,
            alarms=self.channels,
            drills={each.id: each for each in self.drills},
        )

    def draft(self) -> Draft:
        """The operation with what is recorded and shown of it."""
        world, live = World(self.operation()), Live()
        world.apply([("proofs", key, value) for key, value in _proofs().items()])
        world.apply([("drill_past", "shop-drill", past())])
        world.apply([("seen_red", name, NOW - DAY) for name in world.operation.checks])
        world.apply([("components", "shop", ComponentState(active="main"))])
        healthy = {each.id: Status.OK for each in self.shop.providers}
        live.apply([("components", "shop", ComponentLive(status=Status.OK, providers=healthy))])
        world.apply([(*key, value) for key, value in self.rows.items()])
        live.apply([(*key, value) for key, value in self.live.items()])
        return Draft(world, live, Now(NOW, 1000.0, 1000.0))

    def readiness(self) -> Readiness:
        """What is missing."""
        return readiness(self.draft(), self.facts)

    def gaps(self, rule: str) -> list[Gap]:
        """What one rule has found."""
        return [gap for gap in self.readiness().gaps if gap.rule == rule]

    def rules(self) -> set[str]:
        """The rules that have found anything."""
        return {gap.rule for gap in self.readiness().gaps}


def with_facts(**changes: Any) -> Facts:
    """What is known, but for these."""
    return replace(KNOWN, **changes)


def with_runbook(**changes: Any) -> Facts:
    """The shop's runbook, with something wrong."""
    return with_facts(runbooks={"shop-broken": RunbookFacts("runbooks/shop-broken.md", **changes)})
