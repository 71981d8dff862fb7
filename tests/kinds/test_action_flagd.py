"""Action kind `flagd`: flag files that applications read, and that other people change as well."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from opsdash.errors import KindError
from opsdash.kinds.actions.flagd import (
    KIND,
    LONGEST,
    Options,
    ReadOptions,
    _parsed,
    _text,
    apply,
    manual,
    preflight,
    read,
    undo,
)
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = """{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "flags": {
    "recommendations": {
      "state": "ENABLED", "variants": {"full": 1.50, "none": 0},   "defaultVariant": "full"
    },
    "search": {
      "state": "ENABLED",
      "variants": { "fuzzy": "caf\\u00e9", "exact": "b" },
      "defaultVariant": "fuzzy",
      "targeting": { "if": [ { "var": "beta" }, "exact", null ] }
    },
    "checkout": { "state": "ENABLED", "variants": {"true": true, "false": false}, "defaultVariant": "true" },
    "old": {"state": "DISABLED", "variants": {"on": true}, "defaultVariant": "on"}
  }
}
"""
MODE: dict[str, Any] = {
    "file": "flags.json",
    "mode": "essentials",
    "flags": {"recommendations": "none", "search": "exact"},
}
NORMAL = "recommendations=full, search=fuzzy"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The flag file of an application in normal operation."""
    path = tmp_path / "flags.json"
    path.write_text(FLAGS)
    return path


def a_context(file: Path, **keys: Any) -> ActionContext:
    action = keys.pop("action", "shop:degrade:7")
    return ActionContext(action, keys.pop("deadline", 10.0), file.parent, Resolver(), 0.0, **keys)


async def put(file: Path, raw: dict[str, Any], *, expected: str | None = None, **keys: Any) -> ActionResult:
    return await apply(Options.model_validate(raw), a_context(file, expected=expected, **keys))


async def put_back(file: Path, prior: str | None, raw: dict[str, Any] = MODE, **keys: Any) -> ActionResult:
    return await put(file, dict(undo(raw, prior or "")), action="shop:restore:8", **keys)


async def look(file: Path, raw: dict[str, Any] = MODE) -> Reading:
    return await read(ReadOptions.model_validate(raw), a_context(file))


async def check(file: Path, raw: dict[str, Any] = MODE) -> Preflight:
    return await preflight(Options.model_validate(raw), a_context(file))


def variants(file: Path) -> dict[str, Any]:
    return {flag: found.get("defaultVariant") for flag, found in json.loads(file.read_text())["flags"].items()}


def by_hand(file: Path, old: str, new: str) -> None:
    """Change the file as somebody with an editor would."""
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new, 1))


def others(file: Path) -> list[str]:
    return [entry.name for entry in file.parent.iterdir() if entry != file]


async def test_a_mode_flips_its_flags_at_once_and_touches_nothing_else(file: Path) -> None:
    assert (await look(file)).value == NORMAL
    result = await put(file, MODE, expected=NORMAL)
    assert (result.applied, result.prior) == (Applied.APPLIED, NORMAL)
    notes = (
        '  },\n  "metadata": {"opsdash.mode": "essentials", '
        '"opsdash.flags": "recommendations=none, search=exact", "opsdash.action": "shop:degrade:7"}\n}\n'
    )
    flipped = FLAGS.replace('"full"\n', '"none"\n').replace('"fuzzy",\n', '"exact",\n')
    assert file.read_text() == flipped.removesuffix("  }\n}\n") + notes
    reading = await look(file)
    assert (reading.value, reading.by) == ("essentials", "shop:degrade:7")
    assert others(file) == []


async def test_what_was_there_before_is_put_back_exactly(file: Path) -> None:
    entered = await put(file, MODE)
    result = await put_back(file, entered.prior, expected="essentials")
    assert result.applied is Applied.APPLIED, result.detail
    reading = await look(file)
    assert (reading.value, reading.by) == (NORMAL, "shop:restore:8")
    document = json.loads(file.read_text())
    assert document.pop("metadata") == {"opsdash.flags": NORMAL, "opsdash.action": "shop:restore:8"}
    assert document == json.loads(FLAGS)
    assert file.read_text().startswith(FLAGS.removesuffix("\n}\n"))


async def test_a_mode_that_was_named_before_is_named_again(file: Path) -> None:
    by_hand(file, '  "flags": {\n', '  "metadata": {"opsdash.mode": "normal", "team": "shop"},\n  "flags": {\n')
    before = await look(file)
    assert before.value == f"normal: {NORMAL}"
    await put(file, MODE, expected=before.value)
    assert (await look(file)).value == "essentials"
    await put_back(file, before.value, expected="essentials")
    assert (await look(file)).value == before.value
    assert json.loads(file.read_text())["metadata"]["team"] == "shop"


