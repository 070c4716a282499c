"""Who gets which role where: the role assignments of one VM."""

from __future__ import annotations

from dataclasses import dataclass

from fleet import names
from fleet.records import Order


@dataclass(frozen=True, slots=True)
class Grant:
    """One role assignment: Contributor at `scope` for a principal."""

    scope: str
    principal_id: str
    principal_type: str

    @property
    def name(self) -> str:
        return names.role_assignment(self.scope, self.principal_id)


def of_machine(order: Order, machine_name: str, principal_id: str) -> list[Grant]:
    """All grants of a VM, in a fixed order.

    The first is the one that lets the VM delete itself. Then the VM at each of the order's
    resource_uris, and last the client user at the VM.
    """
    scope = names.resource_id(
        order["subscription_id"],
        order["resource_group"],
        "Microsoft.Compute/virtualMachines",
        machine_name,
    )
    grants = [
        Grant(place, principal_id, "ServicePrincipal") for place in (scope, *order["resource_uris"])
    ]
    client = order["client_principal_id"]
    if client:
        grants.append(Grant(scope, client, order["client_principal_type"]))
    return grants
