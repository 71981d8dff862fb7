"""The life of an engine as a process: one per workspace, it survives its terminal, and ends in good order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.errors import EngineError
from opsdash.service.attach import attach
from opsdash.service.places import LONGEST_SOCKET_PATH, is_locked, places, read_engine_file
from opsdash.service.wire import events
from tests.engine.support import (
    Mailer,
    eventually,
    eventually_asked,
    hang,
    http,
    mail,
    serving,
    web,
    write_workspace,
)
from tests.lifecycle.support import command, engine, journal, of

if TYPE_CHECKING:
    from opsdash.service.client import EngineSession


def nothing_to_do(folder: Path) -> Path:
    return write_workspace(folder, web=web("http://127.0.0.1:9/", every="60s"))


# --- one per workspace -------------------------------------------------------------------------------------------


async def test_of_two_that_start_at_once_one_is_the_engine_and_the_other_ends_well(tmp_path: Path) -> None:
    folder = nothing_to_do(tmp_path / "w")
    async with engine(folder, wait=False) as one, engine(folder, wait=False) as two:
        _, pending = await asyncio.wait(
            [asyncio.ensure_future(each.process.wait()) for each in (one, two)],
            return_when=asyncio.FIRST_COMPLETED,
            timeout=20,
        )
        loser, winner = (one, two) if one.process.returncode is not None else (two, one)
        assert loser.process.returncode == 0
        assert "another engine is at work" in loser.said
        await winner.until_it_answers()
        file = read_engine_file(winner.where)
        assert file is not None
        assert file.pid == winner.process.pid
        assert len(of(folder, "engine_started")) == 1
        for task in pending:
            task.cancel()


async def test_two_clients_that_need_an_engine_at_once_get_the_same_one(tmp_path: Path) -> None:
    folder = nothing_to_do(tmp_path / "w")
    sessions = await asyncio.gather(*(attach(folder, ephemeral=True) for _ in range(2)))
    pids = {(await session.about())["pid"] for session in sessions}
    assert len(pids) == 1
    await stop(sessions[0])


async def stop(session: EngineSession) -> None:
    await session.stop(force=True)
    await eventually(lambda: not is_locked(session.where))


async def test_an_engine_that_a_client_starts_has_a_session_of_its_own_and_a_log(tmp_path: Path) -> None:
    folder = nothing_to_do(tmp_path / "w")
    session = await attach(folder)
    try:
        pid = (await session.about())["pid"]
        assert os.getsid(pid) == pid != os.getsid(0)
        streams = [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]
        where = places(folder)
        assert streams == ["/dev/null", str(where.log), str(where.log)]
        assert "at work in" in where.log.read_text()
    finally:
        await stop(session)
    assert "ending: asked by" in places(folder).log.read_text()


async def test_a_client_hears_why_the_engine_that_it_started_did_not_start(tmp_path: Path) -> None:
    folder = nothing_to_do(tmp_path / "w")
    places(folder).state.mkdir()
    (places(folder).state / "journal").write_text("a file where a folder belongs")
    with pytest.raises(EngineError, match=r"the engine did not start: .*journal"):
        await attach(folder)
    with pytest.raises(EngineError, match="no engine is running"):
        await attach(folder, spawn=False)


async def test_what_is_left_of_a_killed_engine_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = nothing_to_do(tmp_path / "w")
    async with engine(folder) as one:
        await one.kill()
        assert one.where.socket.exists()
        assert one.where.engine_file.exists()
    async with engine(folder) as two:
        file = read_engine_file(two.where)
        assert file is not None
        assert file.pid == two.process.pid
        assert of(folder, "engine_started")[-1].get("stopped_at") is None


async def test_a_workspace_with_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    folder = nothing_to_do(tmp_path / ("long" * 20) / ("path" * 20))
    where = places(folder)
    assert len(os.fsencode(where.state / "engine.sock")) > LONGEST_SOCKET_PATH
    async with engine(folder) as one:
        assert where.socket.parent != where.state
        assert where.socket.stat().st_mode & 0o077 == 0
        assert await one.status("web")
        one.signal(signal.SIGTERM)
        assert await one.ended() == 0
    assert not where.socket.exists()


async def test_a_module_in_the_folder_from_which_it_is_started_is_none_of_the_engines(tmp_path: Path) -> None:
    folder = nothing_to_do(tmp_path / "w")
    (folder / "json.py").write_text("raise SystemExit('this is the wrong json')\n")
    session = await attach(folder)
    await stop(session)


# --- the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_in_good_order_within_a_second_although_clients_listen(tmp_path: Path, number: int) -> None:
    async with serving(home=http()) as target:
        folder = write_workspace(tmp_path / "w", web=web(f"{target.url}/home", every="200ms"))
        async with engine(folder) as one:
            await one.until_status("web", "ok")
            heard: list[list[str]] = []

            async def listen() -> None:
                heard.append([event.name async for event in events(one.where.socket, "/v1/events")])

            listeners = [asyncio.ensure_future(listen()) for _ in range(3)]
            await eventually_asked(lambda: clients(one.session, 3))
            loop = asyncio.get_running_loop()
            began = loop.time()
            one.signal(number)
            assert await one.ended() == 0
            took = loop.time() - began
            await asyncio.gather(*listeners)
            assert [names[0] for names in heard] == ["snapshot"] * 3
            assert [names[-1] for names in heard] == ["bye"] * 3
            assert took < 2, took  # one second, on a machine that does nothing else
        where = places(folder)
        assert not where.socket.exists()
        assert not where.engine_file.exists()
        assert not is_locked(where)
        assert of(folder, "engine_stopped")[-1]["why"] == f"signal {signal.Signals(number).name}"


async def clients(session: EngineSession, count: int) -> bool:
    found: int = (await session.about())["clients"]
    return found == count


async def test_it_goes_on_when_its_terminal_hangs_up(tmp_path: Path) -> None:
    """An engine in the foreground of a terminal that is closed: it gets SIGHUP, and whatever it writes is an error."""
    async with serving(home=http()) as target:
        folder = write_workspace(tmp_path / "w", web=web(f"{target.url}/home", every="200ms"))
        controller, terminal = pty.openpty()
        setup = "import os, fcntl, termios, sys; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        setup += "os.execv(sys.argv[1], sys.argv[1:])"
        child = subprocess.Popen(  # noqa: ASYNC220 - it is started before anything else happens
            [sys.executable, "-c", setup, *command(folder)], stdin=terminal, stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        try:
            where = places(folder)
            await eventually(where.engine_file.exists, within=20)
            hits = sum(target.hits.values())
            os.close(controller)
            await eventually(lambda: sum(target.hits.values()) > hits + 3)
            target.routes["/home"] = http(status=500)  # what it says now, it says to nobody
            await eventually(lambda: any(each["status"] == "down" for each in of(folder, "component_changed")))
            assert child.poll() is None
        finally:
            child.terminate()
            assert await asyncio.to_thread(child.wait, 10) == 0


async def test_programs_of_the_engine_can_still_be_told_of_a_hang_up(tmp_path: Path) -> None:
    """What ignores a signal hands that on to every program that it starts; what handles it does not."""
    said = tmp_path / "said"
    probe = f"{{kind: command, argv: [sh, -c, 'grep SigIgn /proc/self/status > {said}.new; mv {said}.new {said}']}}"
    text = f"defaults: {{every: 1s}}\nchecks: {{probe: {probe}}}\n"
    async with engine(write_workspace(tmp_path / "w", probe=text)):
        await eventually(said.exists)
        ignored = int(said.read_text().split()[1], 16)
        assert not ignored & (1 << (signal.SIGHUP - 1))


async def test_an_ephemeral_engine_ends_with_its_last_client(tmp_path: Path) -> None:
    async with engine(nothing_to_do(tmp_path / "w"), "--ephemeral") as one:
        streams = [events(one.where.socket, "/v1/events") for _ in range(2)]
        for stream in streams:
            await anext(stream)
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]
        assert await one.ended() == 0
        assert "the last client has gone" in one.said


async def test_stopping_is_refused_while_a_switch_is_in_flight(tmp_path: Path) -> None:
    async with serving() as target:
        mailer = Mailer(target)
        folder = write_workspace(tmp_path / "w", email=mail(target.url, settle="60s"))
        async with engine(folder) as one:
            await one.until_status("email", "ok")
            await eventually_asked(lambda: redundant(one.session))
            await fail_over(one.session)
            await eventually(lambda: mailer.puts)
            with pytest.raises(Exception, match="not while something is in flight: email-failover-1"):
                await one.session.stop()
            await one.session.stop(force=True)
            assert await one.ended() == 0


async def redundant(session: EngineSession) -> bool:
    return all(row["redundancy"] == "ready" for row in (await session.snapshot())["rows"])


async def fail_over(session: EngineSession) -> str:
    plan: Any = await session.plan("email", "failover")
    names = ("component", "generation", "source", "target")
    verdict = await session.submit("failover", {name: plan[name] for name in names})
    assert verdict["accepted"], verdict
    return verdict["subject"]


# --- files -------------------------------------------------------------------------------------------------------


async def test_files_are_read_again_when_they_change_and_a_broken_edit_keeps_the_last_good_version(
    tmp_path: Path,
) -> None:
    async with serving(home=http()) as target:
        folder = write_workspace(tmp_path / "w", web=web(f"{target.url}/home", every="300ms"))
        async with engine(folder) as one:
            await one.until_status("web", "ok")
            write_workspace(folder, shop=web(f"{target.url}/shop", every="300ms"))
            await one.until_status("shop", "ok")
            (folder / "checks" / "web.yaml").write_text("checks: {home: [broken\n")
            await eventually_asked(lambda: has_problem(one.session, "checks/web.yaml"))
            hits = target.hits["GET /home"]
            await eventually(lambda: target.hits["GET /home"] > hits + 2)
            assert await one.status("web") == "ok"
            write_workspace(folder, web=web(f"{target.url}/other", every="300ms"))
            await eventually(lambda: target.hits["GET /other"] > 1)
            await eventually_asked(lambda: no_problem(one.session))
            (folder / "checks" / "shop.yaml").unlink()
            await one.until_status("shop", "")


async def has_problem(session: EngineSession, file: str) -> bool:
    return any(problem["file"] == file for problem in await session.problems())


async def no_problem(session: EngineSession) -> bool:
    return not await session.problems()


# --- a disk that does not take anything --------------------------------------------------------------------------


async def test_a_full_disk_is_said_plainly_at_the_start(tmp_path: Path) -> None:
    folder = nothing_to_do(tmp_path / "w")

    def tiny_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    async with engine(folder, wait=False, preexec_fn=tiny_files) as one:
        assert await one.ended(20) != 0
        last = one.said.strip().splitlines()[-1]
        assert "Traceback" not in last
        assert "opsdash: " in last
        assert ".opsdash" in last
    async with engine(folder) as two:
        assert await two.status("web")


async def test_a_disk_that_fills_up_refuses_what_is_wanted_and_the_wall_goes_on(tmp_path: Path) -> None:
    """RLIMIT_FSIZE is lowered below the journal's present size while the engine runs, and raised again."""
    async with serving(home=http()) as target:
        folder = write_workspace(tmp_path / "w", web=web(f"{target.url}/home", every="200ms"))
        async with engine(folder) as one:
            await one.until_status("web", "ok")
            segment = next((one.where.state / "journal").glob("*.jsonl"))
            limit_files(one.process.pid, segment.stat().st_size)
            verdict = await one.session.submit("pause", {"component": "web", "seconds": 60}, "k-pause")
            assert verdict["refused"] is not None
            assert verdict["refused"]["rule"] == "journal"
            assert "journal" in (await one.session.snapshot())["summary"]["journal_error"]
            target.routes["/home"] = http(status=500)
            await one.until_status("web", "down")
            limit_files(one.process.pid, resource.RLIM_INFINITY)
            await eventually(lambda: of(folder, "incident_opened"))
            await eventually_asked(lambda: no_journal_error(one.session))
            again = await one.session.submit("pause", {"component": "web", "seconds": 60}, "k-pause")
            assert again["accepted"], "what was refused may be wanted again"
            one.signal(signal.SIGTERM)
            assert await one.ended() == 0
        assert of(folder, "component_changed")[-2]["status"] == "down"


