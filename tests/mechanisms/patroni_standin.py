"""A stand-in for a PostgreSQL cluster under Patroni: the REST API of its members, without PostgreSQL and in a second.

It answers as Patroni 4.1.5 does: the same order of checks, the same statuses and texts, HTTP/1.0 without a length, a
connection that is closed without a word when the store cannot be read. Behind it the same things happen as in Patroni,
only sooner: the request writes a key, the leader finds it in its next loop, steps down, the candidate takes the lock,
the old leader comes back as a replica on the new timeline. `test_patroni_real.py` compares it with the real one.

    python -m tests.mechanisms.patroni_standin --members pg0,pg1,pg2

runs it as a process, which prints one line of JSON: the members' URLs, and that of its control (GET: what it is in;
GET /writes: as a proxy in front of the cluster would answer; PATCH: `Standin.change`).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSION = "4.1.5"
SCOPE = "demo"
ORIGIN = 0x4000000
"""Where the write-ahead log stands."""


@dataclass
class Member:
    """One member. All but `name` and `port` may be changed from outside.

    alive: its machine is up; else connections are refused.  frozen: it accepts them and does nothing (SIGSTOP).
    postgres: "primary" or "replica", which is not who holds the lock.  lag: bytes, None for unknown.
    says: the state that it tells of itself, where the store is behind.
    stumbles: it does not take the lock when it is its turn.  sees: the answer that it gives for `/cluster`, as a member
    does that is cut off from the store's majority.
    """

    name: str
    port: int = 0
    alive: bool = True
    frozen: bool = False
    postgres: str = "replica"
    state: str = "streaming"
    timeline: int | None = 1
    lag: int | None = 0
    tags: dict[str, Any] = field(default_factory=dict)
    watchdog_failed: bool = False
    says: str | None = None
    stumbles: bool = False
    sees: dict[str, Any] | None = None
    seen_at: float = 0.0

    @property
    def runs(self) -> bool:
        return self.alive and not self.frozen

    @property
    def may_lead(self) -> bool:
        return self.runs and not self.tags.get("nofailover") and not self.watchdog_failed

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Canned:
    """An answer to the next request for a change. effect: whether it is carried out; close, hang: instead of words."""

    status: int = 200
    text: str = ""
    effect: bool = False
    close: bool = False
    hang: bool = False


class Standin:
    """A cluster; the first of `members` leads.

    loop_wait, ttl: as Patroni's.  polls, poll_every: how long a request waits for its effect.  store: "up", "down",
    "read-only", or "written" (what is written arrives, and Patroni takes it for failed).  requests: member, what it was
    asked, and whether with a login.
    """

    def __init__(
        self,
        members: tuple[str, ...] = ("pg0", "pg1", "pg2"),
        *,
        login: tuple[str, str] | None = None,
        loop_wait: float = 0.05,
        ttl: float = 0.6,
        polls: int = 20,
        poll_every: float = 0.05,
        name_in_status: bool = True,
    ) -> None:
        self.lock = threading.RLock()
        self.news = threading.Condition(self.lock)
        self.members = {name: Member(name) for name in members}
        self.leader: str | None = members[0]
        self.timeline = 1
        self.failover: dict[str, Any] | None = None
        self.scheduled: dict[str, str] | None = None
        self.paused = False
        self.synchronous: str | None = None
        self.sync_standbys: list[str] = []
        self.store = "up"
        self.looping = True
        self.answers: list[Canned] = []
        self.posts: list[dict[str, Any]] = []
        self.probes = 0
        self.requests: list[tuple[str, str, bool]] = []
        self.login = login
        self.loop_wait = loop_wait
        self.ttl = ttl
        self.polls = polls
        self.poll_every = poll_every
        self.name_in_status = name_in_status
        self.closing = threading.Event()
        self._lock_renewed = 0.0
        self._servers: dict[str, ThreadingHTTPServer] = {}
        self.members[members[0]].postgres, self.members[members[0]].state = "primary", "running"

    # --- from outside ----------------------------------------------------------------------------------------------

    @property
    def urls(self) -> list[str]:
        return [member.url for member in self.members.values()]

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def change(self, **knobs: Any) -> None:
        """Set attributes; `members` by name: `change(paused=True, members={"pg1": {"lag": None}})`."""
        with self.lock:
            for name, changes in knobs.pop("members", {}).items():
                for key, value in changes.items():
                    setattr(self.members[name], key, value)
            for answer in knobs.pop("answers", ()):
                self.answers.append(Canned(**answer))
            for key, value in knobs.items():
                if not hasattr(self, key):
                    raise ValueError(f"there is no {key}")
                setattr(self, key, value)
            self._serve_those_alive()
            self.news.notify_all()

    def told(self) -> dict[str, Any]:
        """What it is in, for those who look from another process."""
        with self.lock:
            names = ("leader", "timeline", "failover", "paused", "store", "looping", "posts", "probes")
            found = {name: getattr(self, name) for name in names}
            return {**found, "members": {name: asdict(member) for name, member in self.members.items()}}

    def writing(self) -> str | None:
        """Where a proxy sends writes to that goes by `/primary`."""
        with self.lock:
            leader = self.members.get(self.leader or "")
            return leader.name if leader is not None and leader.runs and leader.postgres == "primary" else None

    def until_led_by(self, leader: str | None) -> None:
        """Wait until that member leads, and everybody else follows."""

        def holds() -> bool:
            followers = (member for name, member in self.members.items() if name != leader and member.runs)
            return self.leader == leader and all(member.state == "streaming" for member in followers)

        self.until(holds)

    def until(self, holds: Callable[[], bool], *, within: float = 5.0) -> None:
        """Wait until it holds; it is looked at after each loop."""
        with self.news:
            if not self.news.wait_for(holds, within):
                raise TimeoutError(f"it did not come about within {within} s: {self.told()}")

    def lists(self, name: str) -> bool:
        """Whether a member's key is in the store."""
        return name in {each["name"] for each in self.cluster()["members"]}

    @contextlib.contextmanager
    def running(self) -> Iterator[Standin]:
        """Its members answer, and its loops run."""
        with self.lock:
            self._serve_those_alive()
            for member in self.members.values():
                member.seen_at = time.monotonic()
            self._lock_renewed = time.monotonic()
        loops = threading.Thread(target=self._loop, daemon=True)
        loops.start()
        try:
            yield self
        finally:
            self.closing.set()
            with self.lock:
                self.news.notify_all()
            for name in tuple(self._servers):
                self._stop_serving(name)
            loops.join(5)

    def _serve_those_alive(self) -> None:
        for member in self.members.values():
            if member.alive and member.name not in self._servers:
                self._start_serving(member)
                if member.seen_at and member.name != self.leader:
                    member.postgres, member.state, member.timeline = "replica", "stopped", None
            elif not member.alive and member.name in self._servers:
                self._stop_serving(member.name)

    def _start_serving(self, member: Member) -> None:
        handler = type("Handler", (_Handler,), {"standin": self, "me": member})
        server = ThreadingHTTPServer(("127.0.0.1", member.port), handler)
        server.daemon_threads = True
        member.port = server.server_address[1]
        self._servers[member.name] = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def _stop_serving(self, name: str) -> None:
        server = self._servers.pop(name)
        server.shutdown()
        server.server_close()

    # --- what Patroni does in its loops ------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self.closing.wait(self.loop_wait):
            with self.lock:
                if self.looping and self.store == "up":
                    self.step(time.monotonic())
                self.news.notify_all()

    def step(self, now: float) -> None:
        """One loop of all members."""
        for member in self.members.values():
            if member.runs:
                member.seen_at = now
        self._follow()
        leader = self.members.get(self.leader or "")
        if leader is not None and leader.runs:
            self._lock_renewed = now
            self._lead(leader)
        elif leader is None or now - self._lock_renewed > self.ttl:
            self.leader = None
            self._elect()

    def _follow(self) -> None:
        """Replicas come nearer to the leader: stopped, starting, running, streaming."""
        path = {"stopped": "starting", "starting": "running", "running": "streaming"}
        for member in self.members.values():
            if not member.runs or member.name == self.leader:
                continue
            if member.postgres == "primary":
                if self.leader is not None and not self.paused:
                    member.postgres, member.state, member.timeline = "replica", "stopped", None
                continue
            member.state = path.get(member.state, member.state)
            if member.state == "streaming" and self.leader is not None:
                member.timeline = self.timeline

    def _lead(self, leader: Member) -> None:
        leader.timeline = self.timeline
        wanted = self.failover
        if wanted is None:
            return
        candidate = self.members.get(wanted["candidate"] or "")
        named = wanted["leader"] in {None, leader.name}
        if not named or candidate is None or candidate is leader or not self._may_follow_up(candidate):
            self.failover = None
            return
        self.leader = None
        leader.postgres, leader.state, leader.timeline = "replica", "stopped", None

    def _may_follow_up(self, member: Member) -> bool:
        return member.may_lead and (member.lag or 0) <= 1024 * 1024

    def _elect(self) -> None:
        wanted = (self.failover or {}).get("candidate")
        candidate = self.members.get(wanted or "")
        taking: Member | None = None
        if candidate is not None and candidate.may_lead and not candidate.stumbles:
            taking = candidate
        elif not self.paused:
            others = (member for member in self.members.values() if member is not candidate)
            taking = next((each for each in others if self._may_follow_up(each) and self._is_ready(each)), None)
        if taking is None:
            return
        self.leader, self.failover = taking.name, None
        self.timeline += 1
        self._lock_renewed = time.monotonic()
        taking.postgres, taking.state, taking.lag = "primary", "running", 0
        for member in self.members.values():
            if member is not taking and member.state == "streaming":
                member.state = "running"

    @staticmethod
    def _is_ready(member: Member) -> bool:
        return not member.stumbles and member.state in {"running", "streaming"}

    # --- what it says ------------------------------------------------------------------------------------------------

    def cluster(self) -> dict[str, Any]:
        """`GET /cluster`: members whose key has not expired, as they have last said of themselves."""
        now = time.monotonic()
        listed = [each for each in self.members.values() if each.runs or now - each.seen_at <= self.ttl]
        found: dict[str, Any] = {"members": [self._shown(member) for member in listed], "scope": SCOPE}
        if self.paused:
            found["pause"] = True
        if self.scheduled is not None:
            found["scheduled_switchover"] = self.scheduled
        return found

    def _shown(self, member: Member) -> dict[str, Any]:
        role = "replica"
        if member.name == self.leader:
            role = "leader"
        elif self.synchronous is not None and member.name in self.sync_standbys:
            role = "quorum_standby" if self.synchronous == "quorum" else "sync_standby"
        shown: dict[str, Any] = {
            "name": member.name,
            "role": role,
            "state": member.state,
            "api_url": f"{member.url}/patroni",
            "host": "127.0.0.1",
            "port": 5432,
        }
        if member.timeline is not None:
            shown["timeline"] = member.timeline
        if member.tags:
            shown["tags"] = member.tags
        if role != "leader":
            known = member.lag is not None and member.state in {"running", "streaming", "in archive recovery"}
            for which in ("receive_", "replay_", ""):
                shown[f"{which}lsn"] = f"0/{ORIGIN - (member.lag or 0):X}" if known else "unknown"
                shown[f"{which}lag"] = member.lag if known else "unknown"
        return shown

    def status(self, member: Member) -> dict[str, Any]:
        """What a member says of itself on `/primary` and its like."""
        writing = member.postgres == "primary"
        state = member.says or member.state
        running = state in {"running", "streaming", "in archive recovery"}
        found: dict[str, Any] = {"state": "running" if running else state, "role": member.postgres}
        if running:
            found |= {"postmaster_start_time": "2026-11-25 23:25:32.302668+00:00", "server_version": 150018}
            found["xlog"] = (
                {"location": ORIGIN}
                if writing
                else {"received_location": ORIGIN - (member.lag or 0), "replayed_location": ORIGIN - (member.lag or 0)}
            )
            found["timeline"] = member.timeline
        if self.paused:
            found["pause"] = True
        if self.leader is None or self.store != "up":
            found["cluster_unlocked"] = True
        found["dcs_last_seen"] = int(member.seen_at)
        if member.tags:
            found["tags"] = member.tags
        found["patroni"] = {"version": VERSION, "scope": SCOPE}
        if self.name_in_status:
            found["patroni"]["name"] = member.name
        if member.watchdog_failed:
            found["watchdog_failed"] = True
        return found

    def config(self) -> dict[str, Any]:
        """`GET /config`."""
        found: dict[str, Any] = {"ttl": 30, "loop_wait": 10, "retry_timeout": 10, "maximum_lag_on_failover": 1048576}
        if self.synchronous is not None:
            found["synchronous_mode"] = "quorum" if self.synchronous == "quorum" else True
        return found

    def refusal(self, action: str, leader: str | None, candidate: str | None) -> tuple[int, str] | None:
        """Why Patroni would not even begin."""
        if action == "failover" and not candidate:
            return 400, "Failover could be performed only to a specific candidate"
        if action == "switchover" and not leader:
            return 400, "Switchover could be performed only from a specific leader"
        if self.paused and not candidate:
            return 400, "Switchover is possible only to a specific candidate in a paused state"
        action = "switchover" if leader else action
        if leader and leader == candidate:
            return 400, "Switchover target and source are the same"
        if leader and leader != self.leader:
            return 412, "leader name does not match"
        if action == "switchover" and self.synchronous == "on" and candidate not in self.sync_standbys:
            return 412, "candidate name does not match with sync_standby"
        if candidate is None or not self.lists(candidate):
            return 412, "candidate does not exists"
        if not self.members[candidate].may_lead:
            return 412, f"{action} is not possible: no good candidates have been found"
        return None


