"""What the kinds that fetch over HTTP have in common: the request's keys, sending it, judging its status.

Most requests go straight to `transport.fetch`. Another way (`ways`) is for those whose author asked for one;
only those that follow redirects or answer a challenge go through httpx, which is imported when the first of
them is sent.
"""

from __future__ import annotations

import json
from dataclasses import replace
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlencode

from pydantic import Field, field_validator, model_validator

from opsdash.kinds.base import CheckOptions, Sample
from opsdash.kinds.bodies import decode_text, load_json
from opsdash.kinds.credentials import Auth
from opsdash.kinds.failures import ProtocolError
from opsdash.kinds.fields import Size
from opsdash.kinds.tls import TlsSettings, parse_certificate
from opsdash.kinds.transport import (
    MAX_BODY,
    Request,
    Response,
    Target,
    build_request,
    check_header,
    fetch,
    parse_url,
)
from opsdash.kinds.ways import Way, check_http2, parse_proxy
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.kinds.base import CheckContext
    from opsdash.kinds.keeping import Keep

BODY_VALUE: Final = 64 * 1024
"""Bytes of a body that an expectation can look at as text."""

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class RequestOptions(CheckOptions):
    """The keys of a request."""

    url: str
    """Where to ask: `https://host/path`. Credentials do not belong here, see `auth`."""
    method: Method = "GET"
    """The HTTP method."""
    headers: dict[str, str] = Field(default={}, repr=False)
    """Headers to send. They are not passed on when a redirect leads to another origin."""
    body: str | None = Field(default=None, repr=False)
    """Text to send. At most one of `body`, `json` and `form`."""
    json_body: Any = Field(default=None, alias="json", repr=False)
    """A value to send as JSON."""
    form: dict[str, str] | None = Field(default=None, repr=False)
    """Fields to send as a form, as a browser would."""
    auth: Auth | None = None
    """How to log in: `{basic: {user, password}}`, `{bearer: TOKEN}` or `{digest: {user, password}}`."""
    redirects: int = Field(default=0, ge=0, le=20)
    """How many redirects to follow. With 0 a redirect is the answer that is judged."""
    verify_tls: bool = True
    """Whether the server's certificate must be trusted and carry its name."""
    ca: Path | None = None
    """File with the certificate authorities to trust instead of the system's, relative to the workspace."""
    client_cert: Path | None = None
    """File with our own certificate, for a server that asks for one."""
    client_key: Path | None = None
    """File with its key, where that is not in the same file."""
    max_body: Size = MAX_BODY
    """How much of the body to read, unpacked. What follows is cut off."""
    connection: Literal["new", "keep"] = "new"
    """`new`: a connection for each run, which sees what a new user would see. `keep`: the same one for as long as both
    sides like; cheaper, and blind to changes of name, certificate and load balancer, so it cannot verify a switch."""
    proxy: str | None = Field(default=None, repr=False)
    """The proxy to go through: `http://host:port`, `http://user:password@host:port`, or `socks5://…` with the extra
    `socks`. Without it none is used: the environment is not asked. Where the proxy itself fails, a check is unknown."""
    http2: bool = False
    """Whether to offer HTTP/2 to the server, which chooses; a check has `http_version`. Needs the extra `http2`."""

    @field_validator("url")
    @classmethod
    def _url_is_one(cls, url: str) -> str:
        parse_url(url)
        return url

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            check_header(name, value)
        return headers

    @field_validator("proxy")
    @classmethod
    def _proxy_is_one(cls, url: str | None) -> str | None:
        if url is not None:
            parse_proxy(url)
        return url

    @field_validator("http2")
    @classmethod
    def _http2_is_there(cls, wanted: bool) -> bool:
        if wanted:
            check_http2()
        return wanted

    @model_validator(mode="after")
    def _keys_agree(self) -> RequestOptions:
        if sum(value is not None for value in (self.body, self.json_body, self.form)) > 1:
            raise ValueError("name at most one of body, json and form")
        if self.auth is not None and "authorization" in {name.lower() for name in self.headers}:
            raise ValueError("both `auth` and a header Authorization; name one of them")
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("`client_key` without `client_cert`")
        if self.http2 and self.url and not self.target.tls:
            raise ValueError("HTTP/2 is agreed upon by TLS; write an https:// URL, or remove `http2`")
        return self

    @cached_property
    def requests(self) -> dict[Path, Request]:
        """The request as it was put together, by workspace. (A private attribute of pydantic takes ten times as long
        to read.)
        """
        return {}

    @property
    def keeps_connection(self) -> bool:
        return self.connection == "keep"

    @property
    def is_straight(self) -> bool:
        """Whether the author asked for nothing but the default way."""
        return self.connection == "new" and self.proxy is None and not self.http2

    def way(self, keep: Keep | None = None) -> Way:
        """The way that the author asked for. keep: where the check keeps its connection."""
        return replace(self.own_way, keep=keep) if self.keeps_connection else self.own_way

    @cached_property
    def own_way(self) -> Way:
        """The same, without what is kept."""
        proxy = None if self.proxy is None else parse_proxy(self.proxy)
        return Way(proxy=proxy, http2=self.http2, lasting=self.keeps_connection)

    def request(self, workspace: Path) -> Request:
        """The request, put together at the first call."""
        request = self.requests.get(workspace)
        if request is None:
            request = self.requests[workspace] = self._prepare(workspace)
        return request

    def _prepare(self, workspace: Path) -> Request:
        headers = dict(self.headers)
        body = b""
        if self.body is not None:
            body = self.body.encode()
        elif self.json_body is not None:
            body = json.dumps(self.json_body, ensure_ascii=False).encode()
            headers = {"Content-Type": "application/json", **headers}
        elif self.form is not None:
            body = urlencode(self.form).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        authorization = self.auth.header() if self.auth is not None else None
        if authorization is not None:
            headers["Authorization"] = authorization
        return build_request(
            self.method,
            self.target,
            headers=headers.items(),
            body=body,
            max_body=self.max_body,
            keep=self.keeps_connection,
            tls=TlsSettings(
                verify=self.verify_tls,
                ca=_absolute(workspace, self.ca),
                certificate=_absolute(workspace, self.client_cert),
                key=_absolute(workspace, self.client_key),
            ),
        )

    @property
    def target(self) -> Target:
        """The URL, taken apart."""
        return parse_url(self.url)


