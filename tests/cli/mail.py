"""A component whose switch has steps around it: every step writes down that it was carried out, and can be held."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cli.conftest import eventually

if TYPE_CHECKING:
    from pathlib import Path

MAIL = """\
title: Mail
tier: important
owners: [me]
providers:
  first: {title: First mailer, file: mail/first.txt}
  second: {title: Second mailer, file: mail/second.txt}
each:
  text: {kind: file, path: "{file}", contains: hello}
switch:
  read: {kind: pointer, file: mail/in-use.txt}
  before:
    quiesce:
      action: {kind: command, argv: [sh, mail/do.sh, quiesce]}
      undo: {kind: command, argv: [sh, mail/do.sh, resume]}
    fence:
      action: {kind: command, argv: [sh, mail/do.sh, fence, "{from.as}"]}
      undo: {kind: command, argv: [sh, mail/do.sh, unfence, "{from.as}"]}
  action: {kind: pointer, file: mail/in-use.txt, value: "{to.as}"}
  after:
    reload: {action: {kind: command, argv: [sh, mail/do.sh, reload, "{to.as}"]}, undo: again}
  old_out: stateless
  deadline: 5s
failures:
  mailer-gone:
    title: Our mailer is gone
    detected_by: [active/text]
    response: switch
    runbook: getting-started
"""

DO = """\
echo "$*" >> mail/log
test ! -e "mail/fail-$1" || exit 1
test ! -p "mail/hold-$1" || cat "mail/hold-$1"
"""


@dataclass(frozen=True, slots=True)
class Mail:
    """The files of the component."""

    folder: Path

    @property
    def serving(self) -> str:
        """What the mechanism says."""
        return (self.folder / "in-use.txt").read_text().strip()

    @property
    def log(self) -> list[str]:
        """The steps that were carried out, in order."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def hold(self, step: str) -> None:
        """The step is not over until it is let go."""
        os.mkfifo(self.folder / f"hold-{step}")

    def until_held(self, step: str) -> None:
        """Wait until the step has begun."""
        eventually(lambda: any(line.split()[0] == step for line in self.log), lambda: f"{step}: {self.log}")

    def let_go(self, step: str) -> None:
        """The step ends, and is not held the next time."""
        gate = self.folder / f"hold-{step}"

        def opened() -> bool:
            try:
                writer = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads yet
                return False
            gate.unlink()
            os.close(writer)
            return True

        eventually(opened, lambda: f"nobody waits at {step}: {self.log}")


def write_mail(workspace: Path, *, more: str = "", instead: tuple[str, str] = ("", "")) -> Mail:
    """The component in a workspace. more: further keys of its switch; instead: a text of its file, and another one."""
    folder = workspace / "mail"
    folder.mkdir()
    for name in ("first", "second"):
        (folder / f"{name}.txt").write_text("hello\n")
    (folder / "in-use.txt").write_text("first\n")
    (folder / "do.sh").write_text(DO)
    before, after = instead
    assert before in MAIL
    text = MAIL.replace(before, after, 1) if before else MAIL
    (workspace / "checks/mail.yaml").write_text(text.replace("  deadline: 5s\n", f"  deadline: 5s\n{more}", 1))
    return Mail(folder)
