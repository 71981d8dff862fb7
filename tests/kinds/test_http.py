"""Check kind `http`: what the answer of a server means."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.base import CheckContext, Sample
from opsdash.kinds.checks import http
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

Serve = Callable[..., Awaitable[Any]]
MakeContext = Callable[..., CheckContext]
Answer = Callable[..., bytes]


async def check(url: str, context: CheckContext, **keys: Any) -> Sample:
    return await http.run(http.Options.model_validate({"url": url, **keys}), context)


async def test_an_answer_becomes_a_sample_with_the_names_that_expectations_use(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    server = await serve(http_answer('{"healthy": true}', headers="Content-Type: application/json"))
    sample = await check(f"http://{server.origin}/status", context())
    assert (sample.status, sample.reason, sample.detail) == (Status.OK, None, "200 OK")
    assert sample.values["status"] == 200
    assert sample.values["json"] == {"healthy": True}
    assert sample.values["body"] == '{"healthy": true}'
    assert sample.values["headers"]["content-type"] == "application/json"
    assert sample.latency == sample.values["latency"] > 0
    assert set(sample.phases) == {"dns", "connect", "tls", "first_byte", "body"}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (204, (Status.OK, None)),
        (301, (Status.OK, None)),
        (400, (Status.DOWN, Reason.STATUS)),
        (401, (Status.DOWN, Reason.AUTH)),
        (403, (Status.DOWN, Reason.AUTH)),
        (404, (Status.DOWN, Reason.STATUS)),
        (500, (Status.DOWN, Reason.STATUS)),
        (503, (Status.DOWN, Reason.STATUS)),
    ],
)
async def test_without_an_expectation_the_status_decides_and_leaves_the_last_word_to_one(
    serve: Serve, context: MakeContext, http_answer: Answer, status: int, verdict: tuple[Status, Reason]
) -> None:
    server = await serve(http_answer(status=status))
    sample = await check(f"http://{server.origin}/", context())
    assert (sample.status, sample.reason, sample.soft) == (*verdict, True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 120", 120.0),
        ("Retry-After: Mon, 23 Nov 2026 12:05:00 GMT", 300.0),
        ("Retry-After: Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Retry-After: Mon, 23 Nov 2026 12:05:00 GMT\r\nDate: Mon, 23 Nov 2026 12:04:00 GMT", 60.0),
        ("Retry-After: soon", None),
        ("Retry-After: -5", None),
        ("X: y", None),
    ],
)
async def test_too_many_requests_is_never_down_and_says_how_long_to_stay_away(
    serve: Serve, context: MakeContext, http_answer: Answer, header: str, seconds: float | None
) -> None:
    server = await serve(http_answer(status=429, headers=header))
    sample = await check(f"http://{server.origin}/", context())
    assert (sample.status, sample.reason, sample.soft) == (Status.DEGRADED, Reason.RATE_LIMITED, False)
    assert sample.retry_after == seconds


async def test_a_body_that_is_no_json_leaves_json_out_and_says_why(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    for body, words in [
        ("<html>", "Expecting value"),
        ('{"a": NaN}', "NaN"),
        ("", "empty"),
        (b'"\xff"', "not utf-8"),
        ("[" * 5000 + "]" * 5000, "nested deeper"),
        ("[" * 200 + "]" * 200, "nested deeper"),
        ("1" * 5000, "out of range"),
        ("1e999", "out of range"),
    ]:
        server = await serve(http_answer(body))
        sample = await check(f"http://{server.origin}/", context())
        assert sample.status is Status.OK
        assert "json" not in sample.values
        assert words in sample.values["json_error"]


async def test_json_is_parsed_only_for_those_who_ask(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    server = await serve(http_answer("{}"))
    sample = await check(f"http://{server.origin}/", context(wants_json=False))
    assert "json" not in sample.values
    assert "json_error" not in sample.values


async def test_a_large_json_body_is_parsed_as_well(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    server = await serve(http_answer("[" + ",".join(map(str, range(100_000))) + "]"))
    sample = await check(f"http://{server.origin}/", context())
    assert sample.values["json"][-1] == 99_999
    assert len(sample.values["body"]) == 64 * 1024


async def test_a_body_longer_than_allowed_cannot_be_judged_as_json(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    server = await serve(http_answer("[" + "1," * 1000 + "1]"))
    sample = await check(f"http://{server.origin}/", context(), max_body="1KiB")
    assert (sample.status, sample.reason, sample.soft) == (Status.UNKNOWN, Reason.TOO_LARGE, False)
    sample = await check(f"http://{server.origin}/", context(wants_json=False), max_body="1KiB")
    assert (sample.status, sample.values["truncated"]) == (Status.OK, True)


async def test_a_failure_to_connect_is_down_and_names_the_target(context: MakeContext) -> None:
    sample = await check("http://127.0.0.1:1/secret-path", context())
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.REFUSED)
    assert sample.detail == "127.0.0.1:1: connection refused"


async def test_what_is_sent_is_what_the_keys_say(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    server = await serve(http_answer())
    url = f"http://{server.origin}/"
    await check(url, context(), method="POST", json={"a": "ä"})
    await check(url, context(), method="POST", form={"a": "1 2"})
    await check(url, context(), method="PUT", body="text", headers={"X-Key": "k", "User-Agent": "mine"})
    await check(url, context(), auth={"basic": {"user": "ops", "password": "pässword"}})
    await check(url, context(), auth={"bearer": "t0ken"})
    as_json, as_form, as_text, basic, bearer = server.requests
    assert b"Content-Type: application/json\r\n" in as_json
    assert as_json.endswith('\r\n\r\n{"a": "ä"}'.encode())
    assert as_form.endswith(b"\r\n\r\na=1+2")
    assert as_text.startswith(b"PUT / HTTP/1.1\r\n")
    assert b"X-Key: k\r\n" in as_text
    assert as_text.count(b"User-Agent") == 1
    assert b"User-Agent: mine\r\n" in as_text
    assert b"Authorization: Basic b3BzOnDDpHNzd29yZA==\r\n" in basic
    assert b"Authorization: Bearer t0ken\r\n" in bearer


async def test_a_certificate_is_there_to_be_looked_at(
    serve: Serve, context: MakeContext, http_answer: Answer, authority: Any
) -> None:
    server = await serve(http_answer(), tls=authority.server(days=30))
    sample = await check(f"https://{server.origin}/", context(), ca="ca.pem")
    assert sample.status is Status.OK
    certificate = sample.values["certificate"]
    assert (certificate["subject"], certificate["issuer"]) == ("CN=localhost", "O=Example CA, CN=Example Root")
    assert certificate["protocol"] == "TLSv1.3"
    assert isinstance(certificate["days_left"], float)


# --- through httpx -------------------------------------------------------------------------------------------------


async def test_a_redirect_is_the_answer_unless_it_is_to_be_followed(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    server = await serve([http_answer(status=302, headers="Location: /there"), http_answer("done")])
    sample = await check(f"http://{server.origin}/here", context())
    assert sample.values["status"] == 302
    server.requests.clear()
    sample = await check(f"http://{server.origin}/here", context(), redirects=1)
    assert (sample.values["status"], sample.values["body"]) == (200, "done")
    assert sample.values["url"] == f"http://{server.origin}/there"
    assert sample.latency is not None
    assert sum(sample.phases.values()) <= sample.latency
    await server.until_open(0)


async def test_a_redirect_too_many_is_down(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    server = await serve(http_answer(status=302, headers="Location: /again"))
    sample = await check(f"http://{server.origin}/", context(), redirects=3)
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.STATUS)
    assert "still redirecting after 3" in sample.detail
    assert len(server.requests) == 4


async def test_what_the_author_wrote_for_one_origin_is_not_told_to_another(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    stranger = await serve(http_answer("hello"))
    home = await serve(
        [
            http_answer(status=307, headers="Location: /inside\r\nSet-Cookie: session=s3cret"),
            http_answer(status=307, headers=f"Location: http://{stranger.origin}/"),
        ]
    )
    sample = await check(
        f"http://{home.origin}/",
        context(),
        redirects=5,
        auth={"bearer": "s3cret"},
        headers={"X-Api-Key": "s3cret", "User-Agent": "s3cret"},
    )
    assert sample.values["body"] == "hello"
    inside, outside = home.requests[1], stranger.requests[0]
    assert b"Authorization: Bearer s3cret" in inside
    assert b"X-Api-Key: s3cret" in inside
    assert b"s3cret" not in outside
    assert b"opsdash/" in outside


async def test_no_cookie_survives_a_check(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    server = await serve(http_answer(headers="Set-Cookie: a=b; Path=/"))
    for _ in range(2):
        await check(f"http://{server.origin}/", context(), redirects=1)
    assert not any(b"ookie" in request for request in server.requests)


async def test_digest_answers_the_challenge(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'
    server = await serve([http_answer(status=401, headers=challenge), http_answer("in")])
    sample = await check(f"http://{server.origin}/", context(), auth={"digest": {"user": "ops", "password": "s3cret"}})
    assert (sample.status, sample.values["body"]) == (Status.OK, "in")
    assert b'Authorization: Digest username="ops"' in server.requests[1]
    assert b"s3cret" not in server.requests[1]


@pytest.mark.parametrize(
    "location", ["ftp://example/", "http://[::1", "javascript:alert(1)", "http://\x9b/", "http://a:99999999/"]
)
async def test_a_redirect_to_nowhere_is_a_fault_of_the_server(
    serve: Serve, context: MakeContext, http_answer: Answer, location: str
) -> None:
    server = await serve(http_answer(status=302, headers=f"Location: {location}"))
    sample = await check(f"http://{server.origin}/", context(), redirects=1)
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.PROTOCOL)


async def test_through_httpx_the_native_error_decides_too(
    serve: Serve, context: MakeContext, http_answer: Answer, authority: Any
) -> None:
    assert (await check("http://127.0.0.1:1/", context(), redirects=1)).reason is Reason.REFUSED
    server = await serve(http_answer(), tls=authority.server())
    assert (await check(f"https://{server.origin}/", context(), redirects=1)).reason is Reason.TLS

    async def hang_up(_: Any, reader: StreamReader, __: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    server = await serve(hang_up)
    assert (await check(f"http://{server.origin}/", context(), redirects=1)).reason is Reason.PROTOCOL


def test_httpx_is_not_imported_by_those_who_do_not_need_it() -> None:
    program = "import sys, opsdash.kinds.checks.http; sys.exit('httpx' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


# --- keys ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"url": "example"}, "must begin with http"),
        ({"metod": "GET"}, "Extra inputs"),
        ({"method": "get"}, "GET"),
        ({"body": "a", "form": {}}, "at most one"),
        ({"headers": {"X\r\n": "a"}}, "name of a header"),
        ({"auth": {}}, "exactly one"),
        ({"auth": {"bearer": "a", "basic": {"user": "a", "password": "b"}}}, "exactly one"),
        ({"auth": {"bearer": "a"}, "headers": {"authorization": "b"}}, "one of them"),
        ({"client_key": "key.pem"}, "without `client_cert`"),
        ({"redirects": 21}, "less than or equal to 20"),
        ({"max_body": "lots"}, "no size"),
    ],
)
def test_keys_that_make_no_sense_are_refused_with_the_reason(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        http.Options.model_validate({"url": "https://example/", **keys})


def test_options_do_not_show_credentials() -> None:
    options = http.Options.model_validate(
        {
            "url": "https://example/",
            "auth": {"basic": {"user": "ops", "password": "s3cret"}},
            "headers": {"X-Key": "s3cret"},
            "json": {"key": "s3cret"},
        }
    )
    assert "s3cret" not in repr(options)