def _absolute(workspace: Path, path: Path | None) -> str | None:
    return None if path is None else str(workspace / path)


async def obtain(options: RequestOptions, context: CheckContext) -> Response:
    """Send the request, whichever way it needs. Raises one of `failures.FAILURES`."""
    request = options.request(context.workspace)
    digest = options.auth.digest if options.auth is not None else None
    if not options.redirects and digest is None:
        if options.is_straight:
            return await fetch(request, context)
        return await options.way(context.keep).send(request, context)
    from opsdash.kinds.transport_httpx import follow

    return await follow(request, context, options.way(context.keep), redirects=options.redirects, digest=digest)


# --- the status of the answer --------------------------------------------------------------------------------------

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NOT_ADMITTED: Final = frozenset({401, 403, 407})
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


def judge_status(response: Response, options: RequestOptions, wall: float) -> Sample:
    """The verdict on the status alone, to be replaced where the author has one of his own.

    Too Many Requests is no failure of the other side: it works, and asks us to go away. So it is never
    `down`, and not for an expectation to turn into one.
    """
    status = response.status
    detail = f"{status} {_PHRASES.get(status, '')}".rstrip()
    sample = Sample(status=Status.OK, detail=detail, latency=response.latency, phases=response.phases, soft=True)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        sample.status, sample.reason, sample.soft = Status.DEGRADED, Reason.RATE_LIMITED, False
        sample.retry_after = retry_after(response, wall)
        if sample.retry_after is not None:
            sample.detail += f", to be asked again in {sample.retry_after:.0f} s"
    elif status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and options.proxy is not None:
        sample.status, sample.reason, sample.soft = Status.UNKNOWN, Reason.AUTH, False
        sample.detail = f"the proxy {options.own_way.proxy}: {detail}"
    elif status in _NOT_ADMITTED:
        sample.status, sample.reason = Status.DOWN, Reason.AUTH
    elif status >= HTTPStatus.BAD_REQUEST:
        sample.status, sample.reason = Status.DOWN, Reason.STATUS
    elif options.redirects and status in _REDIRECTS and response.header("location") is not None:
        sample.status, sample.reason = Status.DOWN, Reason.STATUS
        sample.detail += f", still redirecting after {options.redirects} redirects"
    return sample


