"""docs/howto-alarms.md: what it shows works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from opsdash.kinds.notifiers.webhook import Options, send
from opsdash.kinds.registry import notifier_kind
from opsdash.model.message import Delivery
from tests.kinds.notices import NOON, message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.kinds.conftest import LoopbackServer
    from tests.kinds.notices import Desk

PAGE = (Path(__file__).parents[2] / "docs" / "howto-alarms.md").read_text(encoding="utf-8")
SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr", "any text that is long enough for it")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}[^\n]*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def channels() -> list[tuple[str, Mapping[str, Any]]]:
    parsed = [yaml.safe_load(block) for block in blocks("yaml")]
    return [(name, raw) for each in parsed for name, raw in each["alarms"]["channels"].items()]


@pytest.fixture
def verify() -> Callable[..., bool]:
    """The receiver of the page."""
    (source,) = blocks("python")
    module: dict[str, Any] = {}
    exec(compile(source, "verify.py", "exec"), module)  # noqa: S102 - our own page
    found: Callable[..., bool] = module["verify"]
    return found


@pytest.mark.parametrize("secret", SECRETS)
async def test_the_receiver_of_the_page_knows_what_is_ours(
    serve: Callable[..., Awaitable[LoopbackServer]],
    http_answer: Callable[..., bytes],
    desk: Desk,
    verify: Callable[..., bool],
    secret: str,
) -> None:
    server = await serve(http_answer('{"id": "1"}'))
    options = Options(url=f"http://{server.origin}/opsdash", secret=secret, confirm="json.id")
    assert (await send(options, message(title="Größer"), desk.context())).delivery is Delivery.DELIVERED
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    headers = {name.lower(): value for name, _, value in lines}
    assert verify(secret, headers, body, NOON)
    assert not verify(secret, headers, body + b" ", NOON)
    assert not verify(secret, headers, body, NOON + 3600)
    assert not verify(secret, headers | {"webhook-id": "another"}, body, NOON)
    assert not verify(SECRETS[SECRETS.index(secret) - 1], headers, body, NOON)


@pytest.mark.parametrize("name", [name for name, _ in channels()])
def test_its_channels_are_what_their_kinds_take(name: str) -> None:
    raw = dict(dict(channels())[name])
    kind = notifier_kind(raw.pop("kind"))
    assert kind.problem(raw) is None
    filled = re.sub(r"\$\{([^}]*)\}", r"https://x.example/a-secret-that-is-long/\1", yaml.safe_dump(raw))
    kind.options(**yaml.safe_load(filled))


def test_it_shows_every_kind_that_there_is() -> None:
    assert {raw["kind"] for _, raw in channels()} == {"webhook", "apprise", "file", "bell"}
