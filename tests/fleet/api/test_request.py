"""The request model: valid values, and invalid requests, which are rejected with all faults together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.api.request import BATCH_BITS, InvalidRequest, batch_id_of, parse, unique_scopes

LEAST = {"experiment_id": 1, "n_instances": 2}
PASSWORD = "s3cr3t-value"


def faults_of(document: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        parse(document)
    return {fault["pointer"]: fault["detail"] for fault in refused.value.faults}


def test_the_minimal_request_has_the_executors_defaults():
    request = parse(LEAST)
    assert (
        request.vm_size,
        request.image_offer,
        request.disk_type,
        request.delete_on_complete,
    ) == (
        "Standard_B16s_v2",
        "ubuntu-24_04-lts",
        "Standard_LRS",
        True,
    )


def test_five_errors_are_reported_together():
    document = {
        "n_instances": 0,
        "timeout": -1,
        "uri": "mysql://host/db",
        "azure_json": {"client_secret": PASSWORD},
        "vm_sise": "Standard_B2s",
    }
    assert set(faults_of(document)) == {
        "/experiment_id",
        "/n_instances",
        "/timeout",
        "/uri",
        "/azure_json/client_secret",
        "/vm_sise",
    }


@pytest.mark.parametrize(
    ("extra", "pointer"),
    [
        ({"experiment_id": True}, "/experiment_id"),
        ({"n_instances": "2"}, "/n_instances"),
        ({"n_instances": 5001}, "/n_instances"),
        ({"timeout": 0}, "/timeout"),
        ({"batch_id": -1}, "/batch_id"),
        ({"resource_uris": ["powerlift"]}, "/resource_uris/0"),
        ({"azure_json": {"subscription_id": "mine"}}, "/azure_json/subscription_id"),
        ({"azure_json": {"region": "x"}}, "/azure_json/region"),
        ({"min_instances": 3}, "/min_instances"),
        ({"max_price": 0.5}, "/max_price"),
        ({"max_cost": 0}, "/max_cost"),
        ({"max_cost": float("inf")}, "/max_cost"),
        ({"max_cost": 5, "delete_on_complete": False}, "/max_cost"),
        ({"outbound": "existing"}, "/outbound"),
        ({"tags": {"a<b": "c"}}, "/tags"),
        ({"tags": {"POWERLIFT-batch": "8"}}, "/tags"),
        ({"timeout": float("inf")}, "/timeout"),
        ({"max_price": float("inf"), "priority": "Spot"}, "/max_price"),
        ({"zones": ["4"]}, "/zones/0"),
        ({"ssh_public_key": "ecdsa-sha2-nistp256 AAA"}, "/ssh_public_key"),
        ({"uri": "postgresql:///name"}, "/uri"),
        ({"uri": "postgresql://host:notaport/name"}, "/uri"),
        ({"max_lifetime": 0.5}, "/max_lifetime"),
        ({"a/b~c": 1}, "/a~1b~0c"),
    ],
)
def test_a_wrong_field_is_named_by_its_json_pointer(extra: dict[str, Any], pointer: str):
    assert list(faults_of({**LEAST, **extra})) == [pointer]


@pytest.mark.parametrize(("extra", "guess"), [
    ({"vm_sise": "s3cr3t"}, " Did you mean vm_size?"),
    ({"VM_SIZE": "s3cr3t"}, " Did you mean vm_size?"),
    ({"azure_json": {"client_secert": "s3cr3t"}}, " Did you mean client_secret?"),
    ({"fallbacks": [{"vmsize": "s3cr3t"}]}, " Did you mean vm_size?"),
    ({"fallbacks": [{"max_cosT": "s3cr3t"}]}, ""),  # a field of the request only
    ({"vms": "s3cr3t"}, ""),
    ({"vm_size" * 100_000: "s3cr3t"}, ""),
])  # fmt: skip
def test_the_nearest_name_of_an_unknown_field_is_guessed(extra: dict[str, Any], guess: str):
    assert [*faults_of({**LEAST, **extra}).values()] == [f"Unknown field.{guess}"]


@pytest.mark.parametrize("document", [None, [], "text", 7])
def test_a_document_that_is_not_an_object_is_rejected(document: Any):
    assert list(faults_of(document)) == [""]


@pytest.mark.parametrize("timeout", [None, 1, 7200, 0.5])
def test_a_timeout_may_be_null_or_any_positive_number(timeout: float | None):
    assert parse({**LEAST, "timeout": timeout}).timeout == timeout


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_any_postgresql_uri_is_accepted(scheme: str):
    assert parse({**LEAST, "uri": f"{scheme}://u:p@host:5432/name"}).uri is not None


def test_no_secret_is_shown():
    request = parse(
        {
            **LEAST,
            "uri": f"postgresql://u:{PASSWORD}@host/db",
            "azure_json": {"tenant_id": "t", "client_id": "c", "client_secret": PASSWORD},
        }
    )
    assert PASSWORD not in repr(request) + str(request.model_dump(mode="json"))


@given(st.dictionaries(st.text(max_size=8), st.text(alphabet="§", min_size=4, max_size=9)))
def test_no_fault_repeats_a_value(document: dict[str, str]):
    assert "§§§§" not in str(list(faults_of(document).values()))


def test_scopes_are_deduplicated_ignoring_case():
    uris = ["/subscriptions/a/resourceGroups/b", "/subscriptions/A/resourcegroups/B"]
    assert unique_scopes(parse({**LEAST, "resource_uris": uris})) == uris[:1]


DIGEST = "f" * 64


def test_an_explicit_batch_takes_precedence_over_the_idempotency_key():
    assert batch_id_of(parse({**LEAST, "batch_id": 7}), DIGEST) == 7


def test_a_digest_always_gives_the_same_batch():
    assert batch_id_of(parse(LEAST), DIGEST) == batch_id_of(parse(LEAST), DIGEST)


@pytest.mark.parametrize("batch_id", [0, 2**53 + 1, 2**64 - 1])
@pytest.mark.parametrize("form", [int, str])
def test_a_batch_id_of_64_bits_is_a_number_or_a_string(batch_id: int, form: type):
    assert parse({**LEAST, "batch_id": form(batch_id)}).batch_id == batch_id


@pytest.mark.parametrize("batch_id", [-1, 2**64, str(2**64), "07", "-1", "1.0", "", True, 1.5])
def test_any_other_batch_id_is_rejected(batch_id: object):
    with pytest.raises(InvalidRequest) as refused:
        parse({**LEAST, "batch_id": batch_id})
    assert [fault["pointer"] for fault in refused.value.faults] == ["/batch_id"]


@pytest.mark.parametrize("digest", ["0" * 64, DIGEST])
def test_a_derived_batch_is_exact_in_javascript(digest: str):
    assert 0 <= batch_id_of(parse(LEAST), digest) < 2**BATCH_BITS


def test_without_a_key_every_batch_is_different():
    assert batch_id_of(parse(LEAST), None) != batch_id_of(parse(LEAST), None)


@pytest.mark.parametrize(
    "names",
    [["\nforged line"], [f"x{n}" for n in range(50_000)], ["x" * 900_000]],
    ids=["of lines", "of many", "of a long one"],
)
def test_field_names_cannot_flood_or_forge_the_log(names: list[str]):
    with pytest.raises(InvalidRequest) as refused:
        parse({**LEAST, **dict.fromkeys(names, 1)})
    text = str(refused.value)
    assert (len(text) < 5_000, text.splitlines(), len(refused.value.faults)) == (
        True,
        [text],
        len(names),
    )


GALLERY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/g/images/i"


@pytest.mark.parametrize(
    "image_id",
    [
        GALLERY,
        f"{GALLERY}/versions/1.2.3",
        GALLERY.lower(),
        "/sharedGalleries/941eb251-27ab-53dd-b1e0-b1ca8fecaab2-BENCH/images/i/versions/latest",
        "/CommunityGalleries/bench-941eb251-27ab-53dd-b1e0-b1ca8fecaab2/Images/i/Versions/1.2.3",
    ],
)
def test_an_image_of_a_gallery_is_named_by_its_id(image_id: str):
    assert parse({**LEAST, "image_id": image_id}).image_id == image_id


@pytest.mark.parametrize("image_id", [GALLERY, "/sharedGalleries/g/images/i"])
def test_a_letter_that_looks_alike_is_no_image_id(image_id: str):
    """In another case, these letters are s and k."""
    for text in (image_id.replace("s", "\u017f"), image_id.replace("g/images", "\u212a/images")):
        assert set(faults_of({**LEAST, "image_id": text})) == {"/image_id"}


def test_image_id_excludes_each_part_of_a_marketplace_image():
    parts = {
        "image_publisher": "p",
        "image_offer": "o",
        "image_sku": "s",
        "image_version": "latest",
    }
    faults = faults_of({**LEAST, "image_id": GALLERY, **parts, "timeout": -1})
    assert set(faults) == {"/timeout", *(f"/{part}" for part in parts)}
    assert "together with image_id" in faults["/image_version"]
