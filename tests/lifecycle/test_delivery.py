"""Engines killed while they send: real processes, a real receiver; what was queued arrives, and under the same key."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.support import Target, eventually, http, serving, web, write_workspace
from tests.lifecycle.support import engine, of
from tests.post_notifier import installed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.support import Request


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with installed(tmp_path_factory.mktemp("kind")) as found:
        yield found


def workspace(folder: Path, site: Target, post: Target) -> Path:
    settings = f"""
alarms:
  group_wait: 100ms
  channels: {{pager: {{kind: post, url: "{post.url}/post", timeout: 60s}}}}
"""
    return write_workspace(folder, settings=settings, site=web(f"{site.url}/status", every="200ms"))


def received(post: Target) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in post.requests]


async def test_killed_in_the_middle_of_a_sending_it_is_sent_again_under_the_same_key(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    release = asyncio.Event()

    async def late(_: Request) -> bytes:
        await release.wait()
        return http()

    async with serving(status=http(status=500)) as site, serving(post=late) as post:
        folder = workspace(tmp_path / "ws", site, post)
        async with engine(folder, environment=environment) as first:
            await eventually(lambda: post.requests)
            await first.kill()
        assert [each["message"] for each in of(folder, "message_trying")] == ["MSG-1"]
        assert of(folder, "message_tried") == []
        release.set()
        async with engine(folder, environment=environment):
            await eventually(lambda: len(received(post)) == 2, within=20.0)
            await eventually(lambda: len(of(folder, "message_tried")) == 2, within=20.0)
    once, again = received(post)
    assert once == again
    outcomes = [each["attempt"]["outcome"] for each in of(folder, "message_tried")]
    assert outcomes == ["unknown", "delivered"]


async def test_killed_at_any_moment_every_beginning_arrives_and_gets_its_end(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Eight kills, each a little later than the one before, while the site fails and works in turns."""
    async with serving(status=http()) as site, serving() as post:
        folder = workspace(tmp_path / "ws", site, post)
        for round_ in range(8):
            async with engine(folder, environment=environment) as one:
                fails = round_ % 2 == 0
                site.routes["/status"] = http(status=500 if fails else 200)
                await _until_recorded(folder, "down" if fails else "ok")
                await asyncio.sleep(0.04 * round_)
                await one.kill()
        site.routes["/status"] = http()
        async with engine(folder, environment=environment) as last:
            await last.until_status("site", "ok")
            await eventually(lambda: _all_told(folder), within=30.0)
    by_key = Counter((each["key"], each["kind"]) for each in received(post))
    queued = {each["message"]["key"]: each["message"]["kind"] for each in of(folder, "message_queued")}
    assert {key for key, _ in by_key} == set(queued), "all that was queued arrived, and nothing else"
    kinds = [queued[key] for key in dict.fromkeys(each["key"] for each in received(post))]
    assert kinds == [kind for number, kind in enumerate(kinds) if kind == ("problem", "resolved")[number % 2]]


async def _until_recorded(folder: Path, status: str) -> None:
    await eventually(lambda: [each["status"] for each in of(folder, "check_changed")][-1:] == [status], within=20.0)


def _all_told(folder: Path) -> bool:
    """Whether all that was queued was delivered, and every alarm that was told is told to be over."""
    queued = [each["message"] for each in of(folder, "message_queued")]
    delivered = {each["message"] for each in of(folder, "message_tried") if each["attempt"]["outcome"] == "delivered"}
    raised, cleared = of(folder, "alarm_raised"), of(folder, "alarm_cleared")
    ended = not queued or queued[-1]["kind"] == "resolved"
    return len(raised) == len(cleared) and ended and all(each["id"] in delivered for each in queued)
