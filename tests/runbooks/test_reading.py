"""A runbook that is right: every value, every line, the plain text of it."""

from __future__ import annotations

import hashlib
from datetime import date

import pytest

from opsdash.config.runbooks import parse, render_text, spoken_duration
from opsdash.model.runbook import Command, Language, Link, Param, Role, Runbook, Tick

HEAD = "---\ntitle: x\n---\n## Steps\n### A\n"
ORDERS = """\
---
title: Orders database does not answer
component: orders-db
failure_modes: [orders-db/unreachable, slow]
owner: maria
reviewed: 2026-09-14
review_every: 90d
rto: 15m
---
# Orders database
Customers see "cannot place order".

## Steps
### Confirm it is really down
**Time:** 2 min

```sh {check rc=2 timeout=10s}
pg_isready -h db1.internal -t 5
```

**Expect:** "no response".

**If this fails:** [Stand down](#stand-down)

### Tell the shop
- [ ] Post in #shop: "orders paused, switching"
- [ ] Banner is `up`

**Who:** whoever is on call

### Switch to the standby
> [!CAUTION]
> After this, db1 must not come back as primary.

```opsdash {run danger once}
# the audited path
failover orders-db --reason "primary is down"
```

```sh {check every=5s for=2m expect="^t$" host=db2 as=recovery cwd="/srv/my db"}
psql -Atc 'select not pg_is_in_recovery()'
echo done
```

```sh
echo this one is only to copy
```

**Wait:** 30s

**If this fails:** [Call the DBA](contacts.md#dba)

### Stand down
Write what you saw.

## Afterwards
### Not a step
"""


def read(text: str | bytes) -> Runbook:
    """A runbook without findings."""
    runbook, findings = parse("orders-db-down", text, "runbooks/orders-db-down.md")
    assert findings == ()
    return runbook


def test_the_front_matter_becomes_values() -> None:
    runbook = read(ORDERS)
    assert runbook.id == "orders-db-down"
    assert runbook.title == "Orders database does not answer"
    assert runbook.component == "orders-db"
    assert runbook.owner == "maria"
    assert runbook.reviewed == date(2026, 9, 14)
    assert runbook.review_every == 90 * 86400
    assert runbook.rto == 15 * 60
    assert runbook.executable


def test_a_failure_mode_without_component_belongs_to_the_component_of_the_runbook() -> None:
    assert read(ORDERS).failure_modes == ("orders-db/unreachable", "orders-db/slow")


def test_the_hash_is_that_of_the_files_bytes() -> None:
    raw = b"\xef\xbb\xbf" + ORDERS.replace("\n", "\r\n").encode()
    assert read(raw).sha256 == hashlib.sha256(raw).hexdigest()


def test_every_step_has_its_anchor_and_its_exact_lines() -> None:
    runbook = read(ORDERS)
    lines = ORDERS.split("\n")
    assert [step.id for step in runbook.steps] == [
        "confirm-it-is-really-down",
        "tell-the-shop",
        "switch-to-the-standby",
        "stand-down",
    ]
    for step in runbook.steps:
        assert lines[step.line - 1] == f"### {step.title}"
        assert step.text == "\n".join(lines[step.line - 1 : step.end_line])
        assert step.sha256 == hashlib.sha256(step.text.encode()).hexdigest()
    assert runbook.steps[-1].text == "### Stand down\nWrite what you saw."


def test_labels_become_fields_of_the_step() -> None:
    confirm, tell, switch, _ = read(ORDERS).steps
    assert (confirm.time, confirm.expect, confirm.if_fails) == (120, '"no response".', "#stand-down")
    assert tell.who == "whoever is on call"
    assert (switch.wait, switch.wait_for, switch.if_fails) == ("30s", 30, "contacts.md#dba")


def test_a_step_says_where_it_goes_on() -> None:
    steps = "**Then:** [C](#c)\n\n### B\n**Then:** done.\n\n### C\nx\n\n### D\n**Then:** [other](b.md#x), or call ken\n"
    assert [step.then for step in read(HEAD + steps).steps] == ["#c", "", None, "b.md#x"]


def test_task_list_items_are_ticks_with_their_lines() -> None:
    runbook = read(ORDERS)
    assert runbook.steps[1].ticks == (
        Tick('Post in #shop: "orders paused, switching"', 26),
        Tick("Banner is up", 27),
    )


