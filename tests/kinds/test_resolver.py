"""The one resolver: hanging names starve nobody else, and one name is looked up once at a time."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.kinds.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))


class NameService:
    """What `getaddrinfo` would be on a network where names that begin with `hang` never get an answer."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.began = threading.Event()
        self.asked: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        with self.lock:
            self.asked.append(host)
        self.began.set()
        if host.startswith("hang"):
            self.released.wait(30)
        if host.startswith("missing"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [ROW]


@pytest.fixture
def names() -> Iterator[NameService]:
    service = NameService()
    yield service
    service.released.set()


async def test_an_address_literal_needs_no_lookup(names: NameService) -> None:
    resolver = Resolver(names)
    assert await resolver.resolve("127.0.0.1", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert await resolver.resolve("::1", 443) == [(socket.AF_INET6, ("::1", 443, 0, 0))]
    assert names.asked == []


async def test_a_name_that_does_not_exist_raises_what_the_system_says(names: NameService) -> None:
    resolver = Resolver(names)
    with pytest.raises(socket.gaierror, match="not known") as caught:
        await resolver.resolve("missing.example", 80)
    assert caught.value.errno == socket.EAI_NONAME


async def test_a_name_that_cannot_even_be_asked_for_is_a_name_that_does_not_exist() -> None:
    resolver = Resolver()
    with pytest.raises(socket.gaierror, match="cannot be looked up"):
        await resolver.resolve("a" * 80 + ".example", 80)


async def test_many_who_ask_for_one_name_at_once_cause_one_lookup(names: NameService) -> None:
    resolver = Resolver(names)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(resolver.resolve("hang.example", port)) for port in range(20)]
        await asyncio.to_thread(names.began.wait, 5)
        names.released.set()
    assert [task.result()[0][1][1] for task in waiting] == list(range(20))
    assert names.asked == ["hang.example"]


async def test_nothing_is_remembered_unless_asked_for(names: NameService) -> None:
    forgetful, remembering = Resolver(names), Resolver(names, remember=60)
    for _ in range(2):
        await forgetful.resolve("a.example", 80)
        await remembering.resolve("b.example", 80)
    assert names.asked.count("a.example") == 2
    assert names.asked.count("b.example") == 1


async def test_one_who_stops_waiting_does_not_end_the_lookup_for_the_others(names: NameService) -> None:
    resolver = Resolver(names)
    patient = asyncio.ensure_future(resolver.resolve("hang.example", 80))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await resolver.resolve("hang.example", 80)
    names.released.set()
    assert await patient == [(socket.AF_INET, ("192.0.2.7", 80))]


async def test_with_a_tenth_of_the_names_hanging_all_others_are_found(names: NameService) -> None:
    resolver = Resolver(names, slow_after=0.2)

    async def check(host: str) -> bool:
        try:
            async with asyncio.timeout(3.0):
                await resolver.resolve(host, 80)
        except TimeoutError:
            return False
        return True

    for _ in range(2):
        hosts = [f"{'hang' if number % 10 == 0 else 'fine'}-{number}.example" for number in range(1000)]
        found = dict(zip(hosts, await asyncio.gather(*map(check, hosts)), strict=True))
        assert [host for host, ok in found.items() if ok] == [host for host in hosts if host.startswith("fine")]


async def test_slow_names_wait_in_a_pool_of_their_own_until_they_are_fast_again(names: NameService) -> None:
    resolver = Resolver(names, threads=1, slow_threads=1, slow_after=0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await resolver.resolve("hang.example", 80)
    assert resolver.slow_names == {"hang.example"}
    names.released.set()
    await resolver.resolve("hang.example", 80)  # joins the first lookup, which was slow
    assert resolver.slow_names == {"hang.example"}
    await resolver.resolve("hang.example", 80)
    assert resolver.slow_names == frozenset()


async def test_a_thread_that_hangs_is_replaced_so_that_even_a_single_one_serves_on(names: NameService) -> None:
    resolver = Resolver(names, threads=1, slow_after=0.01)
    hanging = asyncio.ensure_future(resolver.resolve("hang.example", 80))
    async with asyncio.timeout(5):
        for number in range(5):
            await resolver.resolve(f"fine-{number}.example", 80)
    names.released.set()
    await hanging


async def test_closing_fails_those_who_wait_and_refuses_new_ones(names: NameService) -> None:
    resolver = Resolver(names)
    waiting = asyncio.ensure_future(resolver.resolve("hang.example", 80))
    await asyncio.to_thread(names.began.wait, 5)
    resolver.close()
    with pytest.raises(socket.gaierror, match="closed"):
        await waiting
    with pytest.raises(socket.gaierror, match="closed"):
        await resolver.resolve("fine.example", 80)


def test_a_lookup_that_hangs_does_not_keep_the_process_alive() -> None:
    program = """
import asyncio, threading
from opsdash.kinds.resolver import Resolver

async def main():
    resolver = Resolver(lambda *_, **__: threading.Event().wait())
    try:
        async with asyncio.timeout(0.1):
            await resolver.resolve("hang.example", 80)
    except TimeoutError:
        print("gave up")

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout == "gave up\n"
