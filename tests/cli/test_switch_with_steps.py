"""A switch with steps, two people, guards of its own, and opsdash itself: as operators meet it on the command line."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from opsdash.cli import exits
from opsdash.service.places import places
from tests.cli.conftest import OPSDASH, Terminal, environment, eventually
from tests.cli.mail import write_mail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Ended, Running
    from tests.cli.mail import Mail

GO = ("failover", "mail", "--yes", "--reason", "a test")
MARIA, KEN = ("--as", "maria"), ("--as", "ken")


class Desk:
    """The command line on a workspace whose engine runs, with the component `mail` in it."""

    def __init__(self, run: Callable[..., Ended], running: Running) -> None:
        self._run = run
        self._running = running
        self.workspace = running.workspace

    def __call__(self, *words: str) -> Ended:
        return self._run(*words, "-w", self.workspace)

    def write(self, *, more: str = "", instead: tuple[str, str] = ("", "")) -> Mail:
        """Add the component, and wait until all is known of it."""
        mail = write_mail(self.workspace, more=more, instead=instead)

        def known() -> bool:
            found = self("status", "mail", "--json")
            return found.code == exits.OK and found.json["redundancy"] == "ready"

        eventually(known)
        return mail

    def read_again(self) -> None:
        """A file that has changed makes the engine read what is in force."""
        path = self.workspace / "checks/mail.yaml"
        path.write_text(path.read_text() + "# again\n")

    @contextmanager
    def process(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A command in a process of its own, which goes on meanwhile."""
        line = [*OPSDASH, *words, "-w", str(self.workspace)]
        command = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
        )
        try:
            yield command
        finally:
            command.kill()
            command.communicate()

    def stop(self) -> None:
        """The engine ends."""
        assert self("engine", "stop").code == exits.OK
        self._running.engine.wait(10)


@pytest.fixture
def desk(run: Callable[..., Ended], running: Running) -> Desk:
    """The desk, before the component is there."""
    return Desk(run, running)


def in_order(text: str, *parts: str) -> bool:
    """Whether the parts are in the text, one behind the other."""
    place = 0
    for part in parts:
        place = text.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True


# --- plan and progress -------------------------------------------------------------------------------------------


def test_the_plan_names_the_commands_of_every_step_in_order_there_and_back(desk: Desk) -> None:
    mail = desk.write()
    planned = desk("failover", "mail", "--plan")
    assert planned.code == exits.OK
    there = ("by hand, quiesce ", "by hand, fence ", "by hand, switch ", "by hand, reload ")
    back = ("undo by hand, switch ", "undo by hand, fence ", "undo by hand, quiesce ", "undo by hand, reload ")
    assert in_order(planned.out, *there, *back)
    assert "sh mail/do.sh unfence first" in planned.out
    plan = desk("failover", "mail", "--plan", "--json").json["plan"]
    assert [step["name"] for step in plan["steps"]] == ["quiesce", "fence", "reload"]
    assert (plan["steps_before"], plan["state"]) == (2, "ready")
    assert mail.log == []


def test_progress_names_every_step_and_the_exit_code_is_0(desk: Desk) -> None:
    mail = desk.write()
    ended = desk(*GO, "--json")
    assert (ended.code, ended.json["status"]) == (exits.COMMITTED, "committed")
    assert in_order(ended.err, "quiesce", "▸ ", "fence", "▸ ", "reload")
    assert ended.json["switch"]["begun"] == ["quiesce", "fence", "switch", "reload"]
    assert mail.log == ["quiesce", "fence first", "reload second"]
    assert mail.serving == "second"


def test_a_fence_of_which_nobody_knows_whether_it_worked_is_5_and_a_person_leads_back(desk: Desk) -> None:
    mail = desk.write()
    (mail.folder / "fail-fence").touch()
    ended = desk(*GO, "--json")
    assert (ended.code, ended.json["status"]) == (exits.OUTCOME_UNKNOWN, "needs_human")
    assert "nobody knows whether fence came about" in ended.json["reason"]
    assert "opsdash switch undo mail" in desk("switch", "show", "mail").out
    assert mail.serving == "first"
    assert desk(*GO).code == exits.REFUSED
    undone = desk("switch", "undo", "mail", "--reason", "back to where it was", "--json")
    assert (undone.code, undone.json["status"]) == (exits.OK, "undone")
    assert mail.log == ["quiesce", "fence first", "unfence first", "resume"]


