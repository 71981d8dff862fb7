"""What one person likes otherwise: theme, mouse, keys and notices on the desktop, in `~/.config/opsdash/board.json`.

    {"theme": "nord", "mouse": false, "keys": {"failover": "ctrl+o"}}

It belongs to the person and not to the workspace, which others share. Keys go by the ids of the key reference.
"""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsdash.board.keymap import key_problems
from opsdash.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN = ("desktop", "keys", "mouse", "theme")


@dataclass(frozen=True, slots=True)
class Preferences:
    """Theme by its name (None: the terminal decides), whether the mouse is read, and keys by the id of their action.

    desktop: whether an alarm may show a notice on the desktop where the terminal can; the bell rings anyway.
    """

    theme: str | None = None
    mouse: bool = True
    keys: Mapping[str, str] = field(default_factory=dict)
    desktop: bool = True


def preferences_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where they are, whether the file exists or not."""
    base = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "opsdash" / "board.json"


def load_preferences(path: Path) -> Preferences:
    """Read them; without a file all is as it comes. Raises ConfigError, which names the file and what is right."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Preferences()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path}: this is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected an object with some of {', '.join(KNOWN)}")
    return _checked(path, found)


def _checked(path: Path, found: Mapping[str, Any]) -> Preferences:
    for name in found:
        if name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(KNOWN)}"
            raise ConfigError(f"{path}: {name}: unknown key; {hint}")
    theme, mouse, keys = found.get("theme"), found.get("mouse", True), found.get("keys", {})
    desktop = found.get("desktop", True)
    if theme is not None and not isinstance(theme, str):
        raise ConfigError(f"{path}: theme: expected a name, as in the command palette")
    if not isinstance(mouse, bool):
        raise ConfigError(f"{path}: mouse: expected true or false")
    if not isinstance(desktop, bool):
        raise ConfigError(f"{path}: desktop: expected true or false")
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
        raise ConfigError(f'{path}: keys: expected actions and keys, such as {{"failover": "ctrl+o"}}')
    problems = key_problems(keys)
    if problems:
        raise ConfigError(f"{path}: keys: {'; '.join(problems)}")
    return Preferences(theme, mouse, keys, desktop)
