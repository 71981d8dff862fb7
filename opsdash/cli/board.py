"""No command: the board. Where none can be drawn, a plain status instead; without a workspace, ways to get one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import NoWorkspaceError, workspace_of
from opsdash.cli.terminal import ask, bold, say, why_no_board

if TYPE_CHECKING:
    from pathlib import Path

OFFER = (
    "  d  see the example operation (opsdash demo)",
    "  i  make a new workspace here (opsdash init)",
    "  o  open a workspace in another folder",
    "  q  leave",
)


def run(arguments: argparse.Namespace) -> int:
    """Show the board, or what fits the situation better."""
    if why := why_no_board():
        return _plain_status(arguments, why)
    try:
        workspace = workspace_of(arguments)
    except NoWorkspaceError as error:
        return _offer(arguments, str(error))
    return show(workspace, arguments)


def show(workspace: Path, arguments: argparse.Namespace) -> int:
    """The board on a workspace."""
    from opsdash.app import run_board

    return run_board(
        workspace,
        ephemeral=arguments.ephemeral,
        claim=arguments.claim,
        read_only=arguments.read_only,
    )


def _plain_status(arguments: argparse.Namespace, why: str) -> int:
    from opsdash.cli import status

    say(f"no board can be drawn here ({why}), so this is `opsdash status`:")
    parser = argparse.ArgumentParser()
    status.configure(parser)
    return status.run(parser.parse_args(["--workspace", arguments.workspace] if arguments.workspace else []))


def _offer(arguments: argparse.Namespace, why: str) -> int:
    say(f"opsdash: {why}.")
    say()
    for line in OFFER:
        say(line)
    choice = ask(bold("d, i, o or q?")).lower()
    if choice == "d":
        from opsdash.cli import demo

        return demo.show()
    if choice == "i":
        from opsdash.cli import init

        return init.create(".")
    if choice == "o":
        arguments.workspace = ask("folder:") or None
        return show(workspace_of(arguments), arguments) if arguments.workspace else exits.USAGE
    return exits.USAGE