def retry_after(response: Response, wall: float) -> float | None:
    """Seconds that `Retry-After` asks for, which it gives as such or as a date; None where there is none."""
    text = response.header("retry-after")
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    until = http_date(text)
    return None if until is None else max(0.0, until - server_time(response, wall))


def server_time(response: Response, wall: float) -> float:
    """What the server takes for now, which is what its dates are to be measured against."""
    text = response.header("date")
    said = http_date(text) if text is not None else None
    return wall if said is None else said


def http_date(text: str) -> float | None:
    """Seconds since 1970 UTC of a date in a form of HTTP's (RFC 9110 section 5.6.7); None if it is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None


# --- what expectations can use -------------------------------------------------------------------------------------

SAMPLE_VALUES: Final[Mapping[str, Any]] = {
    "status": 200,
    "headers": {"content-type": "application/json"},
    "body": "{}",
    "size": 2,
    "truncated": False,
    "latency": 0.042,
    "url": "https://api.example/status",
    "http_version": "1.1",
    "address": "203.0.113.7",
    "certificate": {
        "days_left": 61.5,
        "not_after": 1893456000.0,
        "subject": "CN=api.example",
        "issuer": "CN=Example CA",
        "protocol": "TLSv1.3",
    },
}
"""The names that every kind that fetches offers, with example values. `certificate` is absent without TLS."""


def response_values(response: Response, wall: float) -> dict[str, Any]:
    """The values of `SAMPLE_VALUES` for `response`."""
    values: dict[str, Any] = {
        "status": response.status,
        "headers": response.header_map(),
        "body": decode_text(response.body[:BODY_VALUE], response.header("content-type")),
        "size": len(response.body),
        "truncated": response.truncated,
        "latency": response.latency,
        "url": response.url,
        "http_version": response.http_version,
        "address": response.address,
    }
    if response.certificate is not None:
        certificate = _certificate_values(response, wall)
        if certificate is not None:
            values["certificate"] = certificate
    return values


def _certificate_values(response: Response, wall: float) -> dict[str, Any] | None:
    try:
        certificate = parse_certificate(response.certificate or b"")
    except ProtocolError:
        return None  # OpenSSL accepted it; that we cannot read it must not fail the check
    return {
        "days_left": certificate.days_left(wall),
        "not_after": certificate.not_after,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "protocol": response.tls_version,
    }


async def json_of(response: Response) -> Any:
    """The body as a JSON value. Raises ValueError with a sentence on why it is none."""
    if response.encoding is not None:
        raise ValueError(f"the body came in encoding {response.encoding}, which was not asked for")
    if not response.body.strip():
        raise ValueError("the body is empty")
    return await load_json(response.body)


def cut_off(options: RequestOptions, sample: Sample) -> Sample:
    """The sample for a body that had to be read whole, and was longer than allowed."""
    sample.status, sample.reason, sample.soft = Status.UNKNOWN, Reason.TOO_LARGE, False
    sample.detail = f"the body is longer than max_body ({options.max_body} bytes), so it cannot be judged"
    return sample
