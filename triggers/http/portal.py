"""Links to the Azure portal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet.model import names
from fleet.settings import PUBLIC_CLOUD, Settings

PORTALS = {
    PUBLIC_CLOUD: "https://portal.azure.com",
    "https://management.usgovcloudapi.net": "https://portal.azure.us",
    "https://management.chinacloudapi.cn": "https://portal.azure.cn",
}
"""By the endpoint of Azure Resource Manager. The simulator has no portal."""


def portal_url(account: Mapping[str, Any], settings: Settings) -> str | None:
    """The resource group of an account in the portal; None for an unknown endpoint.

    A VM's page has the URL of its group, and its ARM ID from `/providers` on.
    """
    portal = PORTALS.get(settings.resource_manager_endpoint.lower())
    group = names.resource_group_id(account["subscription_id"], account["resource_group"])
    return portal and f"{portal}/#@/resource{group}"
