"""Results on disk, and the pages made of the newest of them: docs/benchmarks.md, and a block in README.md."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.measure import Result

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
ORDER = ("polling", "peers", "peers-https", "board", "starting", "switching", "decisions", "readiness", "whatif")
BUSY = 0.10
"""From this part of the machine on, others are worth mentioning."""

_BLOCK = re.compile(r"(<!-- figures:[^\n]*-->\n).*?(?=\n## |\Z)", re.DOTALL)
_CLOSING = "<!-- end of figures -->"
_CLOSED_BLOCK = re.compile(rf"(<!-- figures:[^\n]*-->\n).*?{re.escape(_CLOSING)}\n", re.DOTALL)

Saved = dict[str, Any]


def save(result: Result, *, command: Sequence[str], machine: Mapping[str, Any], others: float) -> Path:
    """Write `results/DATE-PART.json`, in place of one of the same day."""
    now = datetime.now(UTC)
    content = {
        "part": result.part,
        "date": now.isoformat(timespec="seconds"),
        "command": shlex.join(command),
        "machine": dict(machine),
        "others": round(others, 3),
        **{key: value for key, value in asdict(result).items() if key != "part"},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%d}-{result.part}.json"
    path.write_text(json.dumps(_rounded(content), indent=1, ensure_ascii=False) + "\n")
    return path


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {str(key): _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value


def newest(folder: Path = RESULTS) -> list[Saved]:
    """The newest result of every part."""
    found: dict[str, Saved] = {}
    for path in sorted(folder.glob("*.json")):
        saved = json.loads(path.read_text())
        found[saved["part"]] = saved
    return sorted(found.values(), key=lambda saved: ORDER.index(saved["part"]))


# --- pages -----------------------------------------------------------------------------------------------------------


def write_page() -> Path:
    """docs/benchmarks.md"""
    PAGE.write_text(page(newest()))
    return PAGE


def page(results: Iterable[Saved]) -> str:
    """All results as a page."""
    parts = [
        "# Benchmarks",
        "<!-- Made from benchmarks/results/ by `python -m benchmarks readme`; not to be edited. -->",
        (
            "`make bench` measures all of this in about four minutes, `make bench-peers` the comparison, which needs "
            "the other programs. What is measured, and how, is said in the modules of `benchmarks/`; the figures "
            "behind the tables are in `benchmarks/results/`. A ✗ marks what is not as promised."
        ),
    ]
    for saved in results:
        parts += [f"## {saved['title']}{' (https)' if saved['part'].endswith('https') else ''}", _where(saved)]
        for each in saved["tables"]:
            parts += [f"**{each['title']}**"] if each["title"] else []
            parts.append(table(each["columns"], each["rows"]))
        if saved["bars"]:
            parts.append(table(("promised", "", "measured"), [_bar(bar) for bar in saved["bars"]]))
        parts += saved["notes"]
    return "\n\n".join(parts) + "\n"


def _where(saved: Saved) -> str:
    machine = saved["machine"]
    busy = f" Others used {saved['others']:.0%} of the machine meanwhile." if saved["others"] >= BUSY else ""
    return (
        f"{saved['date'][:10]}, `{saved['command']}`, {machine['cores']} cores ({machine['processor']}), "
        f"Python {machine['python']}, {machine['system']}.{busy}"
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first to the right."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" + "---:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _bar(bar: Mapping[str, Any]) -> tuple[str, str, str]:
    return bar["what"], bar["bar"], bar["measured"] if bar["met"] else f"✗ {bar['measured']}"


def write_readme() -> Path:
    """The block of figures in README.md."""
    README.write_text(with_figures(README.read_text(), newest()))
    return README


def with_figures(text: str, results: Sequence[Saved]) -> str:
    """`text` with the block that begins with `<!-- figures: … -->` written anew. Raises ValueError without one."""
    block = f"{figures(results)}\n{_CLOSING}\n"
    for pattern in (_CLOSED_BLOCK, _BLOCK):
        if pattern.search(text):
            return pattern.sub(lambda found: found[1] + block, text, count=1)
    raise ValueError("there is no line `<!-- figures: … -->`")


def figures(results: Sequence[Saved]) -> str:
    """What is promised, and what came out, in one table."""
    if not results:
        return "Nothing has been measured yet."
    rows = [_bar(bar) for saved in results for bar in saved["bars"]]
    latest = max(results, key=lambda saved: str(saved["date"]))
    machine = latest["machine"]
    where = (
        f"Measured on {latest['date'][:10]} with Python {machine['python']} on {machine['cores']} cores. "
        "How, and all the other figures: [docs/benchmarks.md](docs/benchmarks.md)."
    )
    return f"\n{table(('', 'promised', 'measured'), rows)}\n\n{where}\n"
