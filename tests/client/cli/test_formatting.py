"""Formatting for terminals: numbers, durations, and escaped control characters."""

from __future__ import annotations

from datetime import timedelta

import pytest
from powerlift_fleet.cli.formatting import bar_cells, clean, clean_lines, money, span

from tests.money import MONEY


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("[red]markup[/red]", "[red]markup[/red]"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\r\n\tb", "a b"),
        ("\x9b31m", "\\x9b31m"),
        ("half \ud800", "half \\ud800"),
        ("שלום 你好", "שלום 你好"),
    ],
)
def test_control_characters_are_escaped(hostile: str, shown: str):
    assert clean(hostile) == shown


def test_a_long_text_is_truncated():
    assert clean("x" * 4096, 10) == "xxxxxxxxx…"


def test_colours_are_removed_from_a_log_and_lines_are_kept():
    log = "\x1b[0;32m  OK  \x1b[0m up\r\n10%\r20%\n\x1b]0;title\x07"
    assert clean_lines(log) == "  OK   up\n10%\n20%\n\\x1b]0;title\\x07"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min"), (7800, "2 h 10 min"), (7200, "2 h"), (90000, "1 d 1 h")],
)
def test_a_duration_shows_its_two_largest_units(seconds: float, words: str):
    assert (span(seconds), span(timedelta(seconds=seconds).total_seconds())) == (words, words)


def test_amounts_are_rounded_as_on_the_page():
    assert {amount: money(amount, "USD") for amount in MONEY} == MONEY


def test_a_bar_is_full_only_at_the_total():
    drawn = "".join(text for _, text in bar_cells({"complete": 999}, 1000, 20))
    assert (len(drawn), drawn[-1]) == (20, "░")


def test_segments_of_a_bar_differ_without_colour():
    drawn = bar_cells({"complete": 5, "failed": 5}, 20, 8, plain=True)
    assert "".join(text for _, text in drawn) == "##!!...."
