"""`opsdash restore`: see `opsdash.cli.switching`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.cli import switching

if TYPE_CHECKING:
    import argparse

EXAMPLE = "opsdash restore email --yes --reason 'the limit was raised'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash restore`."""
    switching.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Leave the degraded mode in force, and tell what came of it."""
    return switching.run(arguments, "restore", None)
