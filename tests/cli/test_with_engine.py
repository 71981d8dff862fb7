"""Commands in conversation with a real engine: what they ask, what they change, what scripts read from their codes."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.cli import exits
from opsdash.service.places import places, read_engine_file
from tests.cli.conftest import OPSDASH, Terminal, environment, eventually, process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ended, Running


@pytest.fixture
def opsdash(run: Callable[..., Ended], running: Running) -> Callable[..., Ended]:
    """A command about the workspace whose engine runs, once every check has a first result."""

    def ask(*words: str) -> Ended:
        return run(*words, "-w", running.workspace)

    eventually(lambda: ask("status").code == exits.OK, lambda: ask("status").out)
    return ask


def _broken(opsdash: Callable[..., Ended], running: Running) -> None:
    """The primary fails, and the engine has named the failure mode."""
    running.break_primary()

    def named() -> bool:
        opsdash("check", "greeting/first/text")
        return bool(opsdash("status", "greeting", "--json").json["failure_id"])

    eventually(named)


# --- looking -----------------------------------------------------------------------------------------------------


def test_status_answers_by_its_code_in_every_form(opsdash: Callable[..., Ended], running: Running) -> None:
    whole = opsdash("status", "--json")
    assert whole.code == exits.OK
    assert (whole.json["component"], whole.json["status"]) == (None, "ok")
    assert {each["component"] for each in whole.json["components"]} == {"greeting", "this-machine"}
    assert opsdash("status", "--nagios").out.startswith("OPSDASH OK - 2 components ok | ok=2;;;0;2 ")

    _broken(opsdash, running)
    assert opsdash("status").code == exits.NOT_OK
    assert opsdash("status", "this-machine").code == exits.OK
    one = opsdash("status", "greeting", "--json")
    assert (one.json["component"], one.json["status"]) == ("greeting", "down")
    assert one.json["reason"]
    nagios = opsdash("status", "greeting", "--nagios")
    assert nagios.code == 2
    assert nagios.out.startswith("OPSDASH CRITICAL - greeting down")
    assert opsdash("status", "greting").code == exits.USAGE


def test_status_watch_prints_a_line_of_json_for_every_change(opsdash: Callable[..., Ended], running: Running) -> None:
    watching = subprocess.Popen(
        [*OPSDASH, "status", "greeting", "--watch", "--json", "-w", str(running.workspace)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert (first["component"], first["status"]) == ("greeting", "ok")
        _broken(opsdash, running)
        later = json.loads(watching.stdout.readline())
        while later["status"] == "ok":
            later = json.loads(watching.stdout.readline())
        assert (later["component"], later["status"]) == ("greeting", "down")
    finally:
        watching.send_signal(signal.SIGINT)
        watching.communicate()
    assert watching.returncode == exits.INTERRUPTED


def test_check_runs_in_the_engine_and_shows_what_is_confirmed(opsdash: Callable[..., Ended], running: Running) -> None:
    assert opsdash("check", "greeting/first/text").code == exits.OK
    running.break_primary()
    broken = opsdash("check", "greeting/first/text", "--json")
    assert broken.code == exits.NOT_OK
    assert (broken.json["component"], broken.json["status"]) == ("greeting", "down")
    assert opsdash("check", "greeting/first/txt").code == exits.USAGE


def test_a_question_alone_starts_no_engine(run: Callable[..., Ended], workspace: Any) -> None:
    for line in (("register",), ("people",), ("incident", "list"), ("runbook", "list"), ("status",), ("doctor",)):
        run(*line, "-w", workspace)
    assert read_engine_file(places(workspace)) is None


def test_a_command_that_needs_an_engine_starts_one(run: Callable[..., Ended], workspace: Any) -> None:
    try:
        ended = run("failover", "greeting", "--plan", "-w", workspace)
        assert ended.code == exits.OK, ended.err
        assert "Greeting (an example to play with): First file → Second file" in ended.out
        assert run("engine", "status", "-w", workspace).code == exits.OK
    finally:
        assert run("engine", "stop", "-w", workspace).code == exits.OK
    assert run("engine", "status", "-w", workspace).code == exits.NOT_KNOWN


# --- switching ---------------------------------------------------------------------------------------------------


def test_a_plan_only_shows_and_prints_the_command_for_a_persons_shell(
    opsdash: Callable[..., Ended], running: Running
) -> None:
    ended = opsdash("failover", "greeting", "--plan")
    assert ended.code == exits.OK
    assert "by hand" in ended.out
    assert "example/in-use.txt" in ended.out
    assert (running.workspace / "example/in-use.txt").read_text() == "first\n"
    planned = opsdash("failover", "greeting", "--plan", "--json").json
    assert (planned["status"], planned["plan"]["target"]) == ("planned", "second")


def test_without_a_terminal_and_without_yes_nothing_is_switched(
    opsdash: Callable[..., Ended], running: Running
) -> None:
    ended = opsdash("failover", "greeting")
    assert ended.code == exits.REFUSED
    assert "--yes" in ended.err
    assert (running.workspace / "example/in-use.txt").read_text() == "first\n"


def test_failover_and_failback_commit_and_say_so(opsdash: Callable[..., Ended], running: Running) -> None:
    _broken(opsdash, running)
    over = opsdash("failover", "greeting", "--yes", "--json")
    assert over.code == exits.COMMITTED
    assert (over.json["component"], over.json["status"]) == ("greeting", "committed")
    assert over.json["switch"]["reason"] == "The file in use does not say hello"
    assert "the mechanism reads back the new side" in over.err
    assert (running.workspace / "example/in-use.txt").read_text() == "second\n"
    shown = opsdash("switch", "show", "greeting")
    assert "done and verified" in shown.out
    assert "verify" in shown.out

    again = opsdash("failover", "greeting", "--yes")
    assert again.code == exits.REFUSED
    assert (running.workspace / "example/in-use.txt").read_text() == "second\n"

    refused = opsdash("failback", "greeting", "--yes")
    assert refused.code == exits.REFUSED
    assert "--override target_healthy --override somebody_serves" in refused.err
    both = ("--override", "target_healthy", "--override", "somebody_serves")
    unreasoned = opsdash("failback", "greeting", "--yes", *both)
    assert unreasoned.code == exits.REFUSED
    assert "needs a reason" in unreasoned.err

    running.heal_primary()
    eventually(lambda: opsdash("failback", "greeting", "--plan").code == exits.OK)
    back = opsdash("failback", "greeting", "--yes", "--reason", "the file is back")
    assert back.code == exits.COMMITTED
    assert "the file is back" in back.out
    assert (running.workspace / "example/in-use.txt").read_text() == "first\n"


def test_an_action_without_effect_is_1_and_the_way_out_is_named(
    opsdash: Callable[..., Ended], running: Running
) -> None:
    (running.workspace / "example/elsewhere.txt").write_text("first\n")
    _switch_by(running, opsdash, '{kind: pointer, file: example/elsewhere.txt, value: "{to.as}"}')
    ended = opsdash("failover", "greeting", "--yes", "--reason", "a test", "--json")
    assert (ended.code, ended.json["status"]) == (exits.NOT_DONE, "no_effect")
    facts = {fact["name"]: fact["truth"] for fact in ended.json["switch"]["facts"]}
    assert facts["A"] == "false"
    assert "opsdash switch undo greeting" in opsdash("switch", "show", "greeting").out
    assert opsdash("switch", "settle", "greeting", "aborted", "--reason", "I looked").code == exits.REFUSED


def test_an_outcome_that_nobody_can_tell_is_5(opsdash: Callable[..., Ended], running: Running) -> None:
    _switch_by(running, opsdash, "{kind: command, argv: [rm, example/in-use.txt]}")
    ended = opsdash("failover", "greeting", "--to", "second", "--yes", "--reason", "a test", "--json")
    assert (ended.code, ended.json["status"]) == (exits.OUTCOME_UNKNOWN, "unknown")
    again = opsdash("failover", "greeting", "--to", "second", "--yes")
    assert again.code == exits.REFUSED
    assert "undo, settle or take it over first" in again.err
    settled = opsdash("switch", "settle", "greeting", "aborted", "--reason", "the file was the wrong one")
    assert settled.code == exits.OK
    assert "stated by" in settled.out


def _switch_by(running: Running, opsdash: Callable[..., Ended], action: str) -> None:
    """Another action than the one whose file is read, and little time for its effect to show."""
    path = running.workspace / "checks/greeting.yaml"
    before = 'action: {kind: pointer, file: example/in-use.txt, value: "{to.as}"}'
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, f"action: {action}\n  deadline: 1s"))
    eventually(lambda: opsdash("failover", "greeting", "--plan", "--json").json["plan"]["deadline"] == 1)


def test_a_person_is_asked_and_enter_never_confirms(opsdash: Callable[..., Ended], running: Running) -> None:
    with Terminal("failover", "greeting", "-w", running.workspace) as terminal:
        plan = terminal.sees("Go ahead?")
        assert "First file → Second file" in plan
        terminal.types("")
        terminal.sees("Nothing was done.")
        assert terminal.code() == exits.NOT_DONE
    assert (running.workspace / "example/in-use.txt").read_text() == "first\n"

    with Terminal("failover", "greeting", "-w", running.workspace) as terminal:
        terminal.sees("Go ahead?")
        terminal.types("y")
        terminal.sees("done and verified")
        assert terminal.code() == exits.COMMITTED
    assert (running.workspace / "example/in-use.txt").read_text() == "second\n"


def test_a_failed_guard_asks_for_the_components_name(opsdash: Callable[..., Ended], running: Running) -> None:
    (running.workspace / "example/second.txt").unlink()
    eventually(lambda: opsdash("failover", "greeting", "--to", "second", "--plan").code == exits.REFUSED)
    line = ("failover", "greeting", "--to", "second", "--reason", "a test", "-w", running.workspace)
    with Terminal(*line) as terminal:
        terminal.sees("Type greeting to go ahead:")
        terminal.types("y")
        terminal.sees("Nothing was done.")
        assert terminal.code() == exits.NOT_DONE
    with Terminal(*line) as terminal:
        terminal.sees("Type greeting to go ahead:")
        terminal.types("greeting")
        terminal.sees("target_healthy")
        assert terminal.code() == exits.COMMITTED


def test_names_that_do_not_exist_are_usage_errors(opsdash: Callable[..., Ended]) -> None:
    assert opsdash("failover", "greting", "--yes").code == exits.USAGE
    assert opsdash("failover", "greeting", "--to", "third", "--yes").code == exits.USAGE
    assert opsdash("degrade", "greeting", "less", "--yes").code == exits.USAGE
    assert opsdash("switch", "show", "greting").code in {exits.USAGE, exits.FAILED}


def test_what_a_rule_forbids_is_4(opsdash: Callable[..., Ended]) -> None:
    assert opsdash("failback", "greeting", "--yes").code == exits.REFUSED
    assert opsdash("restore", "greeting", "--yes").code == exits.REFUSED
    assert opsdash("switch", "undo", "greeting").code == exits.REFUSED
    settled = opsdash("switch", "settle", "greeting", "committed", "--reason", "I looked", "--json")
    assert settled.code == exits.REFUSED
    assert settled.json["status"] == "refused"


def test_no_colour_when_not_a_terminal_or_when_asked_for_none(running: Running) -> None:
    piped = process("failover", "greeting", "--plan", "-w", running.workspace)
    assert "\x1b" not in piped.out + piped.err
    line = ("failover", "greeting", "--plan", "-w", running.workspace)
    with Terminal(*line) as terminal:
        assert terminal.code() == exits.OK
        assert "\x1b[" in terminal.screen
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with Terminal(*line, more={name: value}) as terminal:
            assert terminal.code() == exits.OK
            assert "\x1b" not in terminal.screen


# --- incidents, people, runbooks, journal ------------------------------------------------------------------------


def test_an_incident_that_there_is_not_is_named(opsdash: Callable[..., Ended]) -> None:
    assert opsdash("incident", "ack", "INC-99").code == exits.REFUSED
    assert opsdash("incident", "show", "INC-99").code == exits.USAGE


def test_somebody_is_away_and_back_and_it_is_said_what_nobody_covers(opsdash: Callable[..., Ended]) -> None:
    away = opsdash("people", "away", "me", "--until", "2999-01-10")
    assert away.code == exits.OK
    assert "nobody covers greeting, this-machine" in away.out
    assert "away until 2999-01-1" in opsdash("people").out
    assert "nobody covers" not in opsdash("people", "back", "me").out
    assert opsdash("people", "away", "me", "--until", "2001-01-10").code == exits.USAGE
    assert opsdash("people", "away", "me", "--until", "soon").code == exits.USAGE
    assert opsdash("people", "away", "nobody").code == exits.REFUSED


def test_a_runbook_is_followed_left_and_resumed(opsdash: Callable[..., Ended], running: Running) -> None:
    line = ("runbook", "run", "getting-started", "greeting", "-w", running.workspace)

    def answers(terminal: Terminal, step: str, answer: str) -> None:
        terminal.sees(step)
        terminal.sees("(resumable)")
        terminal.sees("> ")
        terminal.types(answer)

    with Terminal(*line) as terminal:
        terminal.sees("nobody has approved this runbook")
        terminal.sees("failback greeting")
        terminal.sees("approve it?")
        terminal.types("y")
        answers(terminal, "Step 1 of 4: See what is wrong", "x1")
        terminal.sees("✓ passed")
        answers(terminal, "Step 1 of 4", "d")
        answers(terminal, "Step 2 of 4", "q")
        terminal.sees("goes on")
        assert terminal.code() == exits.OK
    with Terminal(*line) as terminal:
        answers(terminal, "Step 2 of 4", "s")
        answers(terminal, "Step 3 of 4", "t1")
        answers(terminal, "[x] Copy checks/this-machine.yaml", "d")
        answers(terminal, "Step 4 of 4", "s")
        terminal.sees("is closed: every step is marked")
        assert terminal.code() == exits.OK
    told = opsdash("journal", "tail", "greeting").out
    assert "opened runbook getting-started" in told


def test_the_journal_is_told_verified_and_exported_beside_the_engine(
    opsdash: Callable[..., Ended], running: Running
) -> None:
    told = opsdash("journal", "tail", "-n", "100")
    assert "greeting is ok, was unknown" in told.out
    assert opsdash("journal", "verify").code == exits.OK
    exported = [json.loads(line) for line in opsdash("journal", "export").out.splitlines()]
    assert [entry["seq"] for entry in exported] == list(range(1, len(exported) + 1))

    [segment] = (running.workspace / ".opsdash/journal").glob("*.jsonl")
    lines = segment.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace('"at"', '"At"', 1)
    segment.write_text("".join(lines))
    broken = opsdash("journal", "verify")
    assert broken.code == exits.FAILED
    assert f"{segment.name}, line 3" in broken.out


def test_who_has_switched_can_run_it_and_nobody_else_can_when_away(opsdash: Callable[..., Ended]) -> None:
    before = opsdash("people")
    assert "✗ nobody" in before.out
    assert opsdash("failover", "greeting", "--yes", "--as", "me", "--reason", "try").code == exits.OK
    after = opsdash("people")
    assert "! 1 person" in after.out
    assert "me (switch to second" in after.out
    found = opsdash("people", "--json").json
    [greeting] = [each for each in found["cover"]["components"] if each["component"] == "greeting"]
    assert (greeting["bus_factor"], greeting["can_run"][0]["by"]) == (1, "greeting-failover-1")
    away = opsdash("people", "away", "me", "--from", "2998-12-24", "--until", "2999-01-10")
    assert "greeting: nobody else owns it; nobody else can run it" in away.out
    assert "away from 2998-12-24" in away.out
    assert opsdash("people", "away", "me", "--from", "2999-02-01", "--until", "2999-01-10").code == exits.REFUSED


def test_an_absence_to_come_is_said_at_once_and_warned_of_before_it_begins(opsdash: Callable[..., Ended]) -> None:
    def days(count: int) -> str:
        return str(datetime.now(UTC).date() + timedelta(days=count))

    away = opsdash("people", "away", "me", "--from", days(9), "--until", days(12))
    assert away.code == exits.OK
    assert "greeting: nobody else owns it" in away.out
    assert "#cover" not in opsdash("alarms").out
    assert opsdash("people", "away", "me", "--from", days(2), "--until", days(12)).code == exits.OK
    eventually(lambda: "greeting#cover" in opsdash("alarms").out)
    assert opsdash("people", "back", "me").code == exits.OK
    eventually(lambda: "greeting#cover" not in opsdash("alarms").out)


def test_a_rota_is_read_while_the_engine_runs_and_goes_on_when_its_file_breaks(
    opsdash: Callable[..., Ended], running: Running
) -> None:
    settings = running.workspace / "opsdash.yaml"
    rota = running.workspace / "front.ics"
    duty = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:me\nDTSTART;VALUE=DATE:20250101\nRRULE:FREQ=DAILY\nEND:VEVENT\n"
    rota.write_text(duty + "END:VCALENDAR\n")
    settings.write_text(settings.read_text() + "\nrota: {front: {file: front.ics}}\n")
    eventually(lambda: "on duty (front)" in opsdash("people").out)
    rota.write_text(duty)
    eventually(lambda: "it was cut short" in opsdash("validate").out)
    assert "on duty (front)" in opsdash("people").out
    rota.write_text(duty.replace("DAILY", "DAILY;UNTIL=20250201") + "END:VCALENDAR\n")
    eventually(lambda: "nobody is on duty" in opsdash("people").out)


def test_couplings_say_what_was_tested(opsdash: Callable[..., Ended]) -> None:
    found = opsdash("couplings", "--json")
    assert found.code == exits.OK
    assert (found.json["tested"], found.json["couplings"]) == (0, [])
    assert "no pair fails together" in opsdash("couplings", "--last", "7d").out


def test_history_has_every_check(opsdash: Callable[..., Ended]) -> None:
    found = opsdash("history", "greeting", "--last", "1h", "--json")
    assert found.code == exits.OK
    assert [each["check"] for each in found.json["checks"]] == ["greeting/first/text", "greeting/second/text"]
    assert "greeting/first/text" in opsdash("history", "greeting", "--last", "1h").out
    assert opsdash("history", "greting").code == exits.USAGE


# --- the engine itself -------------------------------------------------------------------------------------------


def test_what_an_engine_recorded_is_there_without_it(opsdash: Callable[..., Ended], running: Running) -> None:
    _broken(opsdash, running)
    assert opsdash("failover", "greeting", "--yes").code == exits.COMMITTED
    assert opsdash("people", "away", "me").code == exits.OK
    assert opsdash("engine", "status", "--json").json["pid"] == running.engine.pid
    assert opsdash("engine", "stop").code == exits.OK
    assert running.engine.wait(10) == 0

    assert opsdash("status").code == exits.NOT_KNOWN
    assert "done and verified" in opsdash("switch", "show", "greeting").out
    assert "\n## Facts\n\n| fact | truth | evidence |\n" in opsdash("evidence", "greeting").out
    assert opsdash("evidence", "greeting", "--json").json["outcome"] == "committed"
    assert "away" in opsdash("people").out
    incidents = opsdash("incident", "list", "--closed", "--json").json["incidents"]
    assert [each["title"] for each in incidents] == ["The file in use does not say hello"]
    assert "greeting/first/text" in opsdash("history", "greeting", "--last", "1h").out
    assert "engine stopped" in opsdash("journal", "tail").out


def test_restart_starts_another_engine(opsdash: Callable[..., Ended], running: Running) -> None:
    try:
        restarted = opsdash("engine", "restart")
        assert restarted.code == exits.OK, restarted.err
        pid = opsdash("engine", "status", "--json").json["pid"]
        assert pid != running.engine.pid
        assert f"pid {pid}" in restarted.out
    finally:
        opsdash("engine", "stop")


# --- maintenance -------------------------------------------------------------------------------------------------


def test_maintenance_mutes_lists_what_it_mutes_and_ends(opsdash: Callable[..., Ended], running: Running) -> None:
    begun = opsdash("maintenance", "greeting", "--for", "2h", "--reason", "new text")
    assert begun.code == exits.OK
    assert "greeting" in begun.out
    assert ": new text" in begun.out
    assert "maintenance until" in opsdash("status").out
    _broken(opsdash, running)
    held = opsdash("status", "greeting", "--json").json
    assert (held["status"], held["alarm"], held["held"]) == ("down", "held", "maintenance")
    assert [each["kind"] for each in held["windows"]] == ["maintenance"]
    assert "alarm held: maintenance" in opsdash("status").out

    (window,) = opsdash("maintenance", "--json").json["windows"]
    assert (window["target"], window["components"], window["reason"]) == ("greeting", ["greeting"], "new text")
    assert window["until"] - window["since"] == 7200
    assert [each["component"] for each in window["muted"]] == ["greeting"]
    assert "would have alarmed" in opsdash("maintenance").out

    ended = opsdash("maintenance", "greeting", "--end")
    assert (ended.code, ended.out) == (exits.OK, "")
    assert "no maintenance" in ended.err
    assert opsdash("status", "greeting", "--json").json["alarm"] == "raised"
    assert opsdash("maintenance", "greeting", "--end").code == exits.REFUSED


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("ghost", "--for", "2h"), exits.REFUSED),
        (("tag:ghost", "--for", "2h"), exits.REFUSED),
        (("greeting", "--for", "90d"), exits.REFUSED),
        (("greeting",), exits.USAGE),
        (("greeting", "--for", "soon"), exits.USAGE),
        (("greeting", "--end", "--for", "2h"), exits.USAGE),
        (("--for", "2h"), exits.USAGE),
    ],
)
def test_a_maintenance_that_makes_no_sense_is_refused(
    opsdash: Callable[..., Ended], words: tuple[str, ...], code: int
) -> None:
    assert opsdash("maintenance", *words).code == code


# --- runbooks with everything ------------------------------------------------------------------------------------

BOOK = """---
title: Move the database
component: greeting
params:
  standby: {default: db2, pattern: '[a-z0-9]+', ask: Which host?}
