"""The engine's interface: private, clear about what is wrong with a request, and never the end of an engine."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import shutil
import socket
import stat
import struct
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from opsdash.engine import runner as runner_module
from opsdash.errors import EngineError, HistoryError
from opsdash.model import inputs as i
from opsdash.service import intents
from opsdash.service import server as server_module
from opsdash.service.places import API
from opsdash.service.protocol import peer_uid
from opsdash.service.server import Service
from opsdash.service.wire import WireError, events
from tests.engine.support import (
    GatedJournal,
    Mailer,
    eventually,
    eventually_asked,
    http,
    loaded_from,
    mail,
    serving,
    status,
    web,
    write_workspace,
)
from tests.service.support import Served, served, this_login

SHOP = "http://127.0.0.1:9/"


def small(folder: Path, **more: str) -> Path:
    people = f"people: {{maria: {{name: Maria, login: {this_login()}}}, ken: {{name: Ken, login: ken}}}}\n"
    return write_workspace(folder, settings=people, web=web(SHOP), **more)


# --- who may ask, and who asks -----------------------------------------------------------------------------------


async def test_the_socket_is_for_its_owner_alone_from_the_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    bind = socket.socket.bind

    def watched(self: socket.socket, address: Any) -> None:
        bind(self, address)
        if self.family == socket.AF_UNIX:
            modes.append(stat.S_IMODE(os.stat(address).st_mode))  # noqa: PTH116 - what was bound, as it was named

    monkeypatch.setattr(socket.socket, "bind", watched)
    before = os.umask(0)
    try:
        async with served(small(tmp_path)) as s:
            assert modes == [0o600]
            assert stat.S_IMODE(s.where.socket.stat().st_mode) == 0o600
            assert stat.S_IMODE(s.where.state.stat().st_mode) == 0o700
            assert os.umask(0) == 0
    finally:
        os.umask(before)


async def test_a_socket_file_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    folder = small(tmp_path)
    async with served(folder) as s:
        where = s.where
    assert not where.socket.exists()
    where.socket.write_text("left behind")
    async with served(folder) as s:
        assert (await s.get("/v1/engine")).status == 200


async def test_a_socket_that_cannot_be_made_is_an_error_that_says_so(tmp_path: Path) -> None:
    folder = small(tmp_path)
    async with served(folder) as s:
        other = Service(s.engine, s.where, lambda _: None)
        s.where.socket.unlink()
        s.where.socket.mkdir()
        with pytest.raises(EngineError, match="cannot be made"):
            await other.start()
        s.where.socket.rmdir()
        s.where.socket.write_text("")


async def who_paused(s: Served, **headers: str) -> str:
    body = {"intent": "pause", "arguments": {"component": "web", "seconds": 60}, "key": os.urandom(4).hex()}
    reply = await s.post("/v1/intents", body, **headers)
    assert reply.body["accepted"], reply
    who: str = s.engine.runner.world.get("pauses", "web").who
    return who


async def test_who_asks_is_the_person_whose_account_it_is(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        assert await who_paused(s) == "maria"


async def test_who_claims_to_be_somebody_is_recorded_as_claiming_it(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        assert await who_paused(s, **{"opsdash-as": "ken"}) == f"ken (claimed, {this_login()})"
        assert await who_paused(s, **{"opsdash-as": "maria"}) == "maria"
        claimed = await who_paused(s, **{"opsdash-as": "ken\u202e\u0085" + "x" * 500})
        assert claimed.isprintable()
        assert len(claimed) < 80


async def test_an_account_that_belongs_to_nobody_is_named_as_it_is(tmp_path: Path) -> None:
    async with served(write_workspace(tmp_path, web=web(SHOP))) as s:
        assert await who_paused(s) == this_login()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
async def test_another_account_is_recognised_by_its_connection() -> None:
    """A child gives up root, and asks for something through a socket that was opened for everybody."""
    folder = Path(tempfile.mkdtemp(prefix="opsdash-test-"))
    try:
        async with served(small(folder)) as s:
            folder.chmod(0o711)
            s.where.state.chmod(0o711)
            s.where.socket.chmod(0o666)
            body = json.dumps({"intent": "pause", "arguments": {"component": "web", "seconds": 60}, "key": "k"})
            script = (
                "import os, socket; os.setgid(65534); os.setuid(65534); c = socket.socket(socket.AF_UNIX);"
                f"c.connect({str(s.where.socket)!r}); c.sendall(({_post('/v1/intents', body)!r}).encode());"
                "print(c.recv(65536))"
            )
            child = await asyncio.create_subprocess_exec("python3", "-c", script, stdout=asyncio.subprocess.PIPE)
            out, _ = await child.communicate()
            assert b"200 OK" in out, out
            assert s.engine.runner.world.get("pauses", "web").who == pwd.getpwuid(65534).pw_name
    finally:
        shutil.rmtree(folder)


def _post(path: str, body: str) -> str:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"


def test_the_uid_is_read_as_the_kernel_has_it() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    try:
        assert peer_uid(ours) == os.getuid()
        raw = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        assert struct.unpack("3i", raw)[1] == os.getuid()
    finally:
        ours.close()
        theirs.close()
    assert peer_uid(ours) is None


# --- requests that make no sense ---------------------------------------------------------------------------------

NONSENSE: list[tuple[str, bytes, int, str]] = [
    ("/v1/intents", b"{", 400, "no JSON"),
    ("/v1/intents", b"[1, 2]", 400, "no JSON object"),
    ("/v1/intents", b'"x"', 400, "no JSON object"),
    ("/v1/intents", b"", 400, "arguments is a mapping"),
    ("/v1/intents", b"\xff\xfe\x00", 400, "no JSON"),
    ("/v1/intents", b"[" * 100_000, 400, "no JSON"),
    ("/v1/intents", b'{"a":' * 50_000, 400, "no JSON"),
    ("/v1/intents", b'{"intent": "pause", "arguments": [1]}', 400, "arguments is a mapping"),
    ("/v1/intents", b'{"intent": "explode", "arguments": {}}', 400, "there is no intent 'explode'"),
    ("/v1/intents", b'{"intent": "pause", "arguments": {}}', 400, "component"),
    ("/v1/intents", b'{"intent": "pause", "arguments": {"component": "web", "seconds": "x"}}', 400, "seconds"),
    ("/v1/intents", b'{"intent": "pause", "arguments": {"component": "web", "seconds": NaN}}', 400, "range"),
    ("/v1/intents", b'{"intent": "pause", "arguments": {"component": "web", "seconds": 1e400}}', 400, "range"),
    ("/v1/intents", b'{"intent": "pause", "arguments": {"component": "web", "seconds": 1e300}}', 400, "range"),
    ("/v1/intents", b'{"intent": "pause", "arguments": {"component": {"a": 1}, "seconds": 1}}', 400, "component"),
    ("/v1/intents", b'{"intent": "pause", "arguments": {"component": "web", "seconds": 1, "x": 1}}', 400, "takes no x"),
    ("/v1/intents", b'{"intent": "ack", "arguments": {"\\ud800": 1}}', 400, "takes no"),
    ("/v1/intents", b'{"intent": "note", "arguments": {"incident": %s}}' % (b"[" * 900 + b"]" * 900), 400, ""),
    ("/v1/intents", b'{"intent": 7, "arguments": {}}', 400, "there is no intent '7'"),
    ("/v1/plans", b"{", 400, "no JSON"),
    ("/v1/plans", b"{}", 400, "kind is one of"),
    ("/v1/plans", b'{"kind": "explode"}', 400, "kind is one of"),
    ("/v1/observations", b"nonsense", 400, "no JSON"),
    ("/v1/observations", b"{}", 404, "there is no check 'None'"),
    ("/v1/observations", b'{"check": "web/nothing"}', 404, "there is no check 'web/nothing'"),
    ("/v1/engine/stop", b"nonsense", 400, "no JSON"),
    ("/v1/heartbeats/web/home", b"", 404, "there is no heartbeat 'web/home'"),
    ("/v1/heartbeats/nobody", b"\xff\xff", 404, "there is no heartbeat"),
    ("/v1/marks", b"{}", 400, "text"),
    ("/v1/marks", b'{"text": "x", "component": "nobody"}', 400, "there is no component 'nobody'"),
    ("/v1/marks", b'{"text": "x", "who": "root"}', 400, "it takes no who"),
    ("/v1/demo", b"{}", 404, "this is no demo"),
    ("/v1/nothing", b"{}", 404, "Not Found"),
    ("/v1/snapshot", b"{}", 405, "Method Not Allowed"),
]


async def test_a_request_that_makes_no_sense_is_refused_in_words_and_harms_nothing(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        for path, body, expected, said in NONSENSE:
            code, answer = await s.post_raw(path, body)
            assert code == expected, (path, body[:80], code, answer)
            assert said in answer["error"], (path, body[:80], answer)
            assert answer["error"].isprintable()
        assert s.stopped == []
        assert s.engine.runner.journal_error == ""
        assert await who_paused(s) == "maria"


async def test_a_pipeline_marks_a_change(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        code, answer = await s.post_raw("/v1/marks", b'{"text": "deploy", "component": "web", "version": "4.2"}')
        assert (code, answer["accepted"]) == (200, True)
        (change,) = s.engine.runner.world.tables["changes"].values()
        assert (change.text, change.component, change.version) == ("deploy", "web", "4.2")


ABOUT_NOTHING = [
    "/v1/journal?before=x",
    "/v1/journal?limit=many",
    "/v1/journal?limit=" + "9" * 5000,
    "/v1/history/web?hours=x",
    "/v1/history/web?hours=nan",
    "/v1/history/web?hours=inf",
    "/v1/history/nobody",
    "/v1/components/nobody",
    "/v1/components/%F0%9F%92%A5%00%1b[2J",
    "/v1/components/..%2f..%2fetc%2fpasswd",
    "/v1/runbooks/..%2f..%2fetc%2fpasswd",
    "/v1/runbooks/nothing",
    "/v2/snapshot",
    "/",
]

ODD_LIMITS = [
    "/v1/journal?before=999999999999999999&limit=1",
    "/v1/journal?before=-5",
    "/v1/journal?limit=-5",
    "/v1/journal?limit=0",
    "/v1/journal?component=nobody",
    "/v1/history/web?hours=0",
    "/v1/history/web?hours=-1e300",
    "/v1/history/web?hours=1e300",
    "/v1/switches/nobody",
    "/v1/incidents?closed=1",
    "/v1/healthz",
]


async def test_a_question_about_nothing_is_answered_in_words(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        for path in ABOUT_NOTHING:
            reply = await s.get(path)
            assert 400 <= reply.status < 500, path
            assert reply.body["error"].isprintable()


async def test_a_question_with_odd_limits_is_answered_all_the_same(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        for path in ODD_LIMITS:
            answer = await s.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 200 OK"), path


async def test_a_body_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        for path in ("/v1/intents", "/v1/heartbeats/web/home"):
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10000000000\r\n\r\n"
            answer = await s.raw(head.encode() + b"x" * (server_module.LONGEST_BODY + 70_000))
            assert answer.startswith(b"HTTP/1.1 413"), answer[:100]
        assert (await s.get("/v1/engine")).status == 200


async def test_what_is_no_http_at_all_is_sent_away(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        for sent in (b"\x00" * 1000 + b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00", b"POST / HTTP/9.9\r\n\r\n"):
            try:
                answer = await s.raw(sent + b"\r\n" * 4)
            except TimeoutError:
                continue
            assert b" 500 " not in answer
        assert (await s.get("/v1/engine")).status == 200


async def test_readiness_is_answered_as_a_whole_and_for_one_component(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        whole = (await s.get("/v1/readiness")).body
        assert {gap["component"] for gap in whole["gaps"]} == {None, "web"}
        one = (await s.get("/v1/readiness?component=web&limit=1")).body
        assert (one["component"], len(one["gaps"]), one["measured"]) == ("web", 1, True)
        assert one["total"] > 1
        assert one["score"] == whole["components"][0]["score"]
        unknown = await s.get("/v1/readiness?component=nobody")
        assert (unknown.status, unknown.body["error"]) == (404, "there is no component 'nobody'")
        assert (await s.get("/v1/readiness?limit=-1")).status == 400


async def test_a_store_that_cannot_answer_is_said_to_be_unable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(small(tmp_path)) as s:

        async def unable(*_: Any) -> Any:
            raise HistoryError("the history in x cannot be used: disk I/O error")

        monkeypatch.setattr(s.engine.remembered, "history", unable)
        reply = await s.get("/v1/history/web")
        assert (reply.status, reply.body) == (503, {"error": "the history in x cannot be used: disk I/O error"})


async def test_what_if_is_answered_from_the_files_and_a_name_that_nobody_has_with_the_nearest(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        ranking = (await s.get("/v1/whatif")).body
        assert ["web"] in [line["subjects"] for line in ranking]
        assert (await s.get("/v1/whatif")).body == ranking
        reply = await s.get("/v1/whatif?without=web&without=web")
        assert (reply.status, reply.body["subjects"], reply.body["down"]) == (200, ["web"], ["web"])
        reply = await s.get("/v1/whatif?without=wbe")
        assert (reply.status, reply.body) == (404, {"error": "there is no 'wbe' to take away; did you mean web?"})
        reply = await s.get("/v1/whatif?" + "&".join(["without=web"] * 21))
        assert reply.status == 404
        assert "20 are the most" in reply.body["error"]


async def test_a_bug_is_an_answer_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(small(tmp_path)) as s:

        def broken() -> Any:
            raise ZeroDivisionError("no view")

        monkeypatch.setattr(s.engine, "viewer", broken)
        reply = await s.get("/v1/register")
        assert reply.status == 500
        assert "bug" in reply.body["error"]
        assert "GET /v1/register failed" in caplog.text


# --- intents -----------------------------------------------------------------------------------------------------


async def test_a_request_that_is_repeated_is_carried_out_once(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with served(small(tmp_path), journal=journal) as s:
        body = {"intent": "open_incident", "arguments": {"component": "web", "title": "odd"}, "key": "once"}
        replies = await asyncio.gather(*(s.post("/v1/intents", body) for _ in range(5)))
        assert len({json.dumps(reply.body) for reply in replies}) == 1
        assert replies[0].body["accepted"]
        assert len(journal.of("incident_opened")) == 1
        await s.post("/v1/intents", body | {"key": "twice"})
        assert len(journal.of("incident_opened")) >= 1


async def test_what_is_being_written_and_may_yet_fail_is_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that saw it, and an engine that is killed before it is written, would disagree for ever."""
    monkeypatch.setattr(runner_module, "STUCK", 30.0)
    journal = GatedJournal()
    folder = small(tmp_path)
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "web-down.md").write_text(
        "---\ntitle: Web\ncomponent: web\n---\n\n## Steps\n\n### Look\n\n- [ ] one\n"
    )
    async with served(folder, journal=journal) as s:
        session = s.session()
        run = (await session.submit("open_run", {"runbook": "web-down"}))["subject"]
        await session.submit("open_incident", {"component": "web", "title": "odd"})
        paths = [
            f"/v1/{path}"
            for path in ("incidents", f"runs/{run}", "runs", "runbooks/web-down", "people", "windows", "components/web")
        ]
        await s.engine.runner.settled()
        before = [(await s.get(path)).body for path in paths[:6]]
        journal.gate.clear()
        journal.entered.clear()
        wanted = asyncio.gather(
            session.submit("note", {"incident": "INC-1", "text": "looking"}),
            session.submit("mark_step", {"run": run, "step": "look", "mark": "done"}),
            session.submit("tick", {"run": run, "step": "look", "tick": 0}),
            session.submit("maintenance", {"target": "web", "seconds": 60}),
            session.submit("away", {"person": "maria", "until": None}),
        )
        await asyncio.to_thread(journal.entered.wait, 8.0)
        asked = [asyncio.ensure_future(s.get(path)) for path in paths]
        answered, _ = await asyncio.wait(asked, timeout=0.5)
        assert answered == set(), "all of them wait for the disk"
        journal.full = True
        journal.gate.set()
        assert {verdict["accepted"] for verdict in await wanted} == {False}
        shown = [reply.body for reply in await asyncio.gather(*asked)][:6]
        assert [_without_times(each) for each in shown] == [_without_times(each) for each in before]
        journal.full = False


