r"""The same load on other monitors: many HTTP checks, each over a new connection to an origin of its own.

A peer takes part when its programs are installed. On Debian:

    apt-get install --no-install-recommends prometheus prometheus-blackbox-exporter nagios4-core \
        monitoring-plugins-basic monit

Each runs as an ordinary process of ours, in a temporary folder and on free ports, never as a service of the system. One
after the other they poll the same targets, in another order each round; each asks for a path of its own, so that the
targets know who asked how often. A round counts only when every check of every program is ok and was made at the
wanted rate; a ratio is taken inside a round, and the median over the rounds is what is said.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.certificates import make_certificates
from benchmarks.engines import PATH, RunningEngine, Web, engine, wait_until, write_workspace
from benchmarks.measure import Bar, BenchmarkError, Result, Table, Window, median, ms
from benchmarks.targets import ADDRESS, Targets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.certificates import Certificates
    from benchmarks.scale import Scale

TITLE = "Beside other monitors"
CHECKS = 1_000
EVERY = 10
TIMEOUT = 5
WINDOW = 30.0
REPEATS = 3
SETTLE = 5.0
RATE_WITHIN = 0.02
OURS = "opsdash"
PROMETHEUS = "Prometheus and blackbox_exporter"
NAGIOS = "Nagios 4 and check_http"
BARS = {(PROMETHEUS, False): 6.0, (PROMETHEUS, True): 2.0, (NAGIOS, False): 8.0}
PLUGIN = Path("/usr/lib/nagios/plugins/check_http")


@dataclass(frozen=True, slots=True)
class Load:
    """What everybody has to poll."""

    ports: Sequence[int]
    certificates: Certificates | None

    @property
    def scheme(self) -> str:
        return "http" if self.certificates is None else "https"

    def urls(self, path: str) -> list[str]:
        return [f"{self.scheme}://{ADDRESS}:{port}{path}" for port in self.ports]


class Monitor(Protocol):
    """A program that polls. `start` returns the processes and how many of its checks are ok, asked at any time."""

    name: str
    path: str

    def version(self) -> str | None:
        """Its version, None where it is not installed."""

    def start(self, folder: Path, load: Load, stack: ExitStack) -> tuple[list[int], Callable[[], int]]:
        """Start it; the stack ends it."""


# --- opsdash ---------------------------------------------------------------------------------------------------------


class Opsdash:
    """Ourselves: the engine with everything that it always does."""

    name = OURS
    path = PATH

    def version(self) -> str | None:
        from opsdash import __version__

        return __version__

    def start(self, folder: Path, load: Load, stack: ExitStack) -> tuple[list[int], Callable[[], int]]:
        more = "" if load.certificates is None else f', ca: "{load.certificates.authority}"'
        components = [
            Web(f"web-{number:04}", f"Web {number:04}", url, more) for number, url in enumerate(load.urls(self.path))
        ]
        write_workspace(folder / "workspace", components, f"every: {EVERY}s, timeout: {TIMEOUT}s")
        running: RunningEngine = stack.enter_context(engine(folder / "workspace"))
        return [running.pid], lambda: sum(row["status"] == "ok" for row in running.rows().values())


# --- the others ------------------------------------------------------------------------------------------------------


class Prometheus:
    """Prometheus scrapes the exporter, which probes the target."""

    name = PROMETHEUS
    path = "/prometheus"

    def version(self) -> str | None:
        exporter = _version(["prometheus-blackbox-exporter", "--version"], r"version ([\d.]+)")
        server = _version(["prometheus", "--version"], r"version ([\d.]+)")
        return f"{server} and {exporter}" if server and exporter else None

    def start(self, folder: Path, load: Load, stack: ExitStack) -> tuple[list[int], Callable[[], int]]:
        port, probing = _free_port(), _free_port()
        http: dict[str, Any] = {"preferred_ip_protocol": "ip4"}
        if load.certificates is not None:
            http["tls_config"] = {"ca_file": str(load.certificates.authority)}
        module = {"prober": "http", "timeout": f"{TIMEOUT}s", "http": http}
        # JSON is YAML
        (folder / "blackbox.yml").write_text(json.dumps({"modules": {"http_2xx": module}}))
        job = {
            "job_name": "web",
            "metrics_path": "/probe",
            "params": {"module": ["http_2xx"]},
            "static_configs": [{"targets": load.urls(self.path)}],
            "relabel_configs": [
                {"source_labels": ["__address__"], "target_label": "__param_target"},
                {"source_labels": ["__param_target"], "target_label": "instance"},
                {"target_label": "__address__", "replacement": f"{ADDRESS}:{probing}"},
            ],
        }
        times = {"scrape_interval": f"{EVERY}s", "scrape_timeout": f"{TIMEOUT}s"}
        (folder / "prometheus.yml").write_text(json.dumps({"global": times, "scrape_configs": [job]}))
        exporter = [
            "prometheus-blackbox-exporter",
            f"--config.file={folder}/blackbox.yml",
            f"--web.listen-address={ADDRESS}:{probing}",
        ]
        server = [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={ADDRESS}:{port}",
        ]
        query = urllib.parse.urlencode({"query": "sum(probe_success)"})

        def ok() -> int:
            with urllib.request.urlopen(f"http://{ADDRESS}:{port}/api/v1/query?{query}", timeout=5) as answer:
                found = json.load(answer)["data"]["result"]
            return int(found[0]["value"][1]) if found else 0

        return [_spawn(exporter, folder, stack), _spawn(server, folder, stack)], ok


class Nagios:
    """Nagios forks a plugin for every check."""

    name = NAGIOS
    path = "/nagios"

    def version(self) -> str | None:
        return _version(["nagios4", "--version"], r"Nagios Core ([\d.]+)") if PLUGIN.exists() else None

    def start(self, folder: Path, load: Load, stack: ExitStack) -> tuple[list[int], Callable[[], int]]:
        (folder / "results").mkdir()
        settings = {
            "log_file": f"{folder}/nagios.log",
            "cfg_file": f"{folder}/objects.cfg",
            "object_cache_file": f"{folder}/objects.cache",
            "precached_object_file": f"{folder}/objects.precache",
            "status_file": f"{folder}/status.dat",
            "status_update_interval": 2,
            "nagios_user": pwd.getpwuid(os.getuid()).pw_name,
            "nagios_group": pwd.getpwuid(os.getuid()).pw_name,
            "check_external_commands": 0,
            "command_file": f"{folder}/command",
            "lock_file": f"{folder}/lock",
            "temp_file": f"{folder}/temporary",
            "temp_path": str(folder),
            "query_socket": f"{folder}/query",
            "check_result_path": f"{folder}/results",
            "retain_state_information": 0,
            "interval_length": 1,
            "execute_host_checks": 0,
            "enable_notifications": 0,
            "enable_environment_macros": 0,
            "service_check_timeout": 2 * TIMEOUT,
            "max_service_check_spread": 1,
            "use_syslog": 0,
        }
        (folder / "nagios.cfg").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        tls = "" if load.certificates is None else " -S"
        command = f"{PLUGIN} -I {ADDRESS} -p $ARG1$ -u {self.path} -t {TIMEOUT}{tls}"
        parts = [
            _object("timeperiod", timeperiod_name="always", alias="always", **dict.fromkeys(_DAYS, "00:00-24:00")),
            _object("command", command_name="check", command_line=command),
            _object("command", command_name="tell", command_line="/bin/true"),
            _object("contact", contact_name="nobody", **_NEVER),
        ]
        for port in load.ports:
            parts += [
                _object("host", host_name=f"web-{port}", address=ADDRESS, max_check_attempts=1, contacts="nobody"),
                _object(
                    "service",
                    host_name=f"web-{port}",
                    service_description="home",
                    check_command=f"check!{port}",
                    check_interval=EVERY,
                    retry_interval=EVERY,
                    max_check_attempts=1,
                    check_period="always",
                    contacts="nobody",
                ),
            ]
        (folder / "objects.cfg").write_text("\n".join(parts))

        def ok() -> int:
            text = (folder / "status.dat").read_text(errors="replace") if (folder / "status.dat").exists() else ""
            services = [part for part in text.split("servicestatus {")[1:] if "has_been_checked=1" in part]
            return sum("\tcurrent_state=0\n" in part for part in services)

        return [_spawn(["nagios4", str(folder / "nagios.cfg")], folder, stack)], ok


_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NEVER = {
    "host_notifications_enabled": 0,
    "service_notifications_enabled": 0,
    "host_notification_period": "always",
    "service_notification_period": "always",
    "host_notification_commands": "tell",
    "service_notification_commands": "tell",
}


def _object(kind: str, **settings: Any) -> str:
    return f"define {kind} {{\n" + "".join(f"  {name} {value}\n" for name, value in settings.items()) + "}\n"


class Monit:
    """Monit asks one target after the other; one that hangs holds up the rest."""

    name = "Monit"
    path = "/monit"

    def version(self) -> str | None:
        return _version(["monit", "--version"], r"version ([\d.]+)")

    def start(self, folder: Path, load: Load, stack: ExitStack) -> tuple[list[int], Callable[[], int]]:
        rows = [
            f"set daemon {EVERY}",
            f"set log {folder}/monit.log",
            f"set pidfile {folder}/monit.pid",
            f"set idfile {folder}/monit.id",
            f"set statefile {folder}/monit.state",
            f"set httpd unixsocket {folder}/monit.sock allow localhost",
        ]
        tls = ""
        if load.certificates is not None:
            tls = f" with ssl options {{verify: enable, cacertificatefile: {load.certificates.authority}}}"
        patience = f"with timeout {TIMEOUT} seconds then alert"
        for port in load.ports:
            rows += [
                f"check host web-{port} with address {ADDRESS}",
                f'  if failed port {port}{tls} protocol {load.scheme} request "{self.path}" {patience}',
            ]
        control = folder / "monitrc"
        control.touch(mode=0o600)
        control.write_text("\n".join(rows) + "\n")

        def ok() -> int:
            asked = ["monit", "-c", str(control), "-B", "summary"]
            said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
            return len(re.findall(r"^\s*web-\d+\s+OK\s", said, re.MULTILINE))

        return [_spawn(["monit", "-c", str(control), "-I"], folder, stack)], ok


MONITORS: tuple[Monitor, ...] = (Opsdash(), Prometheus(), Nagios(), Monit())


def _version(command: Sequence[str], pattern: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else None


def _spawn(command: Sequence[str], folder: Path, stack: ExitStack) -> int:
    """Start a process that ends with the stack."""
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    stack.callback(_end, process)
    return process.pid


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server((ADDRESS, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


# --- the comparison --------------------------------------------------------------------------------------------------


def run(scale: Scale) -> Result:
    versions = {monitor.name: monitor.version() for monitor in MONITORS}
    present = [monitor for monitor in MONITORS if versions[monitor.name]]
    if len(present) < 2:
        raise BenchmarkError(f"none of {', '.join(list(versions)[1:])} is installed:\n{__doc__}")
    rounds = []
    with tempfile.TemporaryDirectory(prefix="opsdash-bench-") as temporary, ExitStack() as stack:
        certificates = make_certificates(Path(temporary)) if scale.https else None
        targets = stack.enter_context(Targets(CHECKS, certificates))
        load = Load(targets.ports, certificates)
        for number in range(scale.repeats or REPEATS):
            shift = number % len(present)
            order = [*present[shift:], *present[:shift]]
            rounds.append({monitor.name: _measure(monitor, load, targets, scale.window(WINDOW)) for monitor in order})
    result = Result("peers-https" if scale.https else "peers", TITLE, raw={"versions": versions, "rounds": rounds})
    ratios = {
        monitor.name: [each[monitor.name]["cpu_per_check"] / each[OURS]["cpu_per_check"] for each in rounds]
        for monitor in present
    }
    rows = [_row(monitor.name, versions[monitor.name] or "", rounds, ratios[monitor.name]) for monitor in present]
    columns = ("", "version", "CPU per check", "of ours", "memory", "rate")
    result.tables.append(Table(f"{CHECKS:,} {load.scheme} checks every {EVERY} s, {len(rounds)} rounds", columns, rows))
    for name, found in ratios.items():
        bar = BARS.get((name, scale.https))
        if bar is not None:
            what = f"CPU per {load.scheme} check: {name} beside opsdash"
            result.bars.append(Bar(what, f"at least {bar:g} times ours", _times(found), median(found) >= bar))
    missing = [name for name, version in versions.items() if not version]
    if missing:
        result.notes.append(f"Not installed here: {', '.join(missing)}.")
    result.notes.append(
        "Every check of everybody was ok at the end of each round. CPU is that of all processes of a program, those "
        "that ended included, per check that the targets saw. Ratios are of one round; their median and range."
    )
    off = {name for each in rounds for name, figures in each.items() if abs(figures["rate"] - 1) > RATE_WITHIN}
    if off:
        result.notes.append(f"Off the wanted rate by more than {RATE_WITHIN:.0%}: {', '.join(sorted(off))}.")
    return result


def _times(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.1f} times ({min(ratios):.1f} to {max(ratios):.1f})"


def _row(name: str, version: str, rounds: Sequence[Mapping[str, Any]], ratios: Sequence[float]) -> list[str]:
    def middle(what: str) -> float:
        return median([each[name][what] for each in rounds])

    rate = f"{round(middle('rate') - 1, 3) + 0.0:+.1%}"
    times = "1" if name == OURS else _times(ratios)
    return [name, version, ms(middle("cpu_per_check"), 3), times, f"{middle('memory'):.0f} MB", rate]


def _measure(monitor: Monitor, load: Load, targets: Targets, seconds: float) -> dict[str, float]:
    """One program in one round. Raises BenchmarkError when not all of its checks are ok."""
    with tempfile.TemporaryDirectory(prefix="opsdash-bench-") as temporary, ExitStack() as stack:
        pids, ok = monitor.start(Path(temporary), load, stack)
        checks = len(load.ports)
        wait_until(lambda: _safely(ok) == checks, 90, f"{monitor.name}: not all of its checks became ok")
        time.sleep(SETTLE)
        before = targets.hits().get(monitor.path, 0)
        with Window(*pids) as window:
            time.sleep(seconds)
            done = targets.hits().get(monitor.path, 0) - before
        fine = ok()
        if fine != checks:
            raise BenchmarkError(f"{monitor.name}: {fine} of {checks} checks are ok")
        return {
            "cpu_per_check": window.cpu / done,
            "memory": window.memory,
            "rate": done / window.seconds / (checks / EVERY),
            "checks": done,
            "seconds": window.seconds,
        }


def _safely(ok: Callable[[], int]) -> int:
    """How many are ok; none as long as it cannot be asked."""
    try:
        return ok()
    except (OSError, ValueError):
        return 0
