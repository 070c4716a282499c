"""A deployment with default settings, and what its policy refuses."""

from __future__ import annotations

import re
from typing import Any

from fleet.api import policy
from fleet.api.request import parse
from fleet.settings import Settings

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


HOST = "fleetdb.postgres.database.azure.com"
