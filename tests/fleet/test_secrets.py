"""Sealing: what goes in comes out, with rotated keys too, and nothing leaks."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from fleet.secrets import Seal, SealBroken

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@given(st.dictionaries(st.text(), st.text()))
def test_what_is_sealed_can_be_opened(secrets: dict[str, str]):
    seal = Seal([OLD])
    assert seal.open(seal.close(secrets)) == secrets


def test_a_rotated_key_still_opens():
    sealed = Seal([OLD]).close({"uri": "x"})
    assert Seal([NEW, OLD]).open(sealed) == {"uri": "x"}


def test_an_unknown_key_is_reported_without_the_text():
    sealed = Seal([OLD]).close({"uri": "x"})
    with pytest.raises(SealBroken, match="FLEET_SEALING_KEY") as broken:
        Seal([NEW]).open(sealed)
    assert sealed not in str(broken.value)


def test_an_invalid_key_is_reported_without_the_key():
    with pytest.raises(SealBroken) as broken:
        Seal(["not-a-key"])
    assert "not-a-key" not in str(broken.value)


def test_a_fingerprint_survives_a_rotation():
    assert Seal([OLD]).fingerprints({"a": 1})[0] in Seal([NEW, OLD]).fingerprints({"a": 1})


def test_a_fingerprint_ignores_the_order_of_members():
    assert Seal([OLD]).fingerprints({"a": 1, "b": 2}) == Seal([OLD]).fingerprints({"b": 2, "a": 1})


def test_other_documents_have_other_fingerprints():
    assert Seal([OLD]).fingerprints({"a": 1}) != Seal([OLD]).fingerprints({"a": 2})
