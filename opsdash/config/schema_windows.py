"""The keys of `windows` in opsdash.yaml. See `config.schema`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from opsdash.config.schema_fields import References, Span, Strict, Text, Tiers
from opsdash.model.window import WindowKind


class WindowModel(Strict):
    """A time in which alarms are muted, their messages wait, or nothing is to be switched. Without components and tags:
    for all of them.

    It comes once (`from`, `until`), or again and again (`cron`, `for`).
    """

    kind: WindowKind
    """`maintenance` mutes alarms: checks go on, and what would have been alarmed is shown. `freeze` warns before every
    switch. `quiet`: what is raised is told when it is over; not for what is essential, unless that is named.
    """
    title: Text | None = None
    """What people call it."""
    components: References = ()
    """The components that it is about."""
    tags: References = ()
    """It is about the components that have one of these tags, too."""
    tiers: Tiers = ()
    """Of these it is only about those of these tiers."""
    from_: Annotated[str | None, Field(alias="from")] = None
    """First day, as 2026-12-24, or a moment, as 2026-12-24T12:00. Without it: already now."""
    until: str | None = None
    """Last day, which belongs to it, or a moment."""
    cron: str | None = None
    """When it begins, again and again: minute, hour, day of month, month, day of week (0 and 7 are Sunday)."""
    for_: Annotated[Span | None, Field(alias="for")] = None
    """How long it lasts each time, at most 31d."""
    timezone: str | None = None
    """For its dates and its `cron`, such as Europe/Berlin. Without it, the operation's."""
