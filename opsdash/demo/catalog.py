"""What the example operation consists of, and in which ways each part of it can be broken.

Both sides read this: the child process, to refuse what makes no sense, and the parent, to offer a menu and
to say which name was probably meant. It is pure, so that listing faults starts nothing.
"""

from __future__ import annotations

import difflib
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsdash.errors import OpsdashError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Fault(enum.StrEnum):
    """One way of being broken. `ok` is the absence of all of them."""

    OK = "ok"
    DOWN = "down"
    HANG = "hang"
    DRIP = "drip"
    RESET = "reset"
    RATE_LIMITED = "429"
    ERROR = "500"
    WRONG_SCHEMA = "wrong-schema"
    STALE = "stale"
    GARBAGE = "garbage"
    EMPTY = "empty"
    WRONG_CREDENTIALS = "wrong-credentials"
    HOSTILE = "hostile"
    GZIP_BOMB = "gzip-bomb"
    ENDLESS = "endless"
    DEAF = "deaf"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEntry:
    """A fault of a certain service, in the words of a menu."""

    fault: Fault
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """A service of the example operation, the variables that hold its ports, and what can be injected."""

    name: str
    title: str
    variables: tuple[str, ...]
    faults: tuple[FaultEntry, ...]

    def offers(self, fault: Fault) -> bool:
        return any(entry.fault is fault for entry in self.faults)


class UnknownFaultError(OpsdashError):
    """A service or a fault that does not exist; the message names the nearest that do."""


ALL = "all"
CONTROL = "DEMO_CONTROL"
STATE = "DEMO_STATE"

_IN_GENERAL = {
    Fault.OK: "works; heals whatever was injected",
    Fault.DOWN: "refuses connections: the process is gone",
    Fault.HANG: "accepts connections and never answers",
    Fault.DRIP: "answers one byte every 200 ms",
    Fault.RESET: "resets every connection",
    Fault.RATE_LIMITED: "limits us: 429 with Retry-After, until we slow down",
    Fault.ERROR: "answers everything with 500",
    Fault.WRONG_SCHEMA: "answers in a shape that nobody announced",
    Fault.STALE: "answers with data that is an hour old",
    Fault.GARBAGE: "answers 200 with an HTML page instead of data",
    Fault.EMPTY: "answers 200 with nothing in it",
    Fault.WRONG_CREDENTIALS: "no longer accepts our credentials (401)",
    Fault.HOSTILE: "puts terminal escapes, bidi marks, markup and invalid UTF-8 into headers and bodies",
    Fault.GZIP_BOMB: "answers 48 kB that unpack to 48 MB",
    Fault.ENDLESS: "answers without ever coming to an end",
    Fault.DEAF: "says yes to a switch and goes on as before",
}

_WIRE = (Fault.DOWN, Fault.HANG, Fault.DRIP, Fault.RESET)
_BODY = (Fault.ERROR, Fault.WRONG_SCHEMA, Fault.GARBAGE, Fault.EMPTY, Fault.WRONG_CREDENTIALS)
_ATTACK = (Fault.HOSTILE, Fault.GZIP_BOMB, Fault.ENDLESS)
_VENDOR = (Fault.OK, *_WIRE, *_BODY, *_ATTACK)
_OWN = (Fault.OK, *_WIRE, *_BODY, Fault.STALE, *_ATTACK)


def _entry(
    name: str,
    title: str,
    variables: tuple[str, ...],
    faults: Iterable[Fault],
    **in_particular: str,
) -> ServiceEntry:
    """`in_particular` says what a fault means for this service, by the name of the enum's member."""
    described = {Fault[key]: text for key, text in in_particular.items()}
    return ServiceEntry(
        name=name,
        title=title,
        variables=variables,
        faults=tuple(
            FaultEntry(fault=fault, description=described.get(fault, _IN_GENERAL[fault]))
            for fault in sorted(faults, key=list(Fault).index)
        ),
    )


def _mail_provider(name: str, title: str) -> ServiceEntry:
    variable = name.upper()
    return _entry(
        name,
        title,
        (f"{variable}_HTTP", f"{variable}_SMTP"),
        (*_VENDOR, Fault.RATE_LIMITED),
        RATE_LIMITED="limits us: 429 and SMTP 450, until only order mail is sent",
        WRONG_CREDENTIALS="no longer accepts our credentials (401, SMTP 535)",
        GARBAGE="answers HTTP with an HTML page, and SMTP with noise",
    )


