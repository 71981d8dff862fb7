"""`opsdash runbook test`: checks of runbooks are executed, nothing else is, and what cannot be told is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from opsdash.cli import exits
from tests.cli.conftest import process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ended, Running

HEAD = "---\ntitle: x\ncomponent: greeting\nowner: me\nreviewed: 2026-11-02\n{params}---\n## Steps\n\n### A\n\n"
PASSED, NOT_PASSED, NOT_TOLD = "passed", "did not pass", "could not tell"


@pytest.fixture(autouse=True)
def _all_is_approved(_plain_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSDASH_TRUST_RUNBOOKS", "1")


@pytest.fixture
def write(workspace: Path) -> Callable[..., None]:
    """Write the only runbook `book` of the workspace."""

    def write_it(steps: str, params: str = "", name: str = "book") -> None:
        (workspace / f"runbooks/{name}.md").write_text(HEAD.format(params=params) + steps)

    return write_it


def block(role: str, code: str, language: str = "sh") -> str:
    return f"```{language} {{{role}}}\n{code}\n```\n\n"


def results(ended: Ended) -> list[tuple[int, str, str]]:
    return [(each["line"], each["result"], each["detail"]) for each in ended.json["checks"]]


def test_only_checks_are_executed(run: Callable[..., Ended], workspace: Path, write: Callable[..., None]) -> None:
    roles = {role: block(role, f"touch ran-{role}") for role in ("run", "undo", "show", "check")}
    write("".join(roles.values()) + "```sh\ntouch ran-text\n```\n\n**Expect:** x\n")
    ended = run("runbook", "test", "book", "--json", "-w", workspace)
    assert ended.code == exits.OK
    assert [result for _, result, _ in results(ended)] == [PASSED]
    assert sorted(file.name for file in workspace.glob("ran-*")) == ["ran-check"]


@pytest.mark.parametrize(
    ("text", "result", "detail"),
    [
        pytest.param(block("check", "true"), PASSED, "", id="it passes"),
        pytest.param(block("check rc=3", "exit 3"), PASSED, "", id="as expected"),
        pytest.param(block("check", "echo no >&2; exit 2"), NOT_PASSED, "exit status 2", id="it fails"),
        pytest.param(block('check expect="^up$"', "echo down"), NOT_PASSED, "does not match", id="another output"),
        pytest.param(block("check timeout=300ms", "sleep 600"), NOT_TOLD, "still running", id="it never ends"),
        pytest.param(block("check for=3s every=50ms", "exit 1"), NOT_PASSED, "exit status 1", id="never in time"),
        pytest.param(block("check", "import os, sys; sys.exit(0)", "python"), PASSED, "", id="Python"),
        pytest.param(block("check", "check greeting/first/text", "opsdash"), PASSED, "", id="a check of opsdash"),
        pytest.param(block("check", "kill -9 $$"), NOT_TOLD, "ended by signal 9", id="it is killed"),
    ],
)
def test_a_check_passes_or_does_not_or_nobody_can_tell(
    run: Callable[..., Ended], workspace: Path, text: str, result: str, detail: str
) -> None:
    (workspace / "runbooks/book.md").write_text(HEAD.format(params="") + text)
    ended = run("runbook", "test", "book", "--json", "-w", workspace)
    ((line, became, said),) = results(ended)
    assert (line, became) == (11, result)
    assert detail in said
    assert ended.code == {PASSED: exits.OK, NOT_PASSED: exits.NOT_OK, NOT_TOLD: exits.NOT_KNOWN}[result]
    assert ended.json["status"] == result


def test_once_tries_each_check_once(run: Callable[..., Ended], workspace: Path, write: Callable[..., None]) -> None:
    write(block("check for=1h every=10ms", "echo x >> tries; exit 1"))
    assert run("runbook", "test", "--once", "book", "-w", workspace).code == exits.NOT_OK
    assert (workspace / "tries").read_text() == "x\n"


def test_a_check_that_is_repeated_passes_as_soon_as_it_does(
    run: Callable[..., Ended], workspace: Path, write: Callable[..., None]
) -> None:
    write(block("check for=1m every=10ms", 'echo x >> tries; test "$(wc -l < tries)" -ge 3'))
    assert run("runbook", "test", "book", "-w", workspace).code == exits.OK


def test_all_runbooks_are_tested_and_the_worst_counts(
    run: Callable[..., Ended], workspace: Path, write: Callable[..., None]
) -> None:
    write(block("check", "exit 1"), name="bad")
    write(block("check", "sleep 600").replace("check", "check timeout=100ms", 1), name="slow")
    ended = run("runbook", "test", "--json", "-w", workspace)
    assert ended.code == exits.NOT_OK
    assert [(each["runbook"], each["result"]) for each in ended.json["checks"]] == [
        ("bad", NOT_PASSED),
        ("getting-started", PASSED),
        ("slow", NOT_TOLD),
    ]
    text = run("runbook", "test", "bad", "-w", workspace)
    assert "runbooks/bad.md:11" in text.out
    assert "1 checks of 1 runbooks: 1 did not pass" in text.err


def test_a_runbook_that_does_not_exist_is_a_usage_error(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("runbook", "test", "geting-started", "-w", workspace)
    assert ended.code == exits.USAGE
    assert "did you mean getting-started?" in ended.err


def test_a_broken_runbook_is_not_executed(
    run: Callable[..., Ended], workspace: Path, write: Callable[..., None]
) -> None:
    write(block("check", "touch ran-check") + block("rnu", "true"))
    ended = run("runbook", "test", "book", "--json", "-w", workspace)
    assert ended.code == exits.NOT_KNOWN
    ((_, became, said),) = results(ended)
    assert became == NOT_TOLD
    assert "opsdash runbook lint book" in said
    assert list(workspace.glob("ran-*")) == []


# --- parameters --------------------------------------------------------------------------------------------------

PARAMS = "params:\n  standby: {default: db2, pattern: '[a-z0-9.-]+'}\n  reason: {ask: Why?}\n"
USES = block("check", 'echo "$standby" "$reason" > values')


def test_parameters_come_from_the_command_line_the_environment_or_their_default(
    run: Callable[..., Ended], workspace: Path, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(USES, PARAMS)
    monkeypatch.setenv("reason", "by environment")
    assert run("runbook", "test", "book", "-w", workspace).code == exits.OK
    assert (workspace / "values").read_text() == "db2 by environment\n"
    given = ("--param", "reason=$(touch ran-it)", "--param", "standby=db3")
    assert run("runbook", "test", "book", *given, "-w", workspace).code == exits.OK
    assert (workspace / "values").read_text() == "db3 $(touch ran-it)\n"
    assert list(workspace.glob("ran-*")) == []


def test_a_parameter_without_a_value_is_never_asked_for(
    run: Callable[..., Ended], workspace: Path, write: Callable[..., None]
) -> None:
    write(USES + block("check", "true"), PARAMS)
    ended = run("runbook", "test", "book", "--json", "-w", workspace)
    assert ended.code == exits.NOT_KNOWN
    assert [result for _, result, _ in results(ended)] == [NOT_TOLD, PASSED]
    assert "--param reason=" in results(ended)[0][2]


def test_what_a_check_keeps_is_there_for_those_after_it(
    run: Callable[..., Ended], workspace: Path, write: Callable[..., None]
) -> None:
    write(
        block("check as=host", "echo db2")
        + "### B\n\n"
        + block("check expect='^on db2$'", "echo on $host")
        + block("run as=token", "echo secret")
        + block("check", "echo $token")
    )
    ended = run("runbook", "test", "book", "--json", "-w", workspace)
    assert ended.code == exits.NOT_KNOWN
    assert [each["result"] for each in ended.json["checks"]] == [PASSED, PASSED, NOT_TOLD]
    assert "it needs token, which an earlier block keeps" in ended.json["checks"][2]["detail"]


def test_a_value_that_does_not_fit_its_pattern_is_not_used(
    run: Callable[..., Ended], workspace: Path, write: Callable[..., None]
) -> None:
    write(USES, PARAMS)
    given = ("--param", "reason=x", "--param", "standby=a b")
    ended = run("runbook", "test", "book", *given, "--json", "-w", workspace)
    assert ended.code == exits.NOT_KNOWN
    assert "must look like" in results(ended)[0][2]
    assert not (workspace / "values").exists()


@pytest.mark.parametrize("words", [("--param", "reason"), ("--param", "nobody=x"), ("--param", "=x")])
def test_a_parameter_that_nobody_has_is_a_usage_error(
    run: Callable[..., Ended], workspace: Path, write: Callable[..., None], words: tuple[str, ...]
) -> None:
    write(USES, PARAMS)
    assert run("runbook", "test", "book", *words, "-w", workspace).code == exits.USAGE


def test_a_secret_is_masked_wherever_it_comes_from(
    run: Callable[..., Ended], workspace: Path, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "key").write_text("hunter2-in-file\n")
    (workspace / "key").chmod(0o600)
    params = "params:\n  PW: {secret: env}\n  KEY: {secret: 'file:key'}\n"
    write(block("check", 'echo "$PW $KEY"; test "$PW$KEY" = hunter2-in-envhunter2-in-file; exit 7'), params)
    monkeypatch.setenv("PW", "hunter2-in-env")
    for words in ((), ("--json",)):
        ended = run("runbook", "test", "book", *words, "-w", workspace)
        assert ended.code == exits.NOT_OK
        assert "exit status 7" in ended.out
        assert "***" in ended.out
        assert "hunter2" not in ended.out + ended.err


def test_what_nobody_has_approved_is_not_executed(
    run: Callable[..., Ended],
    workspace: Path,
    write: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("OPSDASH_TRUST_RUNBOOKS")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    write(block("check", f"touch {tmp_path}/executed"))
    ended = run("runbook", "test", "book", "-w", workspace)
    assert ended.code == exits.NOT_KNOWN
    assert "`opsdash runbook approve book`" in ended.out
    assert not (tmp_path / "executed").exists()


# --- with an engine ----------------------------------------------------------------------------------------------


def test_an_engine_measures_its_own_checks(running: Running) -> None:
    (running.workspace / "runbooks/book.md").write_text(
        HEAD.format(params="") + block("check", "check greeting/first/text", "opsdash")
    )
    good = process("runbook", "test", "book", "--json", "-w", running.workspace, OPSDASH_TRUST_RUNBOOKS="1")
    assert (good.code, good.json["status"]) == (exits.OK, PASSED)
    running.break_primary()
    bad: Any = process("runbook", "test", "book", "--json", "-w", running.workspace, OPSDASH_TRUST_RUNBOOKS="1")
    assert (bad.code, bad.json["status"]) == (exits.NOT_OK, NOT_PASSED)
    assert "down" in bad.json["checks"][0]["output"]
