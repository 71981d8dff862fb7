"""Action kind `flagd` and a real application, which goes by the flags through the OpenFeature SDK."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.kinds.actions.flagd import Options, apply, undo
from opsdash.kinds.base import ActionContext, Applied
from opsdash.kinds.resolver import Resolver
from opsdash.model.switch import SwitchKind
from tests.engine.support import eventually_asked, loaded_from, write_workspace
from tests.mechanisms.duty import on_duty, truths
from tests.mechanisms.flagd_server import application, flag_file
from tests.mechanisms.howtos import workspace_of
from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.mechanisms.flagd_server import Application

PAGE = "howto-switch-flagd.md"
MODE: dict[str, Any] = {
    "file": "flags.json",
    "mode": "essentials",
    "flags": {"recommendations": "none", "search": "exact"},
}
NORMAL = "recommendations=full, search=fuzzy"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    """The application in normal operation."""
    with application(tmp_path, flag_file(tmp_path)) as found, nothing_of_ours_blocks():
        yield found


async def put(folder: Path, raw: dict[str, Any]) -> Applied:
    context = ActionContext("shop:degrade:7", 10.0, folder, Resolver(), 0.0)
    return (await apply(Options.model_validate(raw), context)).applied


async def says(app: Application, **wanted: Any) -> dict[str, Any]:
    """Wait until the application says so of itself; all that it says."""

    async def look() -> dict[str, Any] | None:
        said = await asyncio.to_thread(app.health)
        return said if wanted.items() <= said.items() else None

    found = await eventually_asked(look)
    assert found is not None
    return found


def flip(flags: Path, flag: str, variant: str) -> None:
    """Flip a flag as somebody with an editor would."""
    document = json.loads(flags.read_text())
    document["flags"][flag]["defaultVariant"] = variant
    flags.write_text(json.dumps(document, indent=2))


# --- what arrives ------------------------------------------------------------------------------------------------


async def test_a_mode_arrives_with_its_flags_and_its_name_and_goes_again(app: Application, tmp_path: Path) -> None:
    assert await put(tmp_path, MODE) is Applied.APPLIED
    said = await says(app, mode="essentials")
    assert (said["recommendations"], said["search"], said["action"]) == ("none", "exact", "shop:degrade:7")
    assert said["mail-provider"] == "pm-prod"
    assert await put(tmp_path, dict(undo(MODE, NORMAL))) is Applied.APPLIED
    assert (await says(app, mode="normal"))["search"] == "fuzzy"


async def test_a_file_from_the_future_is_still_seen_to_change(tmp_path: Path) -> None:
    flags = flag_file(tmp_path)
    future = flags.stat().st_mtime + 3600
    os.utime(flags, (future, future))
    with application(tmp_path, flags) as app:
        await put(tmp_path, MODE)
        await says(app, mode="essentials")


async def test_what_is_refused_is_what_the_application_would_not_take(app: Application, tmp_path: Path) -> None:
    document = json.loads(app.flags.read_text())
    document["flags"]["new"] = {"state": "ENABLED", "variants": {}, "defaultVariant": "on"}
    document["flags"]["search"]["defaultVariant"] = "exact"
    app.flags.write_text(json.dumps(document))
    assert await put(tmp_path, MODE) is Applied.REFUSED
    document["flags"]["recommendations"]["defaultVariant"] = "none"
    document["flags"]["new"]["variants"] = {"on": True}
    app.flags.write_text(json.dumps(document))
    await says(app, recommendations="none")  # the broken file in between was never taken: else this would come first
    assert await put(tmp_path, MODE) is Applied.APPLIED


# --- the operation of the how-to ---------------------------------------------------------------------------------


def shop(folder: Path, app: Application, *, seen: Path | None = None, **changes: str) -> Path:
    """The workspace of the page, with this application. seen: the file that opsdash changes, if it is another one."""
    names = {
        "/srv/shop/flags.json": str(seen or app.flags),
        "http://127.0.0.1:8080/health": app.url,
        "review_after: 24h": "deadline: 3s",
        "checks:\n": "defaults: {every: 1s, timeout: 2s, down_after: 3, up_after: 1}\nchecks:\n",
    }
    return workspace_of(PAGE, folder / "workspace", names)


def test_the_component_of_the_page_is_valid(tmp_path: Path) -> None:
    loaded = loaded_from(workspace_of(PAGE, tmp_path))
    assert loaded.problems == ()
    mode = loaded.operation.components["shop"].modes["essentials"]
    assert mode.restores
    assert mode.leave is None


async def test_a_degraded_mode_is_entered_only_when_it_has_arrived_and_left_as_it_was(
    app: Application, tmp_path: Path
) -> None:
    before = json.loads(app.flags.read_text())["flags"]
    async with on_duty(shop(tmp_path, app), "shop") as duty:
        entered = await duty.carry_out(SwitchKind.DEGRADE)
        assert entered["state"] == "committed"
        assert (truths(entered)["A"], truths(entered)["D"]) == ("true", "true")
        assert duty.mode == "essentials"
        said = await asyncio.to_thread(app.health)
        assert (said["mode"], said["search"]) == ("essentials", "exact"), "it is verified by the application itself"
        left = await duty.carry_out(SwitchKind.RESTORE)
        assert left["state"] == "committed"
        assert (await asyncio.to_thread(app.health))["mode"] == "normal"
        assert duty.mode is None
    assert json.loads(app.flags.read_text())["flags"] == before


async def test_an_application_that_does_not_follow_is_found_out(app: Application, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with on_duty(shop(tmp_path, app, seen=flag_file(other)), "shop") as duty:
        entered = await duty.carry_out(SwitchKind.DEGRADE)
        assert entered["state"] == "no_effect"
        assert truths(entered)["A"] == "true", "the file says so, and nobody goes by it"
        assert truths(entered)["D"] == "false"


async def test_a_flag_flipped_by_hand_ends_the_mode_and_nobody_puts_it_back(app: Application, tmp_path: Path) -> None:
    async with on_duty(shop(tmp_path, app), "shop") as duty:
        await duty.carry_out(SwitchKind.DEGRADE)
        flip(app.flags, "search", "off")
        await duty.look_again()
        assert duty.mode is None, "it is not in force any more"
        plan = await duty.plan(SwitchKind.RESTORE)
        assert plan["refused"] is not None
    assert json.loads(app.flags.read_text())["flags"]["search"]["defaultVariant"] == "off"


async def test_a_provider_is_switched_by_a_flag_and_drift_is_seen(app: Application, tmp_path: Path) -> None:
    text = f"""
