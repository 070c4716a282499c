"""Redaction of secrets in external text: every encoding, in linear time."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from fleet.redaction import LONGEST_SECRET, after_cut, redact

SECRET = "p@ss w%61rd+ü/€"


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        quote(SECRET, safe="").lower(),
        "".join(f"%{byte:02x}" for byte in SECRET.encode()),
        SECRET.replace("@", "%40"),
    ],
)
def test_a_secret_is_hidden_in_every_form(shown: str):
    assert redact(f"é%41{shown}%zz%4", [SECRET]) == "é%41***%zz%4"


@pytest.mark.parametrize("text", ["", "%", "a+b%20c", "é\udcff%ff", "100%"])
def test_other_text_is_unchanged(text: str):
    assert redact(text, [SECRET]) == text


def test_adjacent_and_nested_secrets_are_hidden():
    assert redact("abab xabcx", ["ab", "abc"]) == "****** x***cx"


def test_lone_surrogates_are_handled():
    assert redact("\udcffab", ["ab"]) == "\udcff***"


@pytest.mark.parametrize("form", [str, quote], ids=["plain", "escaped"])
def test_redaction_of_near_matches_takes_linear_time(form: Callable[[str], str]):
    """A pattern with alternatives for each character would take exponential time."""
    text = (form("@" * 199) + " ") * 5_000
    assert redact(text, ["@" * 199 + "!"]) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("cret a\nb c", "b c"),
        ("cret a b", "a b"),
        ("\nb", "b"),
        ("cret" * LONGEST_SECRET, "cret" * (LONGEST_SECRET - LONGEST_SECRET // 4)),
        ("", ""),
    ],
)
def test_a_text_that_was_cut_off_begins_with_the_next_line_or_word(text: str, kept: str):
    assert after_cut(text) == kept
