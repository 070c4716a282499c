"""Secrets in text of others: found in every form, and fast in every text."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from fleet.redaction import redact

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
def test_other_text_stays_as_it_is(text: str):
    assert redact(text, [SECRET]) == text


def test_secrets_side_by_side_and_one_within_another_are_hidden():
    assert redact("abab xabcx", ["ab", "abc"]) == "****** x***cx"


def test_half_surrogates_do_not_break_it():
    assert redact("\udcffab", ["ab"]) == "\udcff***"


@pytest.mark.parametrize("form", [str, quote], ids=["plain", "escaped"])
def test_redaction_of_near_matches_does_not_freeze_a_worker(form: Callable[[str], str]):
    """A pattern with alternatives for each character would take longer than the universe has lasted."""
    text = (form("@" * 199) + " ") * 5_000
    assert redact(text, ["@" * 199 + "!"]) == text