async def test_a_flag_flipped_by_hand_while_the_mode_is_in_force_is_seen_and_named(file: Path) -> None:
    await put(file, MODE)
    by_hand(file, '"exact",\n', '"fuzzy",\n')
    reading = await look(file)
    assert reading.value == "essentials: recommendations=none, search=fuzzy"
    assert reading.detail == "flags.json says that essentials is in force, but search is fuzzy"
    assert reading.by is None


async def test_a_flag_that_somebody_else_changed_is_left_as_it_is_when_the_others_are_put_back(file: Path) -> None:
    by_hand(file, '"fuzzy": "caf', '"off": "", "fuzzy": "caf')
    entered = await put(file, MODE)
    by_hand(file, '"exact",\n', '"off",\n')
    result = await put_back(file, entered.prior, expected="essentials")
    assert result.applied is Applied.APPLIED
    assert "recommendations is full" in result.detail
    assert result.detail.endswith("left alone, since somebody else has changed it: search is off")
    assert (await look(file)).value == "recommendations=full, search=off"


async def test_nothing_is_put_back_where_nothing_is_ours_any_more(file: Path) -> None:
    entered = await put(file, MODE)
    by_hand(file, '"essentials"', '"storm"')
    content = file.read_text()
    refused = await put_back(file, entered.prior, expected="essentials")
    assert refused.applied is Applied.REFUSED
    assert "says storm: recommendations=none, search=exact, where essentials was expected" in refused.detail
    single = {**MODE, "flags": {"search": "exact"}}
    by_hand(file, '"exact",\n', '"b",\n')
    by_hand(file, '"exact": "b"', '"exact": "b", "b": "c"')
    result = await put_back(file, "search=fuzzy", single)
    assert result.applied is Applied.REFUSED
    assert "has none of these flags as they were put: search is b" in result.detail
    assert content.replace('"exact",\n', '"b",\n').replace('"exact": "b"', '"exact": "b", "b": "c"') == file.read_text()


async def test_what_was_not_expected_is_not_overwritten(file: Path) -> None:
    by_hand(file, '"defaultVariant": "fuzzy"', '"defaultVariant": "exact"')
    content = file.read_text()
    sent: list[str] = []
    result = await put(file, MODE, expected=NORMAL, on_sent=lambda: sent.append("sent"))
    assert result.applied is Applied.REFUSED
    assert "says recommendations=full, search=exact, where" in result.detail
    assert (file.read_text(), sent) == (content, [])


async def test_applying_twice_has_the_effect_of_once(file: Path) -> None:
    await put(file, MODE, expected=NORMAL)
    written = file.stat().st_mtime_ns
    again = await put(file, MODE, expected=NORMAL)
    assert (again.applied, again.prior) == (Applied.APPLIED, NORMAL), "a repetition knows its own work"
    assert "already" in again.detail
    by_somebody = await put(file, MODE, expected=NORMAL, action="another")
    assert (by_somebody.applied, by_somebody.prior) == (Applied.APPLIED, None)
    assert file.stat().st_mtime_ns == written


async def test_of_two_that_expect_the_same_one_wins(file: Path) -> None:
    storm = {**MODE, "mode": "storm", "flags": {"recommendations": "none", "search": "fuzzy"}}
    results = await asyncio.gather(put(file, MODE, expected=NORMAL), put(file, storm, expected=NORMAL))
    assert sorted(result.applied.value for result in results) == ["applied", "refused"]


async def test_components_that_share_a_file_have_marks_of_their_own(file: Path) -> None:
    checkout = {"file": "flags.json", "prefix": "pay", "mode": "cash", "flags": {"checkout": False}}
    await put(file, MODE)
    entered = await put(file, checkout, action="pay:degrade:1")
    assert ((await look(file)).value, (await look(file, checkout)).value) == ("essentials", "cash")
    assert (await look(file, checkout)).by == "pay:degrade:1"
    assert entered.prior == "checkout=true"
    await put_back(file, entered.prior, checkout)
    assert ((await look(file)).value, variants(file)["checkout"]) == ("essentials", "true")


