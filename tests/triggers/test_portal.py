"""Links to the Azure portal, by the deployment's cloud."""

from __future__ import annotations

import pytest

from fleet.settings import Settings
from triggers.http.portal import portal_url

ACCOUNT = {"subscription_id": "33333333-3333-3333-3333-333333333333", "resource_group": "Bench_(1)"}
GROUP = "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/Bench_(1)"
REQUIRED = {"FLEET_SEALING_KEY": "key", "POWERLIFT_DB_URI": "postgresql://me@db/bench"}


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("", f"https://portal.azure.com/#@/resource{GROUP}"),
        ("https://management.azure.com/", f"https://portal.azure.com/#@/resource{GROUP}"),
        ("https://management.usgovcloudapi.net", f"https://portal.azure.us/#@/resource{GROUP}"),
        ("https://management.chinacloudapi.cn", f"https://portal.azure.cn/#@/resource{GROUP}"),
        ("https://127.0.0.1:8443", None),
    ],
)
def test_the_link_is_of_the_deployments_cloud(endpoint: str, url: str | None):
    settings = Settings.read({**REQUIRED, "AZURE_RESOURCE_MANAGER_ENDPOINT": endpoint})
    assert portal_url(ACCOUNT, settings) == url
