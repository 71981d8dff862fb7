"""A kind of notifier for tests, as another package would bring it: it posts JSON to a server on loopback.

`installed` makes opsdash find it by its entry point: in this process, and in engines that get `environment`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opsdash.kinds import registry
from opsdash.kinds.base import NotifierContext, NotifierKind, StrictOptions, Told
from opsdash.model.message import Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]


class Options(StrictOptions):
    """Keys of `kind: post`."""

    url: str
    """Where to post."""
    secret: str = ""
    """Sent along, and said again in what comes back."""
    trouble: str = ""
    """`raise` or `hang` instead of sending."""


async def send(options: Options, message: Message, context: NotifierContext) -> Told:
    """One attempt."""
    if options.trouble == "raise":
        raise RuntimeError(f"no luck with {options.secret}")
    if options.trouble == "hang":
        await asyncio.sleep(context.deadline * 10)
    if options.trouble == "ring":
        return Told(Delivery.DELIVERED, f"{context.ring(message.title)} boards")
    where = urlsplit(options.url)
    body = json.dumps({"key": message.key, "id": message.id, "kind": message.kind.value, "title": message.title})
    rows = (
        f"POST {where.path} HTTP/1.1",
        "Host: x",
        f"Content-Length: {len(body)}",
        f"Authorization: {options.secret}",
    )
    head = "\r\n".join([*rows, "", ""])
    try:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
    except OSError as error:
        return Told(Delivery.FAILED, f"cannot connect: {error.strerror}")
    try:
        context.on_sent()
        writer.write((head + body).encode())
        answer = (await reader.read(4096)).decode("latin-1")
    finally:
        writer.close()
    if not answer:
        return Told(Delivery.UNKNOWN, "the connection ended without an answer")
    return _told(answer, options)


def _told(answer: str, options: Options) -> Told:
    status = int(answer.split(" ")[1])
    rows = dict(row.partition(": ")[::2] for row in answer.lower().split("\r\n\r\n")[0].split("\r\n")[1:])
    said = f"{status} said {answer.partition(chr(13) + chr(10) * 1)[0]} {options.secret}\x1b]52;c;x\x07"
    if status < 300:
        return Told(Delivery.DELIVERED, said)
    refused = status in (401, 403, 404)
    retry = float(rows["retry-after"]) if "retry-after" in rows else None
    return Told(Delivery.REFUSED if refused else Delivery.FAILED, said, retry)


def _hosts(raw: Mapping[str, Any]) -> list[str]:
    return [urlsplit(str(raw.get("url", ""))).hostname or ""]


def _problem(raw: Mapping[str, Any]) -> str | None:
    return None if str(raw["url"]).startswith(("http", "$")) else "it posts to http only; write http://…"


KIND = NotifierKind(
    name="post", summary="posts to a server, in tests", options=Options, send=send, hosts=_hosts, problem=_problem
)


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[dict[str, str]]:
    """The kind, as if its package were installed. Gives the environment in which engines find it, too."""
    place = folder / "packages"
    info = place / "opsdash_post-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: opsdash-post\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[opsdash.notifiers]\npost = tests.post_notifier\n")
    sys.path.insert(0, str(place))
    _forget()
    path = os.pathsep.join([str(place), str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    try:
        yield {"PYTHONPATH": path}
    finally:
        sys.path.remove(str(place))
        _forget()


def _forget() -> None:
    for cached in (registry._entry_points, registry._names, registry.notifier_kind):
        cached.cache_clear()
