"""Replacing one value in somebody else's file, and not a byte more."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.kinds.edits import (
    edit_env,
    edit_json,
    edit_text,
    read_env,
    read_json,
    read_text,
    remove_json,
    with_object,
)

DOCUMENT = """{
    "comment": "caf\\u00e9",   "weight": 1.50,
    "mail" : { "provider":"postmark", "retries": 3, "on": true },
    "list": [1,
        2]
}
"""


def test_only_the_value_changes_in_a_json_document() -> None:
    edited = edit_json(DOCUMENT, ["mail", "provider"], "ses")
    assert edited == DOCUMENT.replace('"postmark"', '"ses"')
    assert read_json(edited, ["mail", "provider"]) == "ses"


def test_a_number_and_a_boolean_keep_their_type_so_that_they_can_be_put_back() -> None:
    assert read_json(DOCUMENT, ["mail", "retries"]) == "3"
    edited = edit_json(DOCUMENT, ["mail", "retries"], "5")
    assert edited == DOCUMENT.replace('"retries": 3', '"retries": 5')
    assert edit_json(edited, ["mail", "retries"], "3") == DOCUMENT
    off = edit_json(DOCUMENT, ["mail", "on"], "false")
    assert json.loads(off)["mail"]["on"] is False
    assert edit_json(off, ["mail", "on"], read_json(DOCUMENT, ["mail", "on"]) or "") == DOCUMENT
    assert json.loads(edit_json(DOCUMENT, ["mail", "provider"], 5))["mail"]["provider"] == "5"
    for key, value in (("retries", "many"), ("retries", "true"), ("on", "1"), ("on", "yes")):
        with pytest.raises(ValueError, match=rf"has a (number|boolean) under mail\.{key}"):
            edit_json(DOCUMENT, ["mail", key], value)


def test_a_new_key_stands_behind_the_last_one_and_like_the_others() -> None:
    assert edit_json('{\n  "a": 1\n}\n', ["b"], "x") == '{\n  "a": 1,\n  "b": "x"\n}\n'
    assert edit_json('{"a":1}', ["b"], "x") == '{"a":1, "b": "x"}'
    assert edit_json("{ }", ["b"], "x") == '{"b": "x"}'
    assert json.loads(edit_json(DOCUMENT, ["mail", "by"], "x"))["mail"]["by"] == "x"
    assert json.loads(edit_json("", ["a", "b"], "x")) == {"a": {"b": "x"}}


def test_a_key_goes_with_its_comma_and_what_was_added_leaves_no_trace() -> None:
    for path in (["weight"], ["mail", "provider"], ["mail", "on"], ["list"]):
        document = json.loads(remove_json(DOCUMENT, path))
        parent = document["mail"] if len(path) > 1 else document
        assert path[-1] not in parent
        assert len(parent) == (2 if len(path) > 1 else 3)
    for content in (DOCUMENT, "{}", '{"a":1}'):
        assert remove_json(edit_json(content, ["new"], "x"), ["new"]) == content
        assert remove_json(content, ["new"]) == content
    assert remove_json('{ "a": {\n  "b": 1\n} }', ["a", "b"]) == '{ "a": {} }'


def test_an_object_is_made_where_there_is_none() -> None:
    assert with_object('{"a": 1}', "notes") == '{"a": 1, "notes": {}}'
    assert with_object('{"notes": {"b": 2}}', "notes") == '{"notes": {"b": 2}}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no JSON"),
        ("<html>", "is no JSON"),
        ('{"a": NaN}', "is no JSON"),
        ("[" * 5000, "is no JSON"),
        ("\ufeff{}", "byte order mark"),
        ("[1]", "no object at its top"),
        ('"text"', "no object at its top"),
        ('{"a": 1, "a": 2}', "2 times"),
        ('{"a": {"b": 1}}', r"has no single value|has a value under a that is an object"),
        ('{"a": [1]}', r"has no single value|has a value under a that is a list"),
    ],
)
def test_json_that_cannot_be_understood_is_neither_read_nor_written(content: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_json(content, ["a"])
    with pytest.raises(ValueError, match=words):
        edit_json(content, ["a"], "x")


def test_a_missing_parent_is_named() -> None:
    with pytest.raises(ValueError, match=r"has no object under mail\.routes"):
        edit_json(DOCUMENT, ["mail", "routes", "first"], "x")


def test_null_and_an_empty_text_name_nothing() -> None:
    assert read_json('{"a": null}', ["a"]) is None
    assert read_json('{"a": ""}', ["a"]) is None
    assert read_json('{"b": 1}', ["a"]) is None
    assert edit_json('{"a": null}', ["a"], "x") == '{"a": "x"}'


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(st.text(), _json), st.text(), st.text(min_size=1), st.sampled_from([None, 2, "\t"]), st.booleans()
)
def test_an_edited_document_differs_in_that_key_alone(
    document: dict[str, object], key: str, value: str, indent: int | str | None, ascii_only: bool
) -> None:
    document.pop(key, None)
    document = {"before": 1, **document, key: "old"}
    content = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    wanted = value.strip() or "x"
    assert json.loads(edit_json(content, [key], wanted)) == {**document, key: wanted}
    assert list(json.loads(edit_json(content, [key], wanted))) == list(document)


@given(st.text())
def test_no_text_breaks_the_json_reader_otherwise_than_by_a_sentence(content: str) -> None:
    try:
        read_json(content, ["a"])
    except ValueError as error:
        assert str(error)  # noqa: PT017 - any sentence will do


ENV = """# who sends our mail
export MAILER=postmark   # see the runbook
REGION='eu west'
GREETING="say \\"hi\\" for \\$5"
EMPTY=

