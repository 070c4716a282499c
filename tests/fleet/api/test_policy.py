"""What a deployment allows: with the default settings, a request cannot take the deployment over."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from fleet.api import policy
from fleet.api.examples import REQUESTS
from fleet.api.request import FleetRequest, InvalidRequest, parse
from fleet.model.database_uri import server_of
from fleet.settings import Settings, SettingsError

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
SOMEBODY = "aaaaaaaa-2222-3333-4444-555555555555"
VMS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/vms"
DATA = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/data/providers"
RESULTS = f"{DATA}/Microsoft.Storage/storageAccounts/results"
SUBNET = "providers/Microsoft.Network/virtualNetworks/hub/subnets/vms"
DEPLOYMENT = {
    "FLEET_SEALING_KEY": "k",
    "POWERLIFT_DB_URI": "postgresql://app:s3cret@fleetdb.postgres.database.azure.com/powerlift",
    "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
    "AZURE_RESOURCE_GROUP": "vms",
    "WEBSITE_SITE_NAME": "My-Fleets",
    "WEBSITE_RESOURCE_GROUP": "app",
    "WEBSITE_OWNER_NAME": f"{SUBSCRIPTION}+app-eastuswebspace-Linux",
    "AzureWebJobsStorage": "DefaultEndpointsProtocol=https;AccountName=fleetstore;AccountKey=a2V5",
    "DEPLOYMENT__blobServiceUri": "https://fleetcode.blob.core.windows.net",
    "FLEET_QUEUE_CONNECTION__accountName": "fleetqueue",
}
LEAST = {"experiment_id": 1, "n_instances": 2}
OWN_SERVER = "postgresql://me:pw@fleetdb.postgres.database.azure.com/other"
CALLER = {"tenant_id": "t", "client_id": SOMEBODY, "client_secret": "s3cret"}


def settings(**changes: str) -> Settings:
    return Settings.read({**DEPLOYMENT, **changes})


def refused(request: dict[str, Any], **changes: str) -> dict[str, str]:
    """The policy's faults of a request: setting by pointer."""
    found = policy.faults(parse({**LEAST, **request}), settings(**changes))
    return {one["pointer"]: re.findall("FLEET_[A-Z_]+", one["detail"])[-1] for one in found}


TAKEOVERS = {
    "subscription": f"/subscriptions/{SUBSCRIPTION}",
    "group of the VMs": VMS,
    "group in other case": VMS.upper().replace("/SUBSCRIPTIONS", "/subscriptions"),
    "group of the app": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app",
    "any other group": f"/subscriptions/{OTHER}/resourceGroups/data",
    "site": f"{DATA}/Microsoft.Web/sites/my-fleets",
    "site with a slash": f"{DATA}/Microsoft.Web/sites/my-fleets/",
    "site without the first slash": f"{DATA[1:]}/Microsoft.Web/sites/my-fleets",
    "site's settings": f"{DATA}/Microsoft.Web/sites/MY-FLEETS/config/appsettings",
    "another team's site": f"{DATA}/Microsoft.Web/sites/others",
    "task hub's storage": f"{DATA}/Microsoft.Storage/storageAccounts/FleetStore",
    "part of it": f"{DATA}/microsoft.storage/storageaccounts/fleetstore/blobServices/default",
    "code's storage": f"{DATA}/Microsoft.Storage/storageAccounts/fleetcode",
    "queue's storage": f"{DATA}/Microsoft.Storage/storageAccounts/fleetqueue",
    "database server": f"{DATA}/Microsoft.DBforPostgreSQL/flexibleServers/fleetdb",
    "a VM": f"{VMS}/providers/Microsoft.Compute/virtualMachines/powerlift-vm-7-0000",
    "all VMs": f"{VMS}/providers/Microsoft.Compute",
    "identity": f"{DATA}/Microsoft.ManagedIdentity/userAssignedIdentities/app",
    "key vault": f"{DATA}/Microsoft.KeyVault/vaults/keys",
    "network": f"{DATA}/Microsoft.Network/virtualNetworks/hub",
    "roles": f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/x",
    "deployments": f"{DATA}/Microsoft.Resources/deployments/x",
    "automation": f"{DATA}/Microsoft.Automation/automationAccounts/x",
    "containers": f"{DATA}/Microsoft.ContainerService/managedClusters/x",
    "VM below a storage account": f"{RESULTS}/providers/Microsoft.Compute/virtualMachines/v",
    "jobs of a SQL server": f"{DATA}/Microsoft.Sql/servers/s/jobAgents/j",
    "AI account": f"{DATA}/Microsoft.CognitiveServices/accounts/a/capabilityHosts/x",
    "search service": f"{DATA}/Microsoft.Search/searchServices/s",
    "all storage of a group": f"{DATA}/Microsoft.Storage/storageAccounts",
    "look-alike": f"{DATA}/Microsoft.Storage/storageAccountsX/results",
}


