"""drills/*.yaml to drills: each file on its own, and then what it says of components, people and windows.

A mistake switches the whole drill off: it stays in the list, with the reason, and cannot be run. Where there is a last
good version whose references still lead somewhere, that one goes on.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from opsdash.config import yaml
from opsdash.config.drill_rules import DrillReader, Ground
from opsdash.config.parts import DRILL, Judged, Report, drill_part, valid_parts
from opsdash.config.problems import Problem
from opsdash.config.schema_drills import DrillModel
from opsdash.config.schema_fields import NAME_PATTERN
from opsdash.model.drill import Drill
from opsdash.model.runbook import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.config.files import Source

__all__ = ["Found", "Ground", "ParsedDrill", "drills", "parse_drill"]

_NAME = re.compile(NAME_PATTERN)

PROVES_NOTHING = frozenset({"title", "owner", "schedule", "surprise", "approvals", "valid_for"})
"""Keys of a drill that say who sees to it and when, not what is shown by it: its evidence outlives them."""


@dataclass(frozen=True, slots=True)
class ParsedDrill:
    """A drill's file on its own. model: None where the file as a whole cannot be used. is_named: whether its name can
    be that of a drill. lists: the keys that were written as a list.
    """

    id: str
    source: Source
    model: DrillModel | None
    sha256: str = ""
    is_named: bool = True
    lists: frozenset[str] = frozenset()
    judged: Judged = field(default_factory=Judged)


@dataclass(frozen=True, slots=True)
class Found:
    """All drills, what is wrong with them, and the last good version of each file. kept: the files of drills that go on
    in that one.
    """

    drills: dict[str, Drill]
    problems: list[Problem]
    good: dict[str, ParsedDrill]
    kept: frozenset[str]


def parse_drill(source: Source) -> ParsedDrill:
    """A drill's file to its valid parts. They depend on its bytes alone."""
    name = PurePosixPath(source.name).stem
    if not _NAME.match(name):
        hint = "rename it: letters, digits, dots, dashes and underscores"
        lost = _lost(name, source, f"{name!r:.60} cannot be the name of a drill", hint)
        return replace(lost, is_named=False)
    if source.refused:
        return _lost(name, source, source.refused, source.hint)
    tree = yaml.read(source.data)
    if tree.fatal:
        flaw = tree.flaws[0]
        return _lost(name, source, flaw.message, flaw.hint, flaw.line)
    if tree.value is None:
        return _lost(name, source, "the file is empty", "write what is drilled, or remove the file")
    if not isinstance(tree.value, dict):
        return _lost(name, source, "the file is no mapping of keys", "begin with a line such as component: …", 1)
    report = Report(source.name, source.data)
    model = valid_parts(DrillModel, tree.value, report, drill_part, flaws=tree.flaws)
    return ParsedDrill(
        id=name,
        source=source,
        model=model,
        sha256=_digest(tree.value),
        lists=frozenset(key for key, value in tree.value.items() if isinstance(value, list)),
        judged=report.judged,
    )


def _lost(name: str, source: Source, message: str, hint: str = "", line: int = 0) -> ParsedDrill:
    problem = Problem(source.name, line, (), message, hint, part=DRILL)
    return ParsedDrill(name, source, None, judged=Judged((problem,), off={DRILL: problem.reason}))


def _digest(value: Mapping[str, Any]) -> str:
    """Hash of the content: comments, layout and the order of keys do not count."""
    proved = {key: each for key, each in value.items() if key not in PROVES_NOTHING}
    canonical = json.dumps(proved, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def drills(parsed: Mapping[str, ParsedDrill], good: Mapping[str, ParsedDrill], ground: Ground) -> Found:
    """Every drill by its id. good: what was last good of each file, as this function returned it."""
    found = Found({}, [], {}, frozenset())
    kept: set[str] = set()
    for name, each in parsed.items():
        drill, problems = _linked(each, ground)
        before = good.get(name)
        if not drill.off:
            found.good[name] = each
        elif before is not None and before is not each:
            found.good[name] = before
            as_it_was, _ = _linked(before, ground)
            if not as_it_was.off:
                drill = as_it_was
                kept.add(each.source.name)
        if each.is_named:
            found.drills[name] = drill
        found.problems.extend(problems)
    return replace(found, kept=frozenset(kept))


def _linked(parsed: ParsedDrill, ground: Ground) -> tuple[Drill, list[Problem]]:
    """A drill and what is wrong with it; any mistake switches it off."""
    report = Report(parsed.source.name, parsed.source.data, parsed.judged)
    if parsed.model is None:
        drill = Drill(parsed.id, parsed.id, "", file=parsed.source.name, sha256=parsed.sha256)
    else:
        drill = DrillReader(parsed.id, parsed.model, report, ground, parsed.lists).read()
        drill = replace(drill, file=parsed.source.name, sha256=parsed.sha256)
    problems = [replace(each, part=DRILL) if each.severity is Severity.ERROR else each for each in report.problems]
    errors = (each.reason for each in problems if each.severity is Severity.ERROR)
    return replace(drill, off=report.off.get(DRILL) or next(errors, "")), problems
