"""Signed updates of a zone (RFC 2136, RFC 8945): the key, and what the server's answer is worth.

Only an answer that is signed with the key is certain to come from the server. Servers cannot sign when they do not
accept the key, though, and some do not sign where they could, so an answer without a signature is never proof of
success, and a refusal only together with what is seen afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.tsig
import dns.update
from pydantic import Field, SecretStr, field_validator

from opsdash.kinds.base import Applied, StrictOptions
from opsdash.kinds.failures import FAILURES, explain
from opsdash.kinds.nameservers import send
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.kinds.transport import Caller

EXCERPT: Final = 200


def whole_name(text: str) -> dns.name.Name:
    """A whole name. Raises ValueError."""
    try:
        name = dns.name.from_text(text)
    except dns.exception.DNSException as error:
        raise ValueError(f"{text!r} is no possible name: {error}") from None
    if name == dns.name.root:
        raise ValueError(f"{text!r} is no possible name")
    return name


def shown(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True)


class Key(StrictOptions):
    """A TSIG key (RFC 8945), as `keymgr -t NAME` and `tsig-keygen NAME` make one."""

    name: str
    """Its name, the same as on the server."""
    algorithm: Literal["hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"
    """Its algorithm, the same as on the server."""
    secret: SecretStr = Field(repr=False)
    """Its secret in base64; better a reference: `${NAME}`, `${file:PATH}` or `${cmd:ARGV}`."""

    @field_validator("name")
    @classmethod
    def _name_is_possible(cls, name: str) -> str:
        whole_name(name)
        return name

    @field_validator("secret")
    @classmethod
    def _secret_is_base64(cls, secret: SecretStr) -> SecretStr:
        try:
            decoded = base64.b64decode(secret.get_secret_value(), validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        if not decoded:
            raise ValueError("the secret is no base64, as keymgr and tsig-keygen print it")
        return secret

    @property
    def tsig(self) -> dns.tsig.Key:
        """The key as dnspython takes it."""
        secret = base64.b64decode(self.secret.get_secret_value())
        return dns.tsig.Key(whole_name(self.name), secret, dns.name.from_text(self.algorithm))


PREREQUISITE: Final = frozenset({dns.rcode.YXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.NXRRSET})
_REFUSALS: Final = {
    **dict.fromkeys(PREREQUISITE, "no longer has the records that were expected"),
    dns.rcode.FORMERR: "does not understand the update",
    dns.rcode.NOTIMP: "takes no updates",
    dns.rcode.REFUSED: "does not let the key change this",
    dns.rcode.NOTAUTH: "is not the primary of the zone, or does not accept the key",
    dns.rcode.NOTZONE: "says that a name is not in the zone",
}
"""Codes by which a server says that it changed nothing (RFC 2136, section 2.2). SERVFAIL is none: it may have begun."""

_KEY_REFUSALS: Final = {
    dns.rcode.BADSIG: "has another secret for the key {key}",
    # Knot has one answer for a key that it does not know and for one that may not change this.
    dns.rcode.BADKEY: "does not know the key {key} with this algorithm, or does not let it change this",
    dns.rcode.BADTIME: "does not accept our clock, which differs from its own by {skew}",
    dns.rcode.BADTRUNC: "wants a longer signature",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer is worth. signed: only the holder of the key can have given it."""

    applied: Applied
    words: str
    signed: bool = False
    rcode: dns.rcode.Rcode | None = None


async def send_update(
    server: str,
    key: Key,
    update: dns.update.UpdateMessage,
    caller: Caller,
    seconds: float,
    *,
    on_sent: Callable[[], None] = lambda: None,
) -> Said:
    """Sign the update, send it over TCP once, and judge what is answered.

    on_sent: called when only sending is left to do.
    """
    sent = False

    def leaving() -> None:
        nonlocal sent
        sent = True
        on_sent()

    tsig = key.tsig
    update.use_tsig(tsig)
    try:
        async with asyncio.timeout(seconds) as limit:
            reply = await send(server, update.to_wire(), caller, leaving)
    except FAILURES as error:
        words = f"no answer in time ({caller.stage})" if limit.expired() else explain(error)[2]
        if sent:
            return Said(Applied.UNKNOWN, f"leaves it open: {words}, after the update had been sent")
        return Said(Applied.NOT_STARTED, f"cannot be reached: {words}; nothing was sent")
    return judged(update, tsig, reply)


def judged(update: dns.update.UpdateMessage, key: dns.tsig.Key, wire: bytes) -> Said:
    """What the answer `wire` to the signed `update` is worth; whatever it is, it raises nothing."""
    try:
        reply = dns.message.from_wire(wire, keyring=False)
        if not update.is_response(reply):
            return Said(Applied.UNKNOWN, "answered something else than the update")
        signed, strange = _signature(update, key, wire)
        rcode = reply.rcode()
        error = reply.tsig[0].error if reply.tsig else dns.rcode.NOERROR
    except (dns.exception.DNSException, ValueError) as problem:
        return Said(Applied.UNKNOWN, f"answered something that is no DNS message: {str(problem)[:EXCERPT]}")
    code = dns.rcode.to_text(rcode)
    if strange and not (rcode == dns.rcode.NOTAUTH and error in _KEY_REFUSALS):
        return Said(Applied.UNKNOWN, f"answered {code} with a signature that is not the key's")
    if strange:
        words = _KEY_REFUSALS[error].format(key=shown(key.name), skew=_skew(reply))
        return Said(Applied.REFUSED, f"{words} ({dns.rcode.to_text(error, tsig=True)})", rcode=rcode)
    if rcode == dns.rcode.NOERROR:
        if not signed:
            return Said(Applied.UNKNOWN, f"answered {code} without a signature")
        return Said(Applied.APPLIED, "has taken the update", signed, rcode)
    if rcode not in _REFUSALS:
        return Said(Applied.UNKNOWN, f"answered {code}, which does not tell what it has done", signed, rcode)
    return Said(Applied.REFUSED, f"{_REFUSALS[rcode]} ({code})", signed, rcode)


def _signature(update: dns.update.UpdateMessage, key: dns.tsig.Key, wire: bytes) -> tuple[bool, bool]:
    """Whether the answer is signed with the key, and whether its signature is a strange one."""
    try:
        dns.message.from_wire(wire, keyring=key, request_mac=update.mac)
    except dns.exception.DNSException:
        return False, dns.message.from_wire(wire, keyring=False).had_tsig
    return True, False


def _skew(reply: dns.message.Message) -> str:
    """How far the server's clock, which BADTIME carries (RFC 8945, section 5.2.3), is from ours."""
    if reply.tsig is None:
        return "an unknown time"
    tsig = reply.tsig[0]
    return format_duration(abs(int.from_bytes(tsig.other[:6], "big") - tsig.time_signed))