@pytest.mark.parametrize("scope", TAKEOVERS.values(), ids=TAKEOVERS)
def test_function_key_cannot_become_contributor_on_anything_the_app_may_grant(scope: str):
    assert list(refused({"resource_uris": [RESULTS, scope]})) == ["/resource_uris/1"]


def test_vm_gets_no_role_at_a_database_server_that_other_requests_may_use():
    server = f"{DATA}/Microsoft.DBforPostgreSQL/flexibleServers/teamb"
    allowed = "fleetdb.postgres.database.azure.com, teamb.postgres.database.azure.com"
    assert refused({"resource_uris": [server]}) == {}
    assert refused({"resource_uris": [server]}, FLEET_ALLOWED_DATABASES=allowed) == {
        "/resource_uris/0": "FLEET_PROTECTED_RESOURCES"
    }


def test_storage_account_with_a_zone_in_its_url_is_protected():
    changes = {"CODE__queueServiceUri": "https://zoned.z12.queue.storage.azure.net"}
    scope = f"{DATA}/Microsoft.Storage/storageAccounts/zoned"
    assert list(refused({"resource_uris": [scope]}, **changes)) == ["/resource_uris/0"]


@pytest.mark.parametrize(
    "scope",
    [
        RESULTS,
        f"{RESULTS}/blobServices/default/containers/figures",
        f"{VMS}/providers/Microsoft.Storage/storageAccounts/results",
        f"{DATA}/microsoft.dbforpostgresql/flexibleservers/fleetdb2",
        f"{DATA}/Microsoft.EventHub/namespaces/n/eventhubs/h/consumergroups/$Default",
    ],
)
def test_vm_may_get_a_role_at_a_resource_that_holds_data(scope: str):
    assert refused({"resource_uris": [scope]}) == {}


@pytest.mark.parametrize(
    "scope",
    [
        f"{DATA}/Microsoft.Storage/storageAccounts/x/../../../../app",
        f"{RESULTS}/./../fleetstore",
        f"{RESULTS}/..",
        f"{RESULTS}//",
        f"{DATA}//Microsoft.Storage/storageAccounts/results",
        f"{DATA}/Microsoft.Storage/storageAccounts/%66leetstore",
        f"{DATA}/Microsoft.Storage/storageAccounts/fleet\u017ftore",
        f"{DATA}/Microsoft.Storage/storageAccounts/x\\..\\fleetstore",
        f"{RESULTS}?x",
        f"{RESULTS}#x",
        f"{RESULTS} ",
        f"/{RESULTS}",
        "/subscriptions/..",
        "/providers/Microsoft.Management/managementGroups/root",
    ],
)
def test_scope_that_a_client_would_rewrite_is_invalid(scope: str):
    with pytest.raises(InvalidRequest) as invalid:
        parse({**LEAST, "resource_uris": [scope]})
    assert [fault["pointer"] for fault in invalid.value.faults] == ["/resource_uris/0"]


SCOPES = FleetRequest.model_json_schema()["properties"]["resource_uris"]["anyOf"][0]
PATTERN = SCOPES["items"]["pattern"]


@given(st.from_regex(PATTERN, fullmatch=True))
def test_scope_is_sent_as_it_is_checked(scope: str):
    [sent] = parse({**LEAST, "resource_uris": [scope]}).resource_uris
    assert URL(f"https://management.azure.com{sent}/providers/x").raw_path == f"{sent}/providers/x"


def test_protected_resources_are_refused_although_every_scope_is_allowed():
    everything = {"FLEET_ALLOWED_SCOPES": "*"}
    names = (
        "subscription",
        "group of the VMs",
        "group of the app",
        "site",
        "queue's storage",
        "a VM",
    )
    scopes = [TAKEOVERS[name] for name in names]
    found = refused({"resource_uris": [*scopes, TAKEOVERS["key vault"]]}, **everything)
    assert found == dict.fromkeys(
        (f"/resource_uris/{index}" for index in range(len(scopes))), "FLEET_PROTECTED_RESOURCES"
    )


