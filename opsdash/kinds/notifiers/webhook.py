"""An HTTP POST of the message as JSON: to a service of one's own, to an incoming webhook of Slack, to ntfy.

    {kind: webhook, url: "https://pager.internal/opsdash", secret: "${file:/etc/opsdash/webhook-secret}"}
    {kind: webhook, url: "${SLACK_WEBHOOK}", template: slack}
    {kind: webhook, url: "https://ntfy.internal/alarms", template: plain}

Every attempt to deliver a message carries the same `Idempotency-Key`, so that whoever receives it twice can tell. With
`secret` it is signed by the Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

What the answer is worth: 2xx is delivered. 429 and 503 say that nothing was taken, and when to ask again (RFC 6585,
RFC 9110 section 15.6.4): failed, tried again, not before `Retry-After`. Any other 4xx, and a redirect, is refused:
trying again will not help, a person has to correct the address or the key. 408, 409 and 5xx say nothing about what
became of the message (a gateway that ran out of patience, a program that broke after it had stored it, RFC 9110
section 15.6): unknown, tried again under the same key. The same holds when there is no answer after it was sent.

Some receivers say 200 to everything, and lose it. `confirm` names what the answer of one that has it must hold, such as
`json.id`; without that the message is not taken for delivered.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from opsdash.kinds.base import NotifierContext, NotifierKind, StrictOptions, Told
from opsdash.kinds.credentials import Auth
from opsdash.kinds.failures import FAILURES, explain
from opsdash.kinds.fetching import json_of, retry_after
from opsdash.kinds.messages import as_json, as_text, below_title
from opsdash.kinds.paths import DottedPath, lookup
from opsdash.kinds.sending import Sender, patience, told
from opsdash.kinds.signing import signed_headers, signing_key, webhook_id
from opsdash.kinds.tls import TlsSettings
from opsdash.kinds.transport import Request, Response, Target, build_request, check_header, parse_url
from opsdash.kinds.ways import Way, parse_proxy
from opsdash.model.message import Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read."""

_OWN: Final = frozenset(
    {"idempotency-key", "content-type", "webhook-id", "webhook-timestamp", "webhook-signature"},
)
_NOT_NOW: Final = frozenset({HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_NOBODY_KNOWS: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT})
_NEVER: Final = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
_ESCAPED: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Options(StrictOptions):
    """Keys of `kind: webhook`."""

    url: str
    """Where to post. An address that is a secret itself, as Slack's are, is better a reference: `${NAME}`."""
    template: Literal["json", "slack", "plain"] = "json"
    """What the body is: the message as JSON, `{"text": …}` for what is compatible with Slack, or plain text."""
    secret: SecretStr | None = None
    """Signs every message by the Standard Webhooks: `whsec_` and base64, or any text of 24 bytes or more."""
    previous_secret: SecretStr | None = None
    """Signs it, too, while the receiver may still know only the one before."""
    confirm: DottedPath | None = None
    """Where in the answer of a receiver that has taken it something stands, such as `json.id`."""
    headers: dict[str, str] = Field(default={}, repr=False)
    """Headers to send."""
    auth: Auth | None = None
    """How to log in: `{basic: {user, password}}` or `{bearer: TOKEN}`."""
    verify_tls: bool = True
    """Whether the server's certificate must be trusted and carry its name."""
    ca: Path | None = None
    """File with the certificate authorities to trust instead of the system's, relative to the workspace."""
    client_cert: Path | None = None
    """File with our own certificate, for a server that asks for one."""
    client_key: Path | None = None
    """File with its key, where that is not in the same file."""
    proxy: str | None = Field(default=None, repr=False)
    """The proxy to go through: `http://host:port`, or `socks5://…` with the extra `socks`."""

    @field_validator("url")
    @classmethod
    def _url_is_one(cls, url: str) -> str:
        parse_url(url)
        return url

    @field_validator("secret", "previous_secret")
    @classmethod
    def _secret_is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            signing_key(secret.get_secret_value())
        return secret

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            check_header(name, value)
            if name.lower() in _OWN:
                raise ValueError(f"the header {name} is set by opsdash itself; remove it")
        return headers

    @field_validator("proxy")
    @classmethod
    def _proxy_is_one(cls, url: str | None) -> str | None:
        if url is not None:
            parse_proxy(url)
        return url

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        if self.auth is not None and self.auth.digest is not None:
            raise ValueError("`digest` sends a request twice; a message is sent once")
        if self.auth is not None and "authorization" in {name.lower() for name in self.headers}:
            raise ValueError("both `auth` and a header Authorization; name one of them")
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("`client_key` without `client_cert`")
        if self.previous_secret is not None and self.secret is None:
            raise ValueError("`previous_secret` without `secret`")
        return self

    @property
    def target(self) -> Target:
        """The URL, taken apart."""
        return parse_url(self.url)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """What signs a message, the present one first."""
        given = (self.secret, self.previous_secret)
        return tuple(signing_key(secret.get_secret_value()) for secret in given if secret is not None)


