"""Helpers that create VMs."""

from __future__ import annotations

from typing import Any

import requests

from tests.local.azure.driver import Driver, unique, with_change


def body(
    azure: Driver, *, size: str = "Standard_D2s_v5", zone: str | None = None, **properties: Any
) -> dict[str, Any]:
    """The body of a VM with its own network interface."""
    vm = with_change(azure.vm_body(azure.make_nic()), "properties.hardwareProfile.vmSize", size)
    if zone is not None:
        vm["zones"] = [zone]
    vm["properties"] |= properties
    return vm


def put(azure: Driver, name: str | None = None, **kind: Any) -> requests.Response:
    return azure.send("PUT", azure.vm_path(name or unique("vm")), body(azure, **kind))


def boot(azure: Driver, name: str | None = None, **kind: Any) -> dict[str, Any]:
    """Create a VM, and wait until it runs or has failed."""
    path = azure.vm_path(name or unique("vm"))
    answer = azure.send("PUT", path, body(azure, **kind))
    assert answer.status_code == 201, answer.text
    return azure.settled(path)


def delete(azure: Driver, path: str) -> None:
    assert azure.send("DELETE", path, query={"forceDeletion": "true"}).status_code == 202
    azure.wait_until_deleted(path)


def failure(azure: Driver, vm: dict[str, Any]) -> str:
    """The first status code of the instance view."""
    view = azure.send("GET", f"{vm['id']}/instanceView").json()
    return str(view["statuses"][0]["code"])