class _Handler(BaseHTTPRequestHandler):
    standin: Standin
    me: Member

    def log_message(self, *_arguments: object) -> None:
        """Nobody reads it."""

    def parse_request(self) -> bool:
        """As in Patroni, the first part of the path chooses the method."""
        if not super().parse_request():
            return False
        if self.me.frozen:
            with self.standin.news:
                self.standin.news.wait_for(lambda: not self.me.frozen or self.standin.closing.is_set())
        self.path = urlsplit(self.path).path
        self.standin.requests.append((self.me.name, f"{self.command} {self.path}", "Authorization" in self.headers))
        method = f"{self.command}_{self.path.strip('/').partition('/')[0]}".rstrip("_")
        if hasattr(self, f"do_{method}"):
            self.command = method
        return True

    # --- reading

    def do_GET(self) -> None:
        with self.standin.lock:
            said = self.standin.status(self.me)
            leads = self.standin.leader == self.me.name and self.me.postgres == "primary"
            leads = leads and self.standin.store == "up"
        status = 200 if leads else 503
        if "replica" in self.path:
            status = 200 if said["role"] == "replica" and said["state"] == "running" else 503
        elif "health" in self.path:
            status = 200 if said["state"] == "running" else 503
        self._json(status, said)

    def do_GET_patroni(self) -> None:
        with self.standin.lock:
            self._json(200, self.standin.status(self.me))

    def do_GET_cluster(self) -> None:
        with self.standin.lock:
            if self.standin.store == "down":
                return  # Patroni's thread dies of the exception, and the connection is closed
            said = self.me.sees or self.standin.cluster()
        self._json(200, said)

    def do_GET_config(self) -> None:
        with self.standin.lock:
            self._json(200, self.standin.config())

    # --- changing

    def do_POST_switchover(self) -> None:
        self._change("switchover")

    def do_POST_failover(self) -> None:
        self._change("failover")

    def _change(self, action: str) -> None:
        standin = self.standin
        if not self._admitted():
            return
        wanted = self._wanted()
        if not wanted:
            standin.probes += 1
            self.send_error(400)
            return
        with standin.lock:
            standin.posts.append({"action": action, "to": self.me.name, **wanted})
            canned = standin.answers.pop(0) if standin.answers else None
        if canned is None:
            answer = self._carry_out(action, wanted)
            if answer is not None:
                self._answer(*answer)
            return
        if canned.effect:
            self._carry_out(action, wanted)
        if canned.hang:
            standin.closing.wait()
        elif not canned.close:
            self._answer(canned.status, canned.text)

    def _admitted(self) -> bool:
        login = self.standin.login
        said = self.headers.get("Authorization")
        if login is None:
            return True
        expected = base64.b64encode(":".join(login).encode()).decode()
        if said == f"Basic {expected}":
            return True
        self._answer(401, "no auth header received" if said is None else "not authenticated")
        return False

    def _wanted(self) -> dict[str, Any]:
        if "content-length" not in self.headers:
            return {}
        with contextlib.suppress(ValueError):
            said = json.loads(self.rfile.read(int(self.headers["content-length"])))
            return said if isinstance(said, dict) else {}
        return {}

    def _carry_out(self, action: str, wanted: dict[str, Any]) -> tuple[int, str] | None:
        """Status and text; None where the connection is closed without any."""
        standin = self.standin
        leader, candidate = wanted.get("leader"), wanted.get("candidate")
        with standin.lock:
            if standin.store == "down":
                return None
            refused = standin.refusal(action, leader, candidate)
            action = "switchover" if leader else action
            if refused is not None:
                return refused
            if standin.store != "read-only":
                standin.failover = {"leader": leader, "candidate": candidate}
            if standin.store != "up":
                return 503, "failed to write failover key into DCS"
            before = standin.leader
        return self._poll(before, candidate, action)

    def _poll(self, before: str | None, candidate: str | None, action: str) -> tuple[int, str]:
        verb = {"switchover": "switched", "failover": "failed"}[action]
        for _ in range(self.standin.polls):
            self.standin.closing.wait(self.standin.poll_every)
            with self.standin.lock:
                now, pending = self.standin.leader, self.standin.failover
            if now is not None and now != before:
                if now == candidate:
                    return 200, f'Successfully {verb} over to "{now}"'
                return 200, f'{verb.title()} over to "{now}" instead of "{candidate}"'
            if pending is None:
                return 503, f"{action.title()} failed"
        return 503, f"{action.title()} status unknown"

    def _json(self, status: int, said: Any) -> None:
        self._answer(status, json.dumps(said), "application/json")

    def _answer(self, status: int, text: str, kind: str = "text/html") -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="Patroni"')
        self.send_header("Content-Type", kind)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(text.encode())