tier: essential
defaults: {{every: 1s, timeout: 2s, down_after: 3, up_after: 1}}
providers: {{postmark: {{as: pm-prod}}, ses: {{as: ses-eu}}}}
each:
  api: {{kind: tcp, host: 127.0.0.1, port: {app.port}}}
checks:
  delivery: {{kind: http, url: "{app.url}", facts: {{provider: 'json["mail-provider"]'}}}}
switch:
  read: {{kind: flagd, file: "{app.flags}", flags: [mail-provider]}}
  action: {{kind: flagd, file: "{app.flags}", mode: "{{to.as}}", flags: {{mail-provider: "{{to.as}}"}}}}
  served_by: {{check: delivery, value: facts.provider, times: 2}}
  old_out: stateless
"""
    async with on_duty(write_workspace(tmp_path / "workspace", mail=text), "mail") as duty:
        assert duty.active == "postmark"
        over = await duty.carry_out(SwitchKind.FAILOVER, "ses")
        assert over["state"] == "committed"
        assert truths(over)["B"] == "true"
        assert duty.active == "ses"
        flip(app.flags, "mail-provider", "pm-prod")
        await duty.look_again()
        assert duty.active == "postmark", "what the flag says counts, not what the metadata still says"
        flip(app.flags, "mail-provider", "ses-eu")
        await duty.look_again()
        assert (await duty.carry_out(SwitchKind.FAILBACK))["state"] == "committed"
        assert (await asyncio.to_thread(app.health))["mail-provider"] == "pm-prod"
