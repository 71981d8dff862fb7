"""Circles: a channel that goes through what it reports on, so that nobody hears of the failure that matters most.

One channel in the circle does no harm while another one of the same route works without the component. So there is one
where all channels that are told of a component depend on it: because they say so, or because they go to a host at which
one of its checks looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core.routing import known_targets

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from opsdash.core.routing import Reader
    from opsdash.model.channel import Channel
    from opsdash.model.operation import Component


def circle(reader: Reader, component: Component, checked_at: AbstractSet[str]) -> dict[str, str]:
    """Why each channel that is told of a component does not work without it; empty where one of them does.

    checked_at: the hosts at which its checks look.
    """
    channels = reader.operation.alarms.channels
    why = {name: _dependence(channels[name], component, checked_at) for name in known_targets(reader, component)}
    return why if all(why.values()) else {}


def _dependence(channel: Channel, component: Component, checked_at: AbstractSet[str]) -> str:
    """Why a channel does not work when a component does not, "" if nothing is known of that."""
    if component.id in channel.depends_on:
        return "depends on it"
    shared = sorted(channel.hosts & checked_at)
    return f"goes through {shared[0]}, which that is checked at" if shared else ""
