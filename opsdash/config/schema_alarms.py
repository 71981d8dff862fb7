"""The keys of `alarms` in opsdash.yaml: channels, routes, escalation. See `config.schema`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from opsdash.config.schema_fields import Name, Open, References, Span, Strict, Tiers
from opsdash.kinds.fields import Duration
from opsdash.model.channel import GROUP_WAIT, SEND_TIMEOUT, Audience

LONGEST_ADDRESS = 500
"""Characters of an address that messages link to."""


def _several(value: Any) -> Any:
    """A single mapping stands for a list of one."""
    return [value] if isinstance(value, dict) else value


def _web_address(value: str) -> str:
    if len(value) > LONGEST_ADDRESS or not re.fullmatch(r"https?://[!-~]+", value):
        raise ValueError("must be the address of a folder, such as https://git.example/ops/src/main/runbooks")
    return value


class ChannelModel(Open):
    """A way to tell people something. The keys beyond these are the options of its kind."""

    kind: str
    """What sends, for example `webhook`, `apprise`, `file`. `opsdash kinds` lists them."""
    depends_on: References = ()
    """Components without which nothing arrives over it, such as the one that sends mail."""
    timeout: Span = SEND_TIMEOUT
    """How long one attempt may take."""
    audience: Audience = Audience.TEAM
    """`customers`: it gets the status texts that a person sends, and no alarms."""


class EscalationModel(Strict):
    """Who is told besides, when nobody acknowledges."""

    after: Span
    """How long after the first were told, or after an acknowledgement has expired."""
    to: References
    """Channels, people, and `owner`, `second` or `owners`."""


Escalations = Annotated[tuple[EscalationModel, ...], BeforeValidator(_several)]


class RouteModel(Strict):
    """Which alarms go where. The first route that fits counts; without conditions it fits all."""

    tiers: Tiers = ()
    """Only alarms of components of these tiers."""
    components: References = ()
    """Only alarms of these components."""
    tags: References = ()
    """Alarms of components that have one of these tags, too."""
    severity: Annotated[int, Field(ge=1, le=4)] | None = None
    """Only alarms that are at least as bad: `2` is about severity 1, which is the worst, and 2."""
    to: References
    """Channels, people, and `owner` (the first who is there), `second` (the next one) or `owners`. `[]`: nobody."""
    escalate: Escalations = ()
    """Who is told besides, when nobody acknowledges: `{after: 10m, to: [second]}`, or several of them."""
    remind: Annotated[Duration, Field(ge=60)] | None = None
    """How often who was told is reminded, as long as nobody acknowledges. Without it: never."""


class AlarmsModel(Strict):
    """How people are told. With channels and no routes, everything goes to every channel."""

    channels: dict[Name, ChannelModel] = {}
    """Ways to tell people something, by a name for each."""
    routes: tuple[RouteModel, ...] = ()
    """Which alarms go where: the first that fits. What none fits goes to every channel."""
    group_wait: Annotated[Duration, Field(ge=0.1, le=300)] = GROUP_WAIT
    """How long a first message waits for what belongs to the same outage. Later ones of the same storm come at
    distances that double up to 5m.
    """
    runbooks_at: Annotated[str, AfterValidator(_web_address)] | None = None
    """Where the folder of runbooks can be read without opsdash, such as `https://git.example/ops/src/main/runbooks`. A
    message about a failure links to its runbook there.
    """
