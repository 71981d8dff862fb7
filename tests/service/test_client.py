"""A session: one stream that comes back by itself, and questions that fail in words."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.errors import EngineError
from opsdash.service import client as client_module
from opsdash.service.client import EngineSession
from opsdash.service.places import API, Places, places
from opsdash.service.session import DeltaEvent, Lost, RingEvent, SessionError, SnapshotEvent
from tests.engine.support import eventually, web, write_workspace
from tests.service.support import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from opsdash.service.session import Event

SHOP = "http://127.0.0.1:9/"


class Fake:
    """An engine of another kind on the workspace's socket. `streams`: what each connection to /v1/events gets."""

    def __init__(self, where: Places) -> None:
        self.where = where
        self.api = API
        self.streams: list[list[tuple[str, Any]]] = []
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, Any]] = {}

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            what = " ".join(head.split(" ")[:2])
            self.asked.append(what)
            start = f"HTTP/1.1 {{}} X\r\nopsdash-api: {self.api}\r\n"
            if what == "GET /v1/events":
                writer.write(f"{start.format(200)}\r\n".encode())
                for name, data in self.streams.pop(0) if self.streams else []:
                    writer.write(f"event: {name}\nid: 1\ndata: {json.dumps(data)}\n\n".encode())
                await writer.drain()
                return
            status, body = self.answers.get(what, (200, {"accepted": True}))
            raw = json.dumps(body).encode()
            writer.write(f"{start.format(status)}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def fake(folder: Path) -> AsyncIterator[Fake]:
    where = places(folder)
    where.state.mkdir()
    made = Fake(where)
    server = await asyncio.start_unix_server(made.handle, where.socket)
    try:
        yield made
    finally:
        server.close()
        where.socket.unlink(missing_ok=True)  # Python 3.13 has removed it


async def take(session: EngineSession, count: int) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(8), aclosing(session.events()) as stream:  # type: ignore[type-var]
        async for event in stream:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_a_stream_begins_with_a_snapshot_and_goes_on(tmp_path: Path) -> None:
    async with served(write_workspace(tmp_path, web=web(SHOP))) as s:
        first, second = await take(s.session(), 2)
        assert isinstance(first, SnapshotEvent)
        assert isinstance(second, DeltaEvent)
        assert first.snapshot["summary"]["title"] == "Test"


async def test_an_engine_that_comes_back_is_found_again_and_begins_anew(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path, web=web(SHOP))
    where = places(folder)
    found: list[Event] = []

    async def listen() -> None:
        async for event in EngineSession(where).events():
            found.append(event)  # noqa: PERF401 - one by one, while the test looks on

    listening = asyncio.ensure_future(listen())
    try:
        await eventually(lambda: found)
        assert found[0] == Lost("no engine is running")
        for _ in range(2):
            found.clear()
            async with served(folder):
                await eventually(lambda: any(isinstance(event, DeltaEvent) for event in found))
            await eventually(lambda: any(isinstance(event, Lost) for event in found))
            kinds = [type(event) for event in found if not isinstance(event, Lost)]
            assert kinds[0] is SnapshotEvent
            assert SnapshotEvent not in kinds[1:]
            goodbye = next(event for event in found if isinstance(event, Lost) and event.bye)
            assert goodbye.why == "the engine ended: the test is over"
    finally:
        listening.cancel()


async def test_a_session_that_rings_hears_it_and_another_one_does_not(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path, web=web(SHOP))
    async with served(folder) as s:
        heard: dict[bool, list[Event]] = {True: [], False: []}

        async def listen(*, rings: bool) -> None:
            async for event in EngineSession(s.where, rings=rings).events():
                heard[rings].append(event)

        listening = [asyncio.ensure_future(listen(rings=rings)) for rings in heard]
        try:
            await eventually(lambda: all(heard.values()))
            assert s.engine.ring("the site is down\x1b]0;x\x07") == 1
            await eventually(lambda: RingEvent("the site is down") in heard[True])
            await eventually(lambda: any(isinstance(event, DeltaEvent) for event in heard[False]))
            assert not any(isinstance(event, RingEvent) for event in heard[False])
        finally:
            for each in listening:
                each.cancel()


async def test_after_a_reset_a_new_snapshot_is_taken(tmp_path: Path) -> None:
    async with fake(tmp_path) as f:
        f.streams = [[("snapshot", {"seq": 1}), ("reset", {}), ("delta", {"seq": 9})]]
        f.answers["GET /v1/snapshot"] = (200, {"seq": 8})
        events = await take(EngineSession(f.where), 3)
        assert events == [SnapshotEvent({"seq": 1}), SnapshotEvent({"seq": 8}), DeltaEvent({"seq": 9})]  # type: ignore[typeddict-item]


async def test_a_snapshot_that_cannot_be_had_after_a_reset_is_a_loss_and_not_the_end(tmp_path: Path) -> None:
    async with fake(tmp_path) as f:
        f.streams = [[("reset", {})], [("snapshot", {"seq": 2})]]
        f.answers["GET /v1/snapshot"] = (503, {"error": "not now"})
        lost, found = await take(EngineSession(f.where), 2)
        assert lost == Lost("not now")
        assert isinstance(found, SnapshotEvent)


async def test_silence_is_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SILENCE", 0.1)
    where = places(tmp_path)
    where.state.mkdir()

    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_unix_server(silent, where.socket)
    (lost,) = await take(EngineSession(where), 1)
    assert isinstance(lost, Lost)
    assert "nothing was heard" in lost.why
    await gone.wait()
    server.close()


async def test_an_engine_that_died_is_started_again_three_times_a_minute_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "RETRY", 0.001)
    monkeypatch.setattr(client_module, "STARTING", 0.0)
    revived: list[int] = []
    session = EngineSession(places(tmp_path), revive=lambda: revived.append(1))
    assert all(isinstance(event, Lost) for event in await take(session, 12))
    assert len(revived) == client_module.REVIVE_AT_MOST


