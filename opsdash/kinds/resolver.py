"""One name lookup for all kinds, so that a name whose lookup hangs delays nobody but itself.

`getaddrinfo` blocks a thread, and nothing frees that thread before the system's own time limit (often 10 to
40 s): cancelling the waiting coroutine does not. On asyncio's default executor, which has a handful of
threads, a few hanging names therefore starve every other lookup, and a dashboard reports the whole
operation dead. So:

* an own pool of threads, large, and daemonic: a hanging lookup keeps neither others nor the process waiting;
* a thread whose lookup takes longer than `slow_after` no longer counts: one more may start in its place;
* a name that was slow last time waits in a small pool of its own, where the slow starve only each other,
  until one of its lookups is fast again;
* single flight: however many ask for one name at the same time, it is looked up once. Whoever stops waiting
  does not end the lookup for the others.

Results are not remembered (unless `remember` says so): every check measures its own lookup, and sees a
changed record at once. IP literals need no thread at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

Lookup = Callable[..., Sequence[tuple[Any, ...]]]
"""What `socket.getaddrinfo` is: called as `lookup(host, None, type=SOCK_STREAM)` in a thread."""

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
Address = tuple[int, SocketAddress]
"""A socket family and an address that `socket.connect` takes."""

_IDLE_SECONDS: Final = 30.0
_SPARE_THREADS: Final = 64


class Resolver:
    """Looks up names for one event loop; see the module's docstring for what it guards against."""

    def __init__(
        self,
        lookup: Lookup = socket.getaddrinfo,
        *,
        threads: int = 64,
        slow_threads: int = 8,
        slow_after: float = 1.0,
        remember: float = 0.0,
    ) -> None:
        self._lookup = lookup
        self._slow_after = slow_after
        self._remember = remember
        self._main = _Threads("dns", threads)
        self._slow = _Threads("dns-slow", slow_threads)
        self._slow_names: set[str] = set()
        self._flights: dict[str, _Flight] = {}
        self._known: dict[str, tuple[float, list[Address]]] = {}
        self._closed = False

    @property
    def slow_names(self) -> frozenset[str]:
        """Names whose last lookup was slow, or still hangs."""
        return frozenset(self._slow_names)

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of `host`, in the system's order of preference, never empty.

        Raises `socket.gaierror`, as the system reports it.
        """
        literal = _literal(host)
        if literal is not None:
            return [_with_port(literal, port)]
        if self._known and (known := self._known.get(host)) and known[0] > time.monotonic():
            return [_with_port(address, port) for address in known[1]]
        flight = self._flights.get(host)
        if flight is None:
            flight = self._start(host)
        found = await asyncio.shield(flight.done)
        if isinstance(found, socket.gaierror):
            raise socket.gaierror(*found.args)
        return [_with_port(address, port) for address in found]

    def close(self) -> None:
        """End idle threads, fail what still waits. A lookup that hangs is left behind, and holds nothing."""
        self._closed = True
        for flight in tuple(self._flights.values()):
            self._finish(flight, socket.gaierror(socket.EAI_AGAIN, "the resolver was closed"))
        self._main.close()
        self._slow.close()

    def _start(self, host: str) -> _Flight:
        if self._closed:
            raise socket.gaierror(socket.EAI_AGAIN, "the resolver was closed")
        flight = _Flight(host, asyncio.get_running_loop())
        self._flights[host] = flight
        flight.pool = self._slow if host in self._slow_names else self._main
        flight.timer = flight.loop.call_later(self._slow_after, self._check_overdue, flight)
        flight.pool.run(lambda: self._work(flight))
        return flight

    def _work(self, flight: _Flight) -> None:
        """In a thread: look up, and hand the outcome to the loop."""
        flight.started = time.monotonic()
        found: list[Address] | socket.gaierror
        try:
            rows = self._lookup(flight.host, None, type=socket.SOCK_STREAM)
            found = [(int(row[0]), row[4]) for row in rows]
            if not found:
                found = socket.gaierror(socket.EAI_NONAME, "the name has no address")
        except socket.gaierror as error:
            found = error
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            found = socket.gaierror(socket.EAI_NONAME, f"the name cannot be looked up: {error}")
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            flight.loop.call_soon_threadsafe(self._finish, flight, found)

    def _check_overdue(self, flight: _Flight) -> None:
        """Runs `slow_after` after the start of the lookup, not of its wait for a thread."""
        waited = 0.0 if flight.started is None else time.monotonic() - flight.started
        if waited < self._slow_after:
            flight.timer = flight.loop.call_later(self._slow_after - waited, self._check_overdue, flight)
            return
        flight.overdue = True
        self._slow_names.add(flight.host)
        flight.pool.lend()

    def _finish(self, flight: _Flight, found: list[Address] | socket.gaierror) -> None:
        flight.timer.cancel()
        if flight.overdue:
            flight.pool.give_back()
            flight.overdue = False
        elif not isinstance(found, socket.gaierror):
            self._slow_names.discard(flight.host)
        if flight.done.done():
            return
        self._flights.pop(flight.host, None)
        if self._remember and not isinstance(found, socket.gaierror):
            self._known[flight.host] = (time.monotonic() + self._remember, found)
        flight.done.set_result(found)


class _Flight:
    """One lookup on its way, and everybody who waits for it. A pool's thread writes `started` alone."""

    __slots__ = ("done", "host", "loop", "overdue", "pool", "started", "timer")

    def __init__(self, host: str, loop: asyncio.AbstractEventLoop) -> None:
        self.host = host
        self.loop = loop
        self.done: asyncio.Future[list[Address] | socket.gaierror] = loop.create_future()
        self.pool: _Threads
        self.timer: asyncio.TimerHandle
        self.started: float | None = None
        self.overdue = False


