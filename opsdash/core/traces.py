"""What a switch itself needs, and what the two sides share: found by what the files say, not by asking anybody.

A switch that needs what has failed is no help: an API behind the load balancer that is down, a name that nobody can
look up any more, an identity provider, the host on which opsdash runs. What it needs is what `needs` names, and
whatever is watched at the hosts that its action talks to; a host that is a name needs the components whose checks look
names up. Loopback is left out: on it everything shares everything.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash.model.operation import ANCHORS
from opsdash.model.status import Status
from opsdash.model.templates import fill_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opsdash.core.draft import Draft
    from opsdash.model.operation import Component, Provider, SwitchSpec

HOST_KEYS = frozenset({"host", "server", "servers", "urls", "endpoints", "sentinels", "nodes", "address", "socket"})
"""Options of kinds that name a host, with or without a port; `url` and whatever else is a URL is recognised as one."""

SHARED_KEYS = (
    "host",
    "address",
    "ip",
    "zone",
    "region",
    "rack",
    "network",
    "datacenter",
    "account",
    "credential",
    "domain",
    "issuer",
)
"""Values of providers by which two of them share a fate, if they have the same."""

LOOKUP_KINDS = frozenset({"dns"})
"""Kinds of checks that watch name resolution."""

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#@]*@)?(?P<host>\[[0-9a-fA-F:.]+\]|[^/?#:@\s]+)")
_HOST_AND_PORT = re.compile(r"\[?(?P<host>[A-Za-z0-9_.:-]+?)\]?(:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a switch needs. words: what it is, and while it fails, how."""

    words: str
    failing: bool


def needed_by(draft: Draft, component: Component, spec: SwitchSpec, names: Mapping[str, str]) -> list[Need]:
    """What the switch of a component needs, as far as it is declared or watched; the component itself left out."""
    found = [_component_need(draft, needed) for needed in spec.needs]
    raws = [spec.action.raw, *(step.action.raw for step in (*spec.before, *spec.after))]
    hosts = {host for raw in raws for host in hosts_in(fill_all(raw, names)) if not _is_loopback(host)}
    for host in sorted(hosts):
        found += _host_needs(draft, component, host)
    if any(not _is_address(host) for host in hosts):
        found += _lookup_needs(draft, component)
    return list(dict.fromkeys(found))


def _component_need(draft: Draft, needed: str) -> Need:
    component = draft.component(needed)
    status = draft.health(needed).status
    title = component.title if component is not None else needed
    failing = status in (Status.DOWN, Status.UNKNOWN)
    return Need(f"it needs {title}, which is {status.value}" if failing else title, failing)


def _host_needs(draft: Draft, component: Component, host: str) -> Iterator[Need]:
    for check in draft.operation.checks.values():
        if check.component in (component.id, ANCHORS) or host not in hosts_in(check.raw):
            continue
        live = draft.check(check.id)
        failing = live.status is Status.DOWN
        words = f"it goes by {host}, where {check.id} is down: {live.detail}" if failing else f"{host} ({check.id})"
        yield Need(words, failing)


def _lookup_needs(draft: Draft, component: Component) -> Iterator[Need]:
    for check in draft.operation.checks.values():
        if check.kind in LOOKUP_KINDS and check.component != component.id:
            live = draft.check(check.id)
            failing = live.status is Status.DOWN
            words = f"it looks up a name, and {check.id} is down: {live.detail}" if failing else f"names ({check.id})"
            yield Need(words, failing)


def shared(draft: Draft, source: Provider, target: Provider) -> list[str]:
    """What two providers have in common, in words: `zone us-east`, `host db.internal`."""
    both = [
        f"{key} {source.values[key]}"
        for key in SHARED_KEYS
        if key in source.values
        and source.values[key] == target.values.get(key)
        and not _is_loopback(source.values[key])
    ]
    hosts = _hosts_of(draft, source) & _hosts_of(draft, target)
    declared = {value.partition(" ")[2] for value in both}
    return both + [f"host {host}" for host in sorted(hosts) if not _is_loopback(host) and host not in declared]


def _hosts_of(draft: Draft, provider: Provider) -> set[str]:
    specs = (draft.operation.checks.get(check) for check in provider.checks)
    return {host for spec in specs if spec is not None for host in hosts_in(spec.raw)}


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
    if not isinstance(value, str) or "${" in value:
        return None
    url = _URL.match(value)
    if url is not None:
        return url["host"].strip("[]").lower()
    match = _HOST_AND_PORT.fullmatch(value) if named and "/" not in value else None
    return match["host"].lower() if match else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
