"""The composition root: who wires what."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opsdash import __version__
from opsdash.errors import ConfigError
from opsdash.model.text import clean_lines
from opsdash.service.places import (
    API,
    EngineFile,
    Lock,
    Places,
    close_to_group,
    connects,
    is_ours,
    places,
    write_engine_file,
    write_private,
)
from opsdash.service.whereabouts import last_known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.config.listening import Flags
    from opsdash.config.loader import Loaded
    from opsdash.config.secrets import Masker
    from opsdash.config.workspace import Retention as Kept
    from opsdash.engine.engine import Engine
    from opsdash.engine.stores import Stores
    from opsdash.engine.systemd import Systemd
    from opsdash.service.client import EngineSession
    from opsdash.service.reach import Reach
    from opsdash.storage.history import History

log = logging.getLogger(__name__)

ON_LEAVING = "on-leaving"
"""File in the state folder: what becomes of the engine when the board is left, `keep` or `stop`."""

FIRST_CLIENT_WITHIN = 30.0
LAST_CLIENT_GONE_FOR = 3.0
"""An ephemeral engine ends when nobody has listened for this many seconds."""

COLLECT_AFTER = 10_000
"""Values more than there were, after which Python looks for cycles; at its own 700 that is a thirtieth of a check."""

LOG_LIMIT = 16 * 1024
"""Characters of one entry of the log, a traceback included."""

ALREADY_RUNNING = 0
"""Exit status of an engine that finds another one at work: nothing is wrong."""


def run_engine(
    workspace: Path,
    *,
    ephemeral: bool = False,
    environment: Mapping[str, str] | None = None,
    flags: Flags | None = None,
) -> int:
    """The engine in the foreground, until it is told to end. Raises OpsdashError when it cannot start."""
    spoken = _Spoken("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(spoken)
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    where = places(workspace)
    before = last_known(where.workspace)
    lock = Lock(where)
    if not lock.take():
        log.info("another engine is at work in %s", where.workspace)
        return ALREADY_RUNNING
    _raise_descriptor_limit()
    from opsdash.engine.systemd import from_environment

    systemd = from_environment()  # before the environment is handed on
    start = _Start(where, ephemeral, {**os.environ, **(environment or {})}, flags, before, systemd)
    try:
        return asyncio.run(_engine(start, spoken))
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class _Start:
    """How an engine is to start. before: where one of this workspace was last at home.  systemd: how to reach it."""

    where: Places
    ephemeral: bool
    environment: Mapping[str, str]
    flags: Flags | None
    before: Path | None
    systemd: Systemd


class _Spoken(logging.Formatter):
    """What the log says: without secrets, and without anything that a terminal would obey."""

    masker: Masker | None = None

    def format(self, record: logging.LogRecord) -> str:
        """One entry; masked first, since a secret that was made visible or cut is no longer found."""
        text = super().format(record)
        return clean_lines(text if self.masker is None else self.masker.mask(text), LOG_LIMIT)


async def _engine(start: _Start, spoken: _Spoken) -> int:
    from opsdash.engine.clock import system_clock
    from opsdash.engine.engine import Engine
    from opsdash.engine.lastgood import LastGoodFiles
    from opsdash.service.server import Service
    from opsdash.service.watching import report_problems, watch_files

    where, environment = start.where, start.environment
    systemd = start.systemd
    stop: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    _handle_signals(stop)
    remembered = LastGoodFiles(where.workspace, where.last_good, environment)
    loaded, before = remembered.load(system_clock().wall)
    spoken.masker = loaded.secrets
    reach = _reach(start, loaded)
    loaded = reach.noted(loaded)
    report_problems(loaded)
    demo = "DEMO_CONTROL" in environment
    stores = _stores(where, loaded)
    engine = Engine(
        workspace=where.workspace,
        loaded=loaded,
        before=before,
        stores=stores,
        demo=demo,
        sheets=where.sheets,
        state=where.state,
    )
    service = Service(engine, where, lambda why: _finish(stop, why), environment, reach.door)
    await engine.start()
    await remembered.keep(engine)  # before anybody can begin something that a change of the files must not lose
    await service.start()
    now = system_clock()
    try:
        write_engine_file(where, EngineFile(os.getpid(), __version__, API, str(where.socket), now.wall))
    except OSError as error:
        log.warning("%s cannot be written: %s", where.engine_file, error.strerror)
    _let_in(reach, engine)
    log.info("engine %s at work in %s with %d checks", __version__, where.workspace, len(loaded.bindings))
    _collect_seldom()
    from opsdash.engine.tasks import cancel, spawn

    watchers = [spawn(watch_files(engine, reach, environment, remembered), "files")]
    systemd.tell(READY=1)
    watchdog = spawn(systemd.watch(engine.signs, lambda: engine.stopping), "systemd")
    if start.ephemeral:
        watchers.append(spawn(_end_with_last_client(engine, stop), "clients"))
    why = await stop
    log.info("ending: %s", why)
    systemd.tell(STOPPING=1, STATUS=f"ending: {why}")
    await cancel(*watchers)
    await engine.stop(why)
    await service.close()
    await cancel(watchdog)
    with contextlib.suppress(FileNotFoundError):
        where.engine_file.unlink()
    return 0


def _collect_seldom() -> None:
    """What the start has made stays; and a run of a check makes many small values and no cycles among them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def _reach(start: _Start, loaded: Loaded) -> Reach:
    """Who reaches the engine. What is wrong with that is told before anything is polled. Raises EngineError."""
    from opsdash.config.listening import Flags
    from opsdash.service.reach import Reach

    where, before = start.where, start.before
    reach = Reach(where, loaded.settings.engine)
    close_to_group(where)
    if before is not None and before != where.state and (before / "journal").exists() and not where.journal.exists():
        reach.began_anew(before)
    reach.open_door(start.flags or Flags())
    if reach.door is not None:
        loaded.secrets.add(reach.door.token)
    return reach


