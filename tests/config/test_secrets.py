"""References are resolved where they are used, and what they give is never shown."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.config.secrets import MASK, MIN_LENGTH, Masker, ReferenceProblem, References, resolve_secrets
from tests.config.conftest import options

if TYPE_CHECKING:
    from pathlib import Path

    from tests.config.conftest import Workspace

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOST": "one.example", "EMPTY": "", "TOKEN": "hunter2-hunter2"}


def resolved(text: str, folder: Path, **variables: str) -> str:
    return str(resolve_secrets({"x": text}, ENVIRONMENT, folder, variables=variables)["x"])


def test_variables_files_and_programs_give_values(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    assert resolved("https://${HOST}/", tmp_path) == "https://one.example/"
    assert resolved("${NOBODY:-8080}:${NOBODY:-}", tmp_path) == "8080:"
    assert resolved("${file:token}", tmp_path) == "from a file"
    assert resolved("${cmd:printf '%s %s' a 'b c'}", tmp_path) == "a b c"
    assert resolved("$${HOST} $5 {HOST}", tmp_path) == "${HOST} $5 {HOST}"


def test_the_environment_comes_before_vars_and_vars_before_the_default(tmp_path: Path) -> None:
    assert resolved("${HOST:-c}", tmp_path, HOST="b") == "one.example"
    assert resolved("${OTHER:-c}", tmp_path, OTHER="b") == "b"
    assert resolved("${OTHER:-c}", tmp_path) == "c"


def test_a_value_is_not_looked_at_again(tmp_path: Path) -> None:
    environment = {"A": "${TOKEN} {host}", "TOKEN": "never"}
    assert resolve_secrets({"x": ["${A}"]}, environment, tmp_path) == {"x": ["${TOKEN} {host}"]}


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("${NOBODY}", "the variable NOBODY is not set"),
        ("${EMPTY}", "the variable EMPTY is empty"),
        ("${file:nowhere}", "cannot be read: No such file"),
        ("${file:empty}", "gives nothing"),
        ("${cmd:}", "a command is missing"),
        ("${cmd:false}", "ended with status 1"),
        ("${cmd:no-such-program-here}", "cannot be run"),
        ("${cmd:echo 'open}", "cannot be split"),
        ("${a b}", "is no reference"),
    ],
)
def test_a_reference_that_gives_nothing_is_a_problem_and_never_an_empty_text(
    tmp_path: Path, reference: str, said: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ReferenceProblem, match="^.*" + said.replace("(", "\\(")):
        resolved(reference, tmp_path)


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsdash.config.secrets.COMMAND_SECONDS", 0.3)
    with pytest.raises(ReferenceProblem, match="took longer"):
        resolved("${cmd:sh -c 'sleep 300 & exec sleep 300'}", tmp_path)  # more than the time limit of a test


def test_a_program_runs_once_for_all_who_name_it(tmp_path: Path) -> None:
    references = References(ENVIRONMENT, tmp_path)
    command = "${cmd:sh -c 'echo x >> count; echo secret-value'}"
    assert [references.resolve(command) for _ in range(3)] == ["secret-value"] * 3
    assert (tmp_path / "count").read_text() == "x\n"


def test_secrets_are_resolved_in_bindings_alone_and_masked_everywhere(workspace: Workspace) -> None:
    workspace.write("token", "abc-secret-xyz\n").chmod(0o600)
    workspace.component(
        """\
        checks:
          a: {kind: http, url: "https://x.example/", headers: {Authorization: "Bearer ${file:token}"}}
          b: {kind: tcp, host: "${HOST}", port: "${PORT:-25}"}
        """
    )
    loaded = workspace.load({"HOST": "internal.example", "PORT": "2525"})
    assert loaded.problems == ()
    assert "abc-secret-xyz" not in repr(loaded.operation)
    assert loaded.operation.checks["email/a"].raw["headers"]["Authorization"] == "Bearer ${file:token}"
    assert options(loaded, "email/a").headers["Authorization"] == "Bearer abc-secret-xyz"
    assert "abc-secret-xyz" not in repr(loaded.bindings)
    assert "abc-secret-xyz" not in repr(loaded)
    assert loaded.secrets.mask("GET internal.example:2525 with abc-secret-xyz") == f"GET {MASK}:2525 with {MASK}"


def test_what_an_action_resolves_is_masked_from_then_on(workspace: Workspace) -> None:
    workspace.component("checks: {a: {kind: tcp, host: h, port: 1}}\n")
    workspace.write("opsdash.yaml", "vars: {API_HOST: api.example}\n")
    workspace.write("password", "correct horse\n")
    loaded = workspace.load()
    raw = {"url": "https://${API_HOST}/", "auth": "${file:password}"}
    assert loaded.resolve(raw) == {"url": "https://api.example/", "auth": "correct horse"}
    assert loaded.secrets.mask("api.example said: correct horse") == f"api.example said: {MASK}"


def test_a_setting_with_a_default_is_shown_unless_its_name_or_content_is_a_secrets(tmp_path: Path) -> None:
    masker = Masker()
    environment = {"MAILER": "mailer.example", "API_TOKEN": "tok-tok-tok", "DB": "postgres://me:pass-word@db/x"}
    references = References(environment, tmp_path, masker)
    references.resolve("${MAILER:-x} ${API_TOKEN:-x} ${DB:-x}")
    said = masker.mask("mailer.example tok-tok-tok postgres://me:pass-word@db/x")
    assert said == f"mailer.example {MASK} postgres://me:{MASK}@db/x"


def test_a_secret_that_is_too_short_to_mask_is_a_warning(workspace: Workspace) -> None:
    workspace.component('checks: {a: {kind: tcp, host: "${SHORT}", port: 1}}\n')
    [problem] = workspace.problems({"SHORT": "abc"})
    assert problem.startswith(
        "checks/email.yaml:1: warning: checks.a.host: the value of ${SHORT} is under six characters and is not masked"
    )
    assert workspace.loaded is not None
    assert workspace.loaded.secrets.mask("abc") == "abc"


def test_a_problem_with_an_option_never_shows_the_secret_in_it(workspace: Workspace) -> None:
    workspace.component('checks: {a: {kind: http, url: "${SECRET_URL}"}}\n')
    [problem] = workspace.problems({"SECRET_URL": "no-scheme://topsecret"})
    assert "topsecret" not in problem
    assert MASK in problem


def test_a_secret_is_masked_in_the_forms_in_which_programs_repeat_it() -> None:
    secret = 'pa"ss wörd\\/42'
    masker = Masker([secret])
    for shown in (
        secret, repr(secret), quote(secret, safe=""), secret.replace("\\", "\\\\").replace('"', '\\"'),
    ):  # fmt: skip
        assert secret not in masker.mask(shown)
        assert MASK in masker.mask(f"x {shown} y")
    for user in ("a", "ab", "abc"):
        header = base64.b64encode(f"{user}:{secret}:tail".encode()).decode()
        assert MASK in masker.mask(f"Authorization: Basic {header}")


def test_the_longest_secret_is_masked_first() -> None:
    assert Masker(["secret", "secret-and-more"]).mask("secret-and-more secret") == f"{MASK} {MASK}"


@given(
    st.text(min_size=MIN_LENGTH, max_size=30).filter(lambda text: text.strip() == text and "*" not in text),
    st.text(),
    st.text(),
)
def test_no_text_shows_a_secret(secret: str, before: str, after: str) -> None:
    assert secret not in Masker([secret]).mask(before.replace("*", "") + secret + after.replace("*", ""))


def test_the_beginning_of_a_secret_that_was_cut_short_is_hidden_too() -> None:
    masker = Masker(["correct-horse-battery-staple"])
    assert masker.mask('token = "correct-horse-ba…') == 'token = "***…'
    assert masker.mask("corre… is too little to tell") == "corre… is too little to tell"
