"""Which process it is that has a number: so that after a crash nobody takes a stranger for what was started before.

A number alone says little, since numbers are used again. Together with the time at which the process began, and with
the boot in which that was, it is one of a kind.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_ASK_WITHIN = 5.0


def identity_of(pid: int) -> str:
    """Boot and start time of a process, "" where there is none of that number. It may read files or run `ps`."""
    if Path("/proc/self/stat").exists():
        return _of_linux(pid)
    return _of_ps(pid)


def still_runs(pid: int, identity: str) -> bool:
    """Whether it is still there, and no other one of its number."""
    return bool(identity) and identity_of(pid) == identity


def group_lives(pgid: int) -> bool:
    """Whether a process of this group is there."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _of_linux(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name in front of it may hold spaces and parentheses
    if len(fields) < 20 or fields[0] in ("Z", "X"):
        return ""
    return f"{boot}:{fields[19]}"


def _of_ps(pid: int) -> str:
    try:
        asked = subprocess.run(
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, timeout=_ASK_WITHIN, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.decode("ascii", "replace").strip()
