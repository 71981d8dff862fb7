"""Leads: a model scores them, a router gives them to people.

In the mode `scored` a lead without a score is held back. That is the right thing for a minute and the wrong
thing for an hour, so it was decided in advance: in the mode `all-to-sales` every lead goes to the sales
team, unscored.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from opsdash.demo.catalog import Fault
from opsdash.demo.register import Register
from opsdash.demo.server import Port, Service
from opsdash.demo.web import Request, Response, Unusable, fetch_json, json_response
from opsdash.demo.world import every, stamp

if TYPE_CHECKING:
    from pathlib import Path

ALL_TO_SALES = "all-to-sales"
_RHYTHM = 0.3
_MOST_HELD = 1000
_THRESHOLD = 0.5


class Scoring(Service):
    """The model. `garbage` is worse than silence here: in time, in the right shape, and senseless."""

    def __init__(self) -> None:
        super().__init__("scoring")
        self.http: Port = self.listen_http(
            "SCORING_HTTP",
            {
                ("GET", "/health"): self._health,
                ("GET", "/score"): self._score,
                ("POST", "/score"): self._score,
            },
            shows=frozenset({Fault.GARBAGE}),
        )

    def _health(self, _request: Request) -> Response:
        return json_response({"healthy": True, "model": "leads-7"})

    def _score(self, request: Request) -> Response:
        lead = request.query.get("lead", "0")
        spread = (sum(lead.encode()) * 37 % 100) / 100
        score = -9999.0 if self.fault is Fault.GARBAGE else spread
        return json_response({"score": score, "model": "leads-7", "at": stamp()})


class LeadRouter(Service):
    """Gives each lead to `sales` or `nurture`, and says by whose score."""

    def __init__(self, state: Path, scoring: Scoring) -> None:
        super().__init__("lead-router")
        self._scoring = scoring.http
        self._mode = Register(state / "lead-router.json", "mode", allowed=("scored", ALL_TO_SALES))
        self._working_in = self._mode.value
        self._numbers = itertools.count(1)
        self._held: list[int] = []
        self._routed = 0
        self._last: dict[str, Any] = {"at": None, "lead": None, "to": None, "scored_by": None}
        self._error: str | None = None
        self.http: Port = self.listen_http(
            "LEAD_ROUTER_HTTP",
            {
                ("GET", "/mode"): self._mode.get,
                ("PUT", "/mode"): self._mode.put,
                ("GET", "/last-lead"): self._last_lead,
            },
        )

    async def run(self) -> None:
        await every(_RHYTHM, self._round)

    async def _round(self) -> None:
        if self.stopped:
            return
        if self.fault is not Fault.DEAF:
            self._working_in = self._mode.value
        self._held = [*self._held, next(self._numbers)][-_MOST_HELD:]
        if self._working_in == ALL_TO_SALES:
            for lead in self._held:
                self._route(lead, "sales", scored_by=None)
            self._held = []
        else:
            await self._route_by_score()

    async def _route_by_score(self) -> None:
        """Two a round, so that leads that were held back are worked off once the model answers again."""
        for lead in self._held[:2]:
            try:
                score, model = _score_of(await fetch_json(self._scoring.number, f"/score?lead={lead}"))
            except Unusable as problem:
                self._error = str(problem)
                return
            self._error = None
            self._held.remove(lead)
            self._route(lead, "sales" if score >= _THRESHOLD else "nurture", scored_by=model)

    def _route(self, lead: int, team: str, *, scored_by: str | None) -> None:
        self._routed += 1
        self._last = {"at": stamp(), "lead": lead, "to": team, "scored_by": scored_by}

    def _last_lead(self, _request: Request) -> Response:
        """With the mode that it works in, and the version of the one that it was told: who reads may switch by it."""
        facts = {"routed": self._routed, "held": len(self._held), "error": self._error}
        return json_response({**self._last, "mode": self._working_in, **facts}, headers=self._mode.etag())


def _score_of(answer: object) -> tuple[float, str]:
    match answer:
        case {"score": float() | int() as score, "model": str(model)} if 0 <= score <= 1:
            return float(score), model
        case _:
            raise Unusable("the model's answer is no score between 0 and 1")
