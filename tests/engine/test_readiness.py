"""An engine reckons readiness beside its work: of what is known at the time, and never in its way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.config.loader import load
from opsdash.core.readiness import readiness
from opsdash.engine.clock import system_clock
from opsdash.engine.readiness import ReadinessKeeper, facts_of
from opsdash.errors import EngineError
from opsdash.model.world import Live, Proof, World
from opsdash.storage.trust import Trust
from tests.engine.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.model.inputs import ReadinessSeen

SHOP = """
title: Shop
tier: essential
owners: [me]
providers: {main: {file: main.txt}, spare: {file: spare.txt}}
each: {there: {kind: file, path: "{file}"}}
switch:
  read: {kind: pointer, file: in-use.txt}
  action: {kind: pointer, file: in-use.txt, value: "{to.as}"}
  old_out: stateless
failures: {gone: {title: It is gone, detected_by: [active/there], response: switch, runbook: shop}}
"""

RUNBOOK = """---
title: Shop
component: shop
reviewed: 2020-01-01
review_every: 30d
---
# Shop

## Steps

### Look

```sh {check}
true
```
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "checks").mkdir()
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "opsdash.yaml").write_text("people: {me: {name: Me}}\n")
    (tmp_path / "checks/shop.yaml").write_text(SHOP)
    (tmp_path / "runbooks/shop.md").write_text(RUNBOOK)
    return tmp_path


class Kept:
    """A keeper with the world that it looks at, and the inputs that it gives."""

    def __init__(self, loaded: Loaded) -> None:
        self.world = World(loaded.operation)
        self.inputs: list[ReadinessSeen] = []
        self.keeper = ReadinessKeeper(
            clock=system_clock,
            loaded=lambda: loaded,
            world=self.world,
            live=Live(),
            trust=Trust(),
            put=self.inputs.append,
        )

    async def rules(self) -> set[str]:
        return {gap.rule for gap in (await self.keeper.look()).gaps}


@pytest.fixture
def kept(workspace: Path) -> Kept:
    return Kept(load(workspace, {}, system_clock().wall))


async def test_what_was_recorded_is_seen_by_whoever_asks_next(kept: Kept) -> None:
    assert "backup-unproven" in await kept.rules()
    shop = kept.world.operation.components["shop"]
    proved = Proof(system_clock().wall, "a switch", shop.sha256)
    kept.world.apply([("proofs", "shop/spare", proved)])
    kept.keeper.changed()
    assert "backup-unproven" not in await kept.rules()
    await kept.keeper.close()


async def test_it_is_reckoned_once_for_all_who_ask_while_nothing_is_recorded(kept: Kept) -> None:
    first, second = await asyncio.gather(kept.keeper.look(), kept.keeper.look())
    assert first is second
    assert await kept.keeper.look() is first
    await kept.keeper.close()


async def test_what_changes_while_it_is_reckoned_disturbs_nothing_and_is_not_missed(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*arguments: Any) -> Any:
        kept.world.apply([("proofs", f"other/{number}", Proof(0.0, "x", "y")) for number in range(100)])
        kept.keeper._stale = True
        return readiness(*arguments)

    monkeypatch.setattr("opsdash.engine.readiness.readiness", meanwhile)
    first = await kept.keeper.look()
    assert await kept.keeper.look() is not first
    await kept.keeper.close()


async def test_it_gives_the_score_of_the_day_and_goes_on_after_a_bug(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("FIRST_AFTER", "AT_MOST_EVERY", "SHARE"):
        monkeypatch.setattr(f"opsdash.engine.readiness.{name}", 0.0)
    calls: list[int] = []

    def first_fails(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError
        return readiness(*arguments)

    monkeypatch.setattr("opsdash.engine.readiness.readiness", first_fails)
    running = asyncio.ensure_future(kept.keeper.run())
    try:
        await eventually(lambda: calls)
        await eventually(lambda: "this is a bug" in caplog.text)
        kept.keeper.changed()
        await eventually(lambda: kept.inputs)
    finally:
        running.cancel()
        await kept.keeper.close()
    assert kept.keeper.score == kept.inputs[0].score
    assert kept.keeper.latest is not None
    assert len(kept.keeper.latest.gaps) == kept.inputs[0].gaps


async def test_an_engine_that_ends_reckons_no_more(kept: Kept) -> None:
    await kept.keeper.close()
    with pytest.raises(EngineError, match="ending"):
        await kept.keeper.look()


async def test_the_view_of_a_component_that_does_not_exist_is_none(kept: Kept) -> None:
    assert await kept.keeper.view("nobody") is None
    found = await kept.keeper.view("shop", 1)
    assert found is not None
    assert (len(found["gaps"]), found["measured"]) == (1, True)
    await kept.keeper.close()


def test_what_is_known_of_runbooks_and_of_opsdash_itself_comes_from_the_files(workspace: Path) -> None:
    facts = facts_of(load(workspace, {}, system_clock().wall), Trust(), measured=False)
    assert facts.dead_man is False
    assert facts.runbooks is not None
    shop = facts.runbooks["shop"]
    assert (shop.path, shop.broken, shop.approved) == ("runbooks/shop.md", "", False)
    assert shop.review_due is not None
    assert shop.review_due < system_clock().wall

    (workspace / "runbooks/shop.md").write_text("# Shop\n\nCall Ken.\n")
    (workspace / "opsdash.yaml").write_text("dead_man: {url: 'http://127.0.0.1:9/'}\n")
    facts = facts_of(load(workspace, {}, system_clock().wall), Trust(), measured=False)
    assert facts.dead_man is True
    assert facts.runbooks is not None
    plain = facts.runbooks["shop"]
    assert (plain.broken, plain.approved, plain.review_due) == ("it has no steps", None, None)
