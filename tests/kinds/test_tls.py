"""Check kind `tls`: certificates that are accepted, and for how long."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from opsdash.kinds.base import CheckContext, Sample
from opsdash.kinds.checks import tls
from opsdash.kinds.failures import ProtocolError
from opsdash.kinds.tls import client_context, parse_certificate
from opsdash.model.status import Reason, Status

Serve = Callable[..., Awaitable[Any]]
MakeContext = Callable[..., CheckContext]


@pytest.fixture
def now(context: MakeContext) -> CheckContext:
    """The real time, since certificates of these tests are made for it."""
    return context(wall=datetime.now(UTC).timestamp())


async def check(port: int, context: CheckContext, **keys: Any) -> Sample:
    options = {"host": "localhost", "port": port, "ca": "ca.pem", **keys}
    return await tls.run(tls.Options.model_validate(options), context)


async def quiet(_: Any, reader: Any, __: Any) -> None:
    await reader.read()


async def test_a_certificate_with_time_left_is_ok(serve: Serve, now: CheckContext, authority: Any) -> None:
    server = await serve(quiet, tls=authority.server(days=60.5))
    sample = await check(server.port, now)
    assert (sample.status, sample.reason) == (Status.OK, None)
    assert sample.values["days_left"] == pytest.approx(60.5, abs=0.01)
    assert sample.values["chain"] == 2  # its own, and the authority's that it was verified by
    assert (sample.values["subject"], sample.values["verified"]) == ("CN=localhost", True)
    assert list(sample.phases) == ["dns", "connect", "tls"]
    await server.until_open(0)


async def test_a_certificate_about_to_expire_is_degraded(serve: Serve, now: CheckContext, authority: Any) -> None:
    server = await serve(quiet, tls=authority.server(days=20))
    sample = await check(server.port, now)
    assert (sample.status, sample.reason) == (Status.DEGRADED, Reason.EXPIRING)
    sample = await check(server.port, now, warn_before="7d")
    assert sample.status is Status.OK


async def test_an_expired_certificate_is_down_for_that_reason_and_still_described(
    serve: Serve, now: CheckContext, authority: Any
) -> None:
    server = await serve(quiet, tls=authority.server(days=-3))
    sample = await check(server.port, now)
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.EXPIRED)
    assert sample.values["days_left"] == pytest.approx(-3, abs=0.01)
    assert sample.values["verified"] is False
    assert sample.detail.startswith("expired on ")


@pytest.mark.parametrize("keys", [{"servername": "www.example"}, {"ca": None}], ids=["wrong-name", "unknown-authority"])
async def test_a_certificate_that_is_not_accepted_is_down_with_its_dates(
    serve: Serve, now: CheckContext, authority: Any, keys: dict[str, Any]
) -> None:
    server = await serve(quiet, tls=authority.server(days=60))
    sample = await check(server.port, now, **keys)
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.TLS)
    assert "not accepted" in sample.detail
    assert "expires on" in sample.detail
    assert (await check(server.port, now, verify_tls=False, **keys)).status is Status.OK


async def test_what_speaks_no_tls_is_down(serve: Serve, now: CheckContext) -> None:
    async def plain(_: Any, reader: Any, writer: Any) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await serve(plain)
    sample = await check(server.port, now, ca=None)
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.TLS)
    assert (await check(1, now, ca=None)).reason is Reason.REFUSED


async def test_a_handshake_that_hangs_ends_with_the_deadline_and_leaves_no_connection(
    serve: Serve, now: CheckContext
) -> None:
    server = await serve(quiet)
    checking = asyncio.ensure_future(check(server.port, now, ca=None))
    await server.until_open(1)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    await server.until_open(0)
    assert now.stage == "tls"


def test_our_reading_of_a_certificate_agrees_with_a_library(authority: Any) -> None:
    authority.server(days=11)
    pem = (authority.folder / "localhost-11.pem").read_bytes()
    for theirs in x509.load_pem_x509_certificates(pem + authority.file.read_bytes()):
        ours = parse_certificate(theirs.public_bytes(Encoding.DER))
        assert ours.not_after == theirs.not_valid_after_utc.timestamp()
        assert ours.not_before == theirs.not_valid_before_utc.timestamp()
    assert (ours.subject, ours.issuer) == ("O=Example CA, CN=Example Root",) * 2


def test_what_is_no_certificate_is_refused_wherever_it_breaks_off(authority: Any) -> None:
    der = x509.load_pem_x509_certificate(authority.file.read_bytes()).public_bytes(Encoding.DER)
    for length in range(len(der)):
        with pytest.raises(ProtocolError):
            parse_certificate(der[:length])
    for place in range(200):
        try:
            parse_certificate(der[:place] + b"\xff" + der[place + 1 :])
        except ProtocolError:
            continue


def test_a_certificate_is_judged_alike_by_every_python() -> None:
    assert not client_context().verify_flags & ssl.VERIFY_X509_STRICT