def test_a_block_has_its_role_its_attributes_and_its_exact_lines() -> None:
    runbook = read(ORDERS)
    lines = ORDERS.split("\n")
    confirm, _, switch, _ = runbook.steps
    (first,) = confirm.blocks
    assert (first.role, first.language, first.rc, first.timeout) == (Role.CHECK, Language.SH, 2, 10)
    failover, recovery = switch.blocks
    assert (failover.role, failover.danger, failover.once, failover.timeout) == (Role.RUN, True, True, 300)
    assert (recovery.every, recovery.for_, recovery.expect) == (5, 120, "^t$")
    assert (recovery.host, recovery.as_, recovery.cwd) == ("db2", "recovery", "/srv/my db")
    for block in (first, failover, recovery):
        assert lines[block.line - 1].startswith(f"```{block.language.value} {{{block.role.value}")
        assert block.code == "\n".join(lines[block.line : block.end_line - 1])
        assert lines[block.end_line - 1] == "```"


def test_the_lines_of_an_opsdash_block_become_commands() -> None:
    (failover, _) = read(ORDERS).steps[2].blocks
    line = ORDERS.split("\n").index('failover orders-db --reason "primary is down"') + 1
    assert failover.commands == (Command(("failover", "orders-db", "--reason", "primary is down"), line),)


def test_a_caution_or_a_danger_block_makes_the_step_dangerous() -> None:
    assert [step.danger for step in read(ORDERS).steps] == [False, False, True, False]
    runbook = read(HEAD + "```sh {run danger}\ntrue\n```\n### B\n> [!note]\n> x\n")
    assert [step.danger for step in runbook.steps] == [True, False]


def test_links_keep_their_lines_and_anchors_cover_all_headings() -> None:
    runbook = read(ORDERS)
    assert Link("#stand-down", "Stand down", 23) in runbook.links
    assert Link("contacts.md#dba", "Call the DBA", 51) in runbook.links
    assert {"orders-database", "steps", "stand-down", "afterwards", "not-a-step"} == (
        set(runbook.anchors) - {step.id for step in runbook.steps[:3]}
    )


def test_a_link_on_a_later_line_of_a_paragraph_has_that_line() -> None:
    runbook = read("# T\none\ntwo [a](#t)\n\nand ![picture](p.png)\n")
    assert runbook.links == (Link("#t", "a", 3), Link("p.png", "picture", 5))


def test_a_page_without_front_matter_and_steps_is_text_and_no_finding() -> None:
    runbook = read("# Contacts\n## DBA\nken, 555-0100\n\n```sh {1,3}\necho\n```\n".replace("sh {", "js {"))
    assert (runbook.title, runbook.steps, runbook.executable) == ("Contacts", (), False)


@pytest.mark.parametrize(
    ("titles", "anchors"),
    [
        (["Call, the DBA!"], ["call-the-dba"]),
        (["1. Switch `db1` → db2"], ["1-switch-db1--db2"]),
        (["Überprüfe snake_case"], ["überprüfe-snake_case"]),
        (["A *b* [c](#x) &amp; d"], ["a-b-c--d"]),
        (["Wait", "Wait", "Wait"], ["wait", "wait-1", "wait-2"]),
        (["Wait", "Wait", "Wait 1"], ["wait", "wait-1", "wait-1-1"]),
    ],
)
def test_the_id_of_a_step_is_githubs_anchor(titles: list[str], anchors: list[str]) -> None:
    steps = "".join(f"### {title}\nx\n\n" for title in titles)
    runbook = read(f"---\ntitle: x\n---\n## Steps\n{steps}")
    assert [step.id for step in runbook.steps] == anchors


def test_a_branch_to_an_anchor_with_an_umlaut_is_found() -> None:
    runbook = read(HEAD + "**If this fails:** [go](#für-alle)\n\n### Für alle\nx\n")
    assert runbook.steps[0].if_fails == "#für-alle"


def test_parameters_are_kept_as_data() -> None:
    params = "params:\n  standby: {default: db2, pattern: '[a-z0-9.-]+'}\n  PW: {secret: env}\n"
    text = f"---\n{params}---\n## Steps\n### A\nx\n"
    runbook, findings = parse("x", text, "x.md")
    assert runbook.params == (
        Param("standby", 3, default="db2", pattern="[a-z0-9.-]+"),
        Param("PW", 4, secret="env"),
    )
    assert [finding.code for finding in findings] == ["params-not-used"]
    assert runbook.executable


