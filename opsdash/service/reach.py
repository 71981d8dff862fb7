"""What of the files and the command line an engine goes by when it starts, and what of it is no longer what they say.

Where an engine lives and who reaches it is settled when it starts. A flag that cannot be followed stops the start,
since somebody is there to read why. A setting that cannot be followed is a problem of opsdash.yaml like any other:
the engine goes on without it, because a port that is in use must not keep anybody from switching.
"""

from __future__ import annotations

import grp
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opsdash.errors import EngineError
from opsdash.model.runbook import Severity
from opsdash.service.network import Door, Listening
from opsdash.service.places import barred_folder, open_to_group

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.config.listening import Flags
    from opsdash.config.loader import EngineSettings, Loaded
    from opsdash.config.problems import KeyPath, Problem
    from opsdash.service.places import Places

_AGAIN = "`opsdash engine restart` applies it"


def listening(settings: EngineSettings, flags: Flags) -> Listening | None:
    """Where to listen on TCP: flags override the file. Raises EngineError where they cannot be followed."""
    if flags.listen is None and flags.certificate is None:
        return None if settings.listen is None else Listening(settings.listen, settings.certificate, settings.key)
    address = flags.listen or settings.listen
    if address is None:
        raise EngineError("--tls-certificate is for --listen, or engine.listen of opsdash.yaml, and there is neither")
    if flags.certificate is not None:
        return Listening(address, flags.certificate, flags.key, by_flag=True)
    if settings.tls_is_broken:
        raise EngineError(
            "engine.tls_certificate and engine.tls_key of opsdash.yaml cannot be used, and nothing listens without; "
            "mend them, or name others with --tls-certificate and --tls-key"
        )
    return Listening(address, settings.certificate, settings.key, by_flag=True)


@dataclass(slots=True)
class Reach:
    """What is in force: settings as they were at the start, and what came of them."""

    where: Places
    settings: EngineSettings
    door: Door | None = None
    by_flag: bool = False
    _standing: list[tuple[KeyPath, str, str, Severity]] = field(default_factory=list)

    def began_anew(self, before: Path) -> None:
        """Another folder holds the journal of an engine that was here before."""
        message = f"the engine began anew: what it knew is in {before}"
        hint = f"to go on with it, stop the engine and move what is in there to {self.where.state}"
        self._standing.append((("engine", "state"), message, hint, Severity.WARNING))

    def open_door(self, flags: Flags) -> None:
        """Listen on TCP if asked to. Raises EngineError where a flag cannot be followed."""
        wanted = listening(self.settings, flags)
        if wanted is None:
            return
        self.by_flag = wanted.by_flag
        try:
            self.door = Door(wanted, self.where)
        except EngineError as error:
            if wanted.by_flag:
                raise
            hint = f"nothing listens on TCP until it is mended, and the engine is restarted; {_AGAIN}"
            self._standing.append((("engine", "listen"), str(error), hint, Severity.ERROR))

    def let_group_in(self) -> None:
        """Open the socket to the group, if the file names one. Called when everything is there."""
        if self.settings.group is None:
            return
        path = ("engine", "group")
        try:
            gid = grp.getgrnam(self.settings.group).gr_gid
            open_to_group(self.where, gid)
            barred = barred_folder(self.where, gid)
        except (OSError, KeyError) as error:
            why = error.strerror if isinstance(error, OSError) else "there is no such group any more"
            text = f"members of {self.settings.group} cannot be let in: {why}"
            self._standing.append((path, text, _AGAIN, Severity.ERROR))
            return
        if barred is not None:
            text = f"members of {self.settings.group} cannot pass through {barred}"
            hint = f"chmod g+x it for that group, or chmod o+x; or name another folder as engine.state, then {_AGAIN}"
            self._standing.append((path, text, hint, Severity.WARNING))

    def noted(self, loaded: Loaded) -> Loaded:
        """The files with the problems of how this engine is reached, and of what has changed since it started."""
        problems = [loaded.problem(*each) for each in self._standing]
        return loaded.noting([*problems, *self._outdated(loaded)])

    def _outdated(self, loaded: Loaded) -> list[Problem]:
        """Settings that hold only from the next start on."""
        off = {problem.part for problem in loaded.problems}
        if off & {"engine", "engine/state", "engine/listen", "engine/group"}:
            return []
        now = loaded.settings.engine
        found = []
        state = now.state or self.where.usual
        if state != self.where.state:
            text = f"the engine that runs keeps its state in {self.where.state}, and does until it is restarted"
            hint = f"{_AGAIN}; move what is in the folder, too, so that the next engine knows what this one does"
            found.append(loaded.problem(("engine", "state"), text, hint))
        if now.group != self.settings.group:
            text = f"the engine that runs is for {_for_whom(self.settings.group)}, and is until it is restarted"
            found.append(loaded.problem(("engine", "group"), text, _AGAIN))
        if not self.by_flag and _tcp(now) != _tcp(self.settings):
            text = f"the engine that runs listens on {self.settings.listen or 'no TCP address'}, until it is restarted"
            found.append(loaded.problem(("engine", "listen"), text, _AGAIN))
        return found


def _for_whom(group: str | None) -> str:
    return "its owner alone" if group is None else f"the group {group}"


def _tcp(settings: EngineSettings) -> tuple[object, ...]:
    return settings.listen, settings.certificate, settings.key
