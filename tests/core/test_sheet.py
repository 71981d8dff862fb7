"""Emergency sheets: the same values give the same page, commands are whole, and nobody's text becomes markup."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt

from opsdash.config.runbooks import parse
from opsdash.core.markdown import code, fenced, text
from opsdash.core.sheet import FORMER, INDEX, MARK, Sheets
from opsdash.core.sheet_text import embedded, without_front
from opsdash.model.cover import Rota, Shift
from opsdash.model.operation import Absence, Feature, Person, Step, Tier
from opsdash.model.world import ComponentState, Proof, World
from opsdash.testing import NEW_YEAR, call, component, email, mail_switch, operation, order_mail_only, provider

if TYPE_CHECKING:
    from opsdash.model.operation import ActionCall, Component, Operation
    from opsdash.model.runbook import Runbook

MARIA = Person("maria", "Maria Ortiz", contact="+49 30 5550 101")
KEN = Person("ken", "Ken Adeyemi", contact="ken@shop.example")
BOOK = """\
---
title: No mail leaves
owner: maria
reviewed: 2026-11-02
rto: 15m
---
# No mail leaves

First [switch](#switch), then [all](all.md#tell) or [the web](https://a.example/x.md).

## Steps

### Switch

```sh {run}
# not a heading
echo "[x](#switch)"
```
"""


def by_hand(action: ActionCall | None, prior: str | None) -> str:
    return "" if action is None else f"set {action.raw['mechanism']} {prior or action.raw.get('value', '')}".strip()


def book(name: str = "mail", source: str = BOOK) -> Runbook:
    return parse(name, source, f"runbooks/{name}.md")[0]


def sheets(found: Operation, *books: Runbook, **tables: Any) -> Sheets:
    world = World(found)
    for name, values in tables.items():
        world.tables[name] = values
    return Sheets(
        world=world,
        as_of=NEW_YEAR,
        runbooks={each.id: each for each in books},
        by_hand=by_hand,
        address=lambda raw: str(raw.get("url", raw.get("mechanism", ""))),
        filled=lambda value: value.replace("${PORT}", "8025"),
        moment=lambda at: f"@{at - NEW_YEAR:+.0f}",
    )


def page(component: Component, *books: Runbook, people: tuple[Person, ...] = (MARIA, KEN), **tables: Any) -> str:
    made = sheets(operation(component, people=people), *books, **tables)
    return made.sheet(component)


def section(whole: str, heading: str) -> str:
    return whole.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


# --- who, what, where --------------------------------------------------------------------------------------------


def test_the_owners_stand_in_their_order_with_contact_and_absence() -> None:
    away = replace(MARIA, away=(Absence(None, NEW_YEAR + 3600),))
    told = section(page(email(owners=("maria", "ken", "noor")), people=(away, KEN)), "Whom to ask")
    assert told.strip().splitlines() == [
        "1. Maria Ortiz: **away until @+3600**; +49 30 5550 101",
        "2. Ken Adeyemi: ken@shop.example",
        "3. noor: nobody of that name is in opsdash.yaml",
    ]


def test_an_absence_that_was_recorded_counts_and_one_who_left_is_told() -> None:
    gone = replace(KEN, left=NEW_YEAR - 1)
    told = section(
        page(email(owners=("maria", "ken")), people=(MARIA, gone), absences={"maria": Absence(0.0, None)}),
        "Whom to ask",
    )
    assert "Maria Ortiz: **away**" in told
    assert "Ken Adeyemi: **has left**" in told


def test_whoever_is_on_duty_in_the_days_to_come_stands_below_the_owners() -> None:
    day = 86400.0
    shifts = tuple(Shift(NEW_YEAR + n * day, NEW_YEAR + (n + 1) * day, ("maria", "ken")[n % 2]) for n in range(-2, 9))
    shop = component("shop", title="Shop", owners=("ken",), rotas=("front",))
    rotas = {"front": Rota("front", "front.ics", shifts)}
    found = sheets(operation(shop, people=(MARIA, KEN), rotas=rotas))
    told = found.sheet(shop)
    assert "1. Ken Adeyemi: ken@shop.example\n2. Maria Ortiz: +49 30 5550 101\n" in told
    assert [line for line in told.splitlines() if line.startswith("- On duty")] == [
        f"- On duty (front): {('Maria Ortiz', 'Ken Adeyemi')[n % 2]}, @{n * day:+.0f} to @{(n + 1) * day:+.0f}."
        for n in range(5)
    ]
    assert "Shop](shop.md), important: Ken Adeyemi, Maria Ortiz" in found.index()


def test_one_owner_and_none_are_said_to_be_that() -> None:
    assert "There is no second one." in page(email(owners=("maria",)))
    assert "Nobody owns it." in page(email())


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (
            ComponentState(active="ses", on_backup_since=NEW_YEAR - 60),
            "**Amazon SES** served on @+0, on the backup since @-60.",
        ),
        (ComponentState(active="postmark"), "**Postmark** served on @+0."),
        (ComponentState(seen="who?"), "Nobody could tell on @+0 which one serves (the mechanism said `who?`)."),
        (ComponentState(active="postmark", mode="order-mail-only"), "The degraded mode Order mail only was in force."),
    ],
)  # fmt: skip
def test_it_says_who_served_as_far_as_known(state: ComponentState, told: str) -> None:
    assert told in section(page(email(), components={"email": state}), "Where it runs")


def test_providers_have_their_values_and_the_addresses_of_their_checks() -> None:
    first = provider("postmark", "api", title="Postmark", as_name="pm-prod", values={"zone": "us", "port": "${PORT}"})
    told = section(page(email(providers=(first,), switch=None)), "Where it runs")
    assert "- **Postmark** (`postmark`, primary), known as `pm-prod`: port `8025`, zone `us`" in told
    assert "  - `postmark/api`: http `https://email-postmark-api/`" in told


# --- commands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("active", [None, "postmark", "ses"])
def test_there_is_a_command_to_every_provider_wherever_it_is_now(active: str | None) -> None:
    told = section(page(email(), components={"email": ComponentState(active=active)}), "By hand")
    assert "### Failover: from Postmark to Amazon SES\n\n```sh\nset switch ses-eu\n```" in told
    assert "### Failback: from Amazon SES to Postmark\n\n```sh\nset switch pm-prod\n```" in told
    assert "Who serves is said by `switch`." in told


def test_with_three_providers_each_backup_is_led_to_from_the_one_that_serves() -> None:
    names = ("a", "b", "c")
    three = tuple(provider(name, "api", title=name.upper()) for name in names)
    told = section(page(email(providers=three), components={"email": ComponentState(active="b")}), "By hand")
    assert [line for line in told.splitlines() if "from" in line and line.startswith("###")] == [
        "### Failover: from A to B",
        "### Failover: from B to C",
        "### Failback: from B to A",
    ]


def test_steps_around_a_switch_stand_in_order_with_the_point_of_no_return() -> None:
    before = Step("stop writes", call("writes", "off"), verify=("email/delivery",), no_return=True)
    after = Step("warm up", call("cache", "{to}"))
    told = section(page(email(switch=mail_switch(before=(before,), after=(after,)))), "By hand")
    way = told.split("### Failover")[1].split("###")[0]
    parts = ("Stop writes; **there is no way back after it**:", "set writes off", "Go on when: delivery passes",
             "The switch itself:", "set switch ses-eu", "Warm up:", "set cache ses")  # fmt: skip
    assert [way.index(part) for part in parts] == sorted(way.index(part) for part in parts)


def test_a_degraded_mode_has_a_command_in_and_one_out() -> None:
    told = section(page(email()), "By hand")
    assert "Kept: Order confirmations. Given up: Newsletters." in told
    assert "### Degrade: Order mail only\n" in told
    assert "set order-mail-only transactional-only" in told
    out = told.split("### Restore: out of Order mail only")[1]
    assert FORMER in out.split("```")[0]
    assert f"set order-mail-only {FORMER}" in out


def test_what_was_there_before_is_named_where_it_is_known() -> None:
    state = ComponentState(active="postmark", mode="order-mail-only", mode_prior="everything")
    out = section(page(email(), components={"email": state}), "By hand").split("### Restore")[1]
    assert "set order-mail-only everything" in out
    assert FORMER not in out


def test_a_mode_with_a_way_out_of_its_own_is_left_by_that() -> None:
    mode = order_mail_only(restores=False, leave=call("order-mail-only", "everything"))
    out = section(page(email(modes={mode.id: mode})), "By hand").split("### Restore")[1]
    assert "set order-mail-only everything" in out
    assert FORMER not in out


def test_a_switch_that_a_problem_has_switched_off_is_told() -> None:
    told = section(page(email(switch=None, off={"switch": "line 9: no kind `htp`"})), "By hand")
    assert "`switch` is switched off by a problem: line 9: no kind \\`htp\\`" in told


# --- decided, proved, near ---------------------------------------------------------------------------------------


def test_each_failure_has_how_it_is_noticed_what_then_and_its_runbook() -> None:
    failures = {name: replace(each, runbook="mail", rto=900.0) for name, each in email().failures.items()}
    told = section(page(email(failures=failures), book()), "What was decided")
    assert "- **Nobody delivers** (`nobody-delivers`)" in told
    assert "  - noticed by: all of `email/postmark/api`, `email/ses/api`" in told
    assert "  - then: degrade: Order mail only, within 15m" in told
    assert "  - runbook: [No mail leaves](runbooks/mail.md), below" in told
    assert "  - noticed by: `email/active/api#rate_limited`" in told


def test_a_runbook_that_could_not_be_read_is_named() -> None:
    failures = {name: replace(each, runbook="mail") for name, each in email().failures.items()}
    assert "`mail`, which could not be read" in page(email(failures=failures))


def test_neighbours_are_linked_both_ways() -> None:
    shop = component("shop", title="The shop", checks=("web",), depends_on=("email",))
    found = operation(email(), shop, dependents={"email": ("shop",)})
    assert "- It is needed by: [The shop](shop.md)" in sheets(found).sheet(found.components["email"])
    assert "- It needs: [Transactional email](email.md)" in sheets(found).sheet(found.components["shop"])


def test_the_last_proof_says_when_by_whom_and_whether_it_still_holds() -> None:
    proved = {
        "email/ses": Proof(NEW_YEAR - 3600, "email-failover-1", "sha of email", "maria", 2.41),
        "email/mode:order-mail-only": Proof(NEW_YEAR - 7200, "x", "another", "ken"),
    }
    told = section(page(email(), proofs=proved), "Last proof")
    assert "- Amazon SES: worked on @-3600 by maria, it took 2.4 s" in told
    assert "- Order mail only: worked on @-7200 by ken; its definition has changed since" in told
    assert "- Amazon SES: was never shown to work" in page(email())


# --- runbooks in a page ------------------------------------------------------------------------------------------


def test_the_whole_runbook_is_in_the_page_with_its_code_as_it_is() -> None:
    whole = page(email(runbook="mail", owners=("maria",)), book(), book("all"))
    told = whole.split("## Runbook: No mail leaves\n", 1)[1]
    assert "Owner Maria Ortiz, reviewed 2026-11-02, RTO 15m." in told
    assert (
        "First [switch](runbooks/mail.md#switch), then [all](runbooks/all.md#tell) or [the web](https://a.example/x.md)"
        in told
    )
    assert '```sh {run}\n# not a heading\necho "[x](#switch)"\n```' in told
    assert "##### Switch" in told


def test_a_broken_runbook_stands_there_as_it_is_and_swallows_nothing() -> None:
    broken = book("mail", BOOK.replace('"\n```\n', '"\n'))
    assert not broken.executable
    whole = page(email(runbook="mail", failures={}), broken)
    tokens = MarkdownIt("commonmark").parse(whole)
    assert tokens[-1].type == "fence"
    assert tokens[-1].content.startswith("# No mail leaves\n")
    assert "### Switch" in tokens[-1].content


@pytest.mark.parametrize(
    "block",
    [
        "```sh\n# a\n[x](#b)\n```",
        "~~~\n# a\n```\n# b\n~~~",
        "````\n```\n# a\n```\n````",
        "- x\n\n  ```sh\n  # a\n  ```",
        "1. ```sh\n   # a\n   ```",
        "> ```sh\n> # a\n> ```",
        "> ```sh\n> # a",
        "```\n    ```\n# a\n```",
        "   ```\n   # a\n   ```",
    ],
)
def test_code_in_a_runbook_is_never_touched(block: str) -> None:
    tokens = MarkdownIt("commonmark").parse(f"{block}\n\n### After\n")
    moved = "\n".join(embedded(f"{block}\n\n### After\n", "a", ["b"]))
    after = MarkdownIt("commonmark").parse(moved)
    assert [each.content for each in after if each.type == "fence"] == [
        each.content for each in tokens if each.type == "fence"
    ]
    assert moved.endswith("##### After")


def test_front_matter_is_taken_off() -> None:
    assert without_front("---\na: b\n---\n\n# T\n") == "# T\n"
    assert without_front("# T\n---\n") == "# T\n---\n"
    assert without_front("---\nopen\n") == "---\nopen\n"


# --- nobody's text becomes markup --------------------------------------------------------------------------------

EVIL = "*a* [x](http://evil) `b` <img src=x onerror=y> # h\n\n## Injected\n| c | &amp; ~~d~~ \x1b[2J\u202e $x$ ![i](z)"


def test_a_hostile_title_name_or_contact_stays_one_line_of_text() -> None:
    maria = Person("maria", EVIL, contact=EVIL)
    evil = email(
        title=EVIL,
        owners=("maria", EVIL),
        providers=(provider("p", "api", title=EVIL, as_name=EVIL, values={"k": EVIL}),),
        features={"f": Feature("f", EVIL, Tier.ESSENTIAL, ())},
        switch=None,
        off={"switch": EVIL},
        problem=EVIL,
        runbook="mail",
    )
    made = sheets(operation(evil, people=(maria,), title=EVIL), book("mail", BOOK.replace("No mail leaves", "x")))
    for whole in (made.sheet(evil), made.index()):
        tokens = MarkdownIt("commonmark").parse(whole)
        headings = [following.content for each, following in pairwise(tokens) if each.type == "heading_open"]
        assert not [heading for heading in headings if heading.startswith("Injected")]
        assert [each for each in tokens if each.type == "html_block"] == tokens[:1], "the mark alone"
        spans = [span for each in tokens if each.children for span in each.children]
        assert not [span for span in spans if span.type in {"image", "html_inline", "em_open"}]
        assert not [span for span in spans if span.type == "link_open" and "evil" in str(span.attrs["href"])]
        assert "\x1b" not in whole
        assert "\u202e" not in whole


@pytest.mark.parametrize("value", ["a", "`", "``", "a`b``c", "` a `", "a\nb", "\\", "|"])
def test_a_code_span_shows_what_was_given(value: str) -> None:
    (paragraph,) = [each for each in MarkdownIt("commonmark").parse(code(value)) if each.type == "inline"]
    assert paragraph.children is not None
    assert [(each.type, each.content) for each in paragraph.children] == [("code_inline", " ".join(value.split()))]


@pytest.mark.parametrize("value", ["a", "```", "````\n```", "~~~", "", "a\n\n"])
def test_nothing_in_a_command_closes_its_fence(value: str) -> None:
    tokens = MarkdownIt("commonmark").parse("\n".join([*fenced(value, "sh"), "", "after"]))
    assert [each.type for each in tokens] == ["fence", "paragraph_open", "inline", "paragraph_close"]
    assert tokens[0].content.rstrip("\n") == value.rstrip("\n")


def test_text_is_shown_as_it_was_written() -> None:
    (paragraph,) = [
        each for each in MarkdownIt("commonmark").parse(f"x {text('a_b*c[d]<e>')}") if each.type == "inline"
    ]
    assert paragraph.children is not None
    assert "".join(each.content for each in paragraph.children) == "x a_b*c[d]<e>"


# --- all of them -------------------------------------------------------------------------------------------------


def test_the_same_values_give_the_same_bytes() -> None:
    found = operation(email(runbook="mail", owners=("ken", "maria")), people=(KEN, MARIA))
    again = operation(email(runbook="mail", owners=("ken", "maria")), people=(MARIA, KEN))
    assert dict(sheets(found, book()).all()) == dict(sheets(again, book()).all())


def test_there_is_a_page_for_each_component_an_index_and_every_runbook() -> None:
    shop = component("shop", title="The shop", tier=Tier.DROPPABLE, checks=("web",))
    of_both = sheets(operation(shop, email(owners=("maria",)), people=(MARIA,)), book(), book("all"))
    made = dict(of_both.all())
    assert list(made) == [INDEX, "shop.md", "email.md", "runbooks/all.md", "runbooks/mail.md"]
    assert made["runbooks/mail.md"] == BOOK
    assert all(text.startswith(MARK) for name, text in made.items() if "/" not in name)
    index = made[INDEX]
    assert index.index("[Transactional email](email.md), essential: Maria Ortiz") < index.index("[The shop](shop.md)")
    assert "- Maria Ortiz: +49 30 5550 101" in index
