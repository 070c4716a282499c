"""Sealing: round trips, key rotation, and errors without secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from fleet.api.request import parse
from fleet.secrets import OtherFleetsSecrets, Seal, SealBroken
from triggers import submission

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
FLEET = ("production", 2**53 + 1)


@given(st.dictionaries(st.text(), st.text()))
def test_encrypted_secrets_can_be_decrypted(secrets: dict[str, str]):
    seal = Seal([OLD])
    assert seal.decrypt(seal.encrypt(secrets, *FLEET), *FLEET) == secrets


def test_a_rotated_key_still_decrypts():
    sealed = Seal([OLD]).encrypt({"uri": "x"}, *FLEET)
    assert Seal([NEW, OLD]).decrypt(sealed, *FLEET) == {"uri": "x"}


@pytest.mark.parametrize("other", [("production", 2**53), ("staging", FLEET[1]), ("", FLEET[1])])
def test_secrets_of_one_fleet_cannot_be_used_in_another_fleets_order(other: tuple[str, int]):
    seal = Seal([OLD])
    with pytest.raises(OtherFleetsSecrets, match="belong to another fleet"):
        seal.decrypt(seal.encrypt({"uri": "x"}, *FLEET), *other)


def test_secrets_without_a_fleet_are_rejected():
    """Secrets that an earlier build encrypted would be valid in any order."""
    sealed = Fernet(OLD).encrypt(json.dumps({"uri": "x"}).encode()).decode()
    with pytest.raises(OtherFleetsSecrets, match="earlier build"):
        Seal([OLD]).decrypt(sealed, *FLEET)


def test_another_fleets_secrets_are_reported_without_them():
    seal = Seal([OLD])
    with pytest.raises(SealBroken) as broken:
        seal.decrypt(seal.encrypt({"uri": "hidden"}, *FLEET), "staging", 1)
    assert "hidden" not in str(broken.value)
    assert (broken.value.failure["code"], broken.value.failure["action"]) == (
        "SealBroken",
        "fail_fleet",
    )


def test_an_unknown_key_is_reported_without_the_text():
    sealed = Seal([OLD]).encrypt({"uri": "x"}, *FLEET)
    with pytest.raises(SealBroken, match="FLEET_SEALING_KEY") as broken:
        Seal([NEW]).decrypt(sealed, *FLEET)
    assert sealed not in str(broken.value)


def test_an_invalid_key_is_reported_without_the_key():
    with pytest.raises(SealBroken) as broken:
        Seal(["not-a-key"])
    assert "not-a-key" not in str(broken.value)


def test_a_fingerprint_survives_a_rotation():
    assert Seal([OLD]).fingerprints({"a": 1})[0] in Seal([NEW, OLD]).fingerprints({"a": 1})


def test_a_fingerprint_ignores_the_order_of_members():
    assert Seal([OLD]).fingerprints({"a": 1, "b": 2}) == Seal([OLD]).fingerprints({"b": 2, "a": 1})


def test_different_documents_have_different_fingerprints():
    assert Seal([OLD]).fingerprints({"a": 1}) != Seal([OLD]).fingerprints({"a": 2})


@pytest.mark.parametrize(
    ("name", "value", "default"),
    [
        ("max_cost", 5, None),
        ("trial_order", "paired", "fifo"),
        ("trial_seed", 0, None),
        ("cpu_models", ["EPYC"], []),
    ],
)
def test_a_field_added_later_changes_a_fingerprint_only_if_it_is_set(
    name: str, value: Any, default: Any
):
    """A request that is repeated after an upgrade must be the same request."""
    request = {"experiment_id": 1, "n_instances": 2}
    plain, same, other = (
        submission._plain(parse({**request, **one})) for one in ({}, {name: default}, {name: value})
    )
    assert (name in plain, name in same, other[name]) == (False, False, value)


@pytest.mark.parametrize("signature", [None, "", "nonsense", "é"])
def test_a_document_without_a_valid_signature(signature: str | None):
    """Any role that may write the table may have written it, in any characters."""
    assert not Seal([NEW, OLD]).has_signed(["request"], signature)


def test_a_signature_of_a_rotated_key_is_valid():
    signature = Seal([OLD]).fingerprints(["request"])[0]
    assert Seal([NEW, OLD]).has_signed(["request"], signature)
    assert not Seal([NEW, OLD]).has_signed(["another"], signature)
