"""`opsdash alarms`: what is raised and why, every attempt as evidence, a test whose exit code can be believed."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.cli import exits
from tests.engine.support import write_workspace
from tests.post_notifier import installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Ended


class Receiver(ThreadingHTTPServer):
    """Takes messages; `status` is what it answers, `got` what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.got: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(500)

    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(self.server.status)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def office(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A workspace whose site fails, with a channel for the team and one for customers."""
    settings = f"""
alarms:
  group_wait: 100ms
  channels:
    pager: {{kind: post, url: "{receiver.url}/pager"}}
    page: {{kind: post, url: "{receiver.url}/page", audience: customers}}
"""
    site = f"""
defaults: {{every: 500ms, timeout: 400ms, down_after: 1, up_after: 1}}
checks: {{home: {{kind: http, url: "{receiver.url}/"}}}}
failures: {{gone: {{title: The site is gone, detected_by: [home], status_text: We are on it.}}}}
"""
    with installed(tmp_path_factory.mktemp("kind")) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield write_workspace(tmp_path / "office", settings=settings, site=site)


@pytest.fixture
def alarms(run: Callable[..., Ended], office: Path) -> Iterator[Callable[..., Ended]]:
    """`opsdash alarms` in a process of its own; its engine is stopped at the end."""
    try:
        yield lambda *words: run("alarms", *words, "-w", str(office))
    finally:
        run("engine", "stop", "--force", "-w", str(office))


def test_without_an_engine_channels_are_listed_and_nobody_starts_one(alarms: Callable[..., Ended]) -> None:
    listed = alarms("--json").json
    assert [(each["id"], each["state"]) for each in listed["channels"]] == [("pager", "unused"), ("page", "unused")]
    assert "no alarm is raised or held" in alarms().err
    assert "no message was sent yet" in alarms("outbox").err


def test_a_test_says_by_its_exit_code_whether_it_arrived(alarms: Callable[..., Ended], receiver: Receiver) -> None:
    tested = alarms("test", "pager")
    assert tested.code == exits.OK, tested.err
    assert "✓ delivered" in tested.out
    assert "test" in [each["kind"] for each in receiver.got]
    receiver.status = 500
    failed = alarms("test", "pager", "--json")
    assert failed.code == exits.FAILED
    assert failed.json["status"] == "not delivered"
    assert failed.json["reason"].startswith("failed in ")
    refused = alarms("test", "pagr")
    assert refused.code == exits.REFUSED
    assert "opsdash.yaml has: page, pager" in refused.err


def test_alarms_messages_and_channels_are_shown_with_their_evidence(
    alarms: Callable[..., Ended], run: Callable[..., Ended], office: Path, receiver: Receiver
) -> None:
    assert alarms("test", "pager").code == exits.OK
    assert _until(lambda: any(each["kind"] == "problem" for each in receiver.got))
    assert _until(lambda: "told: pager" in alarms("list").out)
    shown = alarms()
    assert "✗ RAISED" in shown.out
    assert "The site is gone" in shown.out
    assert "✓ works" in shown.out
    messages = alarms("outbox", "--json").json["outbox"]
    problem = next(each for each in messages if each["kind"] == "problem")
    assert [each["outcome"] for each in problem["attempts"]] == ["delivered"]
    assert "200" in alarms("outbox").out
    one = alarms("outbox", problem["id"])
    assert "opsdash incident ack INC-1" in one.out
    assert alarms("outbox", "MSG-999").code == exits.USAGE
    assert run("status", "-w", str(office)).code == exits.NOT_OK


def test_customers_are_told_by_a_person_who_says_yes(alarms: Callable[..., Ended], receiver: Receiver) -> None:
    assert alarms("test", "pager").code == exits.OK
    assert _until(lambda: alarms("--json").json["texts"] == {"INC-1": "We are on it."})
    asked = alarms("tell", "INC-1")
    assert asked.code == exits.USAGE
    assert "We are on it." in asked.err
    told = alarms("tell", "INC-1", "--yes")
    assert told.code == exits.OK, told.err
    assert _until(lambda: any(each["kind"] == "status" for each in receiver.got))
    assert alarms("tell", "INC-9", "x", "--yes").code == exits.REFUSED


def _until(what: Callable[[], bool]) -> bool:
    """Whether it comes about in time."""
    waited = threading.Event()
    for _ in range(200):
        if what():
            return True
        waited.wait(0.1)
    return False
