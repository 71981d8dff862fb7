"""What one person likes otherwise, in a file of that person's."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsdash.board.preferences import Preferences, load_preferences, preferences_file
from opsdash.errors import ConfigError


def test_without_a_file_everything_is_as_it_comes(tmp_path: Path) -> None:
    assert load_preferences(tmp_path / "board.json") == Preferences()


def test_theme_mouse_and_keys_are_taken_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "board.json"
    file.write_text('{"theme": "nord", "mouse": false, "desktop": false, "keys": {"failover": "ctrl+o"}}')
    assert load_preferences(file) == Preferences("nord", mouse=False, keys={"failover": "ctrl+o"}, desktop=False)


def test_it_lies_where_configuration_belongs() -> None:
    assert preferences_file({"XDG_CONFIG_HOME": "/etc/me"}) == Path("/etc/me/opsdash/board.json")
    assert preferences_file({"HOME": "/home/ana"}) == Path("/home/ana/.config/opsdash/board.json")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "this is no JSON"),
        ("[]", "expected an object"),
        ('{"them": "nord"}', 'did you mean "theme"'),
        ('{"theme": 1}', "theme: expected a name"),
        ('{"mouse": "off"}', "mouse: expected true or false"),
        ('{"desktop": "no"}', "desktop: expected true or false"),
        ('{"keys": {"failovr": "o"}}', "did you mean failover"),
        ('{"keys": {"confirm": "enter"}}', "Enter never confirms"),
        ('{"keys": ["o"]}', "expected actions and keys"),
    ],
)
def test_a_mistake_is_named_with_the_file_and_what_is_right(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "board.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        load_preferences(file)
    assert str(file) in str(caught.value)