async def send(options: Options, message: Message, context: NotifierContext) -> Told:
    """One POST, never repeated from here."""
    sender = Sender(context)
    where = options.target.authority
    way = Way(proxy=None if options.proxy is None else parse_proxy(options.proxy))
    try:
        async with asyncio.timeout(patience(context)) as limit:
            response = await way.send(_request(options, message, context), sender)
    except FAILURES as error:
        words = "no answer in time" if limit.expired() else explain(error)[2]
        return Told(Delivery.UNKNOWN if sender.sent else Delivery.FAILED, sender.in_words(where, words))
    return await _judged(options, response, context)


def _request(options: Options, message: Message, context: NotifierContext) -> Request:
    content_type, body = _body(options, message, context)
    headers = dict(options.headers)
    authorization = None if options.auth is None else options.auth.header()
    if authorization is not None:
        headers["Authorization"] = authorization
    headers |= {"Content-Type": content_type, "Idempotency-Key": webhook_id(message.key)}
    if options.keys:
        headers |= signed_headers(webhook_id(message.key), int(context.wall), body, options.keys)
    return build_request(
        "POST",
        options.target,
        headers=headers.items(),
        body=body,
        max_body=MAX_ANSWER,
        tls=TlsSettings(
            verify=options.verify_tls,
            ca=_absolute(context.workspace, options.ca),
            certificate=_absolute(context.workspace, options.client_cert),
            key=_absolute(context.workspace, options.client_key),
        ),
    )


def _absolute(workspace: Path, path: Path | None) -> str | None:
    return None if path is None else str(workspace / path)


def _body(options: Options, message: Message, context: NotifierContext) -> tuple[str, bytes]:
    """Content type and body."""
    match options.template:
        case "plain":
            return "text/plain; charset=utf-8", as_text(message).encode()
        case "slack":
            title, rest = message.title.translate(_ESCAPED), below_title(message).translate(_ESCAPED)
            text = f"*{title}*" if rest == title else f"*{title}*\n{rest}"
            return "application/json", _packed({"text": text})
        case _:
            return "application/json", _packed(as_json(message, context.operation))


def _packed(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# --- the answer --------------------------------------------------------------------------------------------------


async def _judged(options: Options, response: Response, context: NotifierContext) -> Told:
    status = response.status
    evidence = f"{options.target.authority}: {told(response)}"
    if 200 <= status < 300:
        missing = await _unconfirmed(options, response)
        if missing:
            return Told(Delivery.UNKNOWN, f"{evidence}; {missing}, so it may have been lost there")
        return Told(Delivery.DELIVERED, evidence)
    if status in _NOT_NOW:
        return Told(Delivery.FAILED, evidence, retry_after(response, context.wall))
    if status in _NOBODY_KNOWS or (status >= 500 and status not in _NEVER):
        return Told(Delivery.UNKNOWN, evidence, retry_after(response, context.wall))
    if 300 <= status < 400:
        return Told(Delivery.REFUSED, f"{evidence}; {_moved(response)}")
    return Told(Delivery.REFUSED, evidence)


async def _unconfirmed(options: Options, response: Response) -> str:
    """What is missing in the answer, "" for nothing. Null and false confirm nothing."""
    if options.confirm is None:
        return ""
    values: dict[str, Any] = {"status": response.status, "headers": response.header_map()}
    try:
        values["json"] = await json_of(response)
    except ValueError as error:
        if options.confirm.startswith("json"):
            return f"no {options.confirm} in it: {error}"
    try:
        found = lookup(values, options.confirm)
    except KeyError as error:
        return f"it has no {error.args[0]}"
    return f"its {options.confirm} is {json.dumps(found)}" if found is None or found is False else ""


def _moved(response: Response) -> str:
    """Where a redirect leads, without the path: that may be a secret."""
    try:
        host = parse_url(response.header("location") or "").authority
    except ValueError:
        return "redirects are not followed: write the address that it leads to under `url`"
    return f"redirects are not followed: write the address on {host} that it leads to under `url`"


def hosts(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """The host of the address, and that of the proxy; nothing where a reference hides them."""
    found = []
    for name in ("url", "proxy"):
        text = raw.get(name)
        if isinstance(text, str):
            try:
                found.append(parse_url(text).host if name == "url" else parse_proxy(text).host)
            except ValueError:
                continue
    return tuple(host for host in found if "$" not in host)


KIND = NotifierKind(
    name="webhook",
    summary="an HTTP POST of the message, signed; also for Slack and what is compatible with it",
    options=Options,
    send=send,
    hosts=hosts,
)
