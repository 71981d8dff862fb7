"""The child process: free ports, one line of them, and an end that nothing can prevent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from opsdash.demo.catalog import CONTROL, STATE, UnknownFaultError, catalog, variables
from opsdash.demo.process import DemoError, current_faults, inject, ports_of, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.demo.process import DemoServices
    from tests.demo.conftest import Client

REPOSITORY = Path(__file__).resolve().parents[2]

STARTER = """
import sys
from pathlib import Path
from opsdash.demo.process import start
services = start(Path(sys.argv[1]))
print(services.pid, flush=True)
sys.stdin.read()
"""


def ended(pid: int, *, within: float) -> bool:
    """Whether a process that is no child of ours has ended; a zombie has."""
    if not hasattr(os, "pidfd_open"):
        pytest.skip("waiting for somebody else's child needs pidfd_open (Linux)")
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], within)[0])
    finally:
        os.close(descriptor)


def test_every_service_listens_on_a_port_of_its_own(client: Client) -> None:
    for variable in client.services.ports:
        client.connect(variable).close()
    assert len(set(client.services.ports.values())) == len(client.services.ports)


def test_the_environment_holds_every_variable_that_a_workspace_may_use(services: DemoServices) -> None:
    environment = services.environment()

    assert set(environment) == set(variables())
    assert environment[STATE] == str(services.state)
    assert environment["POSTMARK_HTTP"] == str(services.ports["POSTMARK_HTTP"])


def test_two_operations_run_beside_each_other(services: DemoServices, tmp_path: Path) -> None:
    with start(tmp_path / "other") as other:
        assert not set(services.ports.values()) & set(other.ports.values())


def test_closing_ends_the_process_and_frees_the_ports(client: Client) -> None:
    client.services.close()

    with pytest.raises(ConnectionRefusedError):
        client.connect("POSTMARK_SMTP")


def test_the_services_die_when_their_starter_is_killed(state: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    with starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert not ended(pid, within=0)

        starter.send_signal(signal.SIGKILL)

        assert ended(pid, within=5)


def test_a_request_to_terminate_is_followed(services: DemoServices) -> None:
    os.kill(services.pid, signal.SIGTERM)

    assert ended(services.pid, within=5)


def test_what_they_keep_survives_a_restart(state: Path, client_of: Callable[[DemoServices], Client]) -> None:
    with start(state) as first:
        client = client_of(first)
        client.send("PUT", "MAILER_HTTP", "/provider", '{"provider": "ses-eu"}')
        tag = client.get("MAILER_HTTP", "/provider").headers["ETag"]
    with start(state) as second:
        again = client_of(second).get("MAILER_HTTP", "/provider")

    assert again.json == {"provider": "ses-eu"}
    assert again.headers["ETag"] == tag


def test_a_failed_start_says_what_to_look_at(state: Path) -> None:
    (state / "ports.json").mkdir(parents=True)

    with pytest.raises(DemoError, match=r"did not start: .*ports\.json.*services\.log"):
        start(state)


def test_another_process_finds_the_control_port_in_the_folder(services: DemoServices) -> None:
    port = ports_of(services.state)[CONTROL]

    inject(port, "crm", "down")

    assert current_faults(port)["crm"] == "down"


def test_a_folder_without_services_is_named(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="opsdash demo"):
        ports_of(tmp_path)


def test_nobody_at_the_control_port_is_an_error_that_says_so(services: DemoServices) -> None:
    services.close()

    with pytest.raises(DemoError, match=str(services.ports[CONTROL])):
        services.inject("crm", "down")


@pytest.mark.parametrize(
    ("service", "fault", "message"),
    [
        ("postmrk", "down", "no service is called 'postmrk'. Did you mean postmark"),
        ("postmark", "dwon", "postmark has no fault 'dwon'. Did you mean down"),
        ("social", "429", "social has no fault '429'"),
        ("all", "down", "'all' can only be healed"),
        ("a/../b?c", "ok", "no service is called"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(
    services: DemoServices, service: str, fault: str, message: str
) -> None:
    with pytest.raises(UnknownFaultError) as refused:
        services.inject(service, fault)

    assert message in str(refused.value)
    assert set(current_faults(services.ports[CONTROL]).values()) == {"ok"}


def test_all_ok_heals_everything(services: DemoServices) -> None:
    for entry in catalog():
        services.inject(entry.name, entry.faults[-1].fault)

    services.inject("all", "ok")

    assert set(current_faults(services.ports[CONTROL]).values()) == {"ok"}


def test_the_catalog_describes_every_fault_of_every_service() -> None:
    for service in catalog():
        assert service.title
        assert service.faults[0].fault == "ok"
        assert all(entry.description for entry in service.faults)
