"""Whatever a monitored system, a file or a person writes: no screen crashes, nothing is a button, no control leaks."""

from __future__ import annotations

import copy
import unicodedata
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest
from rich.segment import Segment
from textual.color import Color

from opsdash.board.net import ControlFilter
from opsdash.model.text import clean, clean_lines
from tests.board.fake_session import FakeSession, drill_line, fault_left, guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from tests.board.conftest import Stage

    Board = Callable[..., AbstractAsyncContextManager[Stage]]

PAYLOADS = {
    "closing tag": "[/nope]",
    "unclosed tag": "[bold",
    "action": "[@click=app.exit]press me[/]",
    "link": "[link=https://evil.example]x[/link]",
    "variable": "[$error] $x {x} %s \\[",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "clear screen": "\x1b[2J\x1b[31mred",
    "title": "\x1b]0;owned\x07",
    "hyperlink": "\x1b]8;;https://evil.example\x1b\\x\x1b]8;;\x1b\\",
    "c1": "\x9b2J\x9d52;c;eA==\x9c",
    "c0": "\x07\x00\x0e\x7f\r\x08",
    "bidi": "user\u202egnp.exe\u200b\ufeff\u2066",
    "surrogate": "\ud800x",
    "wide": "日本語" * 40,
    "long": "x" * 5000,
    "combining": "e\u0301" * 50 + "👨‍👩‍👧",
    "lines": "one\ntwo\r\nthree\ttab",
    "empty": "",
}

SCREENS: dict[str, tuple[str, ...]] = {
    "wall": (), "component": ("enter",), "component, more": ("enter", "m"), "plan": ("f",), "progress": ("f", "y"),
    "modes": ("g",), "runbook": ("r",), "block": ("r", "x"), "incidents": ("2",), "runbooks": ("3",),
    "register": ("4",), "what-if": ("9",), "loss": ("9", "enter"),
    "journal": ("5", "enter"), "people": ("6",), "problems": ("exclamation_mark",), "help": ("question_mark",),
    "demo": ("x", "enter"), "palette": ("colon",), "drills": ("7", "down"), "drill": ("D",), "drill's run": ("D", "y"),
    "halt": ("f9",),
}  # fmt: skip

KEPT = {
    "id", "status", "raw_status", "tier", "kind", "result", "truth", "works", "state", "redundancy", "role", "mark",
    "severity", "proof", "mode", "decision", "current",
    "component", "needs", "rule", "provider", "seq", "response_kind", "hint",
}  # fmt: skip


def poison(value: Any, payloads: Iterator[str]) -> Any:
    """A view whose every free text is the next of the payloads."""
    if isinstance(value, dict):
        return {key: one if key in KEPT else poison(one, payloads) for key, one in value.items()}
    if isinstance(value, list):
        return [poison(one, payloads) for one in value]
    if isinstance(value, tuple):
        return tuple(poison(one, payloads) for one in value)
    return next(payloads) if isinstance(value, str) else value


class HostileSession(FakeSession):
    """Every answer carries payloads wherever a text may stand."""

    payloads: Iterator[str] = cycle([""])

    def spoil(self, payloads: Iterator[str]) -> None:
        self.payloads = payloads
        for name in self.rows:
            self.rows[name] = poison(self.rows[name], payloads)
            self.rows[name]["hint"] = f"f {next(payloads)}"
        self.features = poison(self.features, payloads)
        self.problem_list = poison(self.problem_list, payloads)
        self.person_list = poison(self.person_list, payloads)
        self.incident_list = poison(self.incident_list, payloads)
        self.records = poison(self.records, payloads)
        self.run = poison(self.run, payloads)
        self.guards = [guard(str(number), next(payloads), "warn", next(payloads)) for number in range(5)]
        texts = ("title", "source_title", "target_title", "manual", "undo", "last", "reason")
        self.plan_changes = {key: next(payloads) for key in texts}
        self.drill_lines = [drill_line("d", "email")]
        self.faults_left = [poison(fault_left(), payloads)]
        self.lever = {"at": 0.0, "who": next(payloads), "reason": next(payloads)}
        self.texts = {key: next(payloads) for key in ("detail", "raw", "failure", "output")}

    def summary(self) -> Any:
        payloads = self.payloads
        return {
            **super().summary(),
            "title": next(payloads),
            "journal_error": next(payloads),
            "undelivered": next(payloads),
            "drills": None,
            "uncovered": [next(payloads)],
        }

    async def component(self, component: str) -> Any:
        detail = poison(copy.deepcopy(await super().component(component)), self.payloads)
        return {**detail, "runbook": "email-down", "keys": dict.fromkeys(detail["keys"])}

    async def drills(self) -> Any:
        return poison(await super().drills(), self.payloads) | {"drills": self.drill_lines}

    async def drill(self, drill: str) -> Any:
        view = await super().drill(drill)
        return None if view is None else {**poison(view, self.payloads), "line": view["line"]} | self._run(view["run"])

    def _run(self, run: Any) -> Any:
        return {} if run is None else {"run": {**poison(run, self.payloads), "id": run["id"]}}

    async def drill_plan(self, drill: str) -> Any:
        return {**poison(await super().drill_plan(drill), self.payloads), "drill": drill, "needs": "y"}

    async def register(self) -> Any:
        return poison(await super().register(), self.payloads)

    async def whatif_ranking(self) -> Any:
        return poison(await super().whatif_ranking(), self.payloads)

    async def whatif(self, subjects: Any) -> Any:
        return poison(await super().whatif([str(each) for each in subjects]), self.payloads)

    async def runbooks(self) -> Any:
        return poison(await super().runbooks(), self.payloads)

    async def switch(self, component: str) -> Any:
        return poison(await super().switch(component), self.payloads)

    async def demo(self) -> Any:
        faults = [{"fault": next(self.payloads), "description": next(self.payloads)} for _ in range(4)]
        return {"services": {next(self.payloads) or "x": faults for _ in range(8)}}