def test_a_fence_that_is_refused_is_1_and_what_was_begun_is_taken_back(desk: Desk) -> None:
    mail = desk.write(instead=('fence, "{from.as}"]}', 'fence, "{from.as}"], refused: [1]}'))
    (mail.folder / "fail-fence").touch()
    ended = desk(*GO, "--json")
    assert (ended.code, ended.json["status"]) == (exits.NOT_DONE, "undone")
    assert ended.json["reason"].startswith("fence was not carried out")
    assert "the mechanism reads back the old side" in desk("switch", "show", "mail").out
    assert mail.log == ["quiesce", "fence first", "resume"]


def test_a_mechanism_that_says_something_else_by_now_is_4_and_nothing_was_done(desk: Desk) -> None:
    mail = desk.write()
    (mail.folder / "in-use.txt").write_text("second\n")
    ended = desk(*GO, "--json")
    assert (ended.code, ended.json["status"]) == (exits.REFUSED, "refused")
    assert "says 'second' already" in ended.json["reason"]
    assert mail.log == []


def test_a_switch_that_somebody_else_went_back_on_is_shown_as_reverted(desk: Desk) -> None:
    mail = desk.write()
    assert desk(*GO).code == exits.COMMITTED
    (mail.folder / "in-use.txt").write_text("first\n")
    desk.read_again()
    eventually(lambda: "REVERTED by somebody else" in desk("switch", "show", "mail").out)
    shown = desk("switch", "show", "mail", "--json").json
    assert (shown["status"], shown["switch"]["state"]) == ("reverted", "reverted")
    assert "it says 'first'" in shown["reason"]
    assert desk("switch", "undo", "mail").code == exits.REFUSED


# --- guards ------------------------------------------------------------------------------------------------------


def test_a_guard_that_the_component_lets_block_is_4_until_it_is_overridden_with_a_reason(desk: Desk) -> None:
    mail = desk.write(more="  guards: {proof: block}\n")
    planned = desk("failover", "mail", "--plan", "--json")
    assert (planned.code, planned.json["status"]) == (exits.REFUSED, "refused")
    assert planned.json["plan"]["failed"] == ["proof"]
    refused = desk(*GO, "--json")
    assert (refused.code, refused.json["status"]) == (exits.REFUSED, "refused")
    assert "--override proof" in refused.err
    assert desk("failover", "mail", "--yes", "--override", "proof").code == exits.REFUSED
    assert mail.log == []
    ended = desk(*GO, "--override", "proof", "--json")
    assert (ended.code, ended.json["switch"]["overrides"]) == (exits.COMMITTED, ["proof"])
    assert "overriding proof: a test" in desk("switch", "show", "mail").out


def test_two_people_agree_on_a_switch(desk: Desk) -> None:
    mail = desk.write(more="  approve: 2\n")
    asked = desk(*GO, *MARIA, "--json")
    assert (asked.code, asked.json["status"]) == (exits.REFUSED, "refused")
    assert "another one has to confirm" in asked.json["reason"]
    assert desk(*GO, *MARIA).code == exits.REFUSED, "not twice the same"
    assert "maria" in desk("failover", "mail", "--plan").out
    assert mail.log == []
    agreed = desk(*GO, *KEN, "--json")
    assert agreed.code == exits.COMMITTED
    switch = agreed.json["switch"]
    assert (switch["who"][:5], switch["approved_by"][:3]) == ("maria", "ken")
    assert ", agreed by ken" in desk("evidence", "mail").out