async def test_for_a_switch_the_variant_is_the_name_of_who_serves(file: Path) -> None:
    file.write_text(
        '{"flags": {"mail": {"state": "ENABLED", "variants": {"pm-prod": "pm", "ses-eu": "ses"},'
        ' "defaultVariant": "pm-prod"}}}'
    )
    reads = {"file": "flags.json", "flags": ["mail"]}
    assert (await look(file, reads)).value == "pm-prod", "also before opsdash has ever written"
    to_ses = {"file": "flags.json", "mode": "ses-eu", "flags": {"mail": "ses-eu"}}
    assert (await put(file, to_ses, expected="pm-prod")).applied is Applied.APPLIED
    reading = await look(file, reads)
    assert (reading.value, reading.by) == ("ses-eu", "shop:degrade:7")
    by_hand(file, '"defaultVariant": "ses-eu"', '"defaultVariant": "pm-prod"')
    reading = await look(file, reads)
    assert (reading.value, reading.by) == ("pm-prod", None)
    refused = await put(file, {**to_ses, "mode": "pm-prod", "flags": {"mail": "pm-prod"}}, expected="ses-eu")
    assert refused.applied is Applied.REFUSED, "the flag counts, not what the metadata still says"


async def test_flags_that_name_different_providers_name_none(file: Path) -> None:
    reading = await look(file, {"file": "flags.json", "flags": ["recommendations", "search"]})
    assert reading.value == NORMAL
    assert "name no single provider" in reading.detail


async def test_a_flag_without_a_default_gets_one_and_loses_it_again(file: Path) -> None:
    by_hand(file, ',   "defaultVariant": "full"', "")
    before = await look(file)
    assert before.value == "recommendations=~, search=fuzzy"
    entered = await put(file, MODE, expected=before.value)
    assert variants(file)["recommendations"] == "none"
    await put_back(file, entered.prior)
    assert variants(file)["recommendations"] is None
    assert (await look(file)).value == before.value


