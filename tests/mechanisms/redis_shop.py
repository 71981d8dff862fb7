"""What the tests of both Redis kinds share: a client that writes all the time, and a component with an engine."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opsdash.core.incident_views import incident_view
from opsdash.model.inputs import TimerFired
from opsdash.model.switch import SwitchKind
from tests.engine.support import eventually, eventually_asked, loaded_from, running, write_workspace
from tests.mechanisms.redis_server import Client, Node, RedisError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from opsdash.engine.engine import Engine
    from opsdash.model.views import SwitchView, WallRow


DOCS: Final = Path(__file__).parents[2] / "docs"


class Writer:
    """A client of one node. `acknowledged`: the keys that it was told are written, and when."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ended = threading.Event()
        self.acknowledged: dict[str, float] = {}

    def run(self) -> None:
        number = 0
        while not self._ended.is_set():
            with contextlib.suppress(OSError), contextlib.closing(Client(self._node.port)) as client:
                while not self._ended.is_set():
                    key = f"key:{number}"
                    number += 1
                    with contextlib.suppress(RedisError):  # READONLY: it is no primary any more
                        client("SET", key, "x")
                        self.acknowledged[key] = time.monotonic()
                    self._ended.wait(0.005)
            self._ended.wait(0.005)

    def end(self) -> None:
        self._ended.set()

    def lost_on(self, node: Node) -> list[str]:
        """What was acknowledged and is not there."""
        with contextlib.closing(Client(node.port)) as client:
            return [key for key in self.acknowledged if not client("EXISTS", key)]


@contextlib.contextmanager
def writing_to(node: Node) -> Iterator[Writer]:
    """A client that writes all the while, whatever becomes of the node."""
    writer = Writer(node)
    thread = threading.Thread(target=writer.run, daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        writer.end()
        thread.join(10)


@contextlib.asynccontextmanager
async def shop(folder: Path, nodes: Sequence[Node], read: str, action: str, **keys: str) -> AsyncIterator[Shop]:
    """An engine with a component whose providers are these nodes, `a`, `b`, `c`, moved by this action."""
    providers = "\n".join(
        f"  {name}: {{as: '{node.name}', host: 127.0.0.1, port: '{node.port}'}}"
        for name, node in zip("abcdef", nodes, strict=False)
    )
    more = "\n".join(f"  {key}: {value}" for key, value in keys.items())
    component = f"""
tier: essential
defaults: {{every: 1s, timeout: 500ms, down_after: 1, up_after: 1}}
providers:
{providers}
each:
  listens: {{kind: tcp, host: "{{host}}", port: "{{port}}"}}
switch:
  read: {read}
  action: {action}
{more}
"""
    workspace = write_workspace(folder / "workspace", orders=component)
    async with running(workspace) as engine:
        orders = Shop(engine)
        await eventually(lambda: orders.active == "a" and "unknown" not in orders.statuses, hint=lambda: orders.row)
        yield orders


class Shop:
    """The component `orders`, as somebody on duty has it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def row(self) -> WallRow:
        row = self.engine.viewer().row("orders")
        assert row is not None
        return row

    @property
    def active(self) -> str | None:
        return self.row["active"]

    async def active_is(self, provider: str) -> None:
        """Wait until that one serves, with the mechanism being read as it is every half minute."""

        async def seen() -> bool:
            self.engine.runner.put(TimerFired(("read", "orders")))
            await self.engine.runner.settled()
            return self.active == provider

        await eventually_asked(seen, hint=lambda: self.row)

    @property
    def statuses(self) -> list[str]:
        """Those of all checks."""
        return [str(self.engine.viewer().check(check)["status"]) for check in self.engine.loaded.bindings]

    @property
    def notes(self) -> str:
        """What was noted in its open incident."""
        incident = self.row["incident"]
        assert incident is not None
        return str(incident_view(self.engine.runner.world.get("incidents", incident)))

    async def plan(self, kind: SwitchKind = SwitchKind.FAILOVER, target: str | None = None) -> Any:
        return await self.engine.plan("orders", kind, target)

    async def carry_out(self, kind: SwitchKind, target: str | None = None) -> SwitchView:
        """Confirm a plan, as soon as nothing stands in the way; what became of it."""
        seen: list[Any] = []

        async def nothing_stands_in_the_way() -> bool:
            seen[:] = [await self.plan(kind, target)]
            return seen[0]["refused"] is None and not seen[0]["failed"]

        await eventually_asked(nothing_stands_in_the_way, hint=lambda: seen)
        _, told = await self.engine.switch_now(kind, "orders", target, "maria", "test")
        switch = self.last
        assert switch is not None, told
        return switch

    async def refused(self, kind: SwitchKind, target: str) -> str:
        """Why a plan cannot be confirmed."""
        done, told = await self.engine.switch_now(kind, "orders", target, "maria", "test")
        assert done is False
        assert self.last is None
        return told

    @property
    def last(self) -> SwitchView | None:
        """The last switch."""
        viewer = self.engine.viewer()
        switch = viewer.draft.switch("orders")
        return None if switch is None else viewer.switch(switch)


def problems_of_page(page: str, folder: Path, *secrets: str) -> list[str]:
    """What is wrong with the component that a page of docs/ shows. secrets: the files that it reads."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (component,) = re.findall(r"^```yaml\n# checks/orders\.yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    people = "people: {maria: {name: Maria}, ken: {name: Ken}}\n"
    workspace = write_workspace(folder, settings=people, orders=component.replace("  old_out: mechanism\n", ""))
    for secret in secrets:
        (workspace / secret).write_text("a-long-secret\n")
        (workspace / secret).chmod(0o600)
    loaded = loaded_from(workspace)
    assert loaded.operation.components["orders"].switch is not None
    return [str(problem) for problem in loaded.problems]


def truths(switch: SwitchView) -> dict[str, str]:
    return {fact["name"]: fact["truth"] for fact in switch["facts"]}