def _without_times(body: Any) -> str:
    return re.sub(r"[0-9]{10}\.[0-9]+", "", json.dumps(body))


async def test_text_from_clients_is_made_harmless(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        evil = "\x1b]52;c;ZXZpbA==\x07look\u202e\ud800"
        session = s.session()
        verdict = await session.submit("open_incident", {"component": "web", "title": evil})
        assert verdict["accepted"]
        (incident,) = await session.incidents()
        assert incident["title"].isprintable()
        assert "ZXZpbA" not in incident["title"]


async def test_a_step_that_the_runbook_does_not_have_cannot_be_ticked(tmp_path: Path) -> None:
    folder = small(tmp_path)
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "web-down.md").write_text(
        "---\ntitle: Web\ncomponent: web\n---\n\n## Steps\n\n### Look\n\n- [ ] one\n- [ ] two\n"
    )
    async with served(folder) as s:
        session = s.session()
        run = (await session.submit("open_run", {"runbook": "web-down"}))["subject"]
        assert (await session.submit("tick", {"run": run, "step": "look", "tick": 1}))["accepted"]
        for step, tick in (("look", 2), ("look", -1), ("nowhere", 0)):
            verdict = await session.submit("tick", {"run": run, "step": step, "tick": tick})
            assert verdict["refused"] is not None
            assert verdict["refused"]["rule"] == "unknown_step"
        verdict = await session.submit("mark_step", {"run": run, "step": "nowhere", "mark": "done"})
        assert not verdict["accepted"]
        verdict = await session.submit("open_run", {"runbook": "nothing"})
        assert verdict["refused"] is not None
        assert verdict["refused"]["rule"] == "unknown_runbook"


