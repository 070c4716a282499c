"""The NICs of a fleet's VMs.

Another deployment in the resource group may use the same batch ID, and so the same names. Its NICs and
VMs are neither changed nor deleted.
"""

from __future__ import annotations

from azure.core.exceptions import HttpResponseError

from fleet.azure import arm_bodies, ownership, virtual_machines
from fleet.azure.arm_bodies import Body
from fleet.azure.client import Azure
from fleet.model import names
from fleet.model.failure import DescribedError
from fleet.model.order_parts import FleetRef, VmOrder


class ForeignNic(DescribedError):
    """A NIC with a name of the batch belongs to another deployment, and so does its VM."""

    code = "BatchIdTaken"
    action = "fail_fleet"
    advice = "Submit with a different batch_id, or use another resource group."


async def create(connection: Azure, order: VmOrder, ordinal: int, location: str) -> None:
    """Create a VM's NIC, unless an earlier call did. Raises ForeignNic, HttpResponseError.

    The condition of the PUT costs no request. Without it, the PUT would replace the tags of another
    deployment's NIC, which decide whose the VM is.
    """
    name = names.nic(order["batch_id"], ordinal)
    body = arm_bodies.nic(order, ordinal, location, virtual_machines.subnet_id(order, location))
    try:
        await connection.put_nic(name, body)
    except HttpResponseError as error:
        if error.status_code != 412:
            raise
        existing = await find_own(connection, order, ordinal)
        if existing is None:
            raise  # deleted since: a retry creates it
        if virtual_machines.provisioning_state(existing) == "Failed":
            await connection.put_nic(name, body, existing["etag"])


async def find_own(connection: Azure, order: FleetRef, ordinal: int) -> Body | None:
    """A VM's NIC; None if it does not exist. Raises ForeignNic, HttpResponseError."""
    name = names.nic(order["batch_id"], ordinal)
    found = await connection.get_nic(name)
    if found is None:
        return None
    if ownership.is_foreign(found.body, order):
        raise ForeignNic(
            f"The network interface {name} belongs to another deployment, as its tag "
            f"{names.OWNER_TAG} says. It was left as it is, and no VM was created with it."
        )
    return found.body


async def delete_own(connection: Azure, order: FleetRef, ordinal: int) -> None:
    """Start the deletion of a VM's NIC, if it exists. Raises ForeignNic, HttpResponseError."""
    if await find_own(connection, order, ordinal) is not None:
        await connection.delete_nic(names.nic(order["batch_id"], ordinal))
