"""`opsdash whatif`: without an engine, on the example operation and on workspaces with mistakes in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from opsdash.cli import exits
from opsdash.demo.example import copy_example
from tests.cli.conftest import process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ended, Running

    Run = Callable[..., Ended]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example operation, in which nothing has ever run."""
    copy_example(tmp_path / "tea")
    return tmp_path / "tea"


def _singles(run: Run, workspace: Path) -> dict[str, dict[str, Any]]:
    ended = run("whatif", "--all", "--json", "-w", workspace)
    assert ended.code == exits.OK
    return {line["subjects"][0]: line for line in ended.json["singles"]}


def test_the_examples_single_points_of_failure_are_found(run: Run, example: Path) -> None:
    critical = {name for name, line in _singles(run, example).items() if line["critical"]}
    applications = {
        "host:127.0.0.1:18105",  # the mailer
        "host:127.0.0.1:18107",  # the intake of contacts
        "host:127.0.0.1:18109",  # the runner of flows
        "host:127.0.0.1:18111",  # the cache of prices
        "host:127.0.0.1:18114",  # the reader of quotes
        "host:127.0.0.1:18116",  # the router of leads
        "host:127.0.0.1:18118",  # reporting
    }
    without_a_backup = {"host:127.0.0.1:18108"}  # the automation platform
    whole = {"automation", "email", "lead-routing", "market-data", "reporting"}
    assert critical == {*applications, *without_a_backup, *whole, "channel:alarm-log", "person:lena"}


def test_the_example_survives_the_loss_of_whatever_it_has_a_backup_or_a_degraded_mode_for(
    run: Run, example: Path
) -> None:
    singles = _singles(run, example)
    answered = {name: line["switched"] for name, line in singles.items() if line["switched"]}
    assert answered["email/postmark"] == ["email to ses"]
    assert answered["market-data/feed-a"] == ["market-data to feed-b"]
    assert answered["zone:us-east"] == ["email to ses", "market-data to feed-b"]
    assert answered["crm"] == ["crm in outbox"]
    assert answered["pricing-api"] == ["pricing-api in cached-prices"]
    assert answered["lead-scoring"] == ["lead-scoring in all-to-sales"]
    assert answered["host:127.0.0.1:18117"] == ["reporting in simple-report"]
    assert not any(line["unanswered"] for name, line in singles.items() if name in answered)


def test_the_one_who_knows_the_automation_leaves_it_to_nobody(run: Run, example: Path) -> None:
    ended = run("whatif", "person:lena", "-w", example)
    assert "The one person who knows the flows is away: runbook" in ended.out
    assert "nobody who owns it is there" in ended.out
    assert "unanswered: automation: nobody who owns it is there" in ended.err


def test_the_only_channel_gone_is_told_for_every_component_that_alarms(run: Run, example: Path) -> None:
    ended = run("whatif", "channel:alarm-log", "-w", example)
    assert "email: nobody would be told of a failure" in ended.out
    assert "social" not in ended.out


def test_a_provider_is_told_from_its_failure_to_its_answer(run: Run, example: Path) -> None:
    ended = run("whatif", "email/postmark", "-w", example)
    assert ended.code == exits.OK
    order = [
        "Transactional email (email, essential)",
        "DOWN (timeout: email/delivery)",
        "Our mail provider does not answer: switch",
        "switch email to ses: committed",
        "guard proof: never proved",
        "afterwards  ok",
        "Customers get their order confirmed (essential): no, then yes",
        "“Our mail provider does not answer” to alarm-log",
        "maria, ken; runbook email-down",
    ]
    places = [ended.out.index(text) for text in order]
    assert places == sorted(places)
    assert "users lose nothing, and everything is answered" in ended.err


def test_two_that_are_harmless_alone_are_told_for_what_they_take_together(run: Run, example: Path) -> None:
    ended = run("whatif", "--all", "--pairs", "--json", "-w", example)
    pairs = {tuple(pair["subjects"]): pair for pair in ended.json["pairs"]}
    both = pairs["email/postmark", "email/ses"]
    assert {"id": "email/order-confirmations", "tier": "essential"} in both["lost"]
    assert next(iter(pairs)) == ("zone:eu-west", "zone:us-east")
    assert ("email", "email/ses") not in pairs
    text = run("whatif", "--all", "--pairs", "-w", example)
    assert "Lost only when two are gone" in text.out
    assert "zone:eu-west + zone:us-east" in text.out


def test_the_exit_code_says_whether_there_is_a_single_point_of_failure_where_that_is_asked(
    run: Run, example: Path
) -> None:
    assert run("whatif", "email", "-w", example).code == exits.OK
    assert run("whatif", "email", "--fail-on", "spof", "-w", example).code == exits.FAILED
    assert run("whatif", "email/postmark", "--fail-on", "spof", "-w", example).code == exits.OK
    assert run("whatif", "--all", "--fail-on", "spof", "-w", example).code == exits.FAILED


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("emial",), "did you mean email?"),
        (("email/postmrak",), "did you mean email/postmark?"),
        (("person:lenna",), "did you mean person:lena?"),
        (("zone:mars",), "there are: zone:eu-west, zone:us-east"),
        ((), "name what is taken away, or say --all"),
        (("email", "--all"), "name what is taken away, or say --all"),
        (("email", "--pairs"), "--pairs goes with --all"),
    ],
)
def test_a_line_that_makes_no_sense_is_answered_with_what_would(
    run: Run, example: Path, words: tuple[str, ...], said: str
) -> None:
    ended = run("whatif", *words, "-w", example)
    assert (ended.code, ended.out) == (exits.USAGE, "")
    assert said in ended.err


def test_all_that_can_be_taken_away_is_named(run: Run, example: Path) -> None:
    named = run("whatif", "--list", "-w", example).out.splitlines()
    assert {"email", "email/ses", "host:127.0.0.1:18105", "zone:eu-west", "person:ken", "channel:alarm-log"} <= set(
        named
    )
    assert run("whatif", "--list", "--json", "-w", example).json["subjects"] == named


def test_secrets_are_named_by_their_references_and_never_read(run: Run, workspace: Path) -> None:
    (workspace / "checks/api.yaml").write_text(
        "checks:\n  up: {kind: http, url: 'https://api.example/', headers: {Authorization: 'Bearer ${API_TOKEN}'}}\n"
    )
    ended = process("whatif", "credential:API_TOKEN", "-w", workspace, API_TOKEN="very-secret-value")
    assert "DOWN (auth: api/up)" in ended.out
    assert "very-secret-value" not in ended.out + ended.err


def test_a_workspace_with_mistakes_is_answered_as_far_as_it_could_be_read(run: Run, example: Path) -> None:
    (example / "checks/crm.yaml").write_text("- no\n- mapping\n")
    (example / "checks/social.yaml").unlink()
    email = example / "checks/email.yaml"
    email.write_text(email.read_text().replace("action:", "acton:").replace("drops: [newsletters]", "drops: [letters]"))
    ended = run("whatif", "--all", "--pairs", "-w", example)
    assert ended.code == exits.OK
    assert "lost: email/order-confirmations" in run("whatif", "email/postmark", "-w", example).err


def test_from_the_present_state_what_serves_now_is_what_is_missed(run: Run, running: Running) -> None:
    assert run("failover", "greeting", "--yes", "-w", running.workspace).code == exits.COMMITTED
    before, now = (
        run("whatif", "greeting/second", *more, "--json", "-w", running.workspace).json for more in ((), ("--now",))
    )
    assert (before["down"], now["down"]) == ([], ["greeting"])