def test_one_person_alone_breaks_the_glass(desk: Desk) -> None:
    mail = desk.write(more="  approve: 2\n")
    unreasoned = desk("failover", "mail", "--yes", "--override", "approval", *MARIA)
    assert unreasoned.code == exits.REFUSED
    assert "needs a reason" in unreasoned.err
    assert mail.log == []
    alone = desk(*GO, "--override", "approval", *MARIA, "--json")
    assert (alone.code, alone.json["switch"]["overrides"]) == (exits.COMMITTED, ["approval"])
    assert "- overridden: approval" in desk("evidence", "mail").out


# --- two operators at once ---------------------------------------------------------------------------------------


def test_two_people_who_press_at_once_make_one_switch(desk: Desk) -> None:
    mail = desk.write()
    line = ("failover", "mail", "--reason", "it fails", "-w", desk.workspace)
    with Terminal(*line, *MARIA) as maria, Terminal(*line, *KEN) as ken:
        for each in (maria, ken):
            each.sees("Go ahead?")
        for each in (maria, ken):
            each.types("y")
        codes = sorted((maria.code(), ken.code()))
        screens = maria.screen + ken.screen
    assert codes == [exits.COMMITTED, exits.REFUSED]
    assert "done and verified" in screens
    assert "[changed]" in screens or "[live_switch]" in screens
    assert mail.log == ["quiesce", "fence first", "reload second"]


def test_many_processes_at_once_change_the_mechanism_once(desk: Desk) -> None:
    mail = desk.write()
    mail.hold("quiesce")
    with desk.process(*GO, *MARIA, "--json") as one, desk.process(*GO, *KEN, "--json") as other:
        mail.until_held("quiesce")
        eventually(lambda: one.poll() is not None or other.poll() is not None)
        loser, winner = (one, other) if one.poll() is not None else (other, one)
        refused = json.loads(loser.communicate()[0])
        assert (loser.returncode, refused["status"]) == (exits.REFUSED, "refused")
        assert any(word in refused["reason"] for word in ("is at it", "out of date"))
        mail.let_go("quiesce")
        assert json.loads(winner.communicate(timeout=20)[0])["status"] == "committed"
        assert winner.returncode == exits.COMMITTED
    assert mail.log == ["quiesce", "fence first", "reload second"]


def test_a_second_operator_asks_and_the_first_one_calls_it_off(desk: Desk) -> None:
    mail = desk.write()
    mail.hold("quiesce")
    with Terminal(*GO, *MARIA, "-w", desk.workspace) as maria:
        mail.until_held("quiesce")
        shown = desk("switch", "show", "mail")
        assert "at the step quiesce" in shown.out
        assert "opsdash switch abort mail" in shown.out

        asked = desk("switch", "abort", "mail", "--reason", "the wrong one", *KEN, "--json")
        assert (asked.code, asked.json["status"]) == (exits.OK, "asked")
        assert "maria" in asked.json["reason"]
        maria.sees("asks for it to be called off; maria")
        assert "ken (claimed" in desk("switch", "show", "mail").out
        assert desk("switch", "take-over", "mail", *KEN).code == exits.REFUSED, "she is at it"

        with desk.process("switch", "abort", "mail", *MARIA, "--json") as abort:
            maria.sees("called off by maria")
            assert "called off by maria" in desk("switch", "show", "mail").out
            mail.let_go("quiesce")
            told = json.loads(abort.communicate(timeout=20)[0])
        assert (abort.returncode, told["status"]) == (exits.OK, "undone")
        assert told["reason"].startswith("called off by maria")
        maria.sees("undone: back to where it was")
        assert maria.code() == exits.NOT_DONE
    assert mail.log == ["quiesce", "resume"]
    assert mail.serving == "first"


def test_before_it_has_begun_there_is_nothing_to_call_off(desk: Desk) -> None:
    desk.write()
    refused = desk("switch", "abort", "mail", "--json")
    assert (refused.code, refused.json["status"]) == (exits.REFUSED, "refused")
    assert desk(*GO).code == exits.COMMITTED
    assert desk("switch", "abort", "mail").code == exits.REFUSED


# --- evidence ----------------------------------------------------------------------------------------------------


