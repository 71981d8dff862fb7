"""One component file to its valid parts. They depend on the file's bytes alone, so they are kept until it changes."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from opsdash.config import yaml
from opsdash.config.parts import Judged, Report, component_part, valid_parts
from opsdash.config.problems import Problem
from opsdash.config.schema import LATER, ComponentModel
from opsdash.config.schema_fields import NAME_PATTERN
from opsdash.model.operation import ACTIVE, ANCHORS

if TYPE_CHECKING:
    from opsdash.config.files import Source

RESERVED = frozenset({ACTIVE, ANCHORS})

_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A component file on its own. model: None where the file as a whole cannot be used; `problem` says
    why.
    """

    id: str
    source: Source
    model: ComponentModel | None
    problem: str | None
    sha256: str = ""
    provider_order: tuple[str, ...] = ()
    judged: Judged = field(default_factory=Judged)


def parse(source: Source) -> Parsed:
    """A component file to its valid parts."""
    component = PurePosixPath(source.name).stem
    if not _NAME.match(component) or component in RESERVED:
        hint = "rename it: letters, digits, dots, dashes and underscores"
        return _lost(component, source, f"{component!r:.60} cannot be the name of a component", hint)
    if source.refused:
        return _lost(component, source, source.refused, source.hint)
    tree = yaml.read(source.data)
    if tree.fatal:
        flaw = tree.flaws[0]
        return _lost(component, source, flaw.message, flaw.hint, flaw.line)
    if tree.value is None:
        return _lost(component, source, "the file is empty", "write at least one check, or remove the file")
    if not isinstance(tree.value, dict):
        return _lost(component, source, "the file is no mapping of keys", "begin with a line such as title: …", 1)
    report = Report(source.name, source.data)
    order = _keys(tree.value.get("providers"))
    model = valid_parts(ComponentModel, tree.value, report, component_part, flaws=tree.flaws, later=LATER["component"])
    return Parsed(
        id=component,
        source=source,
        model=model,
        problem=None,
        sha256=_digest(tree.value, order),
        provider_order=order,
        judged=report.judged,
    )


def _lost(component: str, source: Source, message: str, hint: str = "", line: int = 0) -> Parsed:
    problem = Problem(source.name, line, (), message, hint)
    return Parsed(component, source, None, problem.reason, judged=Judged((problem,)))


def _keys(section: Any) -> tuple[str, ...]:
    return tuple(section) if isinstance(section, dict) else ()


PROVES_NOTHING = frozenset({"title", "owners", "tags"})
POLICY = frozenset({"auto", "hold", "confirm", "review_after", "guards", "approve", "blockade", "steady"})
"""Keys of a component and of its switch that say who may do it and when, not how it is done: a proof outlives them."""


def _digest(value: dict[str, Any], provider_order: tuple[str, ...]) -> str:
    """Hash of the content: comments, layout and the order of keys do not count, except where order has a
    meaning.
    """
    proved = {key: each for key, each in value.items() if key not in PROVES_NOTHING}
    if isinstance(proved.get("switch"), dict):
        proved["switch"] = {key: each for key, each in proved["switch"].items() if key not in POLICY}
    if isinstance(proved.get("failures"), dict):
        proved["failures"] = {name: _without_words(mode) for name, mode in proved["failures"].items()}
    content: dict[str, Any] = {
        "content": proved,
        "providers": provider_order,
        "failures": _keys(value.get("failures")),
    }
    switch = value.get("switch")
    steps = [_keys(switch.get(place)) for place in ("before", "after")] if isinstance(switch, dict) else []
    if any(steps):
        content["steps"] = steps
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _without_words(mode: Any) -> Any:
    """A failure mode without what customers are told: how it is said proves nothing."""
    return {key: each for key, each in mode.items() if key != "status_text"} if isinstance(mode, dict) else mode
