"""Findings of runbooks as SARIF 2.1.0, the format that code hosts and editors read.

One run of one tool, with every rule that there is: what a file contains changes only when a finding comes, goes or
moves, or with a new version of opsdash. No time, no path of this machine, no order that depends on anything but the
findings stand in it, so that two outputs can be compared. Files are named relative to the root of the sources, which is
the present folder where the workspace lies in it: that is how code hosts find them.

A finding is recognised again after lines were added above it by its fingerprint: the rule, the file, and the text of
the line, counted where the same stands there twice.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from opsdash import __version__
from opsdash.config.runbook_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opsdash.config.problems import Problem

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "opsdashFinding/v1"
_ROOT = "%SRCROOT%"


def sarif(problems: Iterable[Problem], lines: Mapping[str, Sequence[str]], below: str = "") -> dict[str, Any]:
    """The log of one run. lines: of each file, as it is shown; by its path relative to the workspace.

    below: the workspace relative to the root of the sources, ending with a slash; "" where it is the root.
    """
    numbers = {code: number for number, code in enumerate(RULES)}
    ordered = sorted(problems, key=lambda each: (each.file, each.line, each.column, each.code, each.message))
    seen: Counter[str] = Counter()
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "opsdash",
                        "version": __version__,
                        "rules": [_rule(code) for code in RULES],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {_ROOT: {"description": {"text": "The root of the sources."}}},
                "results": [_result(each, below, numbers, lines.get(each.file, ()), seen) for each in ordered],
            }
        ],
    }


def _rule(code: str) -> dict[str, Any]:
    rule = RULES[code]
    return {
        "id": code,
        "shortDescription": {"text": code.replace("-", " ").capitalize()},
        "fullDescription": {"text": rule.about},
        "help": {"text": f"{rule.about} What to do: {rule.remedy}."},
        "defaultConfiguration": {"level": rule.level},
    }


def _result(
    problem: Problem, below: str, numbers: Mapping[str, int], lines: Sequence[str], seen: Counter[str]
) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": quote(below + problem.file), "uriBaseId": _ROOT}}
    region = _region(problem)
    if region:
        location["region"] = region
    return {
        "ruleId": problem.code,
        "ruleIndex": numbers[problem.code],
        "level": RULES[problem.code].level,
        "message": {"text": f"{problem.message}; {problem.hint}" if problem.hint else problem.message},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {FINGERPRINT: _fingerprint(problem, lines, seen)},
    }


def _region(problem: Problem) -> dict[str, int]:
    if not problem.line:
        return {}
    region = {"startLine": problem.line}
    if problem.column:
        region["startColumn"] = problem.column
    if problem.end_column:
        region["endColumn"] = problem.end_column
    return region


def _fingerprint(problem: Problem, lines: Sequence[str], seen: Counter[str]) -> str:
    line = lines[problem.line - 1].strip() if 0 < problem.line <= len(lines) else ""
    what = f"{problem.code}\0{problem.file}\0{line}"
    seen[what] += 1
    return hashlib.sha256(f"{what}\0{seen[what]}".encode(errors="replace")).hexdigest()[:32]