def _let_in(reach: Reach, engine: Engine) -> None:
    """Open the engine to its group, and say who else can come."""
    told = set(engine.loaded.problems)
    reach.let_group_in()
    engine.loaded = reach.noted(engine.loaded)
    for problem in engine.loaded.problems:
        if problem not in told:
            log.warning("%s", problem)
    if reach.door is None:
        return
    from opsdash.config.workspace import in_the_clear

    log.info("listening on %s; the bearer token is in %s", reach.door.url, reach.door.token_file)
    if reach.door.listening.certificate is None and not reach.door.address.is_loopback:
        log.warning("%s; %s", *in_the_clear(reach.door.address))


def _stores(where: Places, loaded: Loaded) -> Stores:
    from opsdash.engine.stores import Stores
    from opsdash.storage.documents import Documents
    from opsdash.storage.journal import Journal
    from opsdash.storage.texts import Texts
    from opsdash.storage.trust import Trust

    return Stores(
        journal=Journal.open(where.journal),
        documents=Documents(where.documents),
        history=_history(where, loaded.settings.retention),
        texts=Texts(where.texts),
        trust=Trust.of(loaded.environment, where.workspace),
    )


def _history(where: Places, kept: Kept) -> History:
    """History where it belongs, else where there is room: without charts there is still somebody who watches."""
    from opsdash.errors import HistoryError
    from opsdash.storage.history import History
    from opsdash.storage.samples import Retention

    try:
        return History(where.history, retention=Retention(kept.samples, kept.minutes, kept.hours))
    except HistoryError as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="opsdash-history-"))
        try:
            history = History(elsewhere / "history.sqlite")
        except HistoryError:
            shutil.rmtree(elsewhere, ignore_errors=True)
            raise error from None
        log.error("%s; until the next start history is kept in %s", error, elsewhere)  # noqa: TRY400 - it says all
        return history


def _handle_signals(stop: asyncio.Future[str]) -> None:
    """TERM and INT end the engine in good order; it survives the hang-up of a terminal.

    The hang-up is handled, not ignored: what is ignored is ignored by every program that the engine starts, too.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _finish, stop, f"signal {signal.Signals(number).name}")
    loop.add_signal_handler(signal.SIGHUP, log.info, "the terminal has hung up; the engine goes on")


def _finish(stop: asyncio.Future[str], why: str) -> None:
    if not stop.done():
        stop.set_result(why)


async def _end_with_last_client(engine: Engine, stop: asyncio.Future[str]) -> None:
    loop = asyncio.get_running_loop()
    alone_since = loop.time() + FIRST_CLIENT_WITHIN - LAST_CLIENT_GONE_FOR
    served = 0
    while True:
        await asyncio.sleep(0.5)
        if engine.hub.subscribers or engine.in_flight or engine.hub.served > served:
            served = engine.hub.served
            alone_since = loop.time()
        elif loop.time() - alone_since > LAST_CLIENT_GONE_FOR:
            _finish(stop, "the last client has gone")
            return


def _raise_descriptor_limit() -> None:
    """Every check needs a descriptor while it runs; the usual soft limit of 1,024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65536
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_board(
    workspace: Path,
    *,
    environment: Mapping[str, str] | None = None,
    ephemeral: bool = False,
    claim: str | None = None,
    read_only: bool = False,
) -> int:
    """The board on a workspace, whose engine is started if none runs. Returns the exit status."""
    from opsdash.service.attach import spawn_engine
    from opsdash.service.client import EngineSession

    where = places(workspace)
    spawned = connects(where) is not True
    if spawned:
        spawn_engine(workspace, environment=environment, ephemeral=ephemeral)
    from opsdash.board.app import run_board as run
    from opsdash.board.preferences import load_preferences, preferences_file

    liked = load_preferences(preferences_file())
    on_leaving = where.state / ON_LEAVING
    remembered = _remembered(on_leaving)
    chosen: list[str] = []

    def revive() -> None:
        spawn_engine(workspace, environment=environment, ephemeral=ephemeral)

    def session() -> EngineSession:
        name = os.urandom(8).hex()
        return EngineSession(
            where, claim=claim, read_only=read_only, revive=revive, spawned=spawned, rings=True, name=name
        )

    try:
        code = run(
            session,
            read_only=read_only,
            theme=liked.theme,
            keys=liked.keys,
            mouse=liked.mouse,
            desktop=liked.desktop,
            ask_on_quit=not ephemeral and not read_only and remembered is None and is_ours(where),
            on_leave=chosen.append,
        )
    except ValueError as error:
        raise ConfigError(f"{preferences_file()}: {error}") from error
    if not ephemeral and not read_only:
        _leave(session(), remembered or (chosen[0] if chosen else None), on_leaving)
    return code


def _remembered(file: Path) -> str | None:
    """What was answered when the board of this workspace was left for the first time."""
    try:
        answer = file.read_text().strip()
    except OSError:
        return None
    return answer if answer in ("keep", "stop") else None


def _leave(session: EngineSession, choice: str | None, remember: Path) -> None:
    """Let the engine go on watching, or stop it, as was answered, and remember that. None: nobody answered."""
    from opsdash.service.session import SessionError

    if choice is not None:
        with contextlib.suppress(OSError):
            write_private(remember, f"{choice}\n")
    if choice != "stop":
        return
    try:
        asyncio.run(session.stop())
    except SessionError as error:
        sys.stderr.write(f"opsdash: the engine goes on: {error}\n")