def test_evidence_is_listed_and_printed_by_id_and_by_component_without_an_engine(desk: Desk) -> None:
    desk.write()
    assert desk("evidence").code == exits.OK
    assert desk("evidence", "mail").code == exits.USAGE
    assert desk(*GO, *MARIA).code == exits.COMMITTED
    assert desk("failback", "mail", "--yes", "--reason", "done", *KEN).code == exits.COMMITTED
    beside = desk("evidence", "mail-failover-1").out
    desk.stop()

    assert desk("evidence", "mail-failover-1").out == beside
    listed = desk("evidence").out.splitlines()
    assert [line.split()[0] for line in listed] == ["mail-failover-1", "mail-failback-2"]
    rows = [json.loads(line) for line in desk("evidence", "--json").out.splitlines()]
    assert [(each["switch"], each["component"], each["status"]) for each in rows] == [
        ("mail-failover-1", "mail", "committed"),
        ("mail-failback-2", "mail", "committed"),
    ]

    lines = beside.splitlines()
    assert lines[0] == "# Failover of mail: first → second"
    assert in_order(beside, "## Guards", "## Facts", "## By hand", "undo switch:", "undo fence:", "undo quiesce:")
    assert "- why: a test" in lines
    last = desk("evidence", "mail", "--json")
    assert last.code == exits.OK
    assert (last.json["component"], last.json["switch"]) == ("mail", "mail-failback-2")
    assert last.json["status"] == "committed"
    assert last.json == desk("evidence", "mail-failback-2", "--format", "json").json
    assert desk("evidence", "mail-failover-9").code == exits.USAGE


def test_evidence_of_a_journal_that_was_edited_by_hand_is_1_and_says_where(desk: Desk) -> None:
    desk.write()
    assert desk(*GO).code == exits.COMMITTED
    desk.stop()
    [segment] = places(desk.workspace).journal.glob("*.jsonl")
    lines = segment.read_text().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if '"switch_ended"' in line)
    lines[number] = lines[number].replace('"committed"', '"aborted"', 1)
    segment.write_text("".join(lines))
    for words in (("evidence", "mail"), ("evidence", "mail", "--json"), ("evidence",)):
        told = desk(*words)
        assert told.code == exits.FAILED, words
        assert f"{segment.name}, line {number + 1}" in told.err, words
    assert desk("evidence", "mail", "--json").json["journal_problems"]


# --- opsdash by itself -------------------------------------------------------------------------------------------


def test_opsdash_switches_by_itself_stops_when_that_goes_wrong_and_goes_on_when_told_to(desk: Desk) -> None:
    settings = desk.workspace / "opsdash.yaml"
    settings.write_text(settings.read_text() + "anchors: {here: {kind: file, path: opsdash.yaml}}\n")
    mail = desk.write(more="  auto: always\n  hold: 1s\n")
    shown = desk("auto", "--json").json
    assert (shown["status"], [each["component"] for each in shown["auto"]["components"]]) == ("on", ["mail"])
    assert "after 1 s down" in desk("auto").out
    for words in (GO, ("failback", "mail", "--yes", "--reason", "proved")):
        assert desk(*words).code == exits.COMMITTED
    unblocked = desk("switch", "unblock", "mail", "--reason", "that was the proof", "--json")
    assert (unblocked.code, unblocked.json["status"]) == (exits.OK, "unblocked")
    assert desk("switch", "unblock", "mail", "--reason", "again").code == exits.REFUSED

    (mail.folder / "fail-fence").touch()
    (mail.folder / "first.txt").unlink()
    eventually(lambda: desk("auto", "--json").json["status"] == "stopped", lambda: desk("auto").out)
    stopped = desk("auto")
    assert "STOPPED: mail-failover-3" in stopped.out
    assert "by opsdash by itself" in desk("switch", "show", "mail").out

    assert desk("auto", "resume").code == exits.REFUSED
    resumed = desk("auto", "resume", "--reason", "the fence is mended", "--json")
    assert (resumed.code, resumed.json["status"]) == (exits.OK, "on")
    again = desk("auto", "resume", "--reason", "twice", "--json")
    assert (again.code, again.json["status"]) == (exits.REFUSED, "refused")
    assert "STOPPED" not in desk("auto").out
