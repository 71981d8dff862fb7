"""The workspace's files are read again when they change, and when what was made of them has had its time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from opsdash.config.rotas import MADE_ANEW
from opsdash.service.watching import watch_files
from tests.engine.support import eventually, running, write_workspace

if TYPE_CHECKING:
    from pathlib import Path

DUTY = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:me\nDTSTART;VALUE=DATE:20250101\nRRULE:FREQ=DAILY\nEND:VEVENT\n"


async def test_shifts_are_made_anew_although_no_file_has_changed(tmp_path: Path) -> None:
    folder = write_workspace(
        tmp_path,
        settings="people: {me: {name: Me}}\nrota: {front: {file: front.ics}}\n",
        web="checks: {up: {kind: file, path: opsdash.yaml}}\n",
    )
    (folder / "front.ics").write_text(DUTY + "END:VCALENDAR\n")
    (folder / "front.ics").chmod(0o644)
    async with running(folder) as engine:
        made = engine.loaded.made_until
        engine.loaded = replace(engine.loaded, made_until=0.0)
        before = engine.runner.world.operation

        async def keep(_: object) -> None:
            return None

        reach: Any = SimpleNamespace(where=SimpleNamespace(workspace=folder), noted=lambda loaded: loaded)
        watching = asyncio.ensure_future(watch_files(engine, reach, {}, SimpleNamespace(keep=keep)))  # type: ignore[arg-type]
        try:
            await eventually(lambda: engine.loaded.made_until >= made)
            await eventually(lambda: engine.runner.world.operation is not before)
        finally:
            watching.cancel()
        assert engine.loaded.made_until - engine.now().wall > MADE_ANEW - 60
        assert engine.runner.world.operation.sha256 == before.sha256
