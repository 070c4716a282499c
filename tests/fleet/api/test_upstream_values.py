"""What a caller of Powerlift's `run_azure_process` may pass is taken, or refused with what to write."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.api.fields.types import EXPECTED
from fleet.api.order_builder import build_order, understood
from fleet.api.request import FleetRequest, InvalidRequest, parse
from fleet.settings import Settings

LEAST = {"experiment_id": 1, "n_instances": 2}
SCOPE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a"
UPSTREAM = {
    "experiment_id": 7,
    "n_instances": 3,
    "uri": "postgresql+psycopg2://user:password@db.example.org/powerlift",
    "resource_uris": None,
    "timeout": None,
    "azure_json": {"tenant_id": None, "client_id": None, "client_secret": None},
    "credential": None,
    "location": None,
    "vm_size": "Standard_B16s_v2",
    "image_publisher": "canonical",
    "image_offer": "ubuntu-24_04-lts",
    "image_sku": "server",
    "image_version": "latest",
    "disk_type": "Standard_LRS",
    "max_undead": 0,
    "delete_on_complete": True,
    "batch_id": 2**64 - 1,
}
"""All arguments of run_azure_process, by their names."""

GALLERY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/g/images/i"


@pytest.mark.parametrize(
    ("field", "given", "normal"),
    [
        *(("location", text, "eastus") for text in ("East US", "EastUS", "eastus", "EASTUS")),
        ("location", "West US 2", "westus2"),
        ("location", None, None),
        ("max_undead", 0, 1),
        ("max_undead", 1, 1),
        ("max_undead", 10**9, 1000),
        ("resource_uris", None, []),
        ("resource_uris", [SCOPE + "/"], [SCOPE]),
        ("resource_uris", [SCOPE[1:]], [SCOPE]),
        ("resource_uris", [SCOPE, SCOPE.replace("Storage", "storage") + "/"], [SCOPE]),
        ("timeout", None, None),
        ("timeout", 3600, 3600.0),
        ("disk_type", "Premium_LRS", "Premium_LRS"),
        ("vm_size", "standard_b16s_V2", "standard_b16s_V2"),
        ("delete_on_complete", False, False),
    ],
)  # fmt: skip
def test_a_value_is_shown_in_its_normal_form(field: str, given: Any, normal: Any):
    assert dict(understood_of({field: given}))[field] == normal


@pytest.mark.parametrize("field", ["azure_json", "credential"])
def test_null_is_the_same_as_leaving_it_out(field: str):
    assert parse({**LEAST, field: None}) == parse(LEAST)


def test_a_fallbacks_location_is_normalised():
    request = parse({**LEAST, "fallbacks": [{"location": "West US 2"}]})
    assert request.fallbacks[0].location == "westus2"


def test_all_arguments_of_upstream_are_taken_at_once():
    request = parse(UPSTREAM)
    assert (request.batch_id, request.max_undead, set(UPSTREAM) - set(FleetRequest.model_fields)) == (
        2**64 - 1,
        1,
        set(),
    )  # fmt: skip


def test_two_spellings_are_one_request():
    """Its fingerprint is made of this dump: a repeat in another spelling is no other fleet."""
    spelled = {"location": "East US", "resource_uris": [SCOPE + "/"], "credential": None}
    normal = {"location": "eastus", "resource_uris": [SCOPE]}
    dumps = [parse({**LEAST, **one}).model_dump(mode="json") for one in (spelled, normal)]
    assert dumps[0] == dumps[1]


@pytest.mark.parametrize(
    ("given", "pointer", "instead"),
    [
        ({"disk_type": "Premuim_LRS"}, "/disk_type", "Did you mean Premium_LRS?"),
        ({"disk_type": "standard_lrs"}, "/disk_type", "Did you mean Standard_LRS?"),
        ({"disk_type": "Premium_SSD"}, "/disk_type", "Did you mean Premium_LRS?"),
        ({"priority": "spot"}, "/priority", "Did you mean Spot? Use one of Regular, Spot."),
        ({"priority": 1}, "/priority", "Use one of Regular, Spot."),
        ({"fallbacks": [{"priority": "Sopt"}]}, "/fallbacks/0/priority", "Did you mean Spot?"),
        ({"outbound": "Existing"}, "/outbound", "Did you mean existing?"),
        ({"client_principal_type": "Service"}, "/client_principal_type", "ServicePrincipal?"),
        ({"disk_type": "UltraSSD_LRS"}, "/disk_type", "Premium_ZRS"),
        ({"credential": {"token": "s3cr3t"}}, "/credential", "Use null"),
        ({"batch_id": -1}, "/batch_id", "from 0 to 2^64 - 1"),
        ({"max_undead": -1}, "/max_undead", "greater than or equal to 0"),
        ({"timeout": 0}, "/timeout", "null for no limit"),
        ({"location": "us-east"}, "/location", "such as eastus"),
        ({"location": ""}, "/location", "such as eastus"),
        ({"resource_uris": ["storage"]}, "/resource_uris/0", "/subscriptions/ID"),
        ({"resource_uris": SCOPE}, "/resource_uris", "array"),
        ({"azure_json": {"subscription_id": "mine"}}, "/azure_json/subscription_id", "GUID"),
        ({"azure_json": {"resource_group": "/s"}}, "/azure_json/resource_group", "not its ARM ID"),
        ({"vm_size": None}, "/vm_size", "Standard_D4s_v5"),
        ({"image_sku": "canonical:ubuntu"}, "/image_sku", "publisher:offer:sku:version"),
        ({"image_id": "benchmarks"}, "/image_id", "/communityGalleries/NAME/images/NAME"),
        ({"image_id": f"{GALLERY}/versions/newest"}, "/image_id", "/versions/1.2.3"),
        ({"image_id": f"{GALLERY}/../../other"}, "/image_id", "/galleries/NAME/images/NAME"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_write_instead(given: dict[str, Any], pointer: str, instead: str):
    with pytest.raises(InvalidRequest) as refused:
        parse({**LEAST, **given})
    [fault] = refused.value.faults
    assert (fault["pointer"], instead in fault["detail"], "s3cr3t" in fault["detail"]) == (
        pointer,
        True,
        False,
    ), fault


def test_every_hint_is_of_a_field():
    account = FleetRequest.model_fields["azure_json"].annotation
    assert account is not None
    assert set(EXPECTED) - set(FleetRequest.model_fields) - set(account.model_fields) == set()


def understood_of(given: dict[str, Any]) -> Any:
    settings = Settings.read(
        {"FLEET_SEALING_KEY": "k", "POWERLIFT_DB_URI": "postgresql://u:p@host/db"}
    )
    order: Any = build_order(parse({**LEAST, **given}), settings, 1)
    return understood(order)
