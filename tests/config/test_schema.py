"""The JSON Schema for editors agrees with what the loader accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from opsdash.config.jsonschema import json_schema
from opsdash.config.starter import STARTER
from opsdash.config.yaml import read
from opsdash.kinds.registry import action_kind_names, check_kind_names
from tests.config.test_problems import SOUND

EXAMPLE = Path(__file__).parents[2]


def errors(which: Any, text: str) -> list[str]:
    validator = jsonschema_rs.validator_for(json_schema(which))
    return [error.message for error in validator.iter_errors(read(text.encode()).value)]


def test_it_is_json_and_knows_every_kind() -> None:
    schema = json.loads(json.dumps(json_schema("component")))
    checks = schema["$defs"]["CheckModel"]["properties"]["kind"]["enum"]
    assert tuple(checks) == check_kind_names()
    assert tuple(schema["$defs"]["ActionModel"]["properties"]["kind"]["enum"]) == action_kind_names()


def test_every_key_is_documented() -> None:
    for which, schema in (("component", json_schema("component")), ("workspace", json_schema("workspace"))):
        for name, definition in {**schema["$defs"], which: schema}.items():
            if "." in name:
                continue  # kinds document their own keys, and are tested where they are
            for key, value in definition.get("properties", {}).items():
                assert value.get("description"), f"{name}.{key}"


def test_it_accepts_what_the_loader_accepts() -> None:
    assert errors("component", SOUND) == []
    assert errors("workspace", STARTER["opsdash.yaml"]) == []
    for name, text in STARTER.items():
        if name.startswith("checks/"):
            assert errors("component", text) == [], name


def test_it_accepts_the_example_operation() -> None:
    assert errors("workspace", (EXAMPLE / "opsdash.yaml").read_text()) == []
    for path in (EXAMPLE / "checks").glob("*.yaml"):
        assert errors("component", path.read_text()) == [], path.name


@pytest.mark.parametrize(
    "text",
    [
        "nonsense: 1",
        "checks: {a: {kind: htp}}",
        "checks: {a: {kind: http}}",
        'checks: {a: {kind: http, url: "http://x/", urll: x}}',
        "checks: {a: {kind: tcp, host: h, port: x}}",
        "checks: {a: {kind: tcp, host: h, port: 1, every: 15}}",
        "switch: {}",
        "switch: {action: {kind: ponter}}",
        "switch: {action: {kind: pointer, file: f, value: v}, auto: sometimes}",
        "failures: {a: {detected_by: {any: [x]}}}",
        "failures: {a: {response: {degrade: 5}}}",
        "tier: high",
    ],
)
def test_it_refuses_what_the_loader_refuses(text: str) -> None:
    assert errors("component", text)


def test_an_option_of_any_type_may_be_a_template_or_reference() -> None:
    assert (
        errors("component", 'each: {a: {kind: tcp, host: h, port: "{port}"}, b: {kind: tcp, host: h, port: "${P:-1}"}}')
        == []
    )