# --- as a process --------------------------------------------------------------------------------------------------


class _Control(BaseHTTPRequestHandler):
    standin: Standin

    def log_message(self, *_arguments: object) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        if self.path != "/writes":
            self._say(200, self.standin.told())
            return
        writing = self.standin.writing()
        self._say(200 if writing else 503, {"member": writing, "at": time.time()})

    def do_PATCH(self) -> None:
        knobs = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            self.standin.change(**knobs)
        except (ValueError, KeyError, TypeError) as error:
            self._say(400, {"error": str(error)})
            return
        self._say(200, self.standin.told())

    def _say(self, status: int, said: Any) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Run until somebody ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", default="pg0,pg1,pg2", help="names, with commas; the first leads")
    parser.add_argument("--login", help="user:password that changes need")
    parser.add_argument("--loop-wait", type=float, default=0.05)
    parser.add_argument("--ttl", type=float, default=0.6)
    given = parser.parse_args()
    user, _, password = (given.login or "").partition(":")
    standin = Standin(
        tuple(given.members.split(",")),
        login=(user, password) if given.login else None,
        loop_wait=given.loop_wait,
        ttl=given.ttl,
    )
    control = ThreadingHTTPServer(("127.0.0.1", 0), type("Control", (_Control,), {"standin": standin}))
    with standin.running():
        told = {"urls": standin.urls, "control": f"http://127.0.0.1:{control.server_address[1]}"}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            control.serve_forever()


if __name__ == "__main__":
    main()
