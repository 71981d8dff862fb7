"""What a switch itself needs, and what the two sides share: found by what the files say, not by asking anybody.

A switch that needs what has failed is no help: an API behind the load balancer that is down, a name that nobody can
look up any more, an identity provider, the host on which opsdash runs. What it needs is what `needs` names, and
whatever is watched at the hosts that its action talks to; a host that is a name needs the components whose checks look
names up. Loopback is left out: on it everything shares everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsdash.core.hosts import hosts_in, is_address, is_loopback
from opsdash.model.operation import ANCHORS
from opsdash.model.status import Status
from opsdash.model.templates import fill_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opsdash.core.draft import Draft
    from opsdash.model.operation import Component, Provider, SwitchSpec

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
    "label",
    "parent",
)
"""Values of providers by which two of them share a fate, if they have the same."""

LOOKUP_KINDS = frozenset({"dns"})
"""Kinds of checks that watch name resolution."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a switch needs. words: what it is, and while it fails, how."""

    words: str
    failing: bool


def needed_by(draft: Draft, component: Component, spec: SwitchSpec, names: Mapping[str, str]) -> list[Need]:
    """What the switch of a component needs, as far as it is declared or watched; the component itself left out."""
    found = [_component_need(draft, needed) for needed in spec.needs]
    raws = [spec.action.raw, *(step.action.raw for step in (*spec.before, *spec.after))]
    hosts = {host for raw in raws for host in hosts_in(fill_all(raw, names)) if not is_loopback(host)}
    for host in sorted(hosts):
        found += _host_needs(draft, component, host)
    if any(not is_address(host) for host in hosts):
        found += _lookup_needs(draft, component)
    return list(dict.fromkeys(found))


def _component_need(draft: Draft, needed: str) -> Need:
    component = draft.component(needed)
    status = draft.health(needed).status
    title = component.title if component is not None else needed
    failing = status in (Status.DOWN, Status.UNKNOWN)
    return Need(f"it needs {title}, which is {status.value}" if failing else title, failing)


def _host_needs(draft: Draft, component: Component, host: str) -> Iterator[Need]:
    for check in draft.operation.hosts.get(host, ()):
        if check.partition("/")[0] in (component.id, ANCHORS):
            continue
        live = draft.check(check)
        failing = live.status is Status.DOWN
        words = f"it goes by {host}, where {check} is down: {live.detail}" if failing else f"{host} ({check})"
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
    both = declared(source, target)
    hosts = _hosts_of(draft, source) & _hosts_of(draft, target)
    said = {value.partition(" ")[2] for value in both}
    return both + [f"host {host}" for host in sorted(hosts) if not is_loopback(host) and host not in said]


def declared(source: Provider, target: Provider) -> list[str]:
    """What the values of two providers have in common, in the same words."""
    return [
        f"{key} {source.values[key]}"
        for key in SHARED_KEYS
        if key in source.values and source.values[key] == target.values.get(key) and not is_loopback(source.values[key])
    ]


def _hosts_of(draft: Draft, provider: Provider) -> set[str]:
    specs = (draft.operation.checks.get(check) for check in provider.checks)
    return {host for spec in specs if spec is not None for host in hosts_in(spec.raw)}
