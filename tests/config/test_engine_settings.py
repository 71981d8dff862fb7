"""`engine:` of opsdash.yaml: what is wrong in it has a line, and never opens more than was meant."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from opsdash.config.listening import Address, parse_address
from opsdash.config.loader import load
from opsdash.config.places import checked_path, full_path

if TYPE_CHECKING:
    from opsdash.config.loader import Loaded

NOON = 1_780_000_000.0


def loaded(folder: Path, *engine: str) -> Loaded:
    (folder / "checks").mkdir(exist_ok=True)
    (folder / "checks/web.yaml").write_text("checks: {self: {kind: file, path: opsdash.yaml}}\n")
    (folder / "opsdash.yaml").write_text("title: Shop\nengine:\n" + "".join(f"  {line}\n" for line in engine))
    return load(folder, {}, NOON)


def told(found: Loaded) -> list[str]:
    return [str(problem) for problem in found.problems]


# --- addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("127.0.0.1:9180", "127.0.0.1", 9180, "127.0.0.1:9180"),
        ("localhost:1", "127.0.0.1", 1, "127.0.0.1:1"),
        ("0.0.0.0:65535", "0.0.0.0", 65535, "0.0.0.0:65535"),
        ("[::1]:9180", "::1", 9180, "[::1]:9180"),
        ("[2001:DB8:0:0::1]:80", "2001:db8::1", 80, "[2001:db8::1]:80"),
        ("[::]:0", "::", 0, "[::]:0"),
    ],
)
def test_an_address_has_a_host_and_a_port(text: str, host: str, port: int, shown: str) -> None:
    found = parse_address(text)
    assert found == Address(host, port)
    assert str(found) == shown


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (":9180", "does not say on which address; write 127.0.0.1:9180 for this machine alone, or 0.0.0.0:9180"),
        ("9180", "no address with a port"),
        ("", "no address with a port"),
        ("127.0.0.1", "no address with a port"),
        ("127.0.0.1:", "no address with a port"),
        ("127.0.0.1:http", "no address with a port"),
        ("127.0.0.1:-1", "no address with a port"),
        ("127.0.0.1:+80", "no address with a port"),
        ("127.0.0.1:٨٠", "no address with a port"),
        (" 127.0.0.1:80", "holds no address"),
        ("127.0.0.1:80\n", "no address with a port"),
        ("::1:9180", "no address with a port"),
        ("[::1]9180", "no address with a port"),
        ("[127.0.0.1]:80", "holds no address"),
        ("127.1:80", "holds no address"),
        ("monitor.example:80", "holds no address"),
        ("http://127.0.0.1:80", "no address with a port"),
        ("127.0.0.1:65536", "65536 is no port"),
        ("127.0.0.1:999999", "no address with a port"),
    ],
)
def test_what_is_no_address_is_refused_with_what_would_be_one(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"; ") as refused:
        parse_address(text)
    assert why in str(refused.value)


@pytest.mark.parametrize(("host", "expected"), [("127.8.8.8", True), ("::1", True), ("::", False), ("10.0.0.1", False)])
def test_only_this_machine_reaches_loopback(host: str, expected: bool) -> None:
    assert Address(host, 1).is_loopback is expected


# --- paths -------------------------------------------------------------------------------------------------------


def test_a_path_means_the_same_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of/whoever/asks")
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    workspace = Path("/srv/shop")
    assert full_path(workspace, "var/state", 0) == Path("/srv/shop/var/state")
    assert full_path(workspace, "../state/", 0) == Path("/srv/state")
    assert full_path(workspace, "/var/lib/shop", 0) == Path("/var/lib/shop")
    assert full_path(workspace, "~", os.getuid()) == home
    assert full_path(workspace, "~/state", os.getuid()) == home / "state"
    assert full_path(workspace, "~root/state", os.getuid()) == Path(pwd.getpwnam("root").pw_dir) / "state"


@pytest.mark.parametrize(("text", "owner"), [("~nobody-at-all/x", 0), ("~/x", None), ("~/x", 4_000_000_000)])
def test_the_home_of_nobody_is_no_path(text: str, owner: int | None) -> None:
    with pytest.raises(ValueError, match="write the path from / on"):
        full_path(Path("/srv"), text, owner)


@pytest.mark.parametrize("value", ["", 5, None, True, ["x"], "${HOME}/x", "x" * 1001, "a\nb", "a\x00"])
def test_what_is_no_path_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"path"):
        checked_path(value)


# --- the settings ------------------------------------------------------------------------------------------------


def test_settings_are_what_the_file_says(tmp_path: Path) -> None:
    found = loaded(
        tmp_path, "state: state", "listen: '[::1]:9180'", "tls_certificate: tls/a.crt", "tls_key: /etc/a.key"
    )
    assert told(found) == []
    engine = found.settings.engine
    assert engine.state == tmp_path / "state"
    assert engine.listen == Address("::1", 9180)
    assert (engine.certificate, engine.key) == (tmp_path / "tls/a.crt", Path("/etc/a.key"))
    assert engine.group is None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("listen: ':80'", "opsdash.yaml:3: engine.listen: ':80' does not say on which address; write 127.0.0.1:80"),
        ("listen: 9180", "opsdash.yaml:3: engine.listen: an address is needed, not 9180; write 127.0.0.1:9180"),
        ("state: ${STATE}", "opsdash.yaml:3: engine.state: a path that every client has to find holds no ${…}"),
        ("state: ~nobody-at-all", "opsdash.yaml:3: engine.state: there is no account 'nobody-at-all'"),
        ("group: no-such-group", "opsdash.yaml:3: engine.group: there is no group 'no-such-group' on this machine"),
        ("sate: x", 'opsdash.yaml:3: engine.sate: unknown key; did you mean "state"?'),
    ],
)
def test_a_setting_that_makes_no_sense_is_a_problem_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    (only,) = told(loaded(tmp_path, line))
    assert only.startswith(problem)


def test_the_nearest_group_is_named(tmp_path: Path) -> None:
    name = next(each.gr_name for each in grp.getgrall() if len(each.gr_name) > 4)
    (only,) = told(loaded(tmp_path, f"group: {name}x"))
    assert f'did you mean "{name}"?' in only


@pytest.mark.parametrize(
    "lines",
    [
        ("tls_certificate: a.crt",),
        ("tls_key: a.key",),
        ("tls_certificate: a.crt", "tls_key: 5"),
        ("tls_certificate: [a]", "tls_key: {b: c}"),
        ("tls_certificate: a.crt", "tls_key: ${KEY}"),
        ("tls_certificate: a.crt", "tls_key: a.key", "tls_key: b.key"),
        ("tls_certificate: ~nobody-at-all/x", "tls_key: a.key"),
    ],
)
def test_half_of_tls_is_not_taken_for_none(tmp_path: Path, lines: tuple[str, ...]) -> None:
    found = loaded(tmp_path, "listen: 127.0.0.1:9180", *lines)
    assert found.errors
    assert found.settings.engine.listen is None
    assert found.settings.engine.tls_is_broken


def test_an_address_on_the_network_without_tls_is_warned_about(tmp_path: Path) -> None:
    (only,) = told(loaded(tmp_path, "listen: 0.0.0.0:9180"))
    assert only.startswith("opsdash.yaml:3: warning: engine.listen: on 0.0.0.0:9180 everybody along the way can read")
    assert told(loaded(tmp_path, "listen: 127.0.0.1:9180")) == []
    assert told(loaded(tmp_path, "listen: 0.0.0.0:9180", "tls_certificate: a", "tls_key: b")) == []
