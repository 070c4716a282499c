"""Scopes at which a VM may get a role."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from fleet.api.request import FleetRequest, InvalidRequest, parse
from tests.fleet.api.deployment import (
    DATA,
    LEAST,
    OTHER,
    RESULTS,
    SUBSCRIPTION,
    VMS,
    refused,
)

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


def test_vm_gets_no_role_at_a_shared_database_server():
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
def test_scope_that_an_http_client_would_normalize_is_invalid(scope: str):
    with pytest.raises(InvalidRequest) as invalid:
        parse({**LEAST, "resource_uris": [scope]})
    assert [fault["pointer"] for fault in invalid.value.faults] == ["/resource_uris/0"]


SCOPES = FleetRequest.model_json_schema()["properties"]["resource_uris"]["anyOf"][0]
PATTERN = SCOPES["items"]["pattern"]


@given(st.from_regex(PATTERN, fullmatch=True))
def test_scope_is_sent_as_it_is_checked(scope: str):
    [sent] = parse({**LEAST, "resource_uris": [scope]}).resource_uris
    assert URL(f"https://management.azure.com{sent}/providers/x").raw_path == f"{sent}/providers/x"


def test_protected_resources_are_rejected_even_if_every_scope_is_allowed():
    all_resource_ids = {"FLEET_ALLOWED_SCOPES": "*"}
    names = (
        "subscription",
        "group of the VMs",
        "group of the app",
        "site",
        "queue's storage",
        "a VM",
    )
    scopes = [TAKEOVERS[name] for name in names]
    found = refused({"resource_uris": [*scopes, TAKEOVERS["key vault"]]}, **all_resource_ids)
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


def test_allowed_scope_includes_only_its_children():
    allowed = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/DATA"
    scopes = [allowed, f"{DATA}/Microsoft.Web/sites/others", f"{allowed}2", VMS]
    found = refused({"resource_uris": scopes}, FLEET_ALLOWED_SCOPES=allowed)
    assert set(found) == {"/resource_uris/2", "/resource_uris/3"}