_SERVICES = (
    _mail_provider("postmark", "Mail provider, primary"),
    _mail_provider("ses", "Mail provider, backup"),
    _entry(
        "mailer",
        "The application that sends our mail",
        ("MAILER_HTTP",),
        (*_OWN, Fault.DEAF),
        STALE="answers, but its queue has been stuck for an hour",
    ),
    _entry("crm", "The CRM of a vendor", ("CRM_HTTP",), _VENDOR),
    _entry("crm-intake", "The application that files new contacts in the CRM", ("CRM_INTAKE_HTTP",), _OWN),
    _entry(
        "automation",
        "The automation platform of a vendor",
        ("AUTOMATION_HTTP",),
        (*_VENDOR, Fault.RATE_LIMITED),
        RATE_LIMITED="answers 429 with Retry-After, until only essential flows run",
    ),
    _entry("flow-runner", "The application that starts our flows", ("FLOW_RUNNER_HTTP",), _OWN),
    _entry(
        "pricing-api",
        "The price list of a supplier",
        ("PRICING_API_HTTP",),
        (*_VENDOR, Fault.STALE),
        WRONG_SCHEMA="changed its JSON without warning",
    ),
    _entry("pricing-cache", "The application that quotes prices in the shop", ("PRICING_CACHE_HTTP",), _OWN),
    _entry(
        "feed-a",
        "Market data, primary (JSON)",
        ("FEED_A_HTTP",),
        (*_VENDOR, Fault.STALE),
        STALE="delivers quotes that are an hour old",
        EMPTY="delivers no rows",
        GARBAGE="delivers rows full of nulls, negative prices and N/A",
    ),
    _entry(
        "feed-b",
        "Market data, backup (CSV)",
        ("FEED_B_HTTP",),
        (*_VENDOR, Fault.STALE),
        STALE="delivers quotes that are an hour old",
        EMPTY="delivers a header and no rows",
        GARBAGE="delivers rows full of blanks, negative prices and N/A",
    ),
    _entry(
        "market-reader",
        "The application that serves quotes to the shop",
        ("MARKET_READER_HTTP",),
        (*_OWN, Fault.DEAF),
    ),
    _entry(
        "scoring",
        "The lead-scoring model",
        ("SCORING_HTTP",),
        _VENDOR,
        GARBAGE="answers with scores far outside 0 to 1",
    ),
    _entry(
        "lead-router",
        "The application that gives leads to people",
        ("LEAD_ROUTER_HTTP",),
        (*_OWN, Fault.DEAF),
    ),
    _entry("warehouse", "The data warehouse behind the reports", ("WAREHOUSE_HTTP",), (*_VENDOR, Fault.STALE)),
    _entry("reporting", "The application that makes the reports", ("REPORTING_HTTP",), _OWN),
    _entry(
        "social",
        "The scheduler of social-media posts",
        ("SOCIAL_HTTP",),
        _OWN,
        STALE="answers, but has posted nothing for an hour",
    ),
)

_BY_NAME = {service.name: service for service in _SERVICES}


def catalog() -> tuple[ServiceEntry, ...]:
    """Every service with its faults, in the order of a menu."""
    return _SERVICES


def variables() -> tuple[str, ...]:
    """The names of all variables that `checks/*.yaml` may use for ports and for the folder of pointers."""
    ports = [variable for service in _SERVICES for variable in service.variables]
    return (*ports, CONTROL, STATE)


def resolve(service: str, fault: str) -> tuple[tuple[ServiceEntry, ...], Fault]:
    """The services and the fault that two words mean, or `UnknownFaultError` with the nearest names."""
    if service == ALL:
        if fault != Fault.OK:
            raise UnknownFaultError(f"'{ALL}' can only be healed: {ALL} ok. To break something, name one service.")
        return _SERVICES, Fault.OK
    entry = _BY_NAME.get(service)
    if entry is None:
        raise UnknownFaultError(f"no service is called {service!r}. {_nearest(service, [*_BY_NAME, ALL])}")
    offered = [str(each.fault) for each in entry.faults]
    if fault not in offered:
        raise UnknownFaultError(f"{service} has no fault {fault!r}. {_nearest(fault, offered)}")
    return (entry,), Fault(fault)


def _nearest(word: str, names: list[str]) -> str:
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    listed = ", ".join(names)
    return f"Did you mean {' or '.join(near)}? All: {listed}." if near else f"There are: {listed}."
