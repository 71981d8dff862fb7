"""The example operation's files: where they are, and how a fresh workspace is made of them.

They live at the top of the repository, because they are documentation; the wheel carries them in
`operation/` beside this module. A workspace names commands, so the copy is for its owner alone.
"""

from __future__ import annotations

from pathlib import Path

from opsdash.errors import DemoError

_BESIDE_US = Path(__file__).resolve().parent / "operation"
_REPOSITORY = Path(__file__).resolve().parents[2]
_PARTS = ("opsdash.yaml", "checks", "runbooks", "drills")


def example() -> Path:
    """The folder that holds the example operation."""
    for folder in (_BESIDE_US, _REPOSITORY):
        if (folder / "opsdash.yaml").is_file():
            return folder
    raise DemoError(f"the example operation is missing: neither {_BESIDE_US} nor {_REPOSITORY} holds opsdash.yaml")


def is_example(folder: Path) -> bool:
    """Whether a folder is the one that holds the example operation, and no copy of it."""
    return folder.resolve() in (_BESIDE_US, _REPOSITORY)


def copy_example(into: Path) -> None:
    """Make a workspace of the example operation in a folder that is new or empty."""
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(into.iterdir()):
        raise DemoError(f"{into} is not empty: the example operation is only copied into a fresh folder")
    source = example()
    for part in _PARTS:
        _copy(source / part, into / part)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(mode=0o700)
        for each in sorted(source.iterdir()):
            _copy(each, target / each.name)
    elif source.is_file():
        target.touch(mode=0o600)
        target.write_bytes(source.read_bytes())
