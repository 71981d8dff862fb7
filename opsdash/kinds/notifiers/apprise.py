"""Any of the services that the library Apprise knows: mail, SMS, Telegram, Teams, PagerDuty, Matrix, and a hundred
more.

    {kind: apprise, urls: ["mailtos://ops:${SMTP_PASSWORD}@mail.shop.example?to=maria@shop.example"]}
    {kind: apprise, urls: ["${TELEGRAM_URL}", "${PAGERDUTY_URL}"]}

It needs the extra `apprise`: `pip install 'opsdash[apprise]'`. Which addresses there are says its documentation,
https://appriseit.com. They are full of secrets, so they are better references.

Every address gets the message, each in a thread of its own. Those that took it are remembered until all have: an
attempt that follows goes to the others alone, and does not multiply what has arrived. (That memory ends with the
engine: after a restart, those that had taken a message which others had not may get it again.) One address with
several recipients counts as one for this; give each its own address where that matters.

A service that says no for good (a wrong key, an address that nobody has) makes the message refused, one that cannot be
reached makes it failed. What ran out of time, or broke off after it was sent, is unknown: it may have arrived. Apprise
does not stop what it has begun, so a second attempt waits for the end of the first.

Apprise repeats keys of addresses in what it says, also where it means not to. So nothing that it says is passed on:
what is shown are words of opsdash's own about the kind of failure, and the status that the other side gave.

Left out are services of the machine itself, which an engine without a desktop cannot reach (`dbus`, `gnome`,
`macosx`, `windows`, …), and those that never learn whether anything arrived (`syslog`, `rsyslog`, `growl`).
Apprise's own files of configuration and plugins are not read.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import OrderedDict
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, field_validator

from opsdash.kinds.base import NotifierContext, NotifierKind, StrictOptions, Told
from opsdash.kinds.messages import below_title
from opsdash.kinds.offload import in_thread
from opsdash.kinds.sending import patience
from opsdash.model.message import Delivery, MessageKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opsdash.model.message import Message

if find_spec("apprise") is None:  # it is imported when the first message is sent: that takes 0.3 s and 20 MB
    raise ImportError("No module named 'apprise'", name="apprise")

MOST_URLS: Final = 20
REMEMBERED: Final = 2000
"""Deliveries of messages that others have not taken yet."""

_SCHEME: Final = re.compile(r"([a-z0-9]{1,32})://(?=.)", re.IGNORECASE)
_LOCAL: Final = frozenset(
    {"blink1", "dbus", "deltachat", "deltachats", "file", "glib", "gnome", "kde", "macosx", "qt", "windows"},
)
_DEAF: Final = frozenset({"growl", "rsyslog", "syslog"})

_HOSTED: Final = frozenset(
    {
        "apprise", "apprises", "form", "forms", "gotify", "gotifys", "hassio", "hassios", "irc", "ircs", "json",
        "jsons", "mailto", "mailtos", "matrix", "matrixs", "mmost", "mmosts", "mqtt", "mqtts", "nctalk", "nctalks",
        "ntfy", "ntfys", "rocket", "rockets", "xml", "xmls", "xmpp", "xmpps",
    }
)  # fmt: skip
"""Schemes behind which a host stands; in others the same place holds a key."""

_HOSTS: Final[Mapping[str, str]] = {
    "brevo": "api.brevo.com", "discord": "discord.com", "mailgun": "api.mailgun.net", "opsgenie": "api.opsgenie.com",
    "pagerduty": "events.pagerduty.com", "postmark": "api.postmarkapp.com", "pover": "api.pushover.net",
    "resend": "api.resend.com", "sendgrid": "api.sendgrid.com", "slack": "hooks.slack.com",
    "sparkpost": "api.sparkpost.com", "tgram": "api.telegram.org", "twilio": "api.twilio.com",
}  # fmt: skip
"""Of services that an operation may well depend on itself."""


class Options(StrictOptions):
    """Keys of `kind: apprise`."""

    urls: tuple[SecretStr, ...] = Field(min_length=1, max_length=MOST_URLS)
    """Addresses as Apprise has them, such as `mailtos://user:password@host?to=somebody@host`. All of them get it."""

    @field_validator("urls", mode="before")
    @classmethod
    def _one_is_a_list(cls, urls: object) -> object:
        return [urls] if isinstance(urls, str) else urls

    @field_validator("urls")
    @classmethod
    def _schemes_are_allowed(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, url in enumerate(urls, 1):
            flaw = _flaw(url.get_secret_value())
            if flaw:
                raise ValueError(f"address {number}: {flaw}")
        if len({url.get_secret_value() for url in urls}) < len(urls):
            raise ValueError("an address is named twice; whoever is behind it would get every message twice")
        return urls


def _scheme(url: str) -> str:
    found = _SCHEME.match(url)
    return "" if found is None else found[1].lower()


def _flaw(url: str) -> str:
    """Why an address cannot be used, as far as its scheme tells. It is not repeated: it may hold a key."""
    scheme = _scheme(url)
    if not scheme:
        return "it has no scheme; write it as mailto://…, tgram://… (https://appriseit.com lists them)"
    if scheme in _LOCAL:
        return f"{scheme}:// is a service of this machine, where nobody may sit; use the kind bell, or another service"
    if scheme in _DEAF:
        return f"{scheme}:// never tells whether anything arrived; use the kind file, or another service"
    return ""


# --- the library -------------------------------------------------------------------------------------------------

_heard: ContextVar[list[str] | None] = ContextVar("heard_of_apprise", default=None)


class _Ear(logging.Handler):
    """Takes what Apprise logs, for those who want to know how it failed. Nothing of it goes any further."""

    def emit(self, record: logging.LogRecord) -> None:
        heard = _heard.get()
        if heard is not None and len(heard) < 200:
            try:
                heard.append(record.getMessage()[:2000])
            except (TypeError, ValueError):
                return


def _library() -> Any:
    """The library, imported at the first call, and silent."""
    logger = logging.getLogger("apprise")
    if not any(isinstance(each, _Ear) for each in logger.handlers):
        logger.addHandler(_Ear())
        logger.setLevel(logging.DEBUG)
        for name in ("apprise", "requests", "urllib3"):
            quiet = logging.getLogger(name)
            quiet.addHandler(logging.NullHandler())
            quiet.propagate = False
    import apprise

    return apprise


def _service(apprise: Any, url: str) -> Any:
    """A box with the service of an address; None where Apprise does not understand it."""
    asset = apprise.AppriseAsset(app_id="opsdash", app_desc="opsdash", async_mode=False, storage_mode="memory")
    for name, value in (("http_redirects", False), ("pgp_autogen", False), ("pem_autogen", False)):
        if hasattr(asset, name):
            setattr(asset, name, value)
    box = apprise.Apprise(asset=asset)
    return box if box.add(url) else None


def problem(raw: Mapping[str, Any]) -> str | None:
    """What is wrong with the addresses, as far as it can be told while secrets in them are references."""
    given = raw.get("urls")
    urls = [given] if isinstance(given, str) else given if isinstance(given, list | tuple) else []
    for number, url in enumerate(urls, 1):
        if not isinstance(url, str) or url.startswith("${"):
            continue
        flaw = _flaw(url) or _not_understood(url)
        if flaw:
            return f"address {number}: {flaw}"
    return None


def _not_understood(url: str) -> str:
    apprise = _library()
    scheme = _scheme(url)
    if scheme not in ("http", "https") and scheme not in apprise.NotificationManager().schemas():
        return f"Apprise {apprise.__version__} knows no {scheme}://; https://appriseit.com lists what there is"
    if "${" in url or _service(apprise, url) is not None:
        return ""
    return f"Apprise does not understand what follows {scheme}://; https://appriseit.com says how it is written"


# --- sending -----------------------------------------------------------------------------------------------------


class _Taken:
    """Who has taken which message, while others have not."""

    def __init__(self) -> None:
        self._all: OrderedDict[tuple[str, str], None] = OrderedDict()

    def add(self, key: str, address: str) -> None:
        self._all[key, address] = None
        while len(self._all) > REMEMBERED:
            self._all.popitem(last=False)

    def has(self, key: str, address: str) -> bool:
        return (key, address) in self._all

    def forget(self, key: str, addresses: Iterable[str]) -> None:
        for address in addresses:
            self._all.pop((key, address), None)


_taken: Final = _Taken()


async def send(options: Options, message: Message, context: NotifierContext) -> Told:
    """One attempt at every address that has not taken it yet."""
    urls = [url.get_secret_value() for url in options.urls]
    addresses = [hashlib.sha256(url.encode()).hexdigest() for url in urls]
    within = patience(context)
    context.stage = "send"
    context.on_sent()  # from here on nobody can tell
    attempts = [_attempt(url, address, message, within) for url, address in zip(urls, addresses, strict=True)]
    all_told = await asyncio.gather(*attempts)
    told = _summed_up(urls, all_told)
    if told.delivery is Delivery.DELIVERED:
        _taken.forget(message.key, addresses)
    return told


async def _attempt(url: str, address: str, message: Message, within: float) -> Told:
    def work() -> Told:
        if _taken.has(message.key, address):
            return Told(Delivery.DELIVERED, "has it since an earlier attempt")
        told = _notified(url, message, within)
        if told.delivery is Delivery.DELIVERED:
            _taken.add(message.key, address)
        return told

    try:
        async with asyncio.timeout(within):
            return await in_thread(("apprise", message.key, address), work)
    except TimeoutError:
        return Told(Delivery.UNKNOWN, "no answer in time; it may still arrive")
    except OSError as error:  # no thread could be had
        return Told(Delivery.FAILED, error.strerror or "it could not be begun")


def _notified(url: str, message: Message, within: float) -> Told:
    """In a thread: hand it to Apprise, and say in our own words what came of it."""
    apprise = _library()
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        box = _service(apprise, url)
        if box is None:
            return Told(Delivery.REFUSED, "Apprise does not understand this address, or lacks a package for it")
        limit = {"timeout": within} if hasattr(apprise, "AppriseResult") else {}  # since 2.0
        result = box.notify(
            title=message.title,
            body=below_title(message),
            notify_type=_type_of(message, apprise.NotifyType),
            body_format=apprise.NotifyFormat.TEXT,
            **limit,
        )
    except Exception as error:  # noqa: BLE001 - a plugin may raise whatever it likes, with keys in it
        return Told(Delivery.UNKNOWN, f"Apprise broke ({type(error).__name__}); it may have arrived")
    finally:
        _heard.reset(token)
    return _told(_status(result), heard)


def _type_of(message: Message, types: Any) -> Any:
    if message.kind is MessageKind.RESOLVED:
        return types.SUCCESS
    if message.kind in (MessageKind.STATUS, MessageKind.TEST):
        return types.INFO
    return types.FAILURE if message.severity <= 2 else types.WARNING


def _status(result: Any) -> str:
    """The outcome by its name in Apprise 2; Apprise 1 says True, False, or None where there was nobody to send to."""
    if result is None:
        return "NOMATCH"
    if isinstance(result, bool):
        return "SUCCESS" if result else "FAILURE"
    return str(result.status.name)


def _told(status: str, heard: Sequence[str]) -> Told:
    match status:
        case "SUCCESS":
            return Told(Delivery.DELIVERED, "took it")
        case "NOMATCH":
            return Told(Delivery.REFUSED, "Apprise found nobody to send it to")
        case "TIMEOUT":
            return Told(Delivery.UNKNOWN, "no answer in time; it may still arrive")
        case "PARTIAL":
            return Told(Delivery.UNKNOWN, "some of its recipients took it, others did not")
    return _failure("\n".join(heard))


_HTTP_STATUS: Final = re.compile(r"\berror=([1-5]\d\d)\b|\((?:HTTP |error )([1-5]\d\d)\)")
_SMTP_CODE: Final = re.compile(r"\(([45]\d\d), b['\"]")
_PHRASES: Final[Sequence[tuple[str, Delivery, str]]] = (
    ("connection refused", Delivery.FAILED, "connection refused"),
    ("name or service not known", Delivery.FAILED, "its name cannot be looked up"),
    ("nodename nor servname", Delivery.FAILED, "its name cannot be looked up"),
    ("name resolution", Delivery.FAILED, "its name cannot be looked up"),
    ("failed to resolve", Delivery.FAILED, "its name cannot be looked up"),
    ("network is unreachable", Delivery.FAILED, "the network is unreachable"),
    ("no route to host", Delivery.FAILED, "no route to the host"),
    ("certificate verify failed", Delivery.REFUSED, "its certificate is not accepted"),
    ("connect timeout", Delivery.FAILED, "no connection in time"),
    ("timed out", Delivery.UNKNOWN, "no answer in time; it may have arrived"),
    ("connection aborted", Delivery.UNKNOWN, "the connection broke after it was sent"),
    ("connection reset", Delivery.UNKNOWN, "the connection broke after it was sent"),
    ("unexpectedly closed", Delivery.UNKNOWN, "the connection broke off"),
)
"""What stands in the errors of the system and of the libraries below Apprise, and what it means."""


def _failure(heard: str) -> Told:
    """What a failure means, out of what Apprise logged about it; words of our own, since keys may stand in its own."""
    found = _HTTP_STATUS.search(heard)
    if found is not None:
        return _by_status(int(found[1] or found[2]))
    code = _SMTP_CODE.search(heard)
    if code is not None:
        outcome = Delivery.REFUSED if code[1].startswith("5") else Delivery.FAILED
        return Told(outcome, f"the mail server said {code[1]}")
    lowered = heard.lower()
    for phrase, outcome, words in _PHRASES:
        if phrase in lowered:
            return Told(outcome, words)
    return Told(Delivery.FAILED, "it did not take it")


def _by_status(status: int) -> Told:
    words = f"HTTP status {status}"
    if status in (425, 429, 503):
        return Told(Delivery.FAILED, words)
    if status in (408, 409) or status >= 500:
        return Told(Delivery.UNKNOWN, words)
    return Told(Delivery.REFUSED, words)


_WORST_FIRST: Final = (Delivery.FAILED, Delivery.UNKNOWN, Delivery.REFUSED, Delivery.DELIVERED)
"""Whoever may still take it decides when it is tried again; one that never will only when all others have it."""


def _summed_up(urls: Sequence[str], all_told: Sequence[Told]) -> Told:
    outcomes = {told.delivery for told in all_told}
    worst = next(outcome for outcome in _WORST_FIRST if outcome in outcomes)
    several = len(urls) > 1
    details = [
        f"{_scheme(url)}{f' ({number})' if several else ''}: {told.detail}"
        for number, (url, told) in enumerate(zip(urls, all_told, strict=True), 1)
    ]
    return Told(worst, "; ".join(details))


def hosts(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Hosts of the addresses, where they name any; a service's own host where it is one that many depend on."""
    given = raw.get("urls")
    urls = [given] if isinstance(given, str) else given if isinstance(given, list | tuple) else []
    found: list[str] = []
    for url in urls:
        if isinstance(url, str):
            found += _hosts_of(url)
    return tuple(dict.fromkeys(found))


def _hosts_of(url: str) -> list[str]:
    scheme = _scheme(url)
    if scheme in _HOSTS:
        return [_HOSTS[scheme]]
    if scheme not in _HOSTED:
        return []
    try:
        parts = urlsplit(url)
        names = [parts.hostname or "", *parse_qs(parts.query).get("smtp", [])]
    except ValueError:
        return []
    return [name for name in names if name and not set("${}") & set(name)]


KIND = NotifierKind(
    name="apprise",
    summary="mail, SMS, chat and paging through the library Apprise",
    options=Options,
    send=send,
    hosts=hosts,
    problem=problem,
    extra="apprise",
)
