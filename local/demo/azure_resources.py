"""Lists the resources in Azure, to prove that a fleet leaves nothing behind that costs money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import requests

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
    providers = f"{arm['arm']}/subscriptions/{arm['subscription_id']}/providers"
    with requests.Session() as session:
        session.trust_env = False  # neither a proxy nor REQUESTS_CA_BUNDLE
        session.verify = arm["ca_bundle"]
        session.headers["Authorization"] = f"Bearer {_token(session, arm)}"
        return {
            kind: set(_ids(session, f"{providers}/{path}?api-version={version}"))
            for kind, (path, version) in _API_VERSIONS.items()
        }


def _token(session: requests.Session, arm: Mapping[str, Any]) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": arm["client_id"],
        "client_secret": arm["client_secret"],
        "scope": f"{arm['arm']}/.default",
    }
    address = f"{arm['env']['AZURE_AUTHORITY_HOST']}/{arm['tenant_id']}/oauth2/v2.0/token"
    return str(_json(session.post(address, form, timeout=30))["access_token"])


def _ids(session: requests.Session, page: str | None) -> Iterator[str]:
    """The ids of all pages of a list."""
    while page:
        content = _json(session.get(page, timeout=30))
        yield from (item["id"].lower() for item in content["value"])
        page = content.get("nextLink")


def _json(answer: requests.Response) -> Any:
    answer.raise_for_status()
    return answer.json()