def controls(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c) in {"Cc", "Cs"} or c in "\u202e\u200b\ufeff\u2066"]


@pytest.fixture
def hostile(board: Board, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Boards whose engine is hostile."""
    monkeypatch.setattr("tests.board.conftest.FakeSession", HostileSession)
    return board


@pytest.mark.parametrize("screen", SCREENS)
async def test_no_payload_breaks_a_screen_or_passes_the_net(hostile: Board, screen: str) -> None:
    texts = list(PAYLOADS.values())
    for start in range(0, len(texts), 6):
        turned = texts[start:] + texts[:start]
        async with hostile(lambda session, turned=turned: session.spoil(cycle(turned))) as stage:
            await stage.press(*SCREENS[screen])
            for payload in turned[:6]:
                stage.app.say(payload)
            await stage.settle()
            filters = stage.app.get_line_filters()
            for strip in stage.app.screen._compositor.render_strips():
                filtered = strip
                for line_filter in filters:
                    filtered = filtered.apply_filter(line_filter, Color(0, 0, 0))
                assert not controls(filtered.text)
                for segment in filtered:
                    assert not (segment.style and ("@click" in segment.style.meta or segment.style.link))


@pytest.mark.parametrize("payload", [payload for payload in PAYLOADS.values() if payload])
async def test_cleaned_text_is_shown_literally(hostile: Board, payload: str) -> None:
    shown = clean(payload, 60)
    async with hostile(lambda session: session.spoil(cycle([shown]))) as stage:
        await stage.press("enter")
        assert shown[:8].rstrip() in stage.page


@pytest.mark.parametrize("payload", PAYLOADS.values())
async def test_a_hostile_paste_cannot_confirm(board: Board, payload: str) -> None:
    from textual.events import Paste

    def before(session: FakeSession) -> None:
        session.plan_changes = {"needs": "typed"}

    async with board(before) as stage:
        await stage.press("f")
        stage.clock.advance(1)
        stage.app.post_message(Paste(f"{payload}\nemail\ny"))
        await stage.settle()
        assert stage.session.submitted == []


def test_the_net_leaves_control_segments_and_clean_text_alone() -> None:
    clean_segment = Segment("plain ✓ 日本語")
    control = Segment("\x1b[H", None, [(1,)])  # type: ignore[list-item]
    net = ControlFilter()
    assert net.apply([clean_segment, control], Color(0, 0, 0)) == [clean_segment, control]
    assert net.apply([Segment("a\x07b")], Color(0, 0, 0)) == [Segment("a·b")]


def test_clean_lines_keeps_a_commands_output_readable() -> None:
    assert clean_lines("one\r\n\ttwo\x1b[0m") == "one\n    two␛[0m"


@pytest.mark.parametrize("text", ["[/nope] here", "[@click=app.exit]press me[/]", "[bold red]loud[/]"])
async def test_a_message_is_shown_as_it_is(board: Board, text: str) -> None:
    async with board() as stage:
        stage.app.say(text)
        await stage.settle()
        await stage.settle()
        assert text in stage.screen