async def test_stopping_is_refused_while_something_is_in_flight(tmp_path: Path) -> None:
    async with serving() as target:
        mailer = Mailer(target)
        folder = write_workspace(tmp_path, email=mail(target.url))
        async with served(folder) as s:
            session = s.session()
            await eventually_asked(lambda: _redundant(s))
            plan = await session.plan("email", "failover")
            mailer.gate.clear()
            names = ("component", "generation", "source", "target")
            verdict = await session.submit("failover", {name: plan[name] for name in names})  # type: ignore[literal-required]
            assert verdict["accepted"], verdict
            await mailer.arrived.wait()
            reply = await s.post("/v1/engine/stop", {})
            assert reply.status == 409
            assert verdict["subject"] in reply.body["error"]
            assert s.stopped == []
            assert (await s.post("/v1/engine/stop", {"force": True})).status == 200
            assert s.stopped == [f"asked by {this_login()}"]
            mailer.gate.set()
            await eventually(lambda: not s.engine.in_flight)


async def _redundant(s: Served) -> bool:
    health = s.engine.runner.live.get("components", "email")
    return health is not None and health.redundancy == "ready"


def beaten(s: Served, signal: str) -> float | None:
    found: float | None = getattr(s.engine.runner.world.get("heartbeats", "backup/nightly"), signal)
    return found