BROKEN = [
    ("", "does not exist, or is empty"),
    ('{"flags": ', "is no JSON"),
    ("[]", "has no object `flags`"),
    ('{"flags": []}', "has no object `flags`"),
    (FLAGS.replace('"search"', '"find"', 1), "has no flag 'search'"),
    (FLAGS.replace('"exact": "b"', '"b": "b"'), "has no variant 'exact'"),
    (FLAGS.replace('"state": "ENABLED"', '"state": "on"', 1), "neither ENABLED nor DISABLED"),
    (FLAGS.replace('"defaultVariant": "true"', '"defaultVariant": "yes"'), "'yes' is none of its variants"),
    (FLAGS.replace('{"on": true}', "{}"), "has no `variants`"),
    (FLAGS.replace('"flags"', '"metadata": {"a": []}, "flags"', 1), "'a' is no single value"),
    (FLAGS.replace('"flags"', '"metadata": [], "flags"', 1), "is no object"),
    (FLAGS.replace('"flags"', '"flags": {}, "flags"', 1), "2 times"),
    (FLAGS.replace('"state": "ENABLED"', '"state": "DISABLED"', 1), "disabled"),
    ("x" * (1 << 20) + "x", "larger than 1 MiB"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN, ids=[words for _, words in BROKEN])
async def test_what_applications_would_not_take_is_neither_believed_nor_overwritten(
    file: Path, content: str, words: str
) -> None:
    file.write_text(content)
    result = await put(file, MODE)
    assert result.applied is Applied.REFUSED
    assert words in result.detail
    assert result.detail.endswith("left as it is")
    assert file.read_text() == content
    tried = await check(file)
    assert tried.passed is False
    assert words in tried.detail
    reading = await look(file)
    assert reading.value != "essentials"


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    gone = tmp_path / "flags.json"
    assert (await put(gone, MODE)).applied is Applied.REFUSED
    assert (await look(gone)).value is None
    assert not gone.exists()
    assert (await put(gone, {**MODE, "file": "no/flags.json"})).applied is Applied.NOT_STARTED


async def test_what_is_no_file_is_left_alone(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)
    assert (await look(file)).value is None
    assert (await put(file, MODE)).applied is Applied.REFUSED
    assert file.is_fifo()


async def test_the_new_file_is_younger_than_the_old_one_whatever_its_time(file: Path) -> None:
    future = file.stat().st_mtime + 86_400
    os.utime(file, (future, future))
    file.chmod(0o640)
    await put(file, MODE)
    assert file.stat().st_mtime > future, "an application would not notice otherwise"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


async def test_a_locked_folder_is_waited_for_and_then_left_alone(file: Path) -> None:
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        sent: list[str] = []
        result = await put(file, MODE, deadline=0.4, on_sent=lambda: sent.append("sent"))
        assert (result.applied, sent) == (Applied.NOT_STARTED, [])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await put(file, MODE, on_sent=lambda: sent.append("sent"))
    finally:
        os.close(folder)
    assert (await look(file)).value == NORMAL, "what was given up is not written later"
    assert sent == []


async def test_the_preflight_changes_nothing_and_tells_of_rules_that_come_first(file: Path) -> None:
    before = file.stat()
    tried = await check(file)
    assert tried.passed is True
    assert tried.detail == (
        f"flags.json can be written; it says {NORMAL}; "
        "rules come first, for whom they apply to, with search (`targeting`)"
    )
    assert (file.read_text(), file.stat().st_mtime_ns, others(file)) == (FLAGS, before.st_mtime_ns, [])


async def test_the_manual_command_has_the_same_effect_and_its_counterpart_too(file: Path) -> None:
    prior = (await look(file)).value or ""
    for raw, value in ((MODE, "essentials"), (dict(undo(MODE, prior)), prior)):
        finished = await run_program(["bash", "-c", manual(raw)], cwd=file.parent, timeout=20)
        assert finished.exit_code == 0, finished.stderr
        assert (await look(file)).value == value
    assert json.loads(file.read_text())["flags"] == json.loads(FLAGS)["flags"]
    assert others(file) == []


async def test_hostile_names_are_names(file: Path) -> None:
    hostile = 'it\'s $(touch owned), \N{RIGHT-TO-LEFT OVERRIDE}x: "a"=b'
    document = {
        "flags": {
            hostile: {"state": "ENABLED", "variants": {hostile: 1, "~": 2}, "defaultVariant": "~"},
            "a.b": {"state": "ENABLED", "variants": {"on": 1, "off": 0}, "defaultVariant": "on"},
        }
    }
    file.write_text(json.dumps(document))
    raw = {"file": "flags.json", "mode": hostile, "flags": {hostile: hostile, "a.b": "off"}}
    prior = (await look(file, raw)).value or ""
    assert prior.isascii()
    finished = await run_program(["bash", "-c", manual(raw)], cwd=file.parent, timeout=20)
    assert finished.exit_code == 0, finished.stderr
    assert (await look(file, raw)).value == hostile
    assert (await put_back(file, prior, raw)).applied is Applied.APPLIED
    assert (await look(file, raw)).value == prior
    assert others(file) == []


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@given(st.none() | names, st.dictionaries(names, st.none() | names, min_size=1, max_size=30))
def test_what_a_file_says_can_be_told_from_its_name(mode: str | None, flags: dict[str, str | None]) -> None:
    text = _text(mode, flags)
    assert len(text) <= LONGEST
    assert text.isascii()
    try:
        parsed = _parsed(text, flags)
    except ValueError:
        assert " flags, " in text, "only a hash says nothing of what it stands for"
    else:
        assert parsed == (mode, flags)


def test_more_than_a_value_can_say_needs_a_leave_of_its_own() -> None:
    def restores(count: int) -> bool:
        flags = {f"a-flag-with-a-long-name-{number}": "off" for number in range(count)}
        return KIND.abilities_with(Options(file="x", mode="m", flags=flags)).restores

    assert restores(25)
    assert not restores(50)
    for prior in ("", "40 flags, 0123456789abcdef", "search=exact", "recommendations=a, search=b, c=d", "a=b=c"):
        with pytest.raises(KindError, match="by hand"):
            undo(MODE, prior)
    assert undo(MODE, "full, fuzzy")["flags"] == {"recommendations": "full", "search": "fuzzy"}


@pytest.mark.parametrize(
    ("model", "keys", "message"),
    [
        (Options, {"flags": {}}, "at least 1"),
        (Options, {"flags": {"a": ["b"]}}, "a list"),
        (Options, {"flags": {"a": "b\nc"}}, "control"),
        (Options, {"flags": {"a": "b"}, "prefix": "a.b"}, "pattern"),
        (Options, {"flags": {"a": "b"}, "only_where": {"c": "d"}}, "other flags"),
        (Options, {"flags": {"a": "b"}, "state": "DISABLED"}, "Extra"),
        (ReadOptions, {"flags": {"a": "b"}}, "say which `mode`"),
        (ReadOptions, {"flags": ["a"], "mode": "m"}, "say which variant"),
        (ReadOptions, {"flags": []}, "at least 1"),
    ],
)
def test_options_that_cannot_work_are_refused(model: Any, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        model.model_validate({"file": "flags.json", **keys})
