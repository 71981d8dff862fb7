"""Every word that an engine may say has a sign or a code here: nothing falls through to a guess."""

from __future__ import annotations

from opsdash.cli import exits, incident, status, step_lines, switching, terminal
from opsdash.core.outcomes import LIVE_STATES, PLAN_STATES
from opsdash.model.incident import IncidentState
from opsdash.model.run import BlockState, Decision
from opsdash.model.status import Status
from opsdash.model.switch import GuardResult, SwitchKind, SwitchState, Truth

HOSTILE = "\x1b]52;c;cHduZWQ=\x07a\x1b[2Jb\u202ec\x9bd\n\r\te\x00"


def test_every_state_of_a_switch_is_either_going_on_or_has_an_exit_code() -> None:
    assert {state.value for state in LIVE_STATES} == set(switching.BUSY)
    ended = {state.value for state in SwitchState if state not in LIVE_STATES | PLAN_STATES}
    assert ended == set(switching.OUTCOMES)


def test_the_exit_codes_of_a_switch_are_those_of_the_contract() -> None:
    codes = {state: code for state, (_, code) in switching.OUTCOMES.items()}
    assert codes["committed"] == 0
    assert {codes[state] for state in ("aborted", "no_effect", "split", "undone")} == {1}
    assert {codes[state] for state in ("unknown", "needs_human")} == {5}
    assert exits.REFUSED == 4


def test_every_status_result_truth_kind_and_block_has_a_sign() -> None:
    assert set(terminal.STATUS) == {each.value for each in Status}
    assert set(terminal.RESULT) == {each.value for each in GuardResult}
    assert set(terminal.TRUTH) == {each.value for each in Truth}
    assert set(switching.TITLES) == {each.value for each in SwitchKind}
    assert set(step_lines.BLOCKS) == {"", *(each.value for each in BlockState)}
    assert set(step_lines.DECIDED) == {each.value for each in Decision}
    assert set(incident.STATES) == {state.value for state in IncidentState}


def test_a_word_that_this_version_does_not_know_is_never_shown_as_good() -> None:
    assert terminal.sign(terminal.STATUS, "splendid").role is terminal.Role.UNKNOWN


def test_unknown_is_never_green_for_scripts() -> None:
    def code(*statuses: str) -> int:
        return status.exit_code([{"status": each} for each in statuses])  # type: ignore[typeddict-item]

    assert code("ok", "paused") == 0
    assert code("ok", "unknown") == 3
    assert code("ok", "splendid") == 3
    assert code("unknown", "degraded") == 1
    assert code("unknown", "down") == 1


def test_no_part_of_a_line_can_command_a_terminal() -> None:
    for colour in (False, True):
        line = terminal.render([HOSTILE, terminal.Painted(HOSTILE, terminal.Role.DOWN)], colour)
        own = line.replace("\x1b[1;31m", "").replace("\x1b[0m", "")
        assert [char for char in own if ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char == "\u202e"] == []
        assert ("\x1b[1;31m" in line) is colour
