"""The deployment's policy: with the default settings, no request can take over the deployment."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.api import policy
from fleet.api.openapi.examples import REQUESTS
from fleet.api.request import parse
from fleet.settings import SettingsError
from tests.fleet.api.deployment import (
    CALLER,
    HOST,
    LEAST,
    OTHER,
    OWN_SERVER,
    SOMEBODY,
    SUBNET,
    SUBSCRIPTION,
    refused,
    settings,
)


def test_function_key_cannot_become_root_on_the_vms():
    request = {
        "client_principal_id": SOMEBODY,
        "azure_json": {"subscription_id": OTHER},
        "image_publisher": "attacker",
        "outbound": "existing",
        "subnet_id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/hub/{SUBNET}",
    }
    assert refused(request) == {
        "/client_principal_id": "FLEET_ALLOWED_PRINCIPALS",
        "/azure_json/subscription_id": "FLEET_ALLOWED_GROUPS",
        "/image_publisher": "FLEET_ALLOWED_IMAGES",
        "/subnet_id": "FLEET_ALLOWED_SUBNETS",
    }


def test_group_whose_name_resembles_the_deployments_is_rejected():
    groups = {"gr\u00d6\u00dfe-k": {}, "gr\u00d6\u00dfe-\u212a": {"/azure_json/resource_group"}}
    for group, pointers in groups.items():
        request = {"azure_json": {"resource_group": group}}
        assert set(refused(request, AZURE_RESOURCE_GROUP="Gr\u00d6\u00dfe-K")) == set(pointers)


def test_client_id_without_secret_is_rejected():
    found = refused({"azure_json": {"client_id": SOMEBODY}})
    assert found == {"/azure_json/client_id": "FLEET_ALLOWED_PRINCIPALS"}


def test_caller_with_its_own_identity_may_use_its_own_account():
    account = {**CALLER, "subscription_id": OTHER, "resource_group": "theirs"}
    request = {
        "azure_json": account,
        "client_principal_id": SOMEBODY,
        "outbound": "existing",
        "subnet_id": f"/subscriptions/{OTHER}/resourceGroups/hub/{SUBNET}",
        "uri": OWN_SERVER,
    }
    assert refused(request) == {}


def test_fallbacks_are_checked_for_sizes_regions_and_images():
    request = {
        "vm_size": "Standard_D2s_v5",
        "location": "eastus",
        "fallbacks": [
            {"location": "westus"},
            {"vm_size": "Standard_ND96isr_H100_v5"},
            {"location": "eastus2", "vm_size": "standard_d4s_v5"},
        ],
    }
    limits = {"FLEET_ALLOWED_SIZES": "Standard_D?s_v5", "FLEET_ALLOWED_REGIONS": "eastus*"}
    assert refused(request, **limits) == {
        "/fallbacks/0/location": "FLEET_ALLOWED_REGIONS",
        "/fallbacks/1/vm_size": "FLEET_ALLOWED_SIZES",
    }


def test_limited_regions_require_a_location():
    limit = {"FLEET_ALLOWED_REGIONS": "eastus"}
    assert refused({}, **limit) == {"/location": "FLEET_ALLOWED_REGIONS"}


@pytest.mark.parametrize(
    ("allowed", "passes"),
    [
        ("canonical/ubuntu-24_04-lts", True),
        ("*/*/server", True),
        ("canonical/ubuntu-22_04-lts", False),
        ("none", False),
    ],
)
def test_images_are_matched_from_publisher_to_version(allowed: str, passes: bool):
    assert (refused({}, FLEET_ALLOWED_IMAGES=allowed) == {}) == passes


GALLERIES = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/images/providers/Microsoft.Compute/galleries"
)


@pytest.mark.parametrize(
    ("allowed", "image_id", "passes"),
    [
        ("canonical", f"{GALLERIES}/g/images/i", False),
        ("*/*", f"{GALLERIES}/g/images/i", False),
        ("*", f"{GALLERIES}/g/images/i", True),
        (f"{GALLERIES}/g", f"{GALLERIES.lower()}/G/images/i/versions/1.2.3", True),
        (f"{GALLERIES}/g", f"{GALLERIES}/g2/images/i", False),
        (f"{GALLERIES}/*/images/i/versions/1.2.3", f"{GALLERIES}/g/images/i", False),
        (f"{GALLERIES}/*/images/i/versions/latest", f"{GALLERIES}/g/images/i", True),
        ("canonical,/communityGalleries/bench-*", "/communityGalleries/bench-1/images/i", True),
        ("/sharedGalleries/bench-*", "/communityGalleries/bench-1/images/i", False),
    ],
)
def test_galleries_are_allowed_by_id(allowed: str, image_id: str, passes: bool):
    found = refused({"image_id": image_id}, FLEET_ALLOWED_IMAGES=allowed)
    assert found == ({} if passes else {"/image_id": "FLEET_ALLOWED_IMAGES"})


def test_spending_is_capped_per_deployment():
    request = {"n_instances": 1001, "max_lifetime": 7 * 24 * 3600 + 1}
    assert refused(request) == {
        "/n_instances": "FLEET_MAX_VMS",
        "/max_lifetime": "FLEET_MAX_LIFETIME_DAYS",
    }


PRICES = '{"Small": 1, "Small Spot": 0.1, "eastus/Large": 5, "westus/Large": 8}'


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ({"location": "eastus", "vm_size": "Small"}, {}),
        ({"vm_size": "Small"}, {}),
        ({"n_instances": 3, "vm_size": "Small"}, {"/n_instances": "FLEET_MAX_COST"}),
        ({"n_instances": 3, "vm_size": "Small", "priority": "Spot"}, {}),
        ({"location": "eastus", "vm_size": "Large", "max_lifetime": 14_400}, {}),
        ({"vm_size": "Large", "max_lifetime": 14_400}, {"/n_instances": "FLEET_MAX_COST"}),
        ({"n_instances": 3, "vm_size": "Small", "max_cost": 48}, {}),
        ({"n_instances": 3, "vm_size": "Small", "max_cost": 49}, {"/n_instances": "FLEET_MAX_COST"}),
        # The price is left to the plan.
        ({"location": "northeurope", "vm_size": "Large"}, {}),
        ({"vm_size": "Unknown"}, {}),
        (
            {"location": "eastus", "vm_size": "Small", "n_instances": 1,
             "fallbacks": [{"vm_size": "Large"}]},
            {"/n_instances": "FLEET_MAX_COST"},
        ),
    ],
)  # fmt: skip
def test_cost_limit_applies_to_the_most_expensive_placement(
    request_: dict[str, Any], found: dict[str, str]
):
    """48 dollars: two VMs for a day at a dollar an hour."""
    request = {"max_lifetime": 86_400, **request_}
    assert refused(request, FLEET_MAX_COST="48", FLEET_PRICES=PRICES) == found


@pytest.mark.parametrize("name", sorted(set(REQUESTS) - {"elsewhere", "subnet"}))
def test_example_requests_are_allowed(name: str):
    assert refused(REQUESTS[name]["value"]) == {}


def test_request_of_run_azure_process_is_allowed():
    request = {
        **LEAST, "uri": OWN_SERVER, "resource_uris": [], "timeout": 7200,
        "azure_json": {**CALLER, "subscription_id": OTHER, "resource_group": "powerlift_rg"},
        "vm_size": "Standard_NC24ads_A100_v4", "image_publisher": "canonical",
        "image_offer": "ubuntu-24_04-lts", "image_sku": "server", "image_version": "latest",
        "disk_type": "Standard_LRS", "max_undead": 20, "delete_on_complete": True, "batch_id": 7,
    }  # fmt: skip
    assert refused(request) == {}


def test_deployment_without_group_allows_its_identity_for_no_group():
    without = {"AZURE_SUBSCRIPTION_ID": "", "AZURE_RESOURCE_GROUP": ""}
    account = {"subscription_id": SUBSCRIPTION, "resource_group": "vms"}
    found = refused({"azure_json": account}, **without)
    assert found == {"/azure_json/subscription_id": "FLEET_ALLOWED_GROUPS"}


def test_refusal_does_not_quote_sensitive_values():
    request = {**LEAST, "uri": "postgresql://u:s3cret@evil.com/db", "client_principal_id": SOMEBODY}
    text = str(policy.faults(parse(request), settings()))
    hidden = ("s3cret", "evil.com", SOMEBODY, "fleetdb", "fleetstore")
    assert [word for word in hidden if word in text] == []


INVALID = {
    "FLEET_ALLOWED_SCOPES": "data/*",
    "FLEET_PROTECTED_RESOURCES": "fleetstore",
    "FLEET_ALLOWED_PRINCIPALS": "me@example.org",
    "FLEET_ALLOWED_DATABASES": "postgresql://host/db",
    "FLEET_ALLOWED_WEBHOOKS": "https://host/",
    "FLEET_ALLOWED_GROUPS": "vms",
    "FLEET_ALLOWED_SUBNETS": "hub",
    "FLEET_ALLOWED_IMAGES": "a/b/c/d/e",
    "FLEET_ALLOWED_SIZES": "Standard D2s",
    "FLEET_ALLOWED_REGIONS": "East US",
    "FLEET_MAX_VMS": "many",
    "FLEET_MAX_LIFETIME_DAYS": "-1",
    "FLEET_MAX_COST": "nan",
    "FLEET_BUDGET": "0",
}


def test_invalid_settings_are_reported_together():
    with pytest.raises(SettingsError) as raised:
        settings(**INVALID)
    assert {fault.split()[0] for fault in raised.value.faults} == set(INVALID)


def test_summary_lists_every_setting_with_its_value():
    listed = {one["setting"]: one["value"] for one in policy.summary(settings())}
    assert set(listed) == set(INVALID)
    assert (listed["FLEET_ALLOWED_PRINCIPALS"], listed["FLEET_ALLOWED_DATABASES"]) == (
        "none",
        f"{HOST}:5432",
    )


def test_misspelled_setting_of_the_policy_is_reported():
    with pytest.raises(
        SettingsError, match=r"FLEET_ALLOWED_IMAGE is .* mean FLEET_ALLOWED_IMAGES\?"
    ):
        settings(FLEET_ALLOWED_IMAGE="canonical")


def test_refusal_lists_the_allowed_images():
    [fault] = policy.faults(parse({**LEAST, "image_publisher": "x"}), settings())
    assert "Allowed: canonical." in fault["detail"]


def test_fault_points_at_the_part_of_the_account_that_differs():
    account = {"subscription_id": SUBSCRIPTION, "resource_group": "other"}
    assert list(refused({"azure_json": account})) == ["/azure_json/resource_group"]
