"""The JSON Schema of the workspace's files, so that an editor completes and checks them while they are written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from opsdash.cli import exits

if TYPE_CHECKING:
    import argparse

EXAMPLE = "opsdash schema component > component.schema.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash schema`."""
    parser.add_argument(
        "which",
        choices=["component", "workspace", "drill"],
        help="checks/*.yaml are components, opsdash.yaml is the workspace, drills/*.yaml are drills",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    from opsdash.config.jsonschema import json_schema

    print(json.dumps(json_schema(arguments.which), indent=2))
    return exits.OK