class _Threads:
    """Daemonic threads that start on demand, up to a limit, and end when idle.

    Not `ThreadPoolExecutor`: the interpreter joins its threads at exit, so one hanging lookup would hold it.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._lent = 0
        self._alive = 0
        self._idle = 0
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def run(self, job: Callable[[], None]) -> None:
        """Run `job` in a thread, as soon as one is free."""
        with self._lock:
            self._jobs.put(job)
            if self._idle:
                self._idle -= 1
            else:
                self._start_if_allowed()

    def lend(self) -> None:
        """Allow one thread more, because one of ours is stuck."""
        with self._lock:
            self._lent += 1
            if not self._jobs.empty():
                self._start_if_allowed()

    def give_back(self) -> None:
        with self._lock:
            self._lent -= 1

    def close(self) -> None:
        with self._lock:
            for _ in range(self._alive):
                self._jobs.put(None)

    def _allowed(self) -> int:
        return self._limit + min(self._lent, _SPARE_THREADS)

    def _start_if_allowed(self) -> None:
        if self._alive < self._allowed():
            self._alive += 1
            threading.Thread(target=self._serve, name=f"opsdash-{self._name}", daemon=True).start()

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            job()

    def _next(self) -> Callable[[], None] | None:
        """The next job; None when this thread is one too many, has idled for long, or the pool was closed."""
        with self._lock:
            if self._alive > self._allowed():
                self._alive -= 1
                return None
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                self._idle += 1
            else:
                self._alive -= job is None
                return job
        try:
            job = self._jobs.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            job = None
        with self._lock:
            if job is None:
                # `run` may have counted on this thread in the very moment in which it gave up.
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    self._idle = max(0, self._idle - 1)
            self._alive -= job is None
        return job


@lru_cache(maxsize=4096)
def _literal(host: str) -> Address | None:
    """The address that `host` spells, None where it is a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return (family, (host, 0)) if family == socket.AF_INET else (family, (host, 0, 0, 0))
    return None


def _with_port(address: Address, port: int) -> Address:
    family, place = address
    if len(place) == 2:
        return family, (place[0], port)
    return family, (place[0], port, place[2], place[3])
