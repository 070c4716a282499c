"""Sample inputs of a plan, as Azure and the database return them."""

from __future__ import annotations

from typing import Any

from azure.core.exceptions import ServiceRequestError

from fleet.azure.client import AssignmentUsage
from fleet.model.records import Order
from fleet.preflight.plan import Check, evaluate
from fleet.preflight.plan_inputs import Network, PlanInputs, Region, Unavailable, scopes

S = "/subscriptions/941eb251-27ab-53dd-b1e0-b1ca8fecaab2"
GROUP = f"{S}/resourceGroups/powerlift"
VNET = f"{GROUP}/providers/Microsoft.Network/virtualNetworks"
OURS = f"{VNET}/powerlift-vnet-eastus/subnets/powerlift-subnet-eastus"
THEIRS = f"{VNET}/theirs/subnets/s"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/one"
OWNER = {"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}
CONTRIBUTOR = {
    "actions": ["*"],
    "notActions": [
        "Microsoft.Authorization/*/Delete",
        "Microsoft.Authorization/*/Write",
        "Microsoft.Authorization/elevateAccess/Action",
    ],
}
IMAGE = {
    "publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server", "version": "latest",
}  # fmt: skip
NO_ANSWER = Unavailable(ServiceRequestError("no answer"))


def order(**changes: Any) -> Order:
    """An order of ten VMs of two vCPUs each."""
    usual: dict[str, Any] = {
        "batch_id": 1,
        "experiment_id": 1,
        "n_instances": 10,
        "min_instances": 2,
        "resource_uris": [],
        "subscription_id": S.rpartition("/")[2],
        "resource_group": "powerlift",
        "client_id": None,
        "client_principal_id": None,
        "client_principal_type": "User",
        "ssh_public_key": None,
        "location": "eastus",
        "zones": [],
        "vm_size": "Standard_D2s_v5",
        "priority": "Regular",
        "fallbacks": [],
        "vm": {"ephemeral_os_disk": False, "disk_type": "Standard_LRS", "image": IMAGE},
        "timeout": None,
        "max_lifetime": 3600.0,
        "run_poll_seconds": 30.0,
        "outbound": "existing" if changes.get("subnet_id") else "default",
        "subnet_id": None,
    }
    made: Any = {**usual, **changes}
    return made  # type: ignore[no-any-return]


def sku(name: str = "Standard_D2s_v5", family: str = "standardDSv5Family", **more: Any) -> Any:
    can = {"vCPUs": "2", "LowPriorityCapable": "True", "EphemeralOSDiskSupported": "False"}
    capabilities = {**can, **more.pop("capabilities", {})}
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "family": family,
        "locations": ["eastus"],
        "locationInfo": [{"location": "eastus", "zones": ["1", "2"]}],
        "capabilities": [{"name": name, "value": value} for name, value in capabilities.items()],
        "restrictions": [],
        **more,
    }


def restriction(kind: str, **info: list[str]) -> Any:
    return {
        "type": kind,
        "values": ["eastus"],
        "restrictionInfo": info,
        "reasonCode": "NotAvailableForSubscription",
    }


def usages(**rest: int | None) -> list[Any]:
    """Quotas of 100 with the given remainders; None omits a quota."""
    names = {"cores": 100, "standardDSv5Family": 100, "lowPriorityCores": 100, **rest}
    return [
        {"limit": 100, "currentValue": 100 - left, "name": {"value": name}, "unit": "Count"}
        for name, left in {**names, "virtualMachines": 100}.items()
        if left is not None
    ]


def vm(**changes: Any) -> Any:
    """The options of a VM; `image` has what differs."""
    image = {**IMAGE, **changes.pop("image", {})}
    return {"ephemeral_os_disk": False, "disk_type": "Standard_LRS", "image": image, **changes}


def image(
    architecture: str = "x64",
    generation: str = "V2",
    controllers: str | None = "SCSI, NVMe",
    **more: Any,
) -> Any:
    """A version of an image, as Azure shows it; `controllers` None: without this feature."""
    features = [{"name": "DiskControllerTypes", "value": controllers}] if controllers else []
    return {
        "properties": {
            "architecture": architecture,
            "hyperVGeneration": generation,
            "features": features,
            **more,
        }
    }


GALLERY_IMAGE = f"{GROUP}/providers/Microsoft.Compute/galleries/g/images/i"


def gallery_image(
    *replicated: str,
    definition: dict[str, Any] | None = None,
    profile: dict[str, Any] | None = None,
) -> Any:
    """Version 1.2.3 of an image in a private gallery, which is in some regions."""
    regions = [{"region": one, "state": "Completed"} for one in replicated]
    targets = [{"name": one} for one in replicated]
    own = {
        "publishingProfile": {"targetRegions": targets, **(profile or {})},
        "replicationStatus": {"summary": regions},
    }
    about = {"osType": "Linux", "osState": "Generalized", **(definition or {})}
    return {**image(version=own, **about), "name": "1.2.3"}


def experiment(**changes: Any) -> Any:
    script = {"is_upstream_script": False, "measures_trials": True, "keeps_order": True}
    usual = {**script, "pip_install": "", "shell_install": "", "wheels": [], "open_groups": 50}
    return {**usual, **changes}


def network(subnet_id: str, used: int = 0, **properties: Any) -> Network:
    """A network of one subnet with 11 addresses."""
    subnet = {"id": subnet_id, "name": "s", "properties": properties}
    usage = {"id": subnet_id, "currentValue": float(used), "limit": 11.0}
    return Network({"location": "eastus", "properties": {"subnets": [subnet]}}, [usage])


def region(**changes: Any) -> Region:
    return Region(
        **{"skus": [sku()], "usages": usages(), "network": None, "image": image(), **changes}
    )


def role(*permissions: Any) -> Any:
    return {"properties": {"roleName": "Fleet VM", "permissions": list(permissions)}}


def inputs(requested: Order | None = None, **changes: Any) -> PlanInputs:
    """Inputs without problems."""
    requested = requested or order()
    usual: dict[str, Any] = {
        "group": {"name": "powerlift", "location": "eastus"},
        "trials": {"total": 50, "ready": 49, "running": 1, "complete": 0, "error": 0},
        "other_fleets": [],
        "experiment": experiment(),
        "regions": {"eastus": region()},
        "permissions": {scope: [OWNER] for scope in scopes(requested)},
        "assignments": AssignmentUsage(1, 4000),
        "vm_role": role(CONTRIBUTOR),
        "size_limits": [],
        "client": None,
        "custom_data_fault": None,
        "conflicting_batch": None,
        "foreign_nics": [],
        "schema": 1,
        "prices": {"eastus/standard_d2s_v5": {"per_hour": 0.1, "regular": 0.1}},
        "mean_seconds": None,
        "cost_limit": None,
        "cost_settings": [],
    }
    return PlanInputs(order=requested, **{**usual, **changes})


def found(seen: PlanInputs, name: str) -> list[Check]:
    return [check for check in evaluate(seen)["checks"] if check["name"] == name]


def one(seen: PlanInputs, name: str) -> Check:
    (check,) = found(seen, name)
    return check


def statuses(seen: PlanInputs, name: str) -> list[str]:
    return [check["status"] for check in found(seen, name)]
