"""The certificate of a TLS server: is it accepted, and for how long still?

    certificate: {kind: tls, host: www.example, warn_before: 21d}

These are two questions. A certificate that is not accepted (wrong name, unknown authority) is down (`tls`),
one that has expired is down (`expired`), and one that expires within `warn_before` is degraded
(`expiring`). Of the chain that the server sends, the certificate that expires first counts, since an
expired intermediate one breaks clients just the same. With `verify_tls: false` only the dates are judged,
for servers with a private authority.
"""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import Field

from opsdash.kinds.base import CheckContext, CheckKind, CheckOptions, Sample
from opsdash.kinds.failures import FAILURES, ProtocolError, explain, failed
from opsdash.kinds.fields import Duration
from opsdash.kinds.streams import connected
from opsdash.kinds.tls import DAY, Certificate, TlsSettings, client_context, parse_certificate, peer_chain
from opsdash.model.now import timestamp
from opsdash.model.status import Reason, Status


class Options(CheckOptions):
    """Keys of `kind: tls`."""

    host: str
    """Name or address of the server."""
    port: int = Field(default=443, ge=1, le=65535)
    """Its port."""
    servername: str | None = None
    """The name to ask for, and that the certificate must carry; without it, `host`."""
    warn_before: Duration = 21 * DAY
    """How long before it expires a certificate is degraded."""
    verify_tls: bool = True
    """Whether the certificate must be trusted and carry the name."""
    ca: Path | None = None
    """File with the certificate authorities to trust instead of the system's, relative to the workspace."""


async def run(options: Options, context: CheckContext) -> Sample:
    """Shake hands; if that fails for the certificate, once more without verifying, to see which one it is."""
    started = time.monotonic()
    refused: ssl.SSLCertVerificationError | None = None
    try:
        try:
            sample = await _inspect(options, context, verify=options.verify_tls)
        except ssl.SSLCertVerificationError as error:
            refused = error
            sample = await _inspect(options, context, verify=False)
    except FAILURES as error:
        return failed(refused or error, where=f"{options.host}:{options.port}")
    sample.latency = time.monotonic() - started
    if refused is not None and sample.reason is not Reason.EXPIRED:
        sample.status = Status.DOWN
        _, sample.reason, words = explain(refused)
        sample.detail = f"{words}; {sample.detail}"
    return sample


async def _inspect(options: Options, context: CheckContext, *, verify: bool) -> Sample:
    ca = str(context.workspace / options.ca) if options.ca is not None else None
    settings = TlsSettings(verify=verify, ca=ca)
    name = options.servername or options.host
    async with connected(options.host, options.port, context, tls=client_context(settings), server_name=name) as stream:
        if stream.tls is None:
            raise ProtocolError("no TLS session came about")
        chain = [parse_certificate(der) for der in peer_chain(stream.tls, verified=verify)]
        protocol = stream.tls.version()
    if not chain:
        raise ProtocolError("the server sent no certificate")
    sample = _judge(chain, options.warn_before, context.wall)
    sample.phases = stream.phases
    sample.values = {**sample.values, "protocol": protocol, "verified": verify, "address": stream.address}
    return sample


def _judge(chain: list[Certificate], warn_before: float, wall: float) -> Sample:
    first = min(chain, key=lambda certificate: certificate.not_after)
    left = first.not_after - wall
    whose = "" if first is chain[0] else f" (of the chain: {first.subject})"
    values: dict[str, Any] = {
        "days_left": left / DAY,
        "not_after": first.not_after,
        "subject": chain[0].subject,
        "issuer": chain[0].issuer,
        "chain": len(chain),
    }
    until = timestamp(first.not_after)
    if left <= 0:
        return Sample(Status.DOWN, Reason.EXPIRED, f"expired on {until}{whose}", values=values)
    latest_start = max(certificate.not_before for certificate in chain)
    if latest_start > wall:
        detail = f"not valid before {timestamp(latest_start)}{whose}"
        return Sample(Status.DOWN, Reason.TLS, detail, values=values)
    detail = f"expires on {until}, in {left / DAY:.0f} days{whose}"
    if left <= warn_before:
        return Sample(Status.DEGRADED, Reason.EXPIRING, detail, values=values)
    return Sample(Status.OK, detail=detail, values=values)


KIND = CheckKind(
    name="tls",
    summary="a TLS certificate: accepted, and for how long still",
    options=Options,
    run=run,
    sample=MappingProxyType(
        {
            "days_left": 61.5,
            "not_after": 1893456000.0,
            "subject": "CN=www.example",
            "issuer": "CN=Example CA",
            "chain": 2,
            "protocol": "TLSv1.3",
            "verified": True,
            "address": "203.0.113.7",
        }
    ),
)
