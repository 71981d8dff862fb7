"""What `opsdash init` writes: a workspace that runs at once on any machine, to be read, played with and
replaced.

Nothing in it needs a network or a server. One component looks at the machine, the other is a complete
example with a backup, whose "services" are two small text files: delete one and watch. Files that are there
already are never touched.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MODE = 0o644
"""Whatever the umask is: a file that others may write to would be refused."""

_WORKSPACE = """\
# This folder is an opsdash workspace:
#
#   opsdash.yaml     this file: people, defaults, settings
#   checks/*.yaml    one file for each component, a part that can fail on its own; the file's name is its id
#   runbooks/*.md    what to do when it has failed, step by step
#   drills/*.yaml    planned failures: what is broken on purpose, when, and what has to come true (there is none yet;
#                    `opsdash schema drill` has all keys)
#
# `opsdash` opens the board, `opsdash validate` reads every file and reports every problem. Files are read
# again when they change, so edit them while it runs.
title: My operation
timezone: UTC                         # for dates in these files and times on screen, such as Europe/Berlin

# Who can be asked. `login` is the account from which somebody uses opsdash. Two owners for each component
# are a good number, so that one may be away.
people:
  me: {name: Me, login: "${USER:-me}"}
  # maria: {name: Maria Ortiz, login: maria, contact: "+49 30 5550 101", away: [{from: 2026-12-23, until:
  # 2027-01-06}]}

# What holds for every check that does not say otherwise. For real services 15 to 60 seconds are usual.
defaults: {every: 5s, timeout: 2s, down_after: 2, up_after: 2}

# Outside targets that tell whether opsdash itself is connected. When most of them fail, nothing new is
# called down. Take three that have little in common.
# anchors:
#   resolver: {kind: tcp, host: 9.9.9.9, port: 53}
#   another: {kind: tcp, host: 1.1.1.1, port: 53}
#   website: {kind: http, url: "https://www.example.com/"}

# How people are told: a file wakes nobody, so name something that does. `opsdash alarms test` tries them all.
alarms:
  channels:
    log: {kind: file, path: .opsdash/alarms.log}
    # boards: {kind: bell}            # every board that is open rings; good beside another channel
    # chat: {kind: webhook, url: "${CHAT_WEBHOOK}", template: slack}
    # mail: {kind: apprise, urls: ["mailto://${MAIL_USER}:${MAIL_PASSWORD}@example.com"]}

# Who notices that opsdash itself is dead: any service with the URLs of healthchecks.io (docs/howto-dead-man.md).
# dead_man: {url: "${DEAD_MAN_URL}", every: 60s}

# Values for ${NAME} in all files, where the environment has none. Secrets do not belong here: write
# ${file:secrets/token} or ${cmd:pass show token} where they are needed, and they are read there, and masked
# on screen. vars: {API_HOST: api.example.com}
"""

_MACHINE = """\
# The smallest useful component has one check. This one looks at the machine on which opsdash runs.
title: This machine
tier: droppable                       # essential | important | droppable: what to save first
owners: [me]
runbook: getting-started              # runbooks/getting-started.md, for every failure that names no other

checks:
  workspace: {kind: file, path: opsdash.yaml, min_size: 1}
  commands: {kind: command, argv: ["true"]}     # a program's exit status; Nagios plugins work as they are
  # website:
  #   kind: http
  #   url: http://127.0.0.1:8080/
  #   expect: [status == 200, 'body.contains("hello")']
  #   slow_after: 300ms               # a good answer that takes longer is `degraded`

# The register: every way this can fail, how it is noticed, and what was decided for it.
failures:
  no-commands:
    title: This machine cannot start programs
    detected_by: [commands]
    response: runbook
"""

_GREETING = """\
# A complete example with a backup. Its providers are two text files, so that it can be broken with `rm`:
#
#   rm example/first.txt              the primary fails: opsdash notices, and offers the switch on one key
#   rm example/second.txt             nobody notices but opsdash: redundancy is lost
title: Greeting (an example to play with)
tier: important
owners: [me]
runbook: getting-started

# Ways to get the job done. The first is the primary, the others are backups. Own keys fill templates such
# as {file}.
providers:
  first: {title: First file, file: example/first.txt}
  second: {title: Second file, file: example/second.txt}

# Every provider is checked by exactly these, all year, whether it serves or not.
each:
  text: {kind: file, path: "{file}", contains: hello}

# One key moves the component: here it rewrites a small file that says which provider is in use.
switch:
  read: {kind: pointer, file: example/in-use.txt}
  action: {kind: pointer, file: example/in-use.txt, value: "{to.as}"}
  old_out: stateless                  # both may be there at the same time, no harm is done

failures:
  both-gone:
    title: No file says hello
    detected_by: {all: [first/text, second/text]}
    response: runbook
    rto: 1h
  in-use-gone:
    title: The file in use does not say hello
    detected_by: [active/text]
    response: switch
    rto: 5m
"""

_RUNBOOK = """\
---
title: Getting started
owner: me
reviewed: 2026-11-02
review_every: 3600d
---
# Getting started

This is what a runbook looks like: plain Markdown, one heading for each step. Blocks with a word in braces can be run
from the board; everything else is text to read.

## Steps

### See what is wrong

**Time:** 1 min

```sh {check}
test -s opsdash.yaml && grep -q hello example/first.txt && grep -q hello example/second.txt
```

**Expect:** nothing is printed, and the block has passed.

**If this fails:** [Put the example right](#put-the-example-right)

### Go back to the first file

**Time:** 1 min

```opsdash {run}
failback greeting
```

**Expect:** committed, or `already_active` when nobody has switched.

### Write your own

- [ ] Copy checks/this-machine.yaml for a part of your own, and remove what you do not need.
- [ ] Run `opsdash validate`.
- [ ] Run `opsdash register`: it says what is still missing for each failure mode.

**Expect:** your component is on the board.

**Then:** done.

### Put the example right

**Time:** 1 min

```sh {run}
echo "hello from the first file" > example/first.txt
echo "hello from the second file" > example/second.txt
```

**Expect:** both checks of the component `greeting` are ok again.

**Then:** [See what is wrong](#see-what-is-wrong)
"""

STARTER: dict[str, str] = {
    "opsdash.yaml": _WORKSPACE,
    "checks/this-machine.yaml": _MACHINE,
    "checks/greeting.yaml": _GREETING,
    "runbooks/getting-started.md": _RUNBOOK,
    "example/first.txt": "hello from the first file\n",
    "example/second.txt": "hello from the second file\n",
    "example/in-use.txt": "first\n",
}
"""The files of a new workspace."""


def write_starter(folder: Path) -> list[Path]:
    """Write a new workspace into `folder`, which is made if need be. Returns what was written; OSError
    passes.
    """
    written: list[Path] = []
    for name, text in STARTER.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        written.append(path)
    return written
