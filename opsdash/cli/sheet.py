"""Emergency sheets: a page for each component, for the day on which the host of opsdash is what failed.

They are made from the files and the journal, so this works without an engine, and beside one. An engine writes them
every day by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import add_json, add_workspace, places_of, workspace_of
from opsdash.cli.terminal import out, out_json, out_lines, say

if TYPE_CHECKING:
    import argparse

    from opsdash.cli.offline import Offline

EXAMPLE = "opsdash sheet email > email.md\n  opsdash sheet -o /mnt/other-host/opsdash"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash sheet`."""
    parser.add_argument("component", nargs="?", metavar="COMPONENT", help="only this one's")
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="the folder to write all of them to, or - to print (default: print that of a COMPONENT, else write to "
        "where the engine does)",
    )
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print or write them. Raises SheetsError where they cannot be written."""
    from opsdash.cli.offline import read_offline

    known = read_offline(workspace_of(arguments))
    files = _files(known, arguments.component)
    if arguments.json:
        _out_json(known, files, arguments.component)
    elif arguments.output == "-" or (arguments.output is None and arguments.component is not None):
        for name, text in files.items():
            if "/" not in name:  # the copies of runbooks are beside the pages, which have their text
                out_lines(text)
    else:
        usual = known.loaded.settings.sheets or places_of(arguments).sheets
        _write(files, Path(arguments.output) if arguments.output else usual, whole=arguments.component is None)
    return exits.OK


def _files(known: Offline, component: str | None) -> dict[str, str]:
    from opsdash.core.sheet_text import RUNBOOKS, file_name
    from opsdash.engine.clock import system_clock
    from opsdash.engine.sheets import rendered

    components = known.loaded.operation.components
    if component is not None and component not in components:
        from opsdash.cli.status import unknown_component

        raise unknown_component(component, components)
    as_of = known.as_of if known.as_of is not None else system_clock().wall
    files = rendered(known.loaded, known.world, as_of)
    if component is None:
        return files
    wanted = f"{file_name(component)}.md"
    return {name: text for name, text in files.items() if name == wanted or name.startswith(f"{RUNBOOKS}/")}


def _out_json(known: Offline, files: dict[str, str], component: str | None) -> None:
    from opsdash.core.sheet_text import file_name

    names = {f"{file_name(each)}.md": each for each in known.loaded.operation.components}
    sheets = [{"component": names[name], "file": name, "text": text} for name, text in files.items() if name in names]
    out_json({"component": component, "status": None, "reason": None, "as_of": known.as_of, "sheets": sheets})


def _write(files: dict[str, str], folder: Path, *, whole: bool) -> None:
    from opsdash.core.sheet import MARK
    from opsdash.storage.sheets import write_sheets

    write_sheets(folder, files, MARK if whole else None)
    for name in sorted(files):
        out(str(folder / name))
    say(f"{len(files)} files")
