"""A key of etcd says who serves; whoever watches it follows. One transaction, which compares before it writes.

    read:   {kind: etcd, endpoints: ["https://10.0.0.1:2379", "https://10.0.0.2:2379"], key: /mailer/provider,
             marker: /mailer/switched-by}
    action: {kind: etcd, endpoints: ["https://10.0.0.1:2379", "https://10.0.0.2:2379"], key: /mailer/provider,
             marker: /mailer/switched-by, value: "{to.as}", auth: {user: opsdash, password: "${ETCD_PASSWORD}"}}

It is read first, from the first endpoint that answers with the consent of a majority. If it says the wanted value
already, or another one than the plan was made for, nothing is sent; else the transaction is, once, on condition that
the key has not been written since. With `marker` the id of the action is written in the same transaction, and `read`
tells whose the value is. The key must exist, and be text: what is not understood is not overwritten. Its lease, if it
has one, stays.

It speaks JSON with etcd 3.4 or newer. `auth` is a user of etcd's own, with `readwrite` on the two keys; the name in a
client certificate opens the connection, and gives no rights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Preflight, Reading
from opsdash.kinds.credentials import Login  # noqa: TC001 - pydantic reads it
from opsdash.kinds.etcd_gateway import EtcdStore
from opsdash.kinds.keyvalue import KeyOptions, ValueOptions, carry_out, look_up, try_out, undo
from opsdash.kinds.scalars import scalar_text
from opsdash.kinds.shellwords import shell_command
from opsdash.model.operation import Abilities

if TYPE_CHECKING:
    from collections.abc import Mapping


class ReadOptions(KeyOptions):
    auth: Login | None = None
    """A user of etcd's, where it is told to ask for one."""


class Options(ValueOptions, ReadOptions):
    """Keys of `kind: etcd`."""


async def apply(options: Options, context: ActionContext) -> ActionResult:
    return await carry_out(_store(options, context), options, context)


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    return await look_up(_store(options, context), options, context)


async def preflight(options: Options, context: ActionContext) -> Preflight:
    return await try_out(_store(options, context), options, context)


def _store(options: ReadOptions, context: ActionContext) -> EtcdStore:
    return EtcdStore(options, options.auth, context)


def refine(options: Options) -> Abilities:
    return Abilities(cas=True, idempotent=True, read_back=True, restores=True, marks=options.marker is not None)


def manual(raw: Mapping[str, Any]) -> str:
    """The same value by etcdctl, to be given in the workspace's folder. It does not compare."""
    words = ["etcdctl", "--endpoints", ",".join(map(str, raw["endpoints"]))]
    if raw.get("verify_tls") is False:
        words.append("--insecure-skip-tls-verify")
    for key, option in (("ca", "--cacert"), ("client_cert", "--cert"), ("client_key", "--key")):
        if raw.get(key) is not None:
            words += [option, str(raw[key])]
    if raw.get("client_cert") is not None and raw.get("client_key") is None:
        words += ["--key", str(raw["client_cert"])]
    if raw.get("auth") is not None:
        words += ["--user", str(raw["auth"]["user"]), "--password", str(raw["auth"]["password"])]
    return shell_command([*words, "put", "--", f"{raw.get('prefix', '')}{raw['key']}", scalar_text(raw["value"])])


KIND = ActionKind(
    name="etcd",
    summary="a key of etcd, changed in a transaction that compares first",
    options=Options,
    abilities=Abilities(cas=True, idempotent=True, read_back=True, restores=True),
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    undo=undo,
    refine=refine,
    identity=("endpoints", "prefix", "key"),
)
