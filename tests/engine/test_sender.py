"""Messages on their way: real engines, real servers on loopback that are down, slow, full, or lose what they got."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.core.alarm_views import alarms_view
from opsdash.engine.hub import RING
from opsdash.model import inputs as i
from opsdash.service.metrics import openmetrics
from tests.engine.support import (
    GatedJournal,
    Target,
    eventually,
    hang,
    http,
    loaded_from,
    running,
    serving,
    status,
    web,
    write_workspace,
)
from tests.post_notifier import installed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opsdash.engine.engine import Engine
    from opsdash.model.views import AlarmsView, MessageView
    from tests.engine.support import Request

SECRET = "s3cr3t-of-the-pager"


@pytest.fixture(autouse=True)
def kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("kind")):
        yield


def workspace(folder: Path, site: Target, post: Target | str, *, more: str = "", options: str = "") -> Path:
    url = post if isinstance(post, str) else f"{post.url}/post"
    settings = f"""
alarms:
  group_wait: 100ms
  channels:
    pager: {{kind: post, url: "{url}", secret: "${{PAGER}}", timeout: 5s{options}}}
{more}"""
    return write_workspace(folder, settings=settings, site=web(f"{site.url}/status", every="200ms"))


def view(engine: Engine) -> AlarmsView:
    return alarms_view(engine.viewer().draft)


def sent(post: Target) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in post.requests]


def message(engine: Engine, state: str = "delivered", kind: str = "problem") -> MessageView | None:
    return next((each for each in view(engine)["outbox"] if each["state"] == state and each["kind"] == kind), None)


async def test_a_failure_reaches_a_server_and_so_does_its_end(tmp_path: Path) -> None:
    async with serving(status=http(status=500)) as site, serving() as post:
        folder = workspace(tmp_path, site, post)
        async with running(folder, loaded=loaded_from(folder, PAGER=SECRET), PAGER=SECRET) as engine:
            found = await delivered(engine)
            site.routes["/status"] = http()
            await eventually(lambda: message(engine, kind="resolved"))
            assert [each["kind"] for each in sent(post)] == ["problem", "resolved"]
            (attempt,) = found["attempts"]
            assert attempt["outcome"] == "delivered"
            assert SECRET not in str(view(engine)), "masked in what comes back"
            assert "200" in attempt["detail"]
            assert "\x1b" not in attempt["detail"]
            assert post.requests[0].headers["authorization"] == SECRET, "and resolved where it is used"
            channel = view(engine)["channels"][0]
            assert (channel["id"], channel["state"], channel["outcomes"]) == ("pager", "ok", {"delivered": 2})


async def test_nothing_of_a_secret_is_in_the_journal(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with serving(status=http(status=500)) as site, serving(post=http(status=500)) as post:
        folder = workspace(tmp_path, site, post)
        loaded = loaded_from(folder, PAGER=SECRET)
        async with running(folder, journal=journal, loaded=loaded, PAGER=SECRET):
            await eventually(lambda: journal.of("message_tried"))
            assert SECRET not in str(list(journal.entries()))


@pytest.mark.parametrize(
    ("answer", "outcome", "next_in"),
    [
        (http(status=500), "failed", 5.0),
        (http(status=429, headers="Retry-After: 120"), "failed", 120.0),
        (http(status=401), "refused", 600.0),
    ],
)
async def test_what_the_other_side_answers_decides_when_it_is_tried_again(
    tmp_path: Path, answer: bytes, outcome: str, next_in: float
) -> None:
    async with serving(status=http(status=500)) as site, serving(post=answer) as post:
        folder = workspace(tmp_path, site, post)
        async with running(folder, loaded=loaded_from(folder, PAGER=SECRET)) as engine:
            found = await tried(engine)
            (attempt,) = found["attempts"]
            assert attempt["outcome"] == outcome
            assert found["next_at"] == pytest.approx(attempt["at"] + next_in, abs=1.0)
            assert "alarms do not arrive over pager" in engine.hub.snapshot()["summary"]["undelivered"]


async def tried(engine: Engine) -> MessageView:
    """The message that waits, after its first attempt."""
    await eventually(lambda: _tried(engine))
    found = _tried(engine)
    assert found is not None
    return found


async def delivered(engine: Engine, kind: str = "problem") -> MessageView:
    """The message of that kind, once it has arrived."""
    await eventually(lambda: message(engine, kind=kind), within=20.0)
    found = message(engine, kind=kind)
    assert found is not None
    return found


def _tried(engine: Engine) -> MessageView | None:
    found = message(engine, "waiting")
    return found if found is not None and found["attempts"] else None


async def test_a_server_that_is_down_is_tried_again_until_it_is_back(tmp_path: Path) -> None:
    async with serving() as post:
        gone = f"{post.url}/post"
    async with serving(status=http(status=500)) as site:
        folder = workspace(tmp_path, site, gone)
        async with running(folder, loaded=loaded_from(folder, PAGER=SECRET)) as engine:
            found = await tried(engine)
            assert found["attempts"][0]["detail"].startswith("cannot connect")
            server = await asyncio.start_server(Target().handle, "127.0.0.1", post.port)
            try:
                again = await delivered(engine)
            finally:
                server.close()
            assert (again["id"], again["key"]) == (found["id"], found["key"])


async def test_what_gets_lost_after_it_was_sent_is_not_known_and_comes_again(tmp_path: Path) -> None:
    async def lose(request: Request) -> None:
        request.writer.close()

    async with serving(status=http(status=500)) as site, serving(post=lose) as post:
        folder = workspace(tmp_path, site, post)
        async with running(folder, loaded=loaded_from(folder, PAGER=SECRET)) as engine:
            found = await tried(engine)
            assert found["attempts"][0]["outcome"] == "unknown"
            post.routes.clear()
            await eventually(lambda: message(engine), within=20.0)
            assert len({each["key"] for each in sent(post)}) == 1


async def test_a_server_that_never_answers_costs_one_attempt_and_holds_up_nobody(tmp_path: Path) -> None:
    async with serving(status=http(status=500)) as site, serving(post=hang) as slow, serving() as quick:
        more = f'    mail: {{kind: post, url: "{quick.url}/post"}}\n'
        folder = workspace(tmp_path, site, slow, more=more, options=", timeout: 2s")
        text = (folder / "opsdash.yaml").read_text().replace("timeout: 5s, ", "")
        (folder / "opsdash.yaml").write_text(text)
        async with running(folder, loaded=loaded_from(folder, PAGER=SECRET)) as engine:
            await eventually(lambda: quick.requests)
            found = await tried(engine)
            assert (found["attempts"][0]["outcome"], found["attempts"][0]["detail"]) == (
                "unknown",
                "no answer within 2s",
            )


@pytest.mark.parametrize(("trouble", "outcome"), [("raise", "failed"), ("hang", "failed")])
async def test_a_notifier_that_raises_or_hangs_before_it_sent_anything_has_failed(
    tmp_path: Path, trouble: str, outcome: str
) -> None:
    async with serving(status=http(status=500)) as site, serving() as post:
        folder = workspace(tmp_path, site, post, options=f", trouble: {trouble}")
        text = (folder / "opsdash.yaml").read_text().replace("timeout: 5s", "timeout: 200ms")
        (folder / "opsdash.yaml").write_text(text)
        async with running(folder, loaded=loaded_from(folder, PAGER=SECRET)) as engine:
            found = await tried(engine)
            assert found["attempts"][0]["outcome"] == outcome
            assert SECRET not in found["attempts"][0]["detail"]
            assert status(engine, "site") == "down", "everything else goes on"
            assert post.requests == []


async def test_a_secret_that_cannot_be_read_at_the_moment_fails_the_attempt_and_says_so(tmp_path: Path) -> None:
    async with serving(status=http(status=500)) as site, serving() as post:
        (tmp_path / "key").write_text(SECRET)
        (tmp_path / "key").chmod(0o600)
        folder = workspace(tmp_path, site, post)
        text = (folder / "opsdash.yaml").read_text().replace("${PAGER}", "${file:key}")
        (folder / "opsdash.yaml").write_text(text)
        loaded = loaded_from(folder)
        assert loaded.problems == ()
        (tmp_path / "key").unlink()
        async with running(folder, loaded=loaded) as engine:
            found = await tried(engine)
            assert found["attempts"][0]["outcome"] == "failed"
            assert "key" in found["attempts"][0]["detail"]


async def test_with_a_full_disk_nothing_is_sent_and_nothing_is_lost(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with serving(status=http()) as site, serving() as post:
        folder = workspace(tmp_path, site, post)
        async with running(folder, journal=journal, loaded=loaded_from(folder, PAGER=SECRET)) as engine:
            await eventually(lambda: status(engine, "site") == "ok")
            journal.full = True
            site.routes["/status"] = http(status=500)
            await eventually(lambda: status(engine, "site") == "down")
            await eventually(lambda: engine.runner.journal_error)
            assert sent(post) == [], "what is not recorded is not sent"
            journal.full = False
            await eventually(lambda: message(engine))
            assert [each["kind"] for each in sent(post)] == ["problem"]


async def test_a_disk_that_fills_up_between_an_alarm_and_its_message_delays_it(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with serving(status=http(status=500)) as site, serving() as post:
        folder = workspace(tmp_path, site, post)
        text = (folder / "opsdash.yaml").read_text().replace("group_wait: 100ms", "group_wait: 1s")
        (folder / "opsdash.yaml").write_text(text)
        async with running(folder, journal=journal, loaded=loaded_from(folder, PAGER=SECRET)) as engine:
            await eventually(lambda: journal.of("alarm_raised"))
            journal.full = True
            await eventually(lambda: engine.runner.journal_error)
            assert journal.of("message_queued") == []
            journal.full = False
            await eventually(lambda: message(engine))
            assert len(sent(post)) == 1


async def test_a_message_that_is_being_sent_when_the_engine_ends_is_waited_for(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def later(_: Request) -> bytes:
        gate.set()
        await asyncio.sleep(0.2)
        return http()

    journal = GatedJournal()
    async with serving(status=http(status=500)) as site, serving(post=later) as post:
        folder = workspace(tmp_path, site, post)
        async with running(folder, journal=journal, loaded=loaded_from(folder, PAGER=SECRET)):
            await asyncio.wait_for(gate.wait(), 8.0)
        assert [entry.data["attempt"]["outcome"] for entry in journal.of("message_tried")] == ["delivered"]


async def test_what_is_not_delivered_when_an_engine_ends_is_sent_by_the_next_one(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with serving(status=http(status=500)) as site, serving(post=http(status=500)) as post:
        folder = workspace(tmp_path, site, post)
        async with running(folder, journal=journal, loaded=loaded_from(folder, PAGER=SECRET)) as engine:
            await eventually(lambda: _tried(engine))
        post.routes.clear()
        again = GatedJournal(list(journal.entries()))
        async with running(folder, journal=again, loaded=loaded_from(folder, PAGER=SECRET)) as engine:
            await eventually(lambda: message(engine))
        assert len({each["key"] for each in sent(post)}) == 1


async def test_boards_ring_and_whoever_only_reads_does_not(tmp_path: Path) -> None:
    async with serving(status=http()) as site, serving() as post:
        folder = workspace(tmp_path, site, post, options=", trouble: ring")
        async with running(folder, loaded=loaded_from(folder, PAGER=SECRET)) as engine:
            board, reader = engine.hub.subscribe(rings=True), engine.hub.subscribe()
            await engine.submit("one", "maria", i.AlarmTestIntent("pager"))
            found = await delivered(engine, "test")
            assert found["attempts"][0]["detail"] == "1 boards"
            assert [data for name, _, data in _drained(board) if name == RING] == ['{"text":"test of channel pager"}']
            assert RING not in [name for name, _, _ in _drained(reader)]


def _drained(subscriber: Any) -> list[tuple[str, int, str]]:
    found = []
    with contextlib.suppress(asyncio.QueueEmpty):
        while True:
            found.append(subscriber.queue.get_nowait())
    return found


async def test_metrics_say_what_waits_and_how_attempts_ended(tmp_path: Path) -> None:
    async with serving(status=http(status=500)) as site, serving(post=http(status=500)) as post:
        folder = workspace(tmp_path, site, post)
        async with running(folder, loaded=loaded_from(folder, PAGER=SECRET)) as engine:
            await eventually(lambda: _tried(engine))
            lines = openmetrics(engine).splitlines()
            assert 'opsdash_outbox_pending{channel="pager"} 1' in lines
            assert 'opsdash_deliveries_total{channel="pager",outcome="failed"} 1' in lines
            assert 'opsdash_deliveries_total{channel="pager",outcome="delivered"} 0' in lines
            assert any(line.startswith('opsdash_outbox_oldest_timestamp_seconds{channel="pager"}') for line in lines)


async def test_a_channel_is_mended_while_the_engine_runs(tmp_path: Path) -> None:
    async with serving(status=http(status=500)) as site, serving(post=http(status=401)) as post:
        folder = workspace(tmp_path, site, post)
        loaded = loaded_from(folder, PAGER=SECRET)
        async with running(folder, loaded=loaded) as engine:
            await eventually(lambda: _tried(engine))
            text = (folder / "opsdash.yaml").read_text().replace("/post", "/elsewhere")
            (folder / "opsdash.yaml").write_text(text)
            engine.reload(loaded_from(folder, PAGER=SECRET))
            await eventually(lambda: message(engine))