---

## Steps

### Move it

```sh {run once timeout=60s}
echo "to $standby"
while [ ! -e go ]; do sleep 0.05; done
echo moved
```

```sh {check}
test -e go
```

**If this fails:** [Stand down](#stand-down)

### Prove it

```sh {check}
echo proved
```

### Stand down

- [ ] Tell everybody.
"""


@pytest.fixture
def moving(running: Running, opsdash: Callable[..., Ended]) -> tuple[str | Path, ...]:
    """The command line that follows a runbook, which is approved."""
    (running.workspace / "runbooks" / "move.md").write_text(BOOK)
    eventually(lambda: any(each["id"] == "move" for each in opsdash("runbook", "list", "--json").json["runbooks"]))
    assert opsdash("runbook", "approve", "move", "--yes").code == exits.OK
    return ("runbook", "run", "move", "-w", running.workspace)


def prompted(terminal: Terminal, step: str, answer: str) -> None:
    terminal.sees(step)
    terminal.sees("(resumable)")
    terminal.sees("> ")
    terminal.types(answer)


def test_a_parameter_is_asked_and_a_block_that_streams_is_cancelled_and_decided_about(
    opsdash: Callable[..., Ended], moving: tuple[str | Path, ...], running: Running
) -> None:
    with Terminal(*moving) as terminal:
        prompted(terminal, "Step 1 of 3: Move it", "x1")
        terminal.sees("Which host?")
        terminal.types("db 9")
        terminal.sees("has to match [a-z0-9]+")
        terminal.sees("once more?")
        terminal.types("")
        terminal.sees("Which host?")
        terminal.types("")
        terminal.sees("│ to db2")
        terminal.signal(signal.SIGINT)
        terminal.sees("c cancel it")
        terminal.types("c")
        terminal.sees("NOT KNOWN")
        terminal.sees("cancelled by")
        prompted(terminal, "Step 1 of 3: Move it", "x1")
        terminal.sees("a block of this step was cut short")
        terminal.sees("d it is done")
        (running.workspace / "go").touch()
        terminal.types("r")
        terminal.sees("type greeting to run it:")
        terminal.types("greeting")
        terminal.sees("│ moved")
        terminal.sees("✓ passed")
        prompted(terminal, "Step 1 of 3: Move it", "d")
        prompted(terminal, "Step 2 of 3: Prove it", "a")
        terminal.sees("│ proved")
        prompted(terminal, "Step 3 of 3: Stand down", "t1")
        prompted(terminal, "[x] Tell everybody.", "d")
        terminal.sees("is closed: every step is marked")
        assert terminal.code() == exits.OK
    (run,) = opsdash("runbook", "runs", "--json").json["runs"]
    assert (run["done"], run["ended_at"] is not None) == (3, True)
    shown = opsdash("runbook", "runs", run["id"])
    assert "Stand down" in shown.out
    assert opsdash("runbook", "runs", "RUN-99").code == exits.USAGE


def test_two_terminals_and_one_of_them_drives(
    opsdash: Callable[..., Ended], moving: tuple[str | Path, ...], running: Running
) -> None:
    with Terminal(*moving) as first:
        prompted(first, "Step 1 of 3: Move it", "t9")
        with Terminal(*moving) as second:
            second.sees("drives RUN-1, last active")
            second.sees("why do you take it over?")
            second.types("")
            second.sees("watching")
            prompted(first, "Step 1 of 3: Move it", "s")
            second.sees("Move it: skipped")
            second.signal(signal.SIGINT)
            assert second.code() == exits.OK
        with Terminal(*moving) as third:
            third.sees("why do you take it over?")
            third.types("the other one is in the lift")
            prompted(third, "Step 2 of 3: Prove it", "q")
            assert third.code() == exits.OK
    assert "in the lift" in opsdash("journal", "tail", "-n", "50").out
    assert opsdash("runbook", "cancel", "RUN-1").code == exits.FAILED


def test_a_rehearsal_runs_checks_and_shows_the_rest(moving: tuple[str | Path, ...], running: Running) -> None:
    with Terminal(*moving, "--rehearse") as terminal:
        terminal.sees("REHEARSAL")
        prompted(terminal, "Step 1 of 3: Move it", "x1")
        terminal.sees("this is shown, and would be run now")
        prompted(terminal, "Step 1 of 3: Move it", "x2")
        terminal.sees("✗ FAILED")
        prompted(terminal, "Step 1 of 3: Move it", "f")
        prompted(terminal, "Step 3 of 3: Stand down", "q")
        assert terminal.code() == exits.OK


def test_an_approval_without_a_terminal_has_to_be_meant(
    opsdash: Callable[..., Ended], moving: tuple[str | Path, ...], running: Running
) -> None:
    book = running.workspace / "runbooks" / "move.md"
    book.write_text(BOOK.replace("echo proved", "echo otherwise"))
    eventually(lambda: not _approved(opsdash))
    ended = opsdash("runbook", "approve", "move")
    assert ended.code == exits.USAGE
    assert "+echo otherwise" in ended.out
    assert opsdash("runbook", "approve", "move", "--yes").code == exits.OK
    assert _approved(opsdash)


def _approved(opsdash: Callable[..., Ended]) -> bool:
    listed = {each["id"]: each["approved"] for each in opsdash("runbook", "list", "--json").json["runbooks"]}
    return bool(listed["move"])
