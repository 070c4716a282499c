"""Makes each of the app's calls to a simulated Azure that corrupts its responses.

Prints the failures by operation, as JSON.
aiohttp reads SSL_CERT_FILE when it is imported, so this cannot run in the process of the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from fleet.azure import arm_bodies
from fleet.azure.client import Azure
from fleet.azure.credentials import connect
from fleet.azure.error_classifier import describe
from fleet.model import names
from fleet.settings import Settings

LOCATION, BATCH = "eastus", 4100
GIVEN = json.loads(sys.argv[1])
PRINCIPAL: str = GIVEN["principal"]
COUNT: int = GIVEN["count"]
VM_BODY: dict[str, Any] = GIVEN["vm"]
SECRET = os.environ["AZURE_CLIENT_SECRET"]

Call = Callable[[Azure], Awaitable[Any]]


def _group(azure: Azure, kind: str, name: str) -> str:
    return f"{azure.scope}/providers/Microsoft.Network/{kind}/{name}"


async def _put_nic(azure: Azure) -> Any:
    subnet = _group(azure, "virtualNetworks", f"{names.vnet(LOCATION)}/subnets")
    configuration = {"subnet": {"id": f"{subnet}/{names.subnet(LOCATION)}"}}
    properties = {"ipConfigurations": [{"name": "ipconfig", "properties": configuration}]}
    return await azure.put_nic(
        names.nic(BATCH, 0), {"location": LOCATION, "properties": properties}
    )


async def _put_vm(azure: Azure) -> Any:
    nic = _group(azure, "networkInterfaces", names.nic(BATCH, 0))
    VM_BODY["properties"]["networkProfile"]["networkInterfaces"][0]["id"] = nic
    return await azure.put_machine(names.vm(BATCH, 0), VM_BODY)


def _nsg_id(azure: Azure) -> str:
    return _group(azure, "networkSecurityGroups", names.security_group(LOCATION))


def _assignment(azure: Azure) -> Any:
    role = names.role_definition_id(azure.subscription.split("/")[2], names.CONTRIBUTOR)
    body = arm_bodies.role_assignment(role, PRINCIPAL, "User", "of a test")
    name = names.role_assignment(azure.scope, PRINCIPAL, names.CONTRIBUTOR)
    return azure.put_assignment(azure.scope, name, body)


CALLS: dict[str, Call] = {
    "group.get": lambda azure: azure.resource_group(),
    "skus": lambda azure: azure.list_skus(LOCATION),
    "usages": lambda azure: azure.list_usages(LOCATION),
    "nsg.put": lambda azure: azure.put_security_group(
        names.security_group(LOCATION), arm_bodies.security_group(LOCATION)
    ),
    "nsg.get": lambda azure: azure.get_security_group(names.security_group(LOCATION)),
    "vnet.put": lambda azure: azure.put_vnet(
        names.vnet(LOCATION), arm_bodies.vnet(LOCATION, _nsg_id(azure))
    ),
    "vnet.get": lambda azure: azure.get_vnet(names.vnet(LOCATION)),
    "subnet.put": lambda azure: azure.put_subnet(
        names.vnet(LOCATION), names.subnet(LOCATION), arm_bodies.subnet(_nsg_id(azure))
    ),
    "nic.put": _put_nic,
    "nic.get": lambda azure: azure.get_nic(names.nic(BATCH, 0)),
    "nic.list": lambda azure: azure.list_batch("nic", BATCH),
    "vm.put": _put_vm,
    "vm.get": lambda azure: azure.get_machine(names.vm(BATCH, 0)),
    "vm.list": lambda azure: azure.list_batch("machine", BATCH),
    "disk.list": lambda azure: azure.list_batch("disk", BATCH),
    "role.put": _assignment,
    "role.list": lambda azure: azure.list_assignments(azure.scope),
    "role.delete": lambda azure: azure.delete_assignment(
        azure.scope, names.role_assignment(azure.scope, PRINCIPAL, names.CONTRIBUTOR)
    ),
    "vm.delete": lambda azure: azure.delete_machine(names.vm(BATCH, 0)),
    "nic.delete": lambda azure: azure.delete_nic(names.nic(BATCH, 1)),
}


def azure_of(group: str) -> Azure:
    return connect({**GIVEN["account"], "resource_group": group}, Settings.read(), SECRET)


async def failure_of(azure: Azure, call: Call) -> Any:
    """The failure record of a call; None if it succeeds."""
    try:
        await call(azure)
    except Exception as error:
        return describe(error)
    return None


async def series(azure: Azure) -> dict[str, Any]:
    """For each operation: the corrupted responses, then an intact one."""
    return {
        name: [await failure_of(azure, call) for _ in range(COUNT + 1)]
        for name, call in CALLS.items()
    }


async def failures_of_tokens() -> list[Any]:
    """Each new account asks for its own token."""
    return [await failure_of(azure_of(group), CALLS["group.get"]) for group in ("one", "two")]


async def main() -> None:
    azure = azure_of(GIVEN["account"]["resource_group"])
    await azure.list_assignments(azure.scope)  # takes the first token, which is intact
    # azure-identity retries for 5 s per token; meanwhile the rest is done.
    tokens, seen = await asyncio.gather(failures_of_tokens(), series(azure))
    print(json.dumps({"token": tokens, **seen}))


asyncio.run(main())
