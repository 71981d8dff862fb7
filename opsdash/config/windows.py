"""Windows of opsdash.yaml: maintenance and quiet hours, which mute alarms and delay messages, and freeze, which speaks
against switching.

A window that cannot be understood is off, and goes on in its last good version. An entry that names nobody is left out;
a window of which nothing is left by that is off as well, since one that names nothing is about everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from opsdash.config.parts import Spot
from opsdash.config.problems import did_you_mean
from opsdash.config.workspace import all_timezones, moment
from opsdash.model.cron import cron_flaw
from opsdash.model.units import format_duration
from opsdash.model.window import WindowSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from opsdash.config.parts import Report
    from opsdash.config.schema_windows import WindowModel

LONGEST = 31 * 86400.0
"""Seconds that one occurrence of a recurring window may last."""


def windows(
    models: Mapping[str, WindowModel],
    zone: str,
    report: Report,
    *,
    components: Collection[str],
    tags: Collection[str],
    wall: float,
    previous: Mapping[str, WindowSpec],
) -> tuple[dict[str, WindowSpec], set[str]]:
    """All windows that can be used, and the parts of the file that go on in their last good version."""
    found: dict[str, WindowSpec] = {}
    kept: set[str] = set()
    for name, model in models.items():
        part = f"windows/{name}"
        spec = _Reading(name, model, Spot(report, ("windows", name), part)).read(zone, components, tags, wall)
        if spec is not None and part not in report.off:
            found[name] = spec
    for name, before in previous.items():
        part = f"windows/{name}"
        if name not in found and report.missing(part) is not None:
            found[name] = before
            kept.add(part)
    return found, kept


class _Reading:
    """One window as it stands in the file."""

    def __init__(self, name: str, model: WindowModel, spot: Spot) -> None:
        self.name = name
        self.model = model
        self.spot = spot

    def read(self, zone: str, components: Collection[str], tags: Collection[str], wall: float) -> WindowSpec | None:
        """The window; None, with a problem, if it cannot be used."""
        model, spot = self.model, self.spot
        named = self._components(components)
        self._tags(tags)
        clock = self._zone(zone)
        start = end = None
        if model.cron is not None:
            self._recurring()
        elif not spot.at("cron").is_hole:
            start, end = self._dated(ZoneInfo(clock), wall)
        if named is None:
            return None
        return WindowSpec(
            id=self.name,
            kind=model.kind,
            title=model.title or self.name,
            components=named,
            tags=model.tags,
            start=start,
            until=end,
            cron=model.cron or "",
            length=model.for_ or 0.0,
            timezone=clock,
            tiers=model.tiers,
        )

    def _components(self, known: Collection[str]) -> tuple[str, ...] | None:
        """The components that there are; None if some are named and there is none of them, nor a tag."""
        found = []
        for index, name in enumerate(self.model.components):
            if name in known:
                found.append(name)
                continue
            place = Spot(self.spot.report, (*self.spot.path, "components", index), None)
            place.error(f"there is no component {name!r:.80}", did_you_mean(name, known))
        if self.model.components and not found and not self.model.tags:
            self.spot.switch_off("none of the components that it names exists")
            return None
        return tuple(found)

    def _tags(self, known: Collection[str]) -> None:
        for index, tag in enumerate(self.model.tags):
            if tag not in known:
                hint = did_you_mean(tag, sorted(known)) or "a component gets tags by `tags: […]` in its file"
                self.spot.at("tags", index).warning(f"no component has the tag {tag!r:.80}", hint)

    def _zone(self, default: str) -> str:
        name = self.model.timezone
        if name is None:
            return default
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            hint = did_you_mean(name, all_timezones()) or "write it as Europe/Berlin"
            self.spot.at("timezone").error(f"there is no time zone {name!r:.60}", hint)
            return default
        return name

    def _recurring(self) -> None:
        model, spot = self.model, self.spot
        flaw = cron_flaw(model.cron or "")
        if flaw:
            said, _, hint = flaw.partition("; ")
            spot.at("cron").error(said, hint)
        if model.for_ is None and not spot.at("for").is_hole:
            spot.at("cron").error("`cron` says when it begins, and nothing when it ends", "add `for: 2h`")
        elif model.for_ is not None and model.for_ > LONGEST:
            spot.at("for").error(f"it may last {format_duration(LONGEST)} at most", "write `from` and `until` instead")
        for key, value in (("from", model.from_), ("until", model.until)):
            if value is not None:
                spot.at(key).error(f"`{key}` does not go with `cron`", "a window has dates, or comes again by `cron`")

    def _dated(self, clock: ZoneInfo, wall: float) -> tuple[float | None, float | None]:
        model, spot = self.model, self.spot
        if model.for_ is not None:
            spot.at("for").error("`for` belongs to `cron`", "write `until` for a window that comes once")
        if model.until is None:
            if not spot.at("until").is_hole and model.for_ is None:
                spot.error("it never ends", "write `until: DATE`, or `cron` and `for` for a window that comes again")
            return None, None
        start = None if model.from_ is None else moment(model.from_, clock, spot.at("from"))
        end = moment(model.until, clock, spot.at("until"), after=1)
        if start is not None and end is not None and end <= start:
            spot.at("until").error(f"it ends ({model.until}) before it begins ({model.from_})", "exchange the dates")
        elif end is not None and end <= wall:
            spot.at("until").warning(f"it was over on {model.until}", "remove the window")
        return start, end
