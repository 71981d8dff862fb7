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
from opsdash.kinds.registry import action_kind_names, check_kind_names, injection_kind_names
from tests.config.test_drills import SMALL as SMALL_DRILLS
from tests.config.test_drills import SOUND as SOUND_DRILL
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
    schema = json.loads(json.dumps(json_schema("drill")))
    for model in ("FaultModel", "UndoModel"):
        assert tuple(schema["$defs"][model]["properties"]) == injection_kind_names()


def test_every_key_is_documented() -> None:
    which: Any
    for which in ("component", "workspace", "drill"):
        schema = json_schema(which)
        for name, definition in {**schema["$defs"], which: schema}.items():
            if "." in name or name in {"FaultModel", "UndoModel"}:
                continue  # kinds document their own keys, and are tested where they are
            for key, value in definition.get("properties", {}).items():
                assert value.get("description"), f"{name}.{key}"


def test_it_accepts_what_the_loader_accepts() -> None:
    assert errors("component", SOUND) == []
    assert errors("workspace", STARTER["opsdash.yaml"]) == []
    for name, text in STARTER.items():
        if name.startswith("checks/"):
            assert errors("component", text) == [], name
    for drill in (SOUND_DRILL, *SMALL_DRILLS):
        assert errors("drill", drill) == [], drill


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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("level: contained", "level: high"),
        ("level: contained\n", ""),
        ("owner: maria\n", ""),
        ("limit: 15m", "limit: 15"),
        ("limit: 15m", "limitt: 15m"),
        ("inject:\n  command", "inject:\n  comand"),
        ("argv: [unplug", "args: [unplug"),
        ("times: 50, ", ""),
        ("alarm: true", "alarm: perhaps"),
        ("approvals: 1", "approvals: 3"),
    ],
)
def test_it_refuses_of_a_drill_what_the_loader_refuses(old: str, new: str) -> None:
    text = f"{SOUND_DRILL}approvals: 1\n"
    assert old in text
    assert errors("drill", text) == []
    assert errors("drill", text.replace(old, new))


def test_an_option_of_any_type_may_be_a_template_or_reference() -> None:
    assert (
        errors("component", 'each: {a: {kind: tcp, host: h, port: "{port}"}, b: {kind: tcp, host: h, port: "${P:-1}"}}')
        == []
    )