def limit_files(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def no_journal_error(session: EngineSession) -> bool:
    return not (await session.snapshot())["summary"]["journal_error"]


async def test_a_history_that_cannot_be_opened_costs_charts_and_nothing_else(tmp_path: Path) -> None:
    async with serving(home=http()) as target:
        folder = write_workspace(tmp_path / "w", web=web(f"{target.url}/home", every="200ms"))
        places(folder).history.mkdir(parents=True)
        async with engine(folder, environment={"TMPDIR": str(tmp_path)}) as one:
            await one.until_status("web", "ok")
            assert "until the next start history is kept in" in one.said
            (chart,) = (await one.session.history("web"))["checks"]
            assert chart["uptime"]["counts"]["ok"]


async def test_a_file_system_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    folder = nothing_to_do(tmp_path / "w")
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    wrapped = ["unshare", "-rm", "sh", "-c", script, "sh", str(folder), *command(folder)]
    try:
        process = await asyncio.create_subprocess_exec(
            *wrapped, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except FileNotFoundError:
        pytest.skip("needs unshare (apt install util-linux)")
    out, _ = await process.communicate()
    said = out.decode()
    if "mount:" in said or "unshare:" in said:
        pytest.skip(f"this machine allows no mount in a namespace of its own: {said.strip()}")
    assert process.returncode != 0
    assert "Traceback" not in said
    assert "opsdash: the state folder" in said
    assert "Read-only file system" in said


async def test_a_journal_of_a_newer_version_stops_the_start_with_a_word(tmp_path: Path) -> None:
    folder = nothing_to_do(tmp_path / "w")
    async with engine(folder) as one:
        one.signal(signal.SIGTERM)
        await one.ended()
    segment = next((places(folder).state / "journal").glob("*.jsonl"))
    lines = segment.read_text().splitlines()
    segment.write_text("\n".join([*lines, lines[-1].replace('"v":1', '"v":2')]) + "\n")
    async with engine(folder, wait=False) as two:
        assert await two.ended(20) != 0
        assert "version" in two.said
        assert "Traceback" not in two.said


# --- what it says ------------------------------------------------------------------------------------------------


async def test_the_log_holds_neither_secrets_nor_anything_that_a_terminal_obeys(tmp_path: Path) -> None:
    token = "s3cr3t-t0ken-of-the-shop"
    more = ", headers: {Authorization: 'Bearer ${SHOP_TOKEN}'}, expect: [json.nothing]"
    evil = http("\x1b]52;c;ZXZpbA==\x07" + token)
    async with serving(home=evil) as target:
        folder = write_workspace(tmp_path / "w", web=web(f"{target.url}/home", every="200ms", more=more))
        (folder / "checks" / "\x1b[2Jodd.yaml").write_text("checks: [\n")
        async with engine(folder, environment={"SHOP_TOKEN": token}) as one:
            await eventually(lambda: target.hits["GET /home"] > 2)
            assert target.requests[0].headers["authorization"] == f"Bearer {token}"
            one.signal(signal.SIGTERM)
            await one.ended()
            assert token not in one.said
            assert "\x1b" not in one.said
        for path in places(folder).state.rglob("*"):
            if path.is_file():
                assert token.encode() not in path.read_bytes(), path


async def test_it_raises_its_limit_of_open_files(tmp_path: Path) -> None:
    def few() -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))

    async with engine(nothing_to_do(tmp_path / "w"), preexec_fn=few) as one:
        soft, hard = resource.prlimit(one.process.pid, resource.RLIMIT_NOFILE)
        assert soft == hard > 256


async def test_an_action_that_runs_has_its_time_when_the_engine_is_told_to_end(tmp_path: Path) -> None:
    async with serving(hang=hang) as target:
        mailer = Mailer(target)
        folder = write_workspace(tmp_path / "w", email=mail(target.url, settle="60s"))
        async with engine(folder) as one:
            await eventually_asked(lambda: redundant(one.session))
            mailer.gate.clear()
            asking = asyncio.ensure_future(fail_over(one.session))
            await mailer.arrived.wait()
            await asking
            one.signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await one.ended(within=0.5)
            assert one.process.returncode is None
            mailer.gate.set()
            assert await one.ended() == 0
        assert [each["state"] for each in of(folder, "switch_advanced")] == ["acting", "settling"]
        assert journal(folder)[-1].type == "engine_stopped"
