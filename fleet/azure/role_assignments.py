"""Who gets which role where: the role assignments of one VM."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleet.model import names
from fleet.model.records import Order


@dataclass(frozen=True, slots=True)
class Grant:
    """One role assignment: Contributor at `scope` for a principal."""

    scope: str
    principal_id: str
    principal_type: str

    @property
    def name(self) -> str:
        return names.role_assignment(self.scope, self.principal_id)


@dataclass(frozen=True, slots=True)
class Described:
    """What a role assignment's description says: whose it is, and for which VM."""

    owner: str
    batch_id: int
    deadline: str
    machine_id: str


_DESCRIPTION = re.compile(
    r"Powerlift Fleet (?P<owner>.*): batch (?P<batch>\d+) until (?P<deadline>\S+), "
    r"VM (?P<machine>/subscriptions/\S+)"
)


def description(order: Order, machine_name: str) -> str:
    """What every role assignment of a VM bears: role assignments have no tags.

    So one at a resource_uri, which outlives the VM and names only an identity that is gone, can be
    traced to its VM when every record of the fleet is lost.
    """
    about = f"{order['owner']}: batch {order['batch_id']} until {order['deadline']}"
    return f"Powerlift Fleet {about}, VM {machine_id(order, machine_name)}"


def described(text: str) -> Described | None:
    """What `description` said; None for any other text."""
    match = _DESCRIPTION.fullmatch(text)
    if match is None:
        return None
    return Described(match["owner"], int(match["batch"]), match["deadline"], match["machine"])


def machine_id(order: Order, machine_name: str) -> str:
    """The ARM id of a VM of the order's."""
    return names.resource_id(
        order["subscription_id"],
        order["resource_group"],
        "Microsoft.Compute/virtualMachines",
        machine_name,
    )


def of_machine(order: Order, machine_name: str, principal_id: str) -> list[Grant]:
    """All grants of a VM, in a fixed order.

    The first is the one that lets the VM delete itself. Then the VM at each of the order's
    resource_uris, and last the client user at the VM.
    """
    scope = machine_id(order, machine_name)
    grants = [
        Grant(target, principal_id, "ServicePrincipal")
        for target in (scope, *order["resource_uris"])
    ]
    client = order["client_principal_id"]
    if client:
        grants.append(Grant(scope, client, order["client_principal_type"]))
    return grants
