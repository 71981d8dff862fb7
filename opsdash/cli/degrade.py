"""`opsdash degrade`: see `opsdash.cli.switching`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.cli import switching

if TYPE_CHECKING:
    import argparse

EXAMPLE = "opsdash degrade email transactional-only --plan"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash degrade`."""
    switching.configure(parser)
    parser.add_argument("mode", nargs="?", metavar="MODE", help="may be left out where there is only one")


def run(arguments: argparse.Namespace) -> int:
    """Enter a degraded mode, and tell what came of it."""
    return switching.run(arguments, "degrade", arguments.mode)
