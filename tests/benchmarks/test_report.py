"""What the benchmarks say in the README, and how they read a terminal."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from benchmarks.measure import BenchmarkError, percentile
from benchmarks.report import with_figures
from benchmarks.targets import Targets
from benchmarks.terminal import Terminal

README = "# opsdash\n\n## Measured\n\n<!-- figures: written by `make bench` -->\n\n## More\n\nlinks\n"


def saved(measured: str, *, met: bool) -> list[dict[str, Any]]:
    bar = {"what": "a key is painted", "bar": "within 50 ms", "measured": measured, "met": met}
    return [
        {"part": "board", "date": "2026-01-02T03:04:05", "machine": {"python": "3.11.7", "cores": 2}, "bars": [bar]}
    ]


def test_the_figures_stand_in_the_readme_and_everything_around_them_stays() -> None:
    text = with_figures(README, saved("12 ms", met=True))

    assert "| a key is painted | within 50 ms | 12 ms |" in text
    assert text.startswith("# opsdash\n\n## Measured\n\n<!-- figures: written by `make bench` -->\n")
    assert text.endswith("\n\n## More\n\nlinks\n")


def test_figures_written_again_replace_those_before() -> None:
    first = with_figures(README, saved("12 ms", met=True))

    again = with_figures(first, saved("70 ms", met=False))

    assert "12 ms" not in again
    assert "✗ 70 ms" in again
    assert with_figures(again, saved("12 ms", met=True)) == first


def test_a_readme_without_a_place_for_figures_is_left_alone() -> None:
    with pytest.raises(ValueError, match="no line `<!-- figures"):
        with_figures("# opsdash\n", saved("12 ms", met=True))


def test_a_percentile_is_a_value_that_occurred() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(number) for number in range(100)], 0.99) == 99.0


def test_a_terminal_reads_text_without_escape_sequences_even_when_they_come_in_pieces() -> None:
    program = (
        "import os\n"
        "for piece in (b'\\x1b[1;3', b'1mWeb ', b'00\\x1b', b'[0m07\\x1b]0;title\\x07 \\xe2\\x96', b'\\xb8 end'):\n"
        "    os.write(1, piece)\n"
        "input()\n"
    )
    with Terminal([sys.executable, "-c", program], {}) as terminal:
        found, at = terminal.wait_for("Web 0007 ▸ end", 0, 10)

        assert found.start() == 0
        assert at >= terminal.began


def test_a_terminal_whose_program_has_ended_is_not_waited_for() -> None:
    with Terminal([sys.executable, "-c", "print('all there is')"], {}) as terminal:
        terminal.wait_for("all there is", 0, 10)

        with pytest.raises(BenchmarkError, match="the screen ends with"):
            terminal.wait_for("more", 0, 60)


def test_targets_count_who_asked_and_say_when_one_failed_first() -> None:
    import http.client

    def ask(port: int, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    with Targets(2) as targets:
        assert [ask(port, "/a") for port in targets.ports] == [200, 200]
        targets.set("fail", [1])
        assert [ask(port, "/b") for port in targets.ports] == [200, 503]

        assert targets.hits() == {"/a": 2, "/b": 2}
        assert list(targets.failed()) == [1]
        targets.set("ok", [1])
        assert targets.failed() == {}
