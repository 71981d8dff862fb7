"""The hosts that the options of checks and actions name: what they go to, as far as the files say."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST_KEYS = frozenset({"host", "server", "servers", "urls", "endpoints", "sentinels", "nodes", "address", "socket"})
"""Options of kinds that name a host, with or without a port; `url` and whatever else is a URL is recognised as one."""

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#@]*@)?(?P<host>\[[0-9a-fA-F:.]+\]|[^/?#:@\s]+)")
_PORT = re.compile(
    r"^(?:[a-zA-Z][a-zA-Z0-9+.-]*://)?(?:[^/?#@]*@)?(?:\[[0-9a-fA-F:.]+\]|[^/?#:@\s]+):(?P<port>\d{1,5})"
)
_HOST_AND_PORT = re.compile(r"\[?(?P<host>[A-Za-z0-9_.:-]+?)\]?(:\d{1,5})?")


def hosts_in(raw: Mapping[str, Any]) -> set[str]:
    """The hosts that a kind's options name, in lower case."""
    found: set[str] = set()
    for key, value in raw.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            host = _host_in(each, named=key in HOST_KEYS)
            if host:
                found.add(host)
    return found


def _host_in(value: Any, *, named: bool) -> str | None:
    if not isinstance(value, str):
        return None
    url = _URL.match(value)
    if url is not None:
        return None if "$" in url["host"] else url["host"].strip("[]").lower()
    match = _HOST_AND_PORT.fullmatch(value) if named and "/" not in value else None
    return match["host"].lower() if match else None


def addresses_in(raw: Mapping[str, Any]) -> set[str]:
    """The same, with the port of each that is on loopback: there one machine plays many."""
    found: set[str] = set()
    for key, value in raw.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            host = _host_in(each, named=key in HOST_KEYS)
            if host:
                port = _PORT.search(each.partition("?")[0]) if is_loopback(host) else None
                number = port["port"] if port else raw.get("port") if is_loopback(host) and key == "host" else None
                found.add(f"{host}:{number}" if number else host)
    return found


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_address(host: str) -> bool:
    """Whether a host is an address, so that nobody has to look it up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "go", "gov", "net", "ne", "or", "org"})
"""Names below a country's domain under which others register theirs: example.co.uk. The whole public suffix list has
ten thousand entries; these are what hosts of an operation are found below."""


def domain_of(host: str) -> str | None:
    """The registrable domain of a host, as far as can be told without the public suffix list: the last two labels, or
    three below such as `co.uk`. None for addresses and for names without a dot.
    """
    if is_address(host) or is_loopback(host):
        return None
    labels = [label for label in host.rstrip(".").split(".") if label]
    if len(labels) < 2:
        return None
    country = 2
    keep = 3 if len(labels) > country and len(labels[-1]) == country and labels[-2] in _SECOND_LEVEL else 2
    return ".".join(labels[-keep:])
