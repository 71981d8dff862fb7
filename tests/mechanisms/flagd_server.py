"""A flag file, and an application that reads it through the real OpenFeature SDK."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.mechanisms.support import free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAGS: Final = {
    "$schema": "https://flagd.dev/schema/v0/flags.json",
    "flags": {
        "recommendations": {
            "state": "ENABLED",
            "variants": {"full": "full", "none": "none"},
            "defaultVariant": "full",
        },
        "search": {
            "state": "ENABLED",
            "variants": {"fuzzy": "fuzzy", "exact": "exact", "off": "off"},
            "defaultVariant": "fuzzy",
        },
        "mail-provider": {
            "state": "ENABLED",
            "variants": {"pm-prod": "pm-prod", "ses-eu": "ses-eu"},
            "defaultVariant": "pm-prod",
        },
    },
}


@dataclass(frozen=True)
class Application:
    """A running one."""

    port: int
    flags: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/health"

    def health(self) -> dict[str, Any]:
        """What it says of itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            said: dict[str, Any] = json.load(connection.getresponse())
        finally:
            connection.close()
        return said


def flag_file(folder: Path) -> Path:
    """The flags of normal operation."""
    file = folder / "flags.json"
    file.write_text(json.dumps(FLAGS, indent=2) + "\n")
    return file


@contextlib.contextmanager
def application(folder: Path, flags: Path) -> Iterator[Application]:
    """The application, as soon as it goes by the flags."""
    if importlib.util.find_spec("openfeature.contrib.provider.flagd") is None:
        pytest.skip("the OpenFeature SDK is not installed; pip install openfeature-sdk openfeature-provider-flagd")
    made = Application(free_port(), flags)
    program = Path(__file__).with_name("flagd_application.py")
    with started(
        [sys.executable, program, str(made.port), flags],
        log=folder / "application.log",
        ready=lambda: made.health()["search"] != "coded",
    ):
        yield made