async def test_a_heartbeat_reports_with_a_plain_post(tmp_path: Path) -> None:
    text = "defaults: {down_after: 1}\nchecks: {nightly: {kind: heartbeat, every: 1h}}\n"
    async with served(small(tmp_path, backup=text)) as s:
        for ending, signal in (("", "last"), ("/start", "started"), ("/fail", "failed")):
            sent = f"POST /v1/heartbeats/backup/nightly{ending} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            answer = await s.raw(f"{sent}Content-Length: 7\r\n\r\n\x1b[2Jodd".encode())
            assert answer.endswith(b"OK\n")
            await eventually(partial(beaten, s, signal))
        detail = s.engine.runner.world.get("heartbeats", "backup/nightly").detail
        assert detail.isprintable()
        assert detail.endswith("odd")


async def test_running_a_check_now_answers_with_its_result_or_why_not(tmp_path: Path) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home", every="60s"))
        async with served(folder) as s:
            session = s.session()
            view = await session.observe("web/home")
            assert (view["status"], view["raw_status"]) == ("ok", "ok")
            await session.submit("pause", {"component": "web", "seconds": 60})
            reply = await s.post("/v1/observations", {"check": "web/home"})
            assert (reply.status, reply.body["error"]) == (409, "web is paused")


# --- the journal -------------------------------------------------------------------------------------------------


async def test_the_journal_is_read_backwards_page_by_page(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        session = s.session()
        for number in range(7):
            await session.submit("pause", {"component": "web", "seconds": 60 + number})
        everything = await session.journal(limit=1000)
        assert [line["seq"] for line in everything] == sorted((line["seq"] for line in everything), reverse=True)
        pages = [await session.journal(limit=3)]
        while pages[-1]:
            pages.append(await session.journal(limit=3, before=pages[-1][-1]["seq"]))
        assert [line for page in pages for line in page] == everything
        about_web = await session.journal(component="web", limit=5)
        assert {line["component"] for line in about_web} == {"web"}
        assert len(about_web) == 5


async def test_an_entry_of_another_version_is_a_line_and_no_failure(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with served(small(tmp_path), journal=journal) as s:
        journal.append([("telepathy_sensed", {"who": "ken"})], datetime(2026, 11, 23, tzinfo=UTC))
        lines = await s.session().journal(limit=3)
        assert lines[0]["type"] == "telepathy_sensed"
        assert "cannot read" in lines[0]["text"]


# --- the stream --------------------------------------------------------------------------------------------------


async def test_the_stream_begins_with_a_snapshot_and_goes_on_with_what_changes(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        stream = events(s.where.socket, "/v1/events")
        async with asyncio.timeout(5):
            first = await anext(stream)
            assert first.name == "snapshot"
            assert [row["id"] for row in first.data["rows"]] == ["web"]
            await s.session().submit("pause", {"component": "web", "seconds": 60})
            async for event in stream:
                assert event.name == "delta"
                if any(row["status"] == "paused" for row in event.data["rows"]):
                    break
        await stream.aclose()  # type: ignore[attr-defined]
        await eventually(lambda: not s.engine.hub.subscribers)


async def test_a_client_that_comes_back_gets_what_it_missed_by_its_last_number(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        stream = events(s.where.socket, "/v1/events")
        last = (await anext(stream)).id
        await stream.aclose()  # type: ignore[attr-defined]
        await s.session().submit("pause", {"component": "web", "seconds": 60})
        again = events(s.where.socket, "/v1/events", {"last-event-id": str(last)})
        async with asyncio.timeout(5):
            missed = await anext(again)
            assert (missed.name, missed.id) == ("delta", last + 1)
        await again.aclose()  # type: ignore[attr-defined]
        for odd, expected in (("1", "reset"), ("9" * 30, "snapshot"), ("x", "snapshot"), ("²", "snapshot")):
            other = events(s.where.socket, "/v1/events?since=" + odd if odd.isascii() else "/v1/events")
            async with asyncio.timeout(5):
                assert (await anext(other)).name == expected
            await other.aclose()  # type: ignore[attr-defined]


async def test_every_stream_hears_goodbye_and_the_service_ends_within_a_second(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        heard: list[Any] = []

        async def listen() -> None:
            heard.extend([event async for event in events(s.where.socket, "/v1/events")])

        listeners = [asyncio.ensure_future(listen()) for _ in range(5)]
        silent_reader, silent = await asyncio.open_unix_connection(str(s.where.socket))
        await eventually(lambda: s.engine.hub.subscribers == 5)
        loop = asyncio.get_running_loop()
        began = loop.time()
        s.engine.hub.bye("signal SIGTERM")
        await s.service.close()
        await asyncio.gather(*listeners)
        assert loop.time() - began < 1
        assert [event.data for event in heard if event.name == "bye"] == [{"why": "signal SIGTERM"}] * 5
        assert not s.where.socket.exists()
        assert await silent_reader.read() == b""
        silent.close()


async def test_a_stream_that_nobody_serves_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(WireError, match="no engine is running"):
        await anext(events(tmp_path / "nothing.sock", "/v1/events"))


# --- metrics -----------------------------------------------------------------------------------------------------

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? (\S+)$")
SUFFIXES = {"counter": ("_total",), "info": ("_info",), "gauge": ("",), "stateset": ("",)}


def families(text: str) -> dict[str, list[tuple[str, dict[str, str], float]]]:
    """The samples of an OpenMetrics text by family; anything that the format forbids fails."""
    *lines, last, end = text.split("\n")
    assert (last, end) == ("# EOF", "")
    kinds: dict[str, str] = {}
    found: dict[str, list[tuple[str, dict[str, str], float]]] = {}
    current = ""
    seen: set[str] = set()
    for line in lines:
        if line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert current not in kinds, f"{current} comes twice"
            assert kind in SUFFIXES
            kinds[current] = kind
            found[current] = []
            continue
        if line.startswith("# HELP "):
            assert line.split(" ")[2] == current
            continue
        match = SAMPLE.match(line)
        assert match, line
        name, labels, value = match.groups()
        assert name in {current + suffix for suffix in SUFFIXES[kinds[current]]}, line
        assert line.rpartition(" ")[0] not in seen, f"{line} comes twice"
        seen.add(line.rpartition(" ")[0])
        pairs = dict(re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', labels or ""))
        found[current].append((name, pairs, float(value)))
    for name, samples in found.items():
        if kinds[name] == "stateset":
            states: dict[str, list[float]] = {}
            for _, labels_of, number in samples:
                assert name in labels_of
                states.setdefault(labels_of["component"], []).append(number)
            assert all(sorted(values) == [0, 0, 0, 0, 1] for values in states.values())
    return found


async def test_metrics_are_valid_open_metrics_and_say_how_things_are(tmp_path: Path) -> None:
    async with serving(home=http()) as target:
        folder = write_workspace(
            tmp_path, web=web(f"{target.url}/home"), shop=web("http://127.0.0.1:9/"), email=mail(target.url)
        )
        async with served(folder) as s:
            await eventually(lambda: status(s.engine, "web") == "ok" and status(s.engine, "shop") == "down")
            raw = await s.raw(b"GET /v1/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head, _, body = raw.decode().partition("\r\n\r\n")
            assert "application/openmetrics-text; version=1.0.0; charset=utf-8" in head
            found = families(body)
            state = {
                labels["component"]: labels["opsdash_component_state"]
                for _, labels, value in found["opsdash_component_state"]
                if value
            }
            assert state["web"] == "ok"
            assert state["shop"] == "down"
            assert ("opsdash_checks_total", {}) in [(name, labels) for name, labels, _ in found["opsdash_checks"]]
            checks = {labels["check"]: value for _, labels, value in found["opsdash_check_ok"]}
            assert (checks["web/home"], checks["shop/home"]) == (1, 0)
            assert found["opsdash_incidents_open"][0][2] == 1


async def test_every_answer_names_the_version_of_the_interface(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        for path in ("/v1/snapshot", "/v1/engine", "/v1/healthz", "/v1/metrics", "/v1/nothing", "/v1/events"):
            reader, writer = await asyncio.open_unix_connection(str(s.where.socket))
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert f"opsdash-api: {API}".encode() in head, path
            writer.close()


async def test_files_with_problems_are_told_with_their_place(tmp_path: Path) -> None:
    folder = small(tmp_path, shop="checks: {home: {kind: htpp, url: x}}\n")
    loaded = loaded_from(folder)
    async with served(folder, loaded=loaded) as s:
        (problem, *_) = await s.session().problems()
        assert problem["file"] == "checks/shop.yaml"
        assert "htpp" in problem["message"]


async def test_an_intent_object_is_what_the_wire_said(tmp_path: Path) -> None:
    async with served(small(tmp_path)) as s:
        parsed = intents.parse(s.engine, "away", {"person": "maria", "until": None, "back": True})
        assert parsed == i.AwayIntent("maria", None, None, back=True)
        for name in intents.NAMES:
            refused = intents.parse(s.engine, name, {"no such argument": 1})
            assert getattr(refused, "rule", None), name
