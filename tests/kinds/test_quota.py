"""Check kind `quota`: every form in which servers tell what is left of a rate limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.kinds.base import CheckContext, Sample
from opsdash.kinds.checks import quota
from opsdash.kinds.ratelimits import Quota, read_quotas, tightest
from opsdash.kinds.structured import parse_list
from opsdash.model.status import Reason, Status

Serve = Callable[..., Awaitable[Any]]
MakeContext = Callable[..., CheckContext]
Answer = Callable[..., bytes]

NOON = 1795435200.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"ratelimit": '"default";r=50;t=30'}, [Quota("default", 50, None, 30)]),
        (
            {
                "ratelimit": '"day";r=50;t=30, "burst";r=5',
                "ratelimit-policy": '"burst";q=10;w=60, "day";q=1000;w=86400',
            },
            [Quota("day", 50, 1000, 30), Quota("burst", 5, 10)],
        ),
        ({"ratelimit": '"a";r=1;pk=:YWJj:;x=?1;y=tok/en;z=1.5'}, [Quota("a", 1)]),
        ({"ratelimit": '"default";t=30'}, []),
        ({"ratelimit": '"default";r=-1'}, []),
        ({"ratelimit": '"default";r=1.5'}, []),
        ({"ratelimit": '"default";r=5,'}, []),
        ({"ratelimit": "limit=100, remaining=50, reset=30"}, []),
        (
            {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "20", "ratelimit-reset": "15"},
            [Quota("default", 20, 100, 15)],
        ),
        (
            {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999", "x-ratelimit-reset": str(int(NOON) + 60)},
            [Quota("default", 4999, 5000, 60)],
        ),
        (
            {"x-ratelimit-remaining": "1", "x-ratelimit-reset": str(int(NOON * 1000) + 5000)},
            [Quota("default", 1, None, 5)],
        ),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": str(int(NOON) - 60)}, [Quota("default", 1, None, 0)]),
        ({"x-rate-limit-remaining": "7", "x-rate-limit-limit": "10"}, [Quota("default", 7, 10)]),
        (
            {
                "x-ratelimit-remaining-tokens": "149",
                "x-ratelimit-limit-tokens": "150",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            [Quota("tokens", 149, 150, 360)],
        ),
        ({"x-ratelimit-remaining": "many", "x-ratelimit-limit": "10"}, []),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "soon"}, [Quota("default", 3)]),
        ({"content-type": "text/plain"}, []),
    ],
)
def test_each_form_of_header_is_read_and_malformed_ones_are_ignored(
    headers: dict[str, str], expected: list[Quota]
) -> None:
    assert read_quotas(headers, NOON) == expected


def test_of_several_limits_the_tightest_counts() -> None:
    day, burst, unknown = Quota("day", 50, 1000), Quota("burst", 9, 10), Quota("other", 1)
    assert tightest([burst, day, unknown]) == day
    assert tightest([Quota("a", 5), unknown]) == unknown
    assert tightest([]) is None


@given(st.text(max_size=60))
def test_a_structured_field_is_read_or_refused_and_never_anything_else(text: str) -> None:
    try:
        parse_list(text)
    except ValueError:
        return


@given(
    st.dictionaries(st.sampled_from(["ratelimit", "ratelimit-policy", "x-ratelimit-remaining"]), st.text(max_size=40))
)
def test_no_header_whatsoever_breaks_the_reading(headers: dict[str, str]) -> None:
    for found in read_quotas(headers, NOON):
        assert found.remaining >= 0


async def check(server: Any, context: CheckContext, **keys: Any) -> Sample:
    return await quota.run(quota.Options.model_validate({"url": f"http://{server.origin}/", **keys}), context)


async def test_enough_left_is_ok_and_said_in_words(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    server = await serve(http_answer(headers='RateLimit: "daily";r=900;t=120\r\nRateLimit-Policy: "daily";q=1000'))
    sample = await check(server, context())
    assert (sample.status, sample.reason) == (Status.OK, None)
    assert sample.detail == "900 of 1000 left (90%) of 'daily', renewed in 2m"
    assert {name: sample.values[name] for name in ("quota", "remaining", "limit", "left", "reset_in")} == {
        "quota": "daily", "remaining": 900.0, "limit": 1000.0, "left": 0.9, "reset_in": 120.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("remaining", "warn_below", "reason"),
    [
        (199, "20%", Reason.QUOTA_LOW),
        (200, "20%", None),
        (100, "10%", None),
        (99, "10%", Reason.QUOTA_LOW),
        (0, 0, Reason.QUOTA_LOW),
    ],
)
def test_less_than_wanted_is_degraded(remaining: int, warn_below: Any, reason: Reason | None) -> None:
    sample = Sample(Status.OK)
    options = quota.Options.model_validate({"url": "https://example/", "warn_below": warn_below})
    quota.judge(sample, Quota("default", remaining, 1000), {}, options.warn_below)
    assert (sample.status, sample.reason) == (Status.DEGRADED if reason else Status.OK, reason)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ('Retry-After: 90\r\nRateLimit: "default";r=0;t=30', 90.0),
        ('RateLimit: "default";r=0;t=30', 30.0),
        ("X: y", None),
    ],
)
async def test_at_429_the_check_stays_away_as_long_as_it_was_asked_to(
    serve: Serve, context: MakeContext, http_answer: Answer, headers: str, seconds: float | None
) -> None:
    server = await serve(http_answer(status=429, headers=headers))
    sample = await check(server, context())
    assert (sample.status, sample.reason) == (Status.DEGRADED, Reason.RATE_LIMITED)
    assert sample.retry_after == seconds


async def test_an_answer_that_tells_nothing_is_unknown_and_never_ok(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    server = await serve(http_answer("{}"))
    sample = await check(server, context())
    assert (sample.status, sample.reason) == (Status.UNKNOWN, Reason.MISSING)
    sample = await check(server, context(), remaining="json.left")
    assert (sample.status, sample.detail) == (Status.UNKNOWN, "the answer has no json.left")
    server = await serve(http_answer("oops", status=500))
    assert (await check(server, context())).reason is Reason.STATUS


async def test_the_body_may_tell_it_too(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    server = await serve(http_answer('{"plan": {"left": 150, "all": 1000}, "text": "150"}'))
    for limit in ("json.plan.all", 1000):
        sample = await check(server, context(wants_json=False), remaining="json.plan.left", limit=limit)
        assert (sample.status, sample.values["left"]) == (Status.DEGRADED, 0.15)
    sample = await check(server, context(), remaining="json.text")
    assert (sample.status, sample.detail) == (Status.UNKNOWN, "the answer has no number at json.text")


async def test_from_run_to_run_it_is_foreseen_when_nothing_will_be_left(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    lefts = [1000, 900, 800, 950, 940]
    server = await serve(
        [http_answer(headers=f"X-RateLimit-Remaining: {left}\r\nX-RateLimit-Limit: 1000") for left in lefts]
    )
    samples: list[Sample] = []
    for minute in range(5):
        previous = samples[-1] if samples else None
        samples.append(await check(server, context(wall=NOON + 60 * minute, previous=previous)))
    # 100 a minute: after two minutes 800 are left, for eight more. Then it is renewed, and all begins anew.
    assert [sample.values.get("exhausted_in") for sample in samples] == [None, 540.0, 480.0, None, 5640.0]
    assert "used up in 8m" in samples[2].detail


async def test_what_is_renewed_in_time_is_not_foreseen_to_run_out(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    server = await serve([http_answer(headers=f'RateLimit: "default";r={left};t=60') for left in (1000, 900)])
    first = await check(server, context())
    second = await check(server, context(wall=NOON + 60, previous=first))
    assert "exhausted_in" not in second.values


async def test_a_failed_run_forgets_nothing(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    server = await serve(http_answer(headers="X-RateLimit-Remaining: 10"))
    first = await check(server, context())
    options = quota.Options(url="http://127.0.0.1:1/")
    failed = await quota.run(options, context(previous=first))
    assert failed.reason is Reason.REFUSED
    assert failed.state == first.state is not None
