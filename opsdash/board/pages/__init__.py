"""Pages: one file each, a pure function from the session's answer to rows, and the screen that shows it.

`VIEWS` names those that lie directly on the wall. They are imported when they are opened: the wall has to be there
first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.board.page import Page


def _incidents() -> Page:
    from opsdash.board.pages.incidents import IncidentsPage

    return IncidentsPage()


def _runbooks() -> Page:
    from opsdash.board.pages.runbooks import RunbooksPage

    return RunbooksPage()


def _register() -> Page:
    from opsdash.board.pages.register import RegisterPage

    return RegisterPage()


def _journal() -> Page:
    from opsdash.board.pages.journal import JournalPage

    return JournalPage()


def _people() -> Page:
    from opsdash.board.pages.people import PeoplePage

    return PeoplePage()


def _drills() -> Page:
    from opsdash.board.pages.drills import DrillsPage

    return DrillsPage()


def _readiness() -> Page:
    from opsdash.board.pages.readiness import ReadinessPage

    return ReadinessPage()


def _whatif() -> Page:
    from opsdash.board.pages.whatif import WhatIfPage

    return WhatIfPage()


def _problems() -> Page:
    from opsdash.board.pages.problems import ProblemsPage

    return ProblemsPage()


VIEWS: dict[str, Callable[[], Page]] = {
    "incidents": _incidents,
    "runbooks": _runbooks,
    "register": _register,
    "journal": _journal,
    "people": _people,
    "drills": _drills,
    "readiness": _readiness,
    "whatif": _whatif,
    "problems": _problems,
}