def test_a_block_that_uses_a_parameter_is_a_block() -> None:
    params = "params:\n  a: {ask: x}\n  b: {default: y}\n"
    blocks = '```sh {check}\nping "${a:?}"\n```\n\n```python {show}\nos.environ["b"]\n```\n'
    text = f"---\n{params}---\n## Steps\n### A\n{blocks}"
    assert read(text).executable


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2 min", 120), ("90s", 90), ("1h30m", 5400), ("about 1 hour and 5 minutes", 3900), ("1 h, 30 min.", 5400)],
)
def test_a_time_may_be_written_as_in_a_sentence(text: str, seconds: float) -> None:
    assert spoken_duration(text) == seconds


@pytest.mark.parametrize("text", ["soon", "5", "2-5 min", "0 min", "three hours", "2 months", "9" * 70 + " h"])
def test_what_is_no_plain_duration_is_none(text: str) -> None:
    assert spoken_duration(text) is None


def test_attributes_in_json_mean_the_same() -> None:
    attributes = '{ "run": true, "name": "go", "timeout": "5s", "rc": 3, "once": false }'
    text = f"{HEAD}```sh {attributes}\nx\n```\n"
    (block,) = read(text).steps[0].blocks
    assert (block.role, block.timeout, block.rc, block.once) == (Role.RUN, 5, 3, False)


def test_nothing_is_unescaped_in_an_attribute() -> None:
    text = HEAD + "```sh {check expect=\\d{3}&amp;}\nx\n```\n"
    (block,) = read(text).steps[0].blocks
    assert block.expect == r"\d{3}&amp;"


RENDERED = """\
Orders database does not answer
orders-db · orders-db/unreachable · orders-db/slow · owner
maria · reviewed 2026-09-14 · RTO 15m

Orders database

Customers see "cannot place order".

STEPS

 1. Confirm it is really down [2m]

    Time: 2 min

    [check] sh · exit status 2 · timeout 10s
      pg_isready -h db1.internal -t 5

    Expect: "no response".

    If this fails: Stand down (step 4)

 2. Tell the shop

    - [ ] Post in #shop: "orders paused, switching"
    - [ ] Banner is `up`

    Who: whoever is on call

 3. Switch to the standby [DANGER]

    > [!CAUTION] After this, db1 must not come back as
    > primary.

    [run] opsdash · once · DANGER
      # the audited path
      failover orders-db --reason "primary is down"

    [check] sh · on db2 · in /srv/my db · expects /^t$/ ·
    every 5s · for 2m · kept as recovery
      psql -Atc 'select not pg_is_in_recovery()'
      echo done

    [copy] sh
      echo this one is only to copy

    Wait: 30s

    If this fails: Call the DBA (contacts.md#dba)

 4. Stand down

    Write what you saw.

AFTERWARDS

Not a step
"""


def test_the_plain_text_has_numbered_steps_ticks_and_roles() -> None:
    assert render_text(read(ORDERS), 60) == RENDERED


def test_the_plain_text_keeps_nested_lists_quotes_and_wide_characters_in_their_width() -> None:
    outage = "障害が発生しました"
    items = f"3. one two three four five six\n   - {outage} {outage}\n\n"
    text = f"# T\n{items}> - quoted words that wrap around here\n"
    assert render_text(read(text), 24) == (
        f"T\n\n3. one two three four\n   five six\n   - {outage}\n     {outage}\n\n"
        "> - quoted words that\n>   wrap around here\n"
    )


def test_a_line_of_plain_text_may_be_full_and_no_fuller() -> None:
    text = render_text(read("# T\n" + "abcd " * 50), 24)
    assert text == "T\n\n" + "abcd abcd abcd abcd abcd\n" * 10
    text = render_text(read("# T\n" + "abcd " * 48), 23)
    assert text == "T\n\n" + "abcd abcd abcd abcd\n" * 12


def test_code_is_never_wrapped_in_the_plain_text() -> None:
    command = "curl " + "--header x " * 20
    text = f"{HEAD}```sh {{run}}\n{command}\n```\n"
    assert f"      {command.rstrip()}\n" in render_text(read(text), 40)
