"""Action kinds `etcd` and `consul`, where they are alike: stores that obey, refuse, hang, break and talk nonsense."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.actions import consul, etcd
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.resolver import Resolver
from tests.kinds.conftest import Authority
from tests.kinds.stores import (
    ANSWERS,
    SILENT,
    SLOW,
    FakeConsul,
    FakeEtcd,
    FakeStore,
    Row,
    a_dead_endpoint,
    serving_store,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

ID = "email:failover:7"
STORES: dict[str, type[FakeStore]] = {"etcd": FakeEtcd, "consul": FakeConsul}
KINDS: dict[type[FakeStore], Any] = {FakeEtcd: etcd, FakeConsul: consul}
NOTHING_SENT = "nothing was sent"


@pytest.fixture(params=list(STORES))
async def store(request: pytest.FixtureRequest) -> AsyncIterator[FakeStore]:
    """A store in which postmark serves, put there by nobody we know."""
    async with serving_store(STORES[request.param]()) as store:
        store.put(provider="postmark")
        yield store


@pytest.fixture
def dead() -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        yield a_dead_endpoint(stack)


def keys(store: FakeStore, **more: Any) -> dict[str, Any]:
    return {"endpoints": [store.url], "key": store.key("provider"), "marker": store.key("by"), **more}


def a_context(folder: Path, **more: Any) -> ActionContext:
    return ActionContext(more.pop("action_id", ID), more.pop("deadline", 10.0), folder, Resolver(), 0.0, **more)


async def put(store: FakeStore, folder: Path, *, options: dict[str, Any] | None = None, **more: Any) -> ActionResult:
    kind = KINDS[type(store)]
    made = kind.Options.model_validate({**keys(store), "value": "ses", **(options or {})})
    result: ActionResult = await kind.apply(made, a_context(folder, **more))
    return result


async def look(store: FakeStore, folder: Path, *, deadline: float = 10.0, **options: Any) -> Reading:
    kind = KINDS[type(store)]
    made = kind.ReadOptions.model_validate({**keys(store), **options})
    reading: Reading = await kind.read(made, a_context(folder, deadline=deadline))
    return reading


async def try_out(store: FakeStore, folder: Path, *, deadline: float = 5.0, **options: Any) -> Preflight:
    kind = KINDS[type(store)]
    made = kind.Options.model_validate({**keys(store), "value": "ses", **options})
    found: Preflight = await kind.preflight(made, a_context(folder, deadline=deadline))
    return found


# --- as it should be -----------------------------------------------------------------------------------------------


async def test_value_and_marker_are_written_at_once_and_read_back(store: FakeStore, tmp_path: Path) -> None:
    sent: list[str] = []
    result = await put(store, tmp_path, expected="postmark", on_sent=lambda: sent.append("sent"))
    assert (result.applied, result.prior) == (Applied.APPLIED, "postmark")
    assert (store.get("provider"), store.get("by")) == ("ses", ID)
    assert sent == ["sent"]
    assert len(store.changes) == 1
    reading = await look(store, tmp_path)
    assert (reading.value, reading.by, reading.version) == ("ses", ID, result.version)


async def test_without_a_marker_the_value_alone_is_written(store: FakeStore, tmp_path: Path) -> None:
    assert (await put(store, tmp_path, options={"marker": None})).applied is Applied.APPLIED
    assert (store.get("provider"), store.get("by")) == ("ses", None)
    assert (await look(store, tmp_path, marker=None)).by is None
    options = KINDS[type(store)].Options.model_validate({**keys(store), "value": "ses"})
    kind = KINDS[type(store)].KIND
    assert kind.abilities_with(options).marks
    assert not kind.abilities_with(options.model_copy(update={"marker": None})).marks


async def test_a_prefix_is_what_both_keys_begin_with(store: FakeStore, tmp_path: Path) -> None:
    prefix = store.key("")
    options = {"prefix": prefix, "key": "provider", "marker": "by"}
    assert (await put(store, tmp_path, options=options)).applied is Applied.APPLIED
    assert (store.get("provider"), store.get("by")) == ("ses", ID)


async def test_what_was_there_is_put_back_if_it_is_still_ours(store: FakeStore, tmp_path: Path) -> None:
    kind = KINDS[type(store)].KIND
    raw = {**keys(store), "value": "ses"}
    result = await put(store, tmp_path)
    back = kind.undo(raw, result.prior)
    undone = await put(store, tmp_path, options=back, action_id=f"{ID}-undo-1")
    assert undone.applied is Applied.APPLIED
    assert (store.get("provider"), store.get("by")) == ("postmark", f"{ID}-undo-1")

    await put(store, tmp_path)
    store.put(provider="mailgun")
    refused = await put(store, tmp_path, options=back, action_id=f"{ID}-undo-2")
    assert refused.applied is Applied.REFUSED
    assert "says mailgun, where ses was expected" in refused.detail
    assert store.get("provider") == "mailgun"


# --- somebody else --------------------------------------------------------------------------------------------------


async def test_somebody_elses_value_is_left_alone_without_a_change_being_sent(store: FakeStore, tmp_path: Path) -> None:
    store.put(provider="mailgun", by="email:failover:6")
    sent: list[str] = []
    result = await put(store, tmp_path, expected="postmark", on_sent=lambda: sent.append("sent"))
    assert result.applied is Applied.REFUSED
    assert "says mailgun (by email:failover:6), where postmark was expected" in result.detail
    assert (sent, store.changes, store.get("provider")) == ([], [], "mailgun")


async def test_a_retry_after_a_success_is_told_from_somebody_elses_doing(store: FakeStore, tmp_path: Path) -> None:
    await put(store, tmp_path, expected="postmark")
    again = await put(store, tmp_path, expected="postmark")
    assert (again.applied, again.prior) == (Applied.APPLIED, "postmark")
    assert "already (by this very action)" in again.detail
    other = await put(store, tmp_path, expected="postmark", action_id="email:failover:8")
    assert (other.applied, other.prior) == (Applied.APPLIED, "ses")
    assert f"already (by {ID})" in other.detail
    store.put(provider="ses")
    nobody = await put(store, tmp_path, expected="postmark")
    assert (nobody.applied, nobody.prior) == (Applied.APPLIED, "ses")
    assert nobody.detail.endswith("says ses already")
    assert len(store.changes) == 1


async def test_a_value_that_was_written_again_since_the_plan_is_left_alone(store: FakeStore, tmp_path: Path) -> None:
    seen = await look(store, tmp_path)
    store.put(provider="postmark")
    result = await put(store, tmp_path, expected="postmark", expected_version=seen.version)
    assert result.applied is Applied.REFUSED
    assert "was written again since" in result.detail
    assert store.changes == []
    now = await look(store, tmp_path)
    done = await put(store, tmp_path, expected="postmark", expected_version=now.version)
    assert done.applied is Applied.APPLIED


@pytest.mark.parametrize(
    ("theirs", "applied", "words"),
    [
        ({"provider": "mailgun"}, Applied.REFUSED, "says mailgun"),
        ({"provider": "postmark"}, Applied.REFUSED, "at this very moment"),
        ({"provider": "ses"}, Applied.APPLIED, "says ses already"),
        ({"provider": "ses", "by": ID}, Applied.APPLIED, "by this very action"),
    ],
)
async def test_who_was_faster_between_our_look_and_our_change_has_won(
    store: FakeStore, tmp_path: Path, theirs: dict[str, str], applied: Applied, words: str
) -> None:
    # on_sent is the last moment before our change arrives
    result = await put(store, tmp_path, expected="postmark", on_sent=lambda: store.put(**theirs))
    assert result.applied is applied
    assert words in result.detail
    assert store.get("provider") == theirs["provider"]
    assert len(store.changes) == 1


async def test_of_two_who_expect_the_same_one_wins(store: FakeStore, tmp_path: Path) -> None:
    results = await asyncio.gather(
        *(put(store, tmp_path, expected="postmark", action_id=name, options={"value": name}) for name in ("ses", "mg"))
    )
    assert sorted(result.applied.value for result in results) == ["applied", "refused"]


async def test_a_marker_of_an_earlier_value_names_nobody(store: FakeStore, tmp_path: Path) -> None:
    store.put(provider="ses", by=ID)
    store.put(provider="mailgun")
    reading = await look(store, tmp_path)
    assert (reading.value, reading.by) == ("mailgun", None)


# --- what cannot be understood --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"\xff\xfe", "no text in UTF-8"),
        (b"postmark\n", "has no line break"),
        (b"post\x1bmark", "has no line break"),
        (b" ", "no space around it"),
        (b"x" * 201, "201 characters"),
    ],
)
async def test_what_is_no_name_is_read_as_none_and_never_overwritten(
    store: FakeStore, tmp_path: Path, value: bytes | None, words: str
) -> None:
    store.rows.clear()
    if value is not None:
        store.rows[store.key("provider")] = Row(value, 5)
    reading = await look(store, tmp_path)
    assert reading.value is None
    assert words in reading.detail
    result = await put(store, tmp_path)
    assert result.applied is Applied.REFUSED
    assert words in result.detail
    found = await try_out(store, tmp_path)
    assert (found.passed, found.credentials) == (False, None)
    assert store.changes == []


async def test_a_marker_that_opsdash_would_not_have_written_names_nobody(store: FakeStore, tmp_path: Path) -> None:
    store.put(provider="ses", by="somebody\nelse")
    assert (await look(store, tmp_path)).by is None


# --- changes that are not answered, or by nonsense ------------------------------------------------------------------


@pytest.mark.parametrize("mood", SILENT)
async def test_a_store_that_does_it_and_then_falls_silent_leaves_it_unknown(
    store: FakeStore, tmp_path: Path, mood: str
) -> None:
    store.mood = mood
    result = await put(store, tmp_path, deadline=0.8)
    assert result.applied is Applied.UNKNOWN
    assert "after the request had been sent" in result.detail
    assert len(store.changes) == 1
    store.mood = "obedient"
    again = await put(store, tmp_path)
    assert "already (by this very action)" in again.detail
    assert len(store.changes) == 1


@pytest.mark.parametrize("mood", list(ANSWERS))
async def test_an_answer_that_is_none_of_the_stores_leaves_it_unknown(
    store: FakeStore, tmp_path: Path, mood: str
) -> None:
    async with serving_store(type(store)()) as trap:
        store.mood, store.elsewhere = mood, trap.url
        result = await put(store, tmp_path, options={"endpoints": [store.url, trap.url]})
        assert result.applied is Applied.UNKNOWN
        assert len(result.detail) < 500
        assert "\n" not in result.detail
        assert len(store.changes) == 1
        assert (trap.changes, trap.questions) == ([], []), "neither a redirect nor the next endpoint is followed"


async def test_cancelling_after_the_change_was_sent_has_told_so_before(store: FakeStore, tmp_path: Path) -> None:
    store.mood = "hangs"
    sent: list[str] = []
    task = asyncio.ensure_future(put(store, tmp_path, on_sent=lambda: sent.append("sent")))
    await store.changed.wait()
    assert sent == ["sent"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- endpoints ------------------------------------------------------------------------------------------------------


async def test_a_dead_endpoint_is_passed_over(store: FakeStore, tmp_path: Path, dead: str) -> None:
    endpoints = [dead, store.url]
    assert (await look(store, tmp_path, endpoints=endpoints)).value == "postmark"
    assert (await put(store, tmp_path, options={"endpoints": endpoints})).applied is Applied.APPLIED
    found = await try_out(store, tmp_path, endpoints=endpoints)
    assert found.passed
    assert "1 of 2 endpoints are well" in found.detail
    assert "connection refused" in found.detail


@pytest.mark.parametrize("mood", [*SILENT, *ANSWERS])
async def test_a_question_goes_on_to_the_next_endpoint(store: FakeStore, tmp_path: Path, mood: str) -> None:
    async with serving_store(type(store)(question_mood=mood)) as ill:
        ill.put(provider="nonsense")
        endpoints = [ill.url, store.url]
        # Half of it is the silent one's.
        deadline = 2.0 if mood in SILENT else 10.0
        result = await put(store, tmp_path, options={"endpoints": endpoints}, deadline=deadline)
        assert (result.applied, result.prior) == (Applied.APPLIED, "postmark")
        assert ill.changes == []


async def test_a_change_goes_to_the_endpoint_that_answered_and_on_only_while_nothing_is_sent(
    store: FakeStore, tmp_path: Path, dead: str
) -> None:
    # The member that was read from is gone when the change is to be sent.
    async with serving_store(type(store)()) as first:
        first.rows = store.rows
        kind = KINDS[type(store)]
        options = kind.Options.model_validate({**keys(store), "endpoints": [first.url, store.url], "value": "ses"})
        context = a_context(tmp_path)
        made = kind._store(options, context)
        until = asyncio.get_running_loop().time() + 5
        await made.look(options.endpoints, until)
        made._endpoints = (dead, *made._endpoints[1:])
        answer = await made.swap(b"ses", until)
        assert isinstance(answer, ActionResult)
        assert answer.applied is Applied.APPLIED
        assert (len(first.changes), len(store.changes)) == (0, 1)


async def test_a_change_that_is_on_its_way_has_all_the_time_that_is_left(
    store: FakeStore, tmp_path: Path, dead: str
) -> None:
    store.mood = "slow"
    deadline = 4 * SLOW
    result = await put(store, tmp_path, options={"endpoints": [store.url, *[dead] * 5]}, deadline=deadline)
    assert deadline / 6 < SLOW
    assert result.applied is Applied.APPLIED


async def test_where_nobody_answers_nothing_was_sent(store: FakeStore, tmp_path: Path, dead: str) -> None:
    sent: list[str] = []
    result = await put(store, tmp_path, options={"endpoints": [dead, dead]}, on_sent=lambda: sent.append("sent"))
    assert result.applied is Applied.NOT_STARTED
    assert result.detail.count("connection refused") == 2
    assert NOTHING_SENT in result.detail
    assert sent == []
    assert (await try_out(store, tmp_path, endpoints=[dead])).passed is False
    assert (await look(store, tmp_path, endpoints=[dead])).value is None


@pytest.mark.parametrize("mood", [*SILENT, *ANSWERS])
async def test_where_questions_get_no_answer_nothing_is_changed(store: FakeStore, tmp_path: Path, mood: str) -> None:
    store.question_mood = mood
    result = await put(store, tmp_path, deadline=0.4)
    assert result.applied in {Applied.NOT_STARTED, Applied.REFUSED}
    assert NOTHING_SENT in result.detail
    reading = await look(store, tmp_path, deadline=0.4)
    assert reading.value is None
    assert reading.detail
    assert (await try_out(store, tmp_path, deadline=0.4)).passed is False
    assert store.changes == []


async def test_a_member_is_met_over_tls_as_the_options_say(store: FakeStore, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with serving_store(type(store)(rows=store.rows), tls=authority.server()) as locked:
        url = f"https://localhost:{locked.port}"
        stranger = await put(store, tmp_path, options={"endpoints": [url]})
        assert stranger.applied is Applied.NOT_STARTED
        assert "certificate is not accepted" in stranger.detail
        known: dict[str, Any] = {"endpoints": [url], "ca": "ca.pem"}
        assert (await try_out(store, tmp_path, **known)).passed
        assert (await put(store, tmp_path, options=known)).applied is Applied.APPLIED
        assert (await look(store, tmp_path, endpoints=[url], verify_tls=False)).value == "ses"


# --- before anything happens ----------------------------------------------------------------------------------------


async def test_the_preflight_asks_for_everything_and_changes_nothing(store: FakeStore, tmp_path: Path) -> None:
    before = (dict(store.rows), store.version)
    found = await try_out(store, tmp_path)
    assert (found.passed, found.credentials) == (True, None)
    assert "can be written; it says postmark" in found.detail
    assert (store.rows, store.version) == before
    assert store.changes == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoints": []}, "at least 1 item"),
        ({"endpoints": ["10.0.0.1:2379"]}, "http:// or https://"),
        ({"endpoints": ["http://ops:secret@x:1"]}, "credentials"),
        ({"endpoints": ["http://x:1/?a=b"]}, "query"),
        ({"key": ""}, "at least 1 character"),
        ({"key": "a\nb"}, "control character"),
        ({"marker": "same", "key": "same"}, "same place"),
        ({"value": "a\nb"}, "line break"),
        ({"value": ""}, "empty text"),
        ({"replaces": " a"}, "begins or ends with a space"),
        ({"client_key": "key.pem"}, "without `client_cert`"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_options_that_cannot_work_are_refused(store: FakeStore, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        KINDS[type(store)].Options.model_validate({**keys(store), "value": "ses", **options})
