"""The dead man's switch: what it tells whom, by what is seen of the engine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.config.workspace import DeadMan
from opsdash.core.progress import Signs
from opsdash.engine.deadman import LOOK_EVERY, SETTLED, DeadManSwitch
from opsdash.kinds.resolver import Resolver
from opsdash.model.now import Now
from tests.engine.support import (
    GatedJournal,
    eventually,
    hang,
    http,
    loaded_from,
    running,
    serving,
    web,
    write_workspace,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.engine.support import Target

WELL = Signs(now=1000.0, turned=1000.0, decided=1000.0, waiting=False, late=0, checks=4)
FULL = replace(WELL, journal_error="no space left")
KEY = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"


@dataclass
class Stage:
    """A switch, the engine that it sees, and the target that it tells."""

    target: Target
    settings: DeadMan
    signs: Signs = WELL
    mono: float = 1000.0
    resolver: Resolver = field(default_factory=Resolver)

    def __post_init__(self) -> None:
        self.switch = DeadManSwitch(
            clock=lambda: Now(wall=1e9 + self.mono, mono=self.mono, boot=self.mono),
            settings=lambda: self.settings,
            signs=lambda: self.signs,
            resolver=self.resolver,
            mask=lambda text: text.replace(KEY, "***"),
        )

    async def turn(self) -> float:
        return await self.switch.turn(self.settings)

    @property
    def told(self) -> list[str]:
        """What followed the URL, of each request."""
        return [request.path.removeprefix(f"/{KEY}") for request in self.target.requests]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with serving() as target:
        made = Stage(target, DeadMan(f"{target.url}/{KEY}", every=60.0, timeout=5.0, grace=30.0))
        yield made
        made.resolver.close()


async def test_it_says_that_it_has_started_and_waits_before_it_says_that_it_is_at_work(stage: Stage) -> None:
    assert await stage.turn() == SETTLED
    assert stage.told == ["/start"]
    assert await stage.turn() == 60.0
    assert stage.told == ["/start", ""]
    assert stage.switch.last_sign == 1e9 + 1000
    assert all(request.method == "POST" for request in stage.target.requests)


async def test_what_is_not_at_work_gives_no_sign_of_life_and_says_why_after_a_while(stage: Stage) -> None:
    await stage.turn()
    stage.signs = FULL
    assert await stage.turn() == LOOK_EVERY
    stage.mono += 29
    await stage.turn()
    assert stage.told == ["/start"]
    stage.mono += 1
    await stage.turn()
    await stage.turn()
    assert stage.told == ["/start", "/fail"]
    assert stage.target.requests[-1].body == b"opsdash cannot write its journal: no space left"
    stage.mono += 60
    await stage.turn()
    assert stage.told == ["/start", "/fail", "/fail"]
    stage.signs = WELL
    await stage.turn()
    assert stage.told[-1] == ""
    stage.signs = FULL
    await stage.turn()
    assert stage.told[-1] == ""


async def test_a_short_trouble_is_not_told_and_costs_one_sign(stage: Stage) -> None:
    await stage.turn()
    stage.signs = FULL
    await stage.turn()
    stage.signs = WELL
    await stage.turn()
    stage.mono += 1000
    stage.signs = FULL
    await stage.turn()
    assert stage.told == ["/start", ""]


async def test_whoever_does_not_know_the_signals_is_asked_at_the_url_alone(stage: Stage) -> None:
    stage.settings = replace(stage.settings, url=f"{stage.target.url}/{KEY}?status=up", signals=False)
    await stage.turn()
    await stage.turn()
    stage.signs = FULL
    stage.mono += 1000
    await stage.turn()
    stage.mono += 1000
    await stage.turn()
    assert stage.told == ["?status=up"]


async def test_a_signal_stands_before_the_query(stage: Stage) -> None:
    stage.settings = replace(stage.settings, url=f"{stage.target.url}/{KEY}/?rid=7")
    await stage.turn()
    assert stage.told == ["/start?rid=7"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http("no such check", status=404), "404 Not Found: no such check"),
        (http("", status=429), "429 Too Many Requests"),
        (http("", status=302, headers="Location: http://127.0.0.1:9/"), "302 Found"),
        (http("OK (not found)"), "200 OK: OK (not found)"),
        (http("OK (rate limited)"), "200 OK: OK (rate limited)"),
        (http(f"gone: {KEY} \x1b]0;x\x07", status=410), "410 Gone: gone: ***"),
        (b"", "closed"),
        (hang, "no answer in time"),
    ],
)
async def test_a_sign_that_was_not_taken_is_tried_again_sooner(
    stage: Stage, answer: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage.settings = replace(stage.settings, timeout=0.5 if answer is hang else 5.0)
    stage.target.routes[f"/{KEY}"] = answer
    await stage.turn()
    assert await stage.turn() == 10.0
    assert await stage.turn() == 10.0
    assert said in stage.switch.trouble
    assert stage.switch.last_sign is None
    assert caplog.text.count("was not taken") == 1
    assert KEY not in caplog.text + stage.switch.trouble
    assert "\x1b" not in stage.switch.trouble
    del stage.target.routes[f"/{KEY}"]
    assert await stage.turn() == 60.0
    assert stage.switch.trouble == ""


async def test_it_says_of_itself_whom_it_tells_without_the_key(stage: Stage) -> None:
    await stage.turn()
    about = stage.switch.about()
    assert (about["configured"], about["to"], about["every"]) == (True, f"127.0.0.1:{stage.target.port}", 60.0)
    assert KEY not in json.dumps(about)


async def test_an_engine_that_cannot_write_its_journal_gives_no_sign_and_says_so(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with serving() as target:
        settings = f'dead_man: {{url: "{target.url}/{KEY}", every: 1s, grace: 0}}\n'
        folder = write_workspace(tmp_path / "w", settings=settings, web=web(target.url))
        async with running(folder, journal=journal) as engine:
            await eventually(lambda: target.hits[f"POST /{KEY}"] >= 1)
            journal.full = True
            target.routes["/"] = http("", status=500)
            await eventually(lambda: target.hits[f"POST /{KEY}/fail"] >= 1, hint=engine.signs)
            signs = target.hits[f"POST /{KEY}"]
            await eventually(lambda: target.hits[f"POST /{KEY}/fail"] >= 3)
            assert target.hits[f"POST /{KEY}"] == signs
            journal.full = False
            await eventually(lambda: target.hits[f"POST /{KEY}"] > signs)


async def test_an_engine_that_ends_gives_no_more_signs(tmp_path: Path) -> None:
    async with serving() as target:
        settings = f'dead_man: {{url: "{target.url}/{KEY}", every: 1s}}\n'
        folder = write_workspace(tmp_path / "w", settings=settings, web=web(target.url))
        async with running(folder, stop=False) as engine:
            await eventually(lambda: target.hits[f"POST /{KEY}"] >= 1)
            await engine.stop("enough")
            assert engine._signs_of_life is not None
            assert engine._signs_of_life.done()


@pytest.mark.parametrize(
    ("text", "said", "left"),
    [
        ('{url: "ftp://x/"}', "must begin with http:// or https://", False),
        ('{url: "https://x/", every: 100ms}', "dead_man.every", True),
        ('{url: "https://x/", evry: 10s}', 'did you mean "every"', True),
        ("{every: 10s}", "dead_man.url", False),
        ('{url: "${NO_SUCH_VARIABLE}"}', "NO_SUCH_VARIABLE is not set", False),
    ],
)
def test_a_mistake_in_the_files_is_told_and_costs_this_alone(tmp_path: Path, text: str, said: str, left: bool) -> None:
    loaded = loaded_from(write_workspace(tmp_path, settings=f"dead_man: {text}\n", web=web("http://127.0.0.1:9/")))
    (problem,) = loaded.problems
    assert said in str(problem)
    assert problem.file == "opsdash.yaml"
    assert (loaded.settings.dead_man is not None) == left
    assert loaded.bindings


def test_the_address_and_its_key_are_masked_wherever_they_come_from(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path, settings=f'dead_man: {{url: "https://hc-ping.com/{KEY}/start"}}\n')
    loaded = loaded_from(folder)
    assert loaded.secrets.mask(f"GET /{KEY} for https://hc-ping.com/{KEY}/start") == "GET /*** for ***"
    assert KEY not in repr(loaded.settings)
