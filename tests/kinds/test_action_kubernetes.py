"""Action kind `kubernetes`: a kubectl that lies, hangs, or talks without end. The real one is in tests/mechanisms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.actions.kubernetes import KIND, Options, ReadOptions, apply, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Reading
from opsdash.kinds.resolver import Resolver

if TYPE_CHECKING:
    from pathlib import Path

SERVICE: dict[str, Any] = {"program": ["./kubectl"], "service": "mail", "key": "side"}
GREEN = {**SERVICE, "value": "green"}
TO_B = {"program": ["./kubectl"], "deployment": "b", "out": ["a"], "replicas": 2}


def a_service(side: str, **annotations: str) -> str:
    notes = {f"opsdash/{key}": value for key, value in annotations.items()}
    metadata = {"name": "mail", "resourceVersion": "7", "annotations": notes}
    return json.dumps({"kind": "Service", "metadata": metadata, "spec": {"selector": {"side": side}}})


def kubectl(folder: Path, *, get: str, patch: str = "exit 9", more: str = "") -> None:
    """A kubectl that runs these lines of a shell for `get` and `patch`."""
    script = f'#!/bin/sh\necho "$1" >>calls\ncase $1 in\nget) {get};;\npatch) {patch};;\n{more}*) exit 9;;\nesac\n'
    (folder / "kubectl").write_text(script)
    (folder / "kubectl").chmod(0o755)


def prints(text: str) -> str:
    return f"cat <<'END'\n{text}\nEND\n"


def a_context(folder: Path, **keys: Any) -> ActionContext:
    return ActionContext("mail:failover:3", keys.pop("deadline", 10.0), folder, Resolver(), 0.0, **keys)


async def act(folder: Path, raw: dict[str, Any], **keys: Any) -> ActionResult:
    return await apply(Options.model_validate(raw), a_context(folder, **keys))


async def look(folder: Path, raw: dict[str, Any], **keys: Any) -> Reading:
    return await read(ReadOptions.model_validate(raw), a_context(folder, **keys))


def patches(folder: Path) -> int:
    return (folder / "calls").read_text().split().count("patch")


DONE = a_service("green", action="mail:failover:3", value="green")


@pytest.mark.parametrize(
    ("patch", "applied", "words"),
    [
        (prints(DONE), Applied.APPLIED, "service mail has side=green"),
        (prints(a_service("blue")), Applied.UNKNOWN, "was patched, but it has blue instead of green"),
        (prints(a_service("green")), Applied.UNKNOWN, "was patched, but"),
        ("echo 'service/mail patched'", Applied.UNKNOWN, "is no JSON"),
        ("exit 0", Applied.UNKNOWN, "is no JSON"),
        ("head -c 3000 /dev/urandom", Applied.UNKNOWN, "is no JSON"),
        ("echo 'Error from server (Forbidden): no' >&2; exit 1", Applied.REFUSED, "exited with 1: Error from server"),
        ("echo 'The Service \"mail\" is invalid: spec' >&2; exit 1", Applied.REFUSED, "is invalid"),
        ("echo 'Error from server: testing /spec failed: test failed' >&2; exit 1", Applied.REFUSED, "testing"),
        ("echo 'Error from server (InternalError): etcd' >&2; exit 1", Applied.UNKNOWN, "InternalError"),
        ("echo 'Error from server (Timeout): slow' >&2; exit 1", Applied.UNKNOWN, "Timeout"),
        ("echo 'Unable to connect to the server: EOF' >&2; exit 1", Applied.UNKNOWN, "EOF"),
        ("echo 'not at all (Forbidden)' >&2; exit 1", Applied.UNKNOWN, "not at all"),
        ("echo 'The connection to the server x was refused' >&2; exit 1", Applied.NOT_STARTED, "refused"),
        ("echo 'Unable to connect to the server: dial tcp: no such host' >&2; exit 1", Applied.NOT_STARTED, "dial"),
        ("kill -9 $$", Applied.UNKNOWN, "SIGKILL"),
        ("exec sleep 60", Applied.UNKNOWN, "was killed after"),
        ("trap '' TERM; while :; do sleep 0.05; done", Applied.UNKNOWN, "was killed after"),
        ("sleep 60 & exit 1", Applied.UNKNOWN, "go on running"),
        ("yes >&2 | head -c 50000000; yes | head -c 50000000 >&2; exit 1", Applied.UNKNOWN, ""),
    ],
)
async def test_the_end_of_a_patch_is_judged_by_a_list_of_what_is_known(
    tmp_path: Path, patch: str, applied: Applied, words: str
) -> None:
    kubectl(tmp_path, get=prints(a_service("blue")), patch=patch)
    result = await act(tmp_path, GREEN, deadline=2.0, expected="blue")
    assert result.applied is applied, result.detail
    assert words in result.detail
    assert len(result.detail) < 500
    assert patches(tmp_path) == 1


@pytest.mark.parametrize(
    ("get", "words"),
    [
        ("exit 1", "exited with 1"),
        (f"{prints(a_service('blue'))}exit 1", "exited with 1"),
        ("exit 0", "is no JSON"),
        ("echo null", "did not tell of service mail"),
        ("echo '[]'", "did not tell of service mail"),
        ("""echo '{"items": 3}'""", "did not tell of service mail"),
        (prints(a_service("blue").replace('"mail"', '"other"')), "did not tell of service mail"),
        (prints(a_service("blue").replace('"side": "blue"', '"side": ["blue"]')), "has no side in its selector"),
        (prints(a_service("blue").replace('{"side": "blue"}', "null")), "has no side in its selector"),
        ("head -c 3000 /dev/urandom", "is no JSON"),
        ("head -c 3000000 /dev/zero", "more than 1 MiB"),
        ("exec sleep 60", "was killed after"),
        ("while :; do echo '{'; sleep 0.05; done", "was killed after"),
    ],
)
async def test_what_cannot_be_understood_is_not_believed_and_nothing_is_done(
    tmp_path: Path, get: str, words: str
) -> None:
    kubectl(tmp_path, get=get)
    reading = await look(tmp_path, SERVICE, deadline=1.0)
    assert reading.value is None
    assert words in reading.detail
    sent: list[str] = []
    result = await act(tmp_path, GREEN, deadline=1.0, on_sent=lambda: sent.append("sent"))
    assert result.applied is Applied.NOT_STARTED
    assert (patches(tmp_path), sent) == (0, [])


async def test_a_large_object_is_read_to_its_end(tmp_path: Path) -> None:
    kubectl(tmp_path, get=prints(a_service("blue", copy="x" * 200_000)))
    assert (await look(tmp_path, SERVICE)).value == "blue"


@pytest.mark.parametrize("replicas", ['"2"', "null", "true", "2.5"])
async def test_a_number_of_replicas_that_is_none_is_not_guessed(tmp_path: Path, replicas: str) -> None:
    item = f'{{"metadata": {{"name": "a", "resourceVersion": "1"}}, "spec": {{"replicas": {replicas}}}}}'
    kubectl(tmp_path, get=prints(item))
    reading = await look(tmp_path, {"program": ["./kubectl"], "deployments": ["a"]})
    assert reading.value is None
    assert "does not say how many replicas" in reading.detail


async def test_rights_that_cannot_be_asked_for_are_not_known(tmp_path: Path) -> None:
    kubectl(tmp_path, get=f'[ "$2" = pods ] && {{ echo True; exit; }}; {prints(a_service("blue"))}')
    tried = await preflight(Options.model_validate(GREEN), a_context(tmp_path))
    assert (tried.passed, tried.credentials) == (True, None)
    assert tried.detail.endswith("ready pods with side=green: 1; whether we may cannot be told")


def test_a_service_can_do_more_than_two_deployments() -> None:
    service, deployments = (KIND.abilities_with(Options.model_validate(raw)) for raw in (GREEN, TO_B))
    assert (service.cas, service.restores) == (True, True)
    assert (deployments.cas, deployments.restores) == (False, False), "two objects, and one of them comes first"
    assert "Argo CD" in service.self_reverts


@pytest.mark.parametrize(
    ("model", "keys", "message"),
    [
        (Options, {"service": "mail", "key": "side"}, "say which `value`"),
        (Options, {"service": "mail", "value": "green"}, "belong together"),
        (Options, {"key": "side", "deployment": "b"}, "belong together"),
        (Options, {"service": "mail", "key": "side", "value": "a", "deployment": "b"}, "either `service`"),
        (Options, {"service": "mail", "key": "side", "value": "a", "out": "b"}, "belongs to `deployment`"),
        (Options, {"deployment": "b", "value": "a"}, "belongs to `service`"),
        (Options, {}, "either `service`"),
        (Options, {"deployment": "--all"}, "no name of an object"),
        (Options, {"deployment": "b", "out": ["a", "b c"]}, "no name of an object"),
        (Options, {"deployment": "b", "replicas": 0}, "greater than or equal to 1"),
        (Options, {"deployment": "b", "namespace": "-x"}, "no name of an object"),
        (Options, {"service": "mail", "key": "a=b", "value": "c"}, "no key of a label"),
        (Options, {"service": "mail", "key": "side", "value": "a b"}, "no value of a label"),
        (Options, {"deployment": "b", "program": "kubectl"}, "as a list"),
        (ReadOptions, {"deployments": []}, "either `service`"),
        (ReadOptions, {"service": "mail", "key": "side", "value": "a"}, "Extra"),
    ],
)
def test_options_that_cannot_work_are_refused(model: Any, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        model.model_validate(keys)
