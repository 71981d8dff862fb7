"""Exit codes. They are few, and scripts rely on them: a code never changes its meaning."""

from __future__ import annotations

from typing import Final

OK: Final = 0

USAGE: Final = 2
"""The command line makes no sense, or names something that does not exist."""

FAILED: Final = 1
"""Something else went wrong; the message says what, and what to do."""

BUG: Final = 70
"""A bug of opsdash (EX_SOFTWARE of sysexits.h)."""

INTERRUPTED: Final = 130
"""Ended by Ctrl-C, as a shell says it: 128 + SIGINT."""

BROKEN_PIPE: Final = 141
"""Whoever read our output went away: 128 + SIGPIPE."""

# --- validate, runbook lint

WARNINGS: Final = 1
ERRORS: Final = 2

# --- status, check, runbook test

NOT_OK: Final = 1
"""Something is down or degraded, or a check of a runbook did not pass."""

NOT_KNOWN: Final = 3
"""Nothing is bad, but something is unknown, or no engine answers."""

# --- failover, failback, degrade, restore

COMMITTED: Final = 0
NOT_DONE: Final = 1
"""Aborted, no effect, or split."""

REFUSED: Final = 4
"""A rule forbids it; nothing was changed."""

OUTCOME_UNKNOWN: Final = 5
"""The action may have taken effect. Look before anything is done again."""

# --- drill run

NOT_PASSED: Final = 1
"""The drill has not passed: it was late, failed, stopped, or nobody knows. Also: nobody waited for its verdict."""

FAULT_LEFT: Final = 5
"""A fault of the drill may still be in place, or it is not known what became of it."""
