"""Lists the resources in Azure, to prove that a fleet leaves nothing behind that costs money."""

from __future__ import annotations

import json
import ssl
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

_API_VERSIONS = {
    "VMs": ("Microsoft.Compute/virtualMachines", "2024-11-01"),
    "NICs": ("Microsoft.Network/networkInterfaces", "2024-05-01"),
    "disks": ("Microsoft.Compute/disks", "2024-03-02"),
    "role assignments": ("Microsoft.Authorization/roleAssignments", "2022-04-01"),
}
"""Kind -> (ARM type, API version). Virtual networks are omitted: they are shared and free."""


def list_resources(arm: Mapping[str, Any]) -> dict[str, set[str]]:
    """The ids of every VM, NIC, disk and role assignment in the subscription, by kind.

    `arm` is the content of the simulator's ready.json.
    """
    client = _Arm(arm)
    subscription = f"/subscriptions/{arm['subscription_id']}"
    return {
        kind: set(client.ids(f"{subscription}/providers/{path}?api-version={version}"))
        for kind, (path, version) in _API_VERSIONS.items()
    }


class _Arm:
    def __init__(self, arm: Mapping[str, Any]) -> None:
        self._endpoint = arm["arm"]
        trust = ssl.create_default_context(cafile=arm["ca_bundle"])
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        self._token = self._get_token(arm)

    def ids(self, path: str) -> Iterator[str]:
        """The ids of all pages of a list."""
        page: str | None = self._endpoint + path
        while page:
            content = self._json(page, headers={"Authorization": f"Bearer {self._token}"})
            yield from (item["id"].lower() for item in content["value"])
            page = content.get("nextLink")

    def _get_token(self, arm: Mapping[str, Any]) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": arm["client_id"],
            "client_secret": arm["client_secret"],
            "scope": f"{self._endpoint}/.default",
        }
        authority = arm["env"]["AZURE_AUTHORITY_HOST"].rstrip("/")
        address = f"{authority}/{arm['tenant_id']}/oauth2/v2.0/token"
        return str(self._json(address, urllib.parse.urlencode(form).encode())["access_token"])

    def _json(
        self, url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        request = urllib.request.Request(url, data, dict(headers or {}))  # noqa: S310 (the simulator)
        with self._opener.open(request, timeout=30) as response:
            return dict(json.load(response))
