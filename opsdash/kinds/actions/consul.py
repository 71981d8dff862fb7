"""A key of Consul says who serves; whoever watches it follows. One transaction, which compares before it writes.

    read:   {kind: consul, endpoints: ["http://127.0.0.1:8500"], key: mailer/provider, marker: mailer/switched-by}
    action: {kind: consul, endpoints: ["http://127.0.0.1:8500"], key: mailer/provider, marker: mailer/switched-by,
             value: "{to.as}", token: "${CONSUL_TOKEN}"}

It is read first, from the leader, through the first agent that answers. If it says the wanted value already, or another
one than the plan was made for, nothing is sent; else the transaction is, once, on condition that the key has not been
written since (`cas`). With `marker` the id of the action is written in the same transaction, and `read` tells whose the
value is. The key must exist, and be text: what is not understood is not overwritten. Its flags and its lock stay.

`token` needs `key "…" { policy = "write" }` for the two keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from pydantic import Field, SecretStr, field_validator, model_validator

from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Preflight, Reading
from opsdash.kinds.consul_http import ConsulStore
from opsdash.kinds.keyvalue import KeyOptions, ValueOptions, carry_out, look_up, try_out, undo
from opsdash.kinds.scalars import scalar_text
from opsdash.kinds.sending import curl_tls
from opsdash.kinds.shellwords import shell_command
from opsdash.kinds.transport import check_header
from opsdash.model.operation import Abilities

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self


class ReadOptions(KeyOptions):
    token: SecretStr | None = None
    """A token of Consul's, where it asks for one; better a reference: `${NAME}`, `${file:PATH}` or `${cmd:ARGV}`."""
    datacenter: str | None = Field(default=None, min_length=1)
    """The datacenter whose keys are meant, where it is not the agent's own."""

    @field_validator("token")
    @classmethod
    def _token_can_be_sent(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            check_header("X-Consul-Token", token.get_secret_value())
        return token

    @model_validator(mode="after")
    def _keys_have_no_slash_in_front(self) -> Self:
        for place in self.places:
            if place.startswith("/"):
                raise ValueError(f"a key of Consul's does not begin with a slash; write {place.lstrip('/')}")
        return self


class Options(ValueOptions, ReadOptions):
    """Keys of `kind: consul`."""


async def apply(options: Options, context: ActionContext) -> ActionResult:
    return await carry_out(_store(options, context), options, context)


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    return await look_up(_store(options, context), options, context)


async def preflight(options: Options, context: ActionContext) -> Preflight:
    return await try_out(_store(options, context), options, context)


def _store(options: ReadOptions, context: ActionContext) -> ConsulStore:
    token = None if options.token is None else options.token.get_secret_value()
    return ConsulStore(options, token, options.datacenter, context)


def refine(options: Options) -> Abilities:
    return Abilities(cas=True, idempotent=True, read_back=True, restores=True, marks=options.marker is not None)


def manual(raw: Mapping[str, Any]) -> str:
    """The same value by curl, to be given in the workspace's folder. It does not compare."""
    words = ["curl", "--silent", "--show-error", "--fail", "--globoff", "--request", "PUT"]
    if raw.get("token") is not None:
        words += ["--header", f"X-Consul-Token: {raw['token']}"]
    query = f"?{urlencode({'dc': raw['datacenter']})}" if raw.get("datacenter") is not None else ""
    endpoint, key = str(raw["endpoints"][0]).rstrip("/"), quote(f"{raw.get('prefix', '')}{raw['key']}")
    words += [*curl_tls(raw), "--data-raw", scalar_text(raw["value"]), f"{endpoint}/v1/kv/{key}{query}"]
    return shell_command(words)


KIND = ActionKind(
    name="consul",
    summary="a key of Consul, changed in a transaction that compares first",
    options=Options,
    abilities=Abilities(cas=True, idempotent=True, read_back=True, restores=True),
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    undo=undo,
    refine=refine,
    identity=("endpoints", "datacenter", "prefix", "key"),
)
