"""Name servers that take updates: Knot (a primary, and secondaries of it) and BIND, with the zone `example.net`.

Three keys: `opsdash` may change what the how-to says and no more, `stranger` is known and may do nothing, `operator`
is the person who changes things by hand.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.update

from tests.mechanisms.support import PLACES, binary, free_port, freeze, started, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.mechanisms.support import Server

ZONE = "example.net"
APP = "app.example.net"
MARKER = "_opsdash.app.example.net"
BLUE = "203.0.113.10"
GREEN = "203.0.113.20"
TTL = 30
SECRETS = {
    name: base64.b64encode(f"the secret of {name}".ljust(32, ".").encode()).decode()
    for name in ("opsdash", "stranger", "operator")
}

_RECORDS = f"""\
$TTL {TTL}
@ SOA ns1 hostmaster 1 3600 600 86400 {TTL}
@ NS ns1
ns1 A 127.0.0.1
app A {BLUE}
six AAAA 2001:db8::10
alias CNAME blue.example.net.
unmarked A {BLUE}
other A 192.0.2.9
slow 3600 A {BLUE}
many A 203.0.113.9
many A 203.0.113.10
"""

_KNOT = """\
server:
    rundir: {folder}
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
control:
    listen: {folder}/control
database:
    storage: {folder}
log:
  - target: stdout
    any: info
key:
{keys}
acl:
  - id: opsdash
    key: opsdash
    action: update
    update-owner: name
    update-owner-match: equal
    update-owner-name: [app, _opsdash.app]
    update-type: [A, TXT]
  - id: more
    key: opsdash
    action: update
    update-owner: name
    update-owner-match: equal
    update-owner-name: [six, _opsdash.six, alias, _opsdash.alias, slow, _opsdash.slow, many, _opsdash.many, unmarked]
    update-type: [A, AAAA, CNAME, TXT]
  - id: operator
    key: operator
    action: update
  - id: loopback
    address: 127.0.0.1
    action: [transfer, notify]
