"""`opsdash failover`: see `opsdash.cli.switching`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.cli import switching

if TYPE_CHECKING:
    import argparse

EXAMPLE = "opsdash failover email --plan"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash failover`."""
    switching.configure(parser)
    parser.add_argument("--to", metavar="PROVIDER", help="where to; without it, the first backup that is ready")


def run(arguments: argparse.Namespace) -> int:
    """Switch, and tell what came of it."""
    return switching.run(arguments, "failover", arguments.to)
