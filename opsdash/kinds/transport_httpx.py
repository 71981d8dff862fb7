"""httpx over our own transport: for redirects and for digest authentication, which httpx knows how to do.

Only requests that need one of the two come here. httpx then works out what to ask next, and each of its
requests is one exchange by the author's way (`opsdash.kinds.ways`), with the same timings, limits and native errors.

A client lives for one check: nothing, cookies least of all, is carried over to the next one. What the
author wrote into a request is for the origin that the author named. When a redirect leads elsewhere, it
goes on without any of it: no credentials, no headers (an API key is as often in `X-Api-Key` as in
`Authorization`), no client certificate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx

from opsdash.kinds.failures import ProtocolError
from opsdash.kinds.tls import TlsSettings
from opsdash.kinds.transport import (
    OWN_HEADERS,
    USER_AGENT,
    Caller,
    Request,
    Response,
    build_request,
    parse_url,
)
from opsdash.kinds.ways import STRAIGHT, Way

if TYPE_CHECKING:
    from opsdash.kinds.credentials import Login

RESPONSE: Final = "opsdash.response"
"""Key in `response.extensions` of our own Response, which has the phases and the certificate."""


class OpsdashTransport(httpx.AsyncBaseTransport):
    """One exchange for each request. What `home` says of TLS, and what is kept, is for its origin; others get no
    client certificate.
    """

    def __init__(self, caller: Caller, home: Request, way: Way = STRAIGHT) -> None:
        self._caller = caller
        self._home = home
        self._way = way

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx's exceptions, with the native one as `__cause__`."""
        body = await request.aread()
        at_home = is_same_origin(request.url, httpx.URL(self._home.target.url))
        way = self._way if at_home else self._way.elsewhere()
        try:
            url = request.url.copy_with(userinfo=b"")
            target = parse_url(str(url))
            ours = build_request(
                request.method,
                target,
                headers=[pair for pair in _spelled(request.headers) if pair[0].lower() not in OWN_HEADERS],
                body=body,
                max_body=self._home.max_body,
                tls=self._home.tls if at_home else self._tls_elsewhere(),
                keep=way.lasting,
            )
            response = await way.send(ours, self._caller)
        except ProtocolError as error:
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        except ValueError as error:  # after OSError, since the refusal of a certificate is both
            raise httpx.UnsupportedProtocol(str(error), request=request) from ProtocolError(str(error))
        return httpx.Response(
            status_code=response.status,
            # The body is decoded by now.
            headers=[pair for pair in response.headers if pair[0].lower() != b"content-encoding"],
            content=response.body,
            extensions={
                RESPONSE: response,
                "phases": response.phases,
                "certificate": response.certificate,
                "http_version": f"HTTP/{response.http_version}".encode("ascii"),
            },
        )

    def _tls_elsewhere(self) -> TlsSettings:
        return TlsSettings(verify=self._home.tls.verify, ca=self._home.tls.ca)


async def follow(
    request: Request, caller: Caller, way: Way = STRAIGHT, *, redirects: int, digest: Login | None
) -> Response:
    """`request`, with up to `redirects` redirects followed. The last response, with the times of all."""
    auth = httpx.DigestAuth(digest.user, digest.password.get_secret_value()) if digest is not None else None
    transport = OpsdashTransport(caller, request, way)
    async with httpx.AsyncClient(transport=transport, trust_env=False, headers=_defaults()) as client:
        asked = client.build_request(
            request.method,
            request.target.url,
            headers=list(request.headers),
            content=request.body or None,
        )
        home = asked.url
        passed: list[httpx.Response] = []
        try:
            while True:
                answer = await client.send(asked, auth=auth)
                passed += [*answer.history, answer]
                if answer.next_request is None or not redirects:
                    return _joined(passed)
                redirects -= 1
                asked = answer.next_request
                if not is_same_origin(asked.url, home):
                    auth = None
                    asked.headers = _without_the_authors(asked, request)
        except httpx.TransportError as error:
            raise error.__cause__ or ProtocolError(f"no valid redirect: {error}") from None
        except httpx.InvalidURL as error:
            raise ProtocolError(f"no valid redirect: {error}") from None


def _defaults() -> dict[str, str]:
    return {"User-Agent": USER_AGENT, "Accept": "*/*"}


def _without_the_authors(asked: httpx.Request, request: Request) -> httpx.Headers:
    """The headers of a redirected request without those of the author's, and without any cookie."""
    dropped = {name.lower() for name, _ in request.headers} | {"authorization", "cookie"}
    kept = [pair for pair in _spelled(asked.headers) if pair[0].lower() not in dropped]
    return httpx.Headers([*kept, *(pair for pair in _defaults().items() if pair[0].lower() in dropped)])


def _spelled(headers: httpx.Headers) -> list[tuple[str, str]]:
    """Names and values, the names as they were written: not every server knows that their case means nothing."""
    return [(name.decode("latin-1"), value.decode(headers.encoding)) for name, value in headers.raw]


def is_same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """Whether two URLs have scheme, host and port in common (RFC 6454)."""
    standard = {"http": 80, "https": 443}
    return (one.scheme, one.host, one.port or standard.get(one.scheme)) == (
        other.scheme,
        other.host,
        other.port or standard.get(other.scheme),
    )


def _joined(answers: list[httpx.Response]) -> Response:
    responses: list[Response] = [answer.extensions[RESPONSE] for answer in answers]
    last = responses[-1]
    for earlier in responses[:-1]:
        last.latency += earlier.latency
        for phase, seconds in earlier.phases.items():
            last.phases[phase] += seconds
    return last