def test_operator_may_protect_a_resource_and_unprotect_all():
    team = f"{DATA}/Microsoft.Storage/storageAccounts/team"
    request = {"resource_uris": [f"{team}/blobServices/default", RESULTS]}
    protected = refused(request, FLEET_PROTECTED_RESOURCES=team)
    free = {"FLEET_ALLOWED_SCOPES": "*", "FLEET_PROTECTED_RESOURCES": "none"}
    own = refused({"resource_uris": [TAKEOVERS["site"]]}, **free)
    assert (protected, own) == ({"/resource_uris/0": "FLEET_PROTECTED_RESOURCES"}, {})


def test_allowed_scope_includes_what_is_in_it_and_nothing_else():
    allowed = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/DATA"
    scopes = [allowed, f"{DATA}/Microsoft.Web/sites/others", f"{allowed}2", VMS]
    found = refused({"resource_uris": scopes}, FLEET_ALLOWED_SCOPES=allowed)
    assert set(found) == {"/resource_uris/2", "/resource_uris/3"}


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


def test_group_that_only_looks_like_the_deployments_is_refused():
    groups = {"gr\u00d6\u00dfe-k": {}, "gr\u00d6\u00dfe-\u212a": {"/azure_json/resource_group"}}
    for group, pointers in groups.items():
        request = {"azure_json": {"resource_group": group}}
        assert set(refused(request, AZURE_RESOURCE_GROUP="Gr\u00d6\u00dfe-K")) == set(pointers)


def test_client_id_without_secret_gets_no_role():
    found = refused({"azure_json": {"client_id": SOMEBODY}})
    assert found == {"/azure_json/client_id": "FLEET_ALLOWED_PRINCIPALS"}


def test_caller_with_an_identity_of_its_own_may_use_its_own_account():
    account = {**CALLER, "subscription_id": OTHER, "resource_group": "theirs"}
    request = {
        "azure_json": account,
        "client_principal_id": SOMEBODY,
        "outbound": "existing",
        "subnet_id": f"/subscriptions/{OTHER}/resourceGroups/hub/{SUBNET}",
        "uri": OWN_SERVER,
    }
    assert refused(request) == {}


def test_function_key_cannot_become_holder_of_the_deployments_database_password():
    account = {**CALLER, "subscription_id": OTHER, "resource_group": "theirs"}
    assert refused({"azure_json": account}) == {"/uri": "FLEET_ALLOWED_GROUPS"}
    assert refused({"azure_json": account}, FLEET_ALLOWED_GROUPS=f"/subscriptions/{OTHER}") == {}


HOST = "fleetdb.postgres.database.azure.com"
ORACLES = [
    "postgresql://u:p@10.0.0.4/db",
    "postgresql://u:p@localhost/db",
    f"postgresql://u:p@{HOST}:22/db",
    f"postgresql://u:p@{HOST}.evil.com/db",
    f"postgresql://u:p@evil.com,{HOST}/db",
    f"postgresql://u:p@{HOST}/db?host=evil.com",
    f"postgresql://u:p@{HOST}/db?hostaddr=10.0.0.4",
    f"postgresql://u:p@{HOST}/db?port=22",
    f"postgresql://u:p@{HOST}/db?service=other",
    f"postgresql://{HOST}?@evil.com/db",
    f"postgresql://{HOST}#@evil.com/db",
    f"postgresql://a@evil.com,x@{HOST}/db",
    f"postgresql://u:p/@{HOST}/db",
    f"postgresql://x@{HOST}?application_name=a@evil.com/app",
    f"postgresql://{HOST}:5432/db@evil.com/x",
    "postgresql://u:p@%66leetdb.postgres.database.azure.com/db",
    "postgresql://u:p@%2Fvar%2Frun%2Fpostgresql/db",
    "postgresql://u:p@[::1]/db",
]


@pytest.mark.parametrize("uri", ORACLES)
def test_uri_reaches_no_other_server(uri: str):
    try:
        found = refused({"uri": uri})
    except InvalidRequest as invalid:
        found = {fault["pointer"]: "" for fault in invalid.faults}
    assert list(found) == ["/uri"]


