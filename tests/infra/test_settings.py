"""The template sets, or makes optional, each setting that docs/settings.md documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleet.settings import Settings
from tests.infra.compiled import SUBSCRIPTION, TEMPLATE, Example

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| (`[^|]+) \| ([^|]+) \|", re.MULTILINE)
EXTRA = {"FLEET_ALLOWED_SIZES", "FLEET_PRICE_API"}
"""Of the parameter `settings` in the examples."""
DEPLOYED = (Example("existing-database").settings() | Example("isolated").settings()) - EXTRA


def rows(text: str) -> dict[str, str]:
    """The second cell of each row of a table, by the names in its first; without patterns."""
    return {
        name: cell
        for names, cell in ROW.findall(text)
        for name in re.findall(r"`([^`*]+)`", names)
        if "*" not in name
    }


def table_of_deployment() -> dict[str, str]:
    [section] = re.findall(r"\n### Settings\n(.+?)\n##", (DOCS / "deploying.md").read_text(), re.S)
    return rows(section)


TABLE = table_of_deployment()


def test_each_documented_setting_has_a_row_and_no_other():
    documented = {name for name in rows((DOCS / "settings.md").read_text()) if name.isidentifier()}
    assert set(TABLE) == documented


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_template_sets_what_is_not_optional(name: str):
    is_set = any(one == name or one.startswith(f"{name}__") for one in DEPLOYED)
    assert is_set == (not TABLE[name].startswith("optional"))


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_parameters_in_the_table_exist(name: str):
    named = set(re.findall(r"parameter `(\w+)`", TABLE[name]))
    assert named - set(TEMPLATE["parameters"]) == set()


def test_the_template_sets_no_undocumented_setting():
    of_the_platform = ("APPLICATIONINSIGHTS_", "AzureFunctionsJobHost__", "DURABLE_TASK_")
    ours = {one.partition("__")[0] for one in DEPLOYED if not one.startswith(of_the_platform)}
    assert ours - set(TABLE) == set()


@pytest.mark.parametrize("name", sorted(TEMPLATE["parameters"]))
def test_each_parameter_is_described(name: str):
    assert TEMPLATE["parameters"][name]["metadata"]["description"]


COMPUTED = {
    "AZURE_CLIENT_ID": "11111111-2222-4333-8444-555555555555",
    "AZURE_TENANT_ID": "11111111-2222-4333-8444-555555555555",
    "FLEET_QUEUE_CONNECTION__queueServiceUri": "https://queues.queue.core.windows.net/",
    "FLEET_SEALING_KEY": "of the vault",
    "FLEET_VM_IDENTITY": f"{SUBSCRIPTION}/resourceGroups/rg-team-vms/providers"
    "/Microsoft.ManagedIdentity/userAssignedIdentities/vms",
    "FLEET_VM_ROLE": "0d4ad3f5-52f9-4a9b-8d6b-1f7f5a0b9e21",
    "POWERLIFT_DB_URI": "postgresql://app@server.postgres.database.azure.com/powerlift",
}
"""Settings whose values are known during a deployment only."""


def test_the_app_accepts_the_templates_settings():
    """Its own resources are protected, and what the parameters name is allowed."""
    [config] = Example("existing-database").of("Microsoft.Web/sites/config")
    settings = Settings.read({**config["properties"], **COMPUTED})
    group = f"{SUBSCRIPTION}/resourceGroups"
    data = f"{group}/data/providers/Microsoft.Storage/storageAccounts"
    assert settings.policy.allows("FLEET_ALLOWED_SCOPES", f"{data}/results")
    assert not settings.policy.allows("FLEET_ALLOWED_SCOPES", f"{data}/another")
    assert settings.policy.protects(f"{group}/rg-team/providers/Microsoft.KeyVault/vaults/kv")
    assert settings.policy.allows("FLEET_ALLOWED_GROUPS", f"{group}/rg-team-vms")


COMMANDS = "".join(re.findall(r"```\n(.+?)```", (DOCS / "deploying.md").read_text(), re.S))
BY_AZD = {"AZURE_SUBSCRIPTION_ID"}
OWN = {"NEW", "OLD", "PWD"}
"""Variables that the commands set themselves, or the shell."""


def test_the_commands_use_variables_of_the_azd_environment():
    """So that they can be pasted."""
    used = set(re.findall(r"\$\{?(\w+)", COMMANDS))
    assert used - OWN - BY_AZD - set(TEMPLATE["outputs"]) == set()
    assert re.findall(r"\b(?:APP|VAULT|NAME|rg-\w+)\b", COMMANDS) == []
