"""Names, tags and identifiers: functions of (batch, ordinal), so that every call is idempotent."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from fleet.model.order_parts import Account

ADMIN_USER = "azureuser"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
ORDINALS = 10_000
"""Ordinals of one batch: four digits in a name, and the low part of a runner id."""

BATCH_TAG = "powerlift-batch"
EXPERIMENT_TAG = "powerlift-experiment"
RUNNER_TAG = "powerlift-runner"
DEADLINE_TAG = "powerlift-deadline"
OWNER_TAG = "powerlift-owner"
"""The deployment that manages the resource (`Settings.owner`)."""
KEEP_TAG = "powerlift-keep"
"""On resources that the user keeps after the last trial. The deadline still applies."""

AWAITS_REGULAR = -3
"""The runner of a trial that has lost two VMs, and waits for one of regular priority. Powerlift's own
values are -1 (ready) and -2 (ended)."""

FLEET_PREFIX = "fleet-"
CANCEL_EVENT = "cancel"
"""The external event that cancels a fleet."""

_INSTANCE = re.compile(r"fleet-(0|[1-9][0-9]{0,19})")
_KEY = "(0|[1-9][0-9]{0,19})-([0-9]{4})"
_OURS = {
    "machine": re.compile(f"powerlift-vm-{_KEY}", re.IGNORECASE),
    "nic": re.compile(f"powerlift-nic-{_KEY}", re.IGNORECASE),
    "disk": re.compile(f"powerlift-vm-{_KEY}_osdisk", re.IGNORECASE),
}


class VmKey(NamedTuple):
    """The batch and ordinal in the names of a VM, its NIC and its OS disk."""

    batch_id: int
    ordinal: int


def instance_id(batch_id: int) -> str:
    """The durable instance id of a fleet, which is also its id in the API."""
    return f"{FLEET_PREFIX}{batch_id}"


def wave_id(batch_id: int, number: int) -> str:
    """The instance id of a fleet's wave, counted from 1.

    Outside the fleets' prefix, so that a list of fleets contains no waves.
    """
    return f"{wave_prefix(batch_id)}{number}"


def wave_prefix(batch_id: int) -> str:
    """The prefix that only the instance IDs of a fleet's waves have."""
    return f"wave-{batch_id}-"


def teardown_id(batch_id: int) -> str:
    """The instance id of a fleet's teardown: only one runs at a time."""
    return f"teardown-{batch_id}"


def cancel_id(batch_id: int) -> str:
    """The instance id of the durable mark that a fleet was cancelled."""
    return f"cancel-{batch_id}"


def batch_of(instance: str) -> int | None:
    """The batch in a fleet's id; None for any other text, such as a sub-orchestration's id."""
    match = _INSTANCE.fullmatch(instance)
    return int(match[1]) if match else None


def vnet(location: str) -> str:
    return f"powerlift-vnet-{location}"


def subnet(location: str) -> str:
    return f"powerlift-subnet-{location}"


def security_group(location: str) -> str:
    return f"powerlift-nsg-{location}"


def vm(batch_id: int, ordinal: int) -> str:
    return f"powerlift-vm-{batch_id}-{ordinal:04}"


def nic(batch_id: int, ordinal: int) -> str:
    return f"powerlift-nic-{batch_id}-{ordinal:04}"


def os_disk(vm_name: str) -> str:
    return f"{vm_name}_osdisk"


def vm_key(kind: str, name: str) -> VmKey | None:
    """The VM that a `machine` is, or a `nic` or `disk` belongs to, by its name; None if the app would
    not give a resource of this kind the name.
    """
    match = _OURS[kind].fullmatch(name)
    return VmKey(int(match[1]), int(match[2])) if match else None


def ordinal_of(vm_name: str, batch_id: int) -> int | None:
    """The ordinal in a VM's name; None if the VM belongs to another batch."""
    key = vm_key("machine", vm_name)
    return key.ordinal if key and key.batch_id == batch_id else None


def runner_id(batch_id: int, ordinal: int) -> int:
    """Powerlift's runner id: unique per experiment across batches, below 2**31.

    Equal to the ordinal for batch 0, and never negative: -1 and -2 mean "ready" and "ended" in
    Powerlift's trial table.
    """
    return (batch_id % 214_000) * ORDINALS + ordinal


def ordinal_of_runner(runner: int | None, batch_id: int) -> int | None:
    """The ordinal of a batch's VM by its runner id; None for any other value, which VMs may write."""
    ordinal = -1 if runner is None else runner - runner_id(batch_id, 0)
    return ordinal if 0 <= ordinal < ORDINALS else None


def reserving_id(runner: int) -> int:
    """The runner of trials that a VM will run after its current one: with it, they form a group."""
    return -10 - runner


def resource_group_id(subscription_id: str, resource_group: str) -> str:
    return f"/subscriptions/{subscription_id}/resourceGroups/{resource_group}"


def resource_id(account: Account, kind: str, name: str) -> str:
    """The ARM id of a resource; `kind` is a provider and type ("Microsoft.Compute/disks")."""
    group = resource_group_id(account["subscription_id"], account["resource_group"])
    return f"{group}/providers/{kind}/{name}"


def region_of(displayed: str) -> str:
    """The name of a region, which Azure shows as `East US` too."""
    return displayed.replace(" ", "").lower()


def role_definition_id(subscription_id: str, role: str) -> str:
    """The ARM ID of a role as a subscription sees it; a custom role has one GUID in the tenant."""
    return (
        f"/subscriptions/{subscription_id}/providers/Microsoft.Authorization/roleDefinitions/{role}"
    )


def role_assignment(scope: str, principal_id: str, role: str = CONTRIBUTOR) -> str:
    """The name (a GUID) of a role assignment.

    The principal is part of it: Azure refuses to reuse a name for another principal
    (RoleAssignmentUpdateNotPermitted). ARM ids ignore case, so the scope is lowercased.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scope.lower()}|{role}|{principal_id.lower()}"))


def tags(
    batch_id: int, experiment_id: int, deadline: str, owner: str, extra: Mapping[str, str]
) -> dict[str, str]:
    """Tags of every resource of a batch; the app's own override the user's."""
    return {
        **extra,
        BATCH_TAG: str(batch_id),
        EXPERIMENT_TAG: str(experiment_id),
        DEADLINE_TAG: deadline,
        OWNER_TAG: owner,
    }
