"""Check kind `contract`: answers that changed their shape."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.base import CheckContext, Sample
from opsdash.kinds.checks import contract
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from pathlib import Path

Serve = Callable[..., Awaitable[Any]]
MakeContext = Callable[..., CheckContext]
Answer = Callable[..., bytes]

SCHEMA = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {"type": "array", "items": {"$ref": "#/$defs/order"}},
    },
    "$defs": {
        "order": {
            "type": "object",
            "required": ["id", "total"],
            "properties": {"id": {"type": "string"}, "total": {"type": "number"}},
        }
    },
}


async def check(server: Any, context: CheckContext, schema: Any = SCHEMA, **keys: Any) -> Sample:
    options = {"url": f"http://{server.origin}/", "schema": schema, **keys}
    return await contract.run(contract.Options.model_validate(options), context)


async def test_an_answer_that_fits_is_ok_even_with_more_than_the_schema_knows(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    server = await serve(http_answer('{"data": [{"id": "a", "total": 1.5, "new": true}], "page": 1}'))
    sample = await check(server, context())
    assert (sample.status, sample.reason, sample.values["violations"]) == (Status.OK, None, [])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"data": [{"id": "a", "total": "1.5"}]}', 'json.data[0].total: "1.5" is not of type "number"'),
        ('{"data": [{"id": "a"}]}', 'json.data[0]: "total" is a required property'),
        ('{"data": null}', 'json.data: null is not of type "array"'),
        ("[]", 'json: [] is not of type "object"'),
    ],
)
async def test_a_changed_shape_is_down_and_named_by_its_path(
    serve: Serve, context: MakeContext, http_answer: Answer, body: str, words: str
) -> None:
    server = await serve(http_answer(body))
    sample = await check(server, context())
    assert (sample.status, sample.reason, sample.detail) == (Status.DOWN, Reason.SCHEMA_CHANGED, words)


async def test_of_many_violations_the_first_are_told_and_the_others_counted(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    rows = [{"id": "x" * 10_000, "total": "y"}] * 50
    server = await serve(http_answer(json.dumps({"data": rows})))
    sample = await check(server, context())
    assert sample.detail.endswith("; and 45 more")
    assert len(sample.detail) < 1000
    server = await serve(http_answer(json.dumps({"data": [{}] * 5000})))
    assert (await check(server, context())).detail.endswith("; and at least 95 more")


@pytest.mark.parametrize(
    ("body", "reason"),
    [("", Reason.EMPTY), ("  \n", Reason.EMPTY), ("<html>", Reason.GARBAGE), ('{"data": [NaN]}', Reason.GARBAGE)],
)
async def test_what_is_no_json_is_garbage_and_nothing_is_empty(
    serve: Serve, context: MakeContext, http_answer: Answer, body: str, reason: Reason
) -> None:
    server = await serve(http_answer(body))
    sample = await check(server, context())
    assert (sample.status, sample.reason) == (Status.DOWN, reason)


async def test_a_status_that_fails_comes_first(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    server = await serve(http_answer("<html>", status=503))
    assert (await check(server, context())).reason is Reason.STATUS


async def test_an_answer_too_long_to_be_read_whole_is_not_judged(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    server = await serve(http_answer('{"data": []' + " " * 2000 + "}"))
    sample = await check(server, context(), max_body="1KiB")
    assert (sample.status, sample.reason) == (Status.UNKNOWN, Reason.TOO_LARGE)


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ("Deprecation: @1688169599", "deprecated since 2023-06-30"),
        ("Deprecation: true", "deprecated"),
        (
            "Deprecation: Fri, 30 Jun 2023 23:59:59 GMT\r\nSunset: Sat, 31 Dec 2033 23:59:59 GMT",
            "deprecated since 2023-06-30, to be switched off on 2033-12-31",
        ),
        ("Sunset: Sat, 31 Dec 2033 23:59:59 GMT", "to be switched off on 2033-12-31"),
    ],
)
async def test_an_announced_end_is_degraded_with_its_dates(
    serve: Serve, context: MakeContext, http_answer: Answer, headers: str, detail: str
) -> None:
    server = await serve(http_answer('{"data": []}', headers=headers))
    sample = await check(server, context())
    assert (sample.status, sample.reason, sample.detail) == (Status.DEGRADED, Reason.WARNING, detail)
    assert (await check(server, context(), warn_deprecation=False)).status is Status.OK


@pytest.mark.parametrize("headers", ["Deprecation: false", "Deprecation: @9999999999999999", "Sunset: someday", "X: y"])
async def test_headers_that_announce_nothing_are_ignored(
    serve: Serve, context: MakeContext, http_answer: Answer, headers: str
) -> None:
    server = await serve(http_answer('{"data": []}', headers=headers))
    assert (await check(server, context())).status is (Status.DEGRADED if "@" in headers else Status.OK)


async def test_a_schema_in_a_file_is_read_again_when_it_changes(
    serve: Serve, context: MakeContext, http_answer: Answer, tmp_path: Path
) -> None:
    server = await serve(http_answer('{"data": []}'))
    file = tmp_path / "orders.json"
    options = contract.Options.model_validate({"url": f"http://{server.origin}/", "schema": "orders.json"})

    missing = await contract.run(options, context())
    assert (missing.status, missing.reason) == (Status.UNKNOWN, Reason.CONFIG)
    file.write_text(json.dumps(SCHEMA))
    assert (await contract.run(options, context())).status is Status.OK
    file.write_text('{"type": "array"}')
    os.utime(file, ns=(1, 1))
    assert (await contract.run(options, context())).reason is Reason.SCHEMA_CHANGED
    file.write_text("{")
    os.utime(file, ns=(2, 2))
    broken = await contract.run(options, context())
    assert (broken.status, broken.reason) == (Status.UNKNOWN, Reason.CONFIG)
    assert str(file) in broken.detail


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "objct"}, "at properties/type|is not valid|objct"),
        ({"$ref": "http://127.0.0.1:1/schema.json"}, "outside the schema"),
        ({"$ref": "file:///etc/passwd"}, "outside the schema"),
        ({"$ref": "#/$defs/none"}, "does not exist"),
        ({"pattern": "(?=a)"}, "regex"),
    ],
)
def test_a_schema_that_is_none_or_leads_outside_is_refused_at_load(schema: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        contract.Options.model_validate({"url": "https://example/", "schema": schema})
