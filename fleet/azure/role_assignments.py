"""The role assignments of one VM."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleet.model import names
from fleet.model.failure import CLIENT_REFUSED, failure
from fleet.model.order_parts import FleetRef, RoleOrder
from fleet.model.records import Failure


@dataclass(frozen=True, slots=True)
class Grant:
    """One role assignment: a role, by its GUID, at `scope` for a principal."""

    scope: str
    principal_id: str
    principal_type: str
    role: str = names.CONTRIBUTOR

    @property
    def name(self) -> str:
        return names.role_assignment(self.scope, self.principal_id, self.role)


@dataclass(frozen=True, slots=True)
class DescriptionFields:
    """The fields of a role assignment's description."""

    owner: str
    batch_id: int
    deadline: str
    machine_id: str


_DESCRIPTION = re.compile(
    r"Powerlift Fleet (?P<owner>.*): batch (?P<batch>\d+) until (?P<deadline>\S+), "
    r"VM (?P<machine>/subscriptions/\S+)"
)


def description(order: RoleOrder, machine_name: str) -> str:
    """Identifies the VM of a role assignment, because role assignments have no tags.

    An assignment at a resource_uri outlives its VM and names only a deleted identity. The description
    lets the sweep attribute it without any fleet record.
    """
    about = f"{order['owner']}: batch {order['batch_id']} until {order['deadline']}"
    return f"Powerlift Fleet {about}, VM {machine_id(order, machine_name)}"


def parse_description(text: str) -> DescriptionFields | None:
    """Parse the output of `description`; None for any other text."""
    match = _DESCRIPTION.fullmatch(text)
    if match is None:
        return None
    return DescriptionFields(
        match["owner"], int(match["batch"]), match["deadline"], match["machine"]
    )


def machine_id(order: FleetRef, machine_name: str) -> str:
    """The VM's ARM ID."""
    return names.resource_id(order, "Microsoft.Compute/virtualMachines", machine_name)


def client_refusal(refusal: Failure) -> Failure | None:
    """The failure of the client principal's role if Azure does not know the principal; otherwise None.

    A request names a principal that has existed for long: repeating the call cannot help.
    """
    if refusal["code"] not in _UNKNOWN_PRINCIPAL:
        return None
    text = f"client_principal_id gets no role: {refusal['code']}: {refusal['message']}"
    return failure(CLIENT_REFUSED, text, "fail_vm", _CLIENT_ADVICE)


_UNKNOWN_PRINCIPAL = (
    "PrincipalNotFound",
    "UnmatchedPrincipalType",
    "InvalidPrincipalId",
    "PrincipalTypeNotSupported",
)
_CLIENT_ADVICE = (
    "Set client_principal_id to an object ID, not an application ID (az ad sp show --id APPLICATION "
    "--query id), and client_principal_type to its type."
)


def grants_for_vm(order: RoleOrder, machine_name: str, principal_id: str) -> list[Grant]:
    """All role assignments of a VM, in a fixed order.

    First the VM's own role, which lets it delete itself; then Contributor for the VM at each of the
    order's resource_uris; last Contributor for the client principal at the VM.
    """
    scope, role = machine_id(order, machine_name), order.get("vm_role", names.CONTRIBUTOR)
    grants = [Grant(scope, principal_id, "ServicePrincipal", role)]
    grants += [Grant(uri, principal_id, "ServicePrincipal") for uri in order["resource_uris"]]
    client = order["client_principal_id"]
    if client:
        grants.append(Grant(scope, client, order["client_principal_type"]))
    return grants