remote:
{remotes}
zone:
  - domain: {zone}
    storage: {folder}
    file: zone
    acl: [opsdash, more, operator, loopback]
{more}
"""

_BIND = """\
options {{
    directory "{folder}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file "{folder}/pid";
    session-keyfile "{folder}/session.key";
    lock-file none;
    recursion no;
    dnssec-validation no;
}};
controls {{ }};
{keys}
zone {zone} {{
    type primary;
    file "zone";
    update-policy {{
        grant opsdash name app.example.net A;
        grant opsdash name _opsdash.app.example.net TXT;
        {more}
        grant operator zonesub ANY;
    }};
}};
"""


@dataclass
class NameServer:
    """A server of the zone. `folder` has its configuration, which is `configuration`."""

    server: Server
    port: int
    folder: Path
    configuration: str

    @property
    def address(self) -> str:
        """As a workspace names it."""
        return f"127.0.0.1:{self.port}"

    def ask(self, name: str = APP, rdtype: str = "A") -> list[str]:
        """The records there are, each as text."""
        answer = dns.query.tcp(dns.message.make_query(name, rdtype), "127.0.0.1", timeout=5, port=self.port)
        return sorted(record.to_text() for rrset in answer.answer for record in rrset)

    def serial(self) -> int:
        """Of the zone."""
        return int(self.ask(ZONE, "SOA")[0].split()[2])

    def by_hand(self, value: str, name: str = APP, rdtype: str = "A", ttl: int = TTL) -> None:
        """Somebody with the right to do so changes a record, and knows nothing of markers."""
        update = dns.update.UpdateMessage(ZONE, keyring=dns.tsig.Key("operator", SECRETS["operator"]))
        update.replace(f"{name}.", ttl, rdtype, value)
        answer = dns.query.tcp(update, "127.0.0.1", timeout=5, port=self.port)
        assert answer.rcode() == dns.rcode.NOERROR, answer

    def freeze(self) -> None:
        """Let it hang until `thaw`; every thread of it has stopped when this returns."""
        freeze(self.server.pid)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.server.pid, signal.SIGCONT)

    def refresh(self) -> None:
        """Let a Knot secondary fetch the zone now."""
        self.control("-b", "zone-refresh", ZONE)

    def control(self, *words: str) -> None:
        """`knotc` to a Knot server."""
        program = binary("knotc", "knot")
        subprocess.run([program, "-s", f"{self.folder}/control", *words], check=True, capture_output=True, timeout=10)


@contextlib.contextmanager
def knot(*, primary: NameServer | None = None, port: int = 0, tells: Sequence[int] = ()) -> Iterator[NameServer]:
    """Knot with the zone, or as a secondary of `primary`. tells: ports of secondaries that hear of changes at once."""
    program = binary("knotd", "knot")
    remotes = [("primary", primary.port)] if primary is not None else []
    remotes += [(f"secondary{number}", each) for number, each in enumerate(tells)]
    more = ["    master: primary"] if primary is not None else []
    if tells:
        more.append(f"    notify: [{', '.join(name for name, _ in remotes if name != 'primary')}]")
    with _folder(records=primary is None) as folder:
        port = port or free_name_port()
        configuration = _KNOT.format(
            folder=folder,
            port=port,
            zone=ZONE,
            keys="\n".join(
                f"  - id: {name}\n    algorithm: hmac-sha256\n    secret: {secret}" for name, secret in SECRETS.items()
            ),
            remotes="\n".join(f"  - id: {name}\n    address: 127.0.0.1@{each}" for name, each in remotes),
            more="\n".join(more),
        )
        (folder / "knot.conf").write_text(configuration)
        argv: list[str | Path] = [program, "-c", folder / "knot.conf"]
        with started(argv, log=folder / "log", ready=lambda: _answers(port)) as server:
            yield NameServer(server, port, folder, configuration)


@contextlib.contextmanager
def bind() -> Iterator[NameServer]:
    """BIND with the zone."""
    program = binary("named", "bind9")
    allowed = [("six", "AAAA"), ("alias", "CNAME"), ("slow", "A"), ("many", "A"), ("unmarked", "A")]
    grants = [f"grant opsdash name {name}.{ZONE} {rdtype};" for name, rdtype in allowed]
    grants += [f"grant opsdash name _opsdash.{name}.{ZONE} TXT;" for name, _ in allowed if name != "unmarked"]
    keys = [f'key {name} {{ algorithm hmac-sha256; secret "{secret}"; }};' for name, secret in SECRETS.items()]
    with _folder() as folder:
        port = free_name_port()
        configuration = _BIND.format(
            folder=folder, port=port, zone=ZONE, keys="\n".join(keys), more="\n        ".join(grants)
        )
        (folder / "named.conf").write_text(configuration)
        argv: list[str | Path] = [program, "-g", "-n", "1", "-c", folder / "named.conf"]
        with started(argv, log=folder / "log", ready=lambda: _answers(port)) as server:
            yield NameServer(server, port, folder, configuration)


@contextlib.contextmanager
def _folder(*, records: bool = True) -> Iterator[Path]:
    """A short one: Knot's control socket is in it, and its name has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="opsdash-dns-") as name:
        folder = Path(name)
        if records:
            (folder / "zone").write_text(_RECORDS)
        yield folder


def _answers(port: int) -> Any:
    query = dns.message.make_query(ZONE, "SOA")
    with contextlib.suppress(dns.exception.DNSException, EOFError):
        return dns.query.tcp(query, "127.0.0.1", timeout=0.5, port=port).answer
    return None


def free_name_port() -> int:
    """A port of 127.0.0.1 that is free for TCP and UDP."""

    def found() -> int:
        port = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("127.0.0.1", port))
        return port

    port: int = until(found, what="a free port")
    return port


def nsupdate(folder: Path) -> str:
    """A PATH on which `nsupdate` is BIND's, or Knot's, which takes the same."""
    program = binary("knsupdate", "knot-dnsutils")
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/nsupdate").symlink_to(program)
    return f"{folder / 'bin'}:{PLACES}"


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
