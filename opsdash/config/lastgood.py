"""What of the files was last good, in a form that outlives the process that read it.

A running engine keeps what no longer loads in its last good version, and what is in use although somebody took it out
of the files. An engine that is started must know that too: the file may have been broken or removed while none ran. So
the text of each file is kept in up to two versions: `sound`, the last one without an error, and `used`, the last one
that could be used in part, where that is another one. Loading one after the other, and then what is on disk, leads to
what the engine before would have come to.

It is the text that is kept and not what was made of it: a text contains references to secrets and never their values,
and a newer version of opsdash reads it by its own rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from opsdash.config.files import Folder, Kept
from opsdash.config.loader import load_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opsdash.config.loader import Loaded


@dataclass(frozen=True, slots=True)
class LastGood:
    """Texts of files, by their names relative to the workspace. used: only those that differ from `sound`."""

    sound: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    used: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))

    def is_on_disk(self, folder: Path, environment: Mapping[str, str]) -> bool:
        """Whether the files are what they were, and sound: then nothing that was known before can be missing."""
        files = Folder(folder.absolute(), environment)
        return not self.used and all(
            files.read(folder.absolute() / name).data == data for name, data in self.sound.items()
        )

    def keeping(self, before: LastGood, names: set[str]) -> LastGood:
        """The same, with files that are gone and that somebody still needs, as they were before."""
        gone = {name: data for name in names if (data := before.used.get(name, before.sound.get(name))) is not None}
        return LastGood({**gone, **self.sound}, self.used)


def last_good(loaded: Loaded) -> LastGood:
    """What is to be kept of a workspace that was loaded."""
    cache = loaded.cache
    sources = [parsed.source for parsed in cache.good_components.values()]
    sources += [runbook.source for runbook in cache.runbooks.values()]
    if not cache.good_workspace.lost:
        sources.append(cache.good_workspace.source)
    sound = {source.name: source.data for source in cache.sound.values()}
    return LastGood(
        sound=sound,
        used={each.name: each.data for each in sources if sound.get(each.name) != each.data},
    )


def load_last_good(kept: LastGood, folder: Path, environment: Mapping[str, str], wall: float) -> Loaded:
    """A workspace as the engine before had it; takes what `load` takes. Its problems are those of that time."""
    folder = folder.absolute()
    loaded = load_files(Kept(folder, kept.sound), folder, environment, wall)
    if kept.used:
        loaded = load_files(Kept(folder, {**kept.sound, **kept.used}), folder, environment, wall, loaded)
    return loaded