MAILER_KEY=a=b
"""


def test_values_of_an_env_file_are_read_without_their_quotes() -> None:
    found = {name: read_env(ENV, name) for name in ("MAILER", "REGION", "GREETING", "EMPTY", "MAILER_KEY", "NONE")}
    assert found == {
        "MAILER": "postmark",
        "REGION": "eu west",
        "GREETING": 'say "hi" for $5',
        "EMPTY": None,
        "MAILER_KEY": "a=b",
        "NONE": None,
    }


def test_only_the_value_changes_in_an_env_file() -> None:
    assert edit_env(ENV, "MAILER", "ses") == ENV.replace("postmark", "ses")
    assert edit_env(ENV, "REGION", "us east") == ENV.replace("eu west", "us east")
    assert edit_env(ENV, "REGION", "it's") == ENV.replace("'eu west'", '"it\'s"')
    assert edit_env(ENV, "EMPTY", "two words") == ENV.replace("EMPTY=", "EMPTY='two words'")
    assert edit_env(ENV, "NEW", "x") == ENV + "NEW=x\n"
    assert edit_env("A=1", "B", "2") == "A=1\nB=2\n"
    assert edit_env("A=1\r\nB=2\r\n", "A", "3") == "A=3\r\nB=2\r\n"


def test_of_two_lines_the_last_one_counts() -> None:
    assert read_env("A=1\nA=2\n", "A") == "2"
    assert edit_env("A=1\nA=2\n", "A", "3") == "A=1\nA=3\n"


@pytest.mark.parametrize(
    "content", ["if true; then\n", "A='open\nB=1'\n", 'A="open\n', "A='x'y\n", "A=it's\n", "{}\n", "A b=1\n"]
)
def test_an_env_file_with_a_line_that_is_none_is_left_alone(content: str) -> None:
    with pytest.raises(ValueError, match="has a line 1"):
        read_env(content, "B")
    with pytest.raises(ValueError, match="has a line 1"):
        edit_env(content, "B", "x")


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).map(str.strip).filter(bool),
    st.sampled_from(["A=old", "A='old'", 'A="old"', "A=", "export A = old # why"]),
)
def test_whatever_is_written_to_an_env_file_is_read_back(value: str, line: str) -> None:
    assert read_env(edit_env(f"B=1\n{line}\nC=3\n", "A", value), "A") == value


def test_a_text_is_its_only_line() -> None:
    assert read_text("postmark\n") == "postmark"
    assert read_text("\n") is None
    assert edit_text("postmark", "ses") == "ses"
    assert edit_text("postmark\r\n", "ses") == "ses\r\n"
    assert edit_text("", "ses") == "ses\n"
    with pytest.raises(ValueError, match="holds 2 lines"):
        edit_text("a\nb\n", "ses")
    with pytest.raises(ValueError, match="control characters"):
        read_text("a\x1b[2Jb")