@pytest.mark.parametrize(
    ("allowed", "host", "passes"),
    [
        ("*", "anything:22", True),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "db.example.org:5433", False),
        ("*.example.org:*", "db.example.org:5433", True),
        ("db.example.org:6432, other", "OTHER:5432", True),
        ("[::1]", "[::1]:5432", True),
        ("[::1]", "[::1]:5433", False),
        ("[0:0::1]:05432", "[::1]", True),
        ("db.example.org.:06432", "DB.example.org:6432", True),
        ("db.example.org", "db.example.org.:05432", True),
        ("[::1]:*", "[::1]:5433", True),
        ("none", HOST, False),
    ],
)
def test_operator_may_allow_other_servers(allowed: str, host: str, passes: bool):
    found = refused({"uri": f"postgresql://u:p@{host}/db"}, FLEET_ALLOWED_DATABASES=allowed)
    assert (found == {}) == passes


def test_default_server_may_have_an_ipv6_address_and_a_port():
    own = {"POWERLIFT_DB_URI": "postgresql://app:pw@[fd00::1]:6432/powerlift"}
    ports = [
        refused({"uri": f"postgresql+psycopg2://u@[fd00::1]:{p}/x"}, **own) for p in (6432, 22)
    ]
    assert ports == [{}, {"/uri": "FLEET_ALLOWED_DATABASES"}]


def test_server_of_a_uri_is_the_one_that_libpq_uses():
    assert server_of("postgresql+psycopg2://u:p%40@DB.example.org/x?sslmode=require") == (
        "db.example.org:5432"
    )


def test_sizes_regions_and_images_are_checked_in_fallbacks_too():
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
        ({"location": "northeurope", "vm_size": "Large"}, {"/vm_size": "FLEET_PRICES"}),
        ({"vm_size": "Unknown"}, {"/vm_size": "FLEET_PRICES"}),
        (
            {"vm_size": "Small", "fallbacks": [{"vm_size": "Other"}, {"zone": "1"}]},
            {"/fallbacks/0/vm_size": "FLEET_PRICES"},
        ),
        (
            {"location": "eastus", "vm_size": "Small", "n_instances": 1,
             "fallbacks": [{"vm_size": "Large"}]},
            {"/n_instances": "FLEET_MAX_COST"},
        ),
    ],
)  # fmt: skip
def test_cost_is_bounded_by_the_dearest_placement(request_: dict[str, Any], found: dict[str, str]):
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


def test_deployment_without_group_lends_its_identity_for_none():
    without = {"AZURE_SUBSCRIPTION_ID": "", "AZURE_RESOURCE_GROUP": ""}
    account = {"subscription_id": SUBSCRIPTION, "resource_group": "vms"}
    found = refused({"azure_json": account}, **without)
    assert found == {"/azure_json/subscription_id": "FLEET_ALLOWED_GROUPS"}


def test_refusal_repeats_nothing_that_it_must_not():
    request = {**LEAST, "uri": "postgresql://u:s3cret@evil.com/db", "client_principal_id": SOMEBODY}
    text = str(policy.faults(parse(request), settings()))
    hidden = ("s3cret", "evil.com", SOMEBODY, "fleetdb", "fleetstore")
    assert [word for word in hidden if word in text] == []


INVALID = {
    "FLEET_ALLOWED_SCOPES": "data/*",
    "FLEET_PROTECTED_RESOURCES": "fleetstore",
    "FLEET_ALLOWED_PRINCIPALS": "me@example.org",
    "FLEET_ALLOWED_DATABASES": "postgresql://host/db",
    "FLEET_ALLOWED_GROUPS": "vms",
    "FLEET_ALLOWED_SUBNETS": "hub",
    "FLEET_ALLOWED_IMAGES": "a/b/c/d/e",
    "FLEET_ALLOWED_SIZES": "Standard D2s",
    "FLEET_ALLOWED_REGIONS": "East US",
    "FLEET_MAX_VMS": "many",
    "FLEET_MAX_LIFETIME_DAYS": "-1",
    "FLEET_MAX_COST": "nan",
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


def test_refusal_lists_the_images_that_are_allowed():
    [fault] = policy.faults(parse({**LEAST, "image_publisher": "x"}), settings())
    assert "Allowed: canonical." in fault["detail"]


def test_fault_points_at_the_part_of_the_account_that_differs():
    account = {"subscription_id": SUBSCRIPTION, "resource_group": "other"}
    assert list(refused({"azure_json": account})) == ["/azure_json/resource_group"]