@pytest.mark.parametrize(("spawned", "times"), [(True, 0), (False, 1)])
async def test_an_engine_that_is_starting_gets_time_to_answer_before_another_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spawned: bool, times: int
) -> None:
    monkeypatch.setattr(client_module, "PROMPTLY", 0.001)
    monkeypatch.setattr(client_module, "RETRY", 0.001)
    revived: list[int] = []
    session = EngineSession(places(tmp_path), revive=lambda: revived.append(1), spawned=spawned)
    await take(session, 12)
    assert len(revived) == times


async def test_an_engine_that_said_goodbye_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "RETRY", 0.001)
    async with fake(tmp_path) as f:
        f.streams = [[("bye", {"why": "asked by maria"})], [("snapshot", {"seq": 1})]]
        session = EngineSession(f.where, revive=lambda: pytest.fail("it was started again"))
        lost, _ = await take(session, 2)
        assert lost == Lost("the engine ended: asked by maria", bye=True)


async def test_an_engine_that_cannot_be_started_again_is_a_loss_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "RETRY", 0.001)

    def fail() -> None:
        raise EngineError("the disk is gone")

    events = await take(EngineSession(places(tmp_path), revive=fail), 3)
    assert Lost("the disk is gone") in events


async def test_an_engine_of_another_version_is_only_read(tmp_path: Path) -> None:
    async with fake(tmp_path) as f:
        f.api = API + 1
        f.streams = [[("snapshot", {"seq": 1})]]
        session = EngineSession(f.where)
        assert not session.read_only
        await take(session, 1)
        assert session.read_only
        verdict = await session.submit("pause", {"component": "web", "seconds": 60})
        assert not verdict["accepted"]
        assert verdict["refused"] is not None
        assert "opsdash engine restart" in verdict["refused"]["reason"]
        assert "POST /v1/intents" not in f.asked
        f.api = API
        await session.snapshot()
        assert not session.read_only
        assert (await session.submit("pause", {"component": "web", "seconds": 60}))["accepted"]


async def test_a_session_that_only_reads_sends_no_intent(tmp_path: Path) -> None:
    async with fake(tmp_path) as f:
        session = EngineSession(f.where, read_only=True)
        verdict = await session.submit("pause", {"component": "web", "seconds": 60})
        assert verdict["refused"] == {"rule": "read_only", "reason": "this session only reads", "override": None}
        assert f.asked == []


async def test_an_engine_that_refuses_says_why(tmp_path: Path) -> None:
    async with fake(tmp_path) as f:
        f.answers["GET /v1/people"] = (400, {"error": "no, because"})
        f.answers["GET /v1/register"] = (500, ["odd"])
        session = EngineSession(f.where)
        with pytest.raises(SessionError, match="no, because"):
            await session.people()
        with pytest.raises(SessionError, match="the engine answered 500"):
            await session.register()
    with pytest.raises(SessionError, match="no engine is running"):
        await session.people()


async def test_names_are_quoted_on_the_wire(tmp_path: Path) -> None:
    async with served(write_workspace(tmp_path, web=web(SHOP))) as s:
        session = s.session()
        for name in ("no/body", "a b", "x?y=1", "%41", "é\ud800".encode("utf-8", "replace").decode()):
            with pytest.raises(SessionError, match=r"there is no component|Not Found"):
                await session.component(name)
        assert (await session.component("web"))["row"]["id"] == "web"


async def test_everything_a_session_can_ask_is_answered(tmp_path: Path) -> None:
    async with served(write_workspace(tmp_path, web=web(SHOP))) as s:
        session = s.session()
        assert (await session.snapshot())["rows"]
        assert await session.register() == []
        assert await session.runbooks() == []
        assert await session.people() == []
        assert await session.demo() == {}
        assert await session.switch("web") is None
        assert (await session.history("web"))["component"] == "web"
        assert (await session.plan("web", "failover"))["refused"] is not None
        assert (await session.about())["checks"] == 1
        assert await session.journal(limit=1)
        await session.close()
        with pytest.raises(SessionError, match="no demo"):
            await session.inject("mailer", "down")
