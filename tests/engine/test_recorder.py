"""What is kept beside the journal; losing it never stops a poll or a switch."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

import pytest

from opsdash.engine.recorder import MOST_PENDING, Recorder
from opsdash.engine.threads import Worker
from opsdash.errors import HistoryError
from opsdash.model.inputs import ResolveIntent
from opsdash.model.observation import Observation
from opsdash.model.records import Proved
from opsdash.model.status import Reason, Status
from opsdash.model.switch import SwitchKind
from opsdash.model.world import World
from opsdash.storage.documents import Documents
from opsdash.storage.history import History
from tests.engine.support import Mailer, eventually, http, mail, running, serving, status, web, write_workspace

if TYPE_CHECKING:
    from pathlib import Path


def seen(at: float, verdict: Status = Status.OK) -> Observation:
    reason = None if verdict is Status.OK else Reason.TIMEOUT
    return Observation("web/home", verdict, reason, "", 0.02, at, at, at, at + 10)


async def test_results_are_in_history_with_their_latency_and_reason(tmp_path: Path) -> None:
    async with serving(home=http()) as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home", every="200ms"))
        async with running(folder) as engine:
            await eventually(lambda: engine.poller.stats.runs >= 3)
            past = await engine.remembered.history("web", list(engine.loaded.operation.checks.values()), 1.0)
    (check,) = past["checks"]
    assert check["check"] == "web/home"
    assert check["uptime"]["counts"]["ok"] >= 3
    assert 0 < check["latency_ms"]["p50"] < 500
    assert [(change["before"], change["after"]) for change in past["changes"]] == [("unknown", "ok")]


async def test_a_closed_incident_and_a_switch_are_documents(tmp_path: Path) -> None:
    async with serving(home=http("{}", status=500)) as target:
        mailer = Mailer(target)
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home"), email=mail(target.url))
        async with running(folder) as engine:
            await eventually(lambda: engine.runner.world.tables["incidents"])
            (incident,) = engine.runner.world.tables["incidents"].values()
            target.routes["/home"] = http()
            await eventually(lambda: status(engine, "web") == "ok")
            verdict = await engine.submit("k", "maria", ResolveIntent(incident.id, "it was the disk"))
            assert verdict["accepted"]
            await eventually(lambda: status(engine, "email") == "ok")
            worked, said = await engine.switch_now(SwitchKind.FAILOVER, "email", None, "maria", "test")
            assert worked, said
            assert mailer.puts == 1
        documents = Documents(folder / ".opsdash" / "documents")
        (stored,) = await asyncio.to_thread(documents.find, "incidents")
        assert stored.document["closed_by"] == "maria"
        (switched,) = await asyncio.to_thread(documents.find, "switches")
        assert switched.document["switch"]["state"] == "committed"
        assert switched.document["times"]["total"] > 0
        (evidence,) = await asyncio.to_thread(documents.find, "evidence")
        assert evidence.document["by"] == switched.id


async def test_a_history_that_cannot_be_written_is_reported_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history = History(tmp_path / "history.sqlite")
    history.close()
    workers = Worker("history"), Worker("documents")
    recorder = Recorder(
        history=history, history_worker=workers[0], documents=Documents(tmp_path), documents_worker=workers[1]
    )
    for at in range(3):
        recorder.observed(seen(1000.0 + at))
        await recorder.flush()
    assert recorder.error
    assert caplog.text.count("could not be written") == 1
    with pytest.raises(HistoryError):
        await workers[0].call(history.uptime, "web/home", 0, 1)
    for worker in workers:
        await worker.close()


async def test_samples_that_nobody_takes_cost_a_bounded_amount_of_memory(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    workers = Worker("history"), Worker("documents")
    recorder = Recorder(
        history=history, history_worker=workers[0], documents=Documents(tmp_path), documents_worker=workers[1]
    )
    one = seen(1000.0)
    for _ in range(MOST_PENDING + 10):
        recorder.observed(one)
    assert len(recorder._samples) <= MOST_PENDING
    for worker in workers:
        await worker.close()
    history.close()


async def test_a_history_that_cannot_be_written_costs_no_document(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    history.close()
    documents = Documents(tmp_path / "documents")
    workers = Worker("history"), Worker("documents")
    recorder = Recorder(history=history, history_worker=workers[0], documents=documents, documents_worker=workers[1])
    recorder.observed(seen(1000.0))
    recorder.committed([Proved(1000.0, "email", "ses", "email-failover-1", "sha")], World())
    await recorder.flush()
    found = await workers[1].call(documents.find, "evidence")
    assert [stored.document["by"] for stored in found] == ["email-failover-1"]
    for worker in workers:
        await worker.close()


async def test_a_document_that_a_full_disk_refused_is_written_when_there_is_room_again(tmp_path: Path) -> None:
    full = True

    def write(fd: int, data: bytes | memoryview) -> int:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(fd, data)

    history, documents = History(tmp_path / "history.sqlite"), Documents(tmp_path / "documents", write=write)
    workers = Worker("history"), Worker("documents")
    recorder = Recorder(history=history, history_worker=workers[0], documents=documents, documents_worker=workers[1])
    recorder.committed([Proved(1000.0, "email", "ses", "email-failover-1", "sha")], World())
    await recorder.flush()
    assert "No space left" in recorder.error
    full = False
    await recorder.flush()
    found = await workers[1].call(Documents(tmp_path / "documents").find, "evidence")
    assert [stored.document["by"] for stored in found] == ["email-failover-1"]
    for worker in workers:
        await worker.close()
    history.close()
