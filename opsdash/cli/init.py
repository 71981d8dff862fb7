"""A new workspace: small, commented, valid, and with something to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import WORKSPACE_FILE, UsageError
from opsdash.cli.terminal import out, say

if TYPE_CHECKING:
    import argparse

EXAMPLE = "opsdash init ~/operations"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash init`."""
    parser.add_argument("folder", nargs="?", default=".", metavar="DIR", help="where (default: here)")


def run(arguments: argparse.Namespace) -> int:
    """Write it."""
    return create(arguments.folder)


def create(folder: str) -> int:
    """Write a workspace into a folder that holds none yet."""
    from opsdash.config.starter import write_starter

    target = Path(folder).expanduser()
    if (target / WORKSPACE_FILE).exists():
        raise UsageError(f"{target} is a workspace already: it has an {WORKSPACE_FILE}")
    try:
        written = write_starter(target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written to: {error.strerror}") from error
    for path in written:
        out(str(path))
    say(f"next: look into {target / 'checks'}, then `opsdash validate --run -w {target}` and `opsdash -w {target}`")
    return exits.OK
