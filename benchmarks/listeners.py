"""Clients of an engine that read along, as boards do: `python -m benchmarks.listeners WORKSPACE NUMBER`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from opsdash.service.client import EngineSession
from opsdash.service.places import places


async def listen(workspace: Path, number: int) -> None:
    """Read until ended; say `ready` once every client has its snapshot."""
    waiting = number

    async def read() -> None:
        nonlocal waiting
        first = True
        async for _ in EngineSession(places(workspace)).events():
            if first:
                first = False
                waiting -= 1
                if not waiting:
                    sys.stdout.write("ready\n")
                    sys.stdout.flush()

    async with asyncio.TaskGroup() as group:
        for _ in range(number):
            group.create_task(read())


if __name__ == "__main__":
    asyncio.run(listen(Path(sys.argv[1]), int(sys.argv[2])))
