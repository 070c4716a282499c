"""The error table, row by row: Azure's response, the affected request, and the fleet's outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from local.azure.faults.azure_errors import AZURE_ERRORS

HOME, ELSEWHERE = "eastus", "westus"
SIZE, LARGER, LARGEST, OTHER_FAMILY = (
    "Standard_D2s_v5",
    "Standard_D4s_v5",
    "Standard_D8s_v5",
    "Standard_E4s_v5",
)
ANOTHER = "requested a replacement VM"
MOVED = "tried the next fallback"
QUEUED = "queued a replacement VM; the request has no other placement"
GAVE_UP = "gave up on this VM"

Json = dict[str, Any]
Ended = list[tuple[str, str]]


@dataclass(frozen=True)
class Case:
    """A fleet (by default of two VMs), its faults, and its expected outcome."""

    name: str
    faults: tuple[Json, ...] = ()
    request: Mapping[str, Any] = field(default_factory=dict)
    phase: str = "run"
    ran: Mapping[str, int] = field(default_factory=dict)
    """VMs that reached `running`, by placement."""
    missing: Mapping[str, int] = field(default_factory=dict)
    ended: Ended = field(default_factory=list)
    """For the failed VMs, in order: code and action taken."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Other failures in the status: code and action."""
    seen: tuple[tuple[str, int, str], ...] = ()
    """Errors that are not injected: code, status, message."""
    deed: str = ""
    """The name of a function of the test that is called once the fleet runs."""
    evictions: tuple[Json, ...] = ()
    joins: str = ""
    """The fleet in which this case is one VM of many: a fleet for each case takes a second of CPU."""

    def answers(self) -> list[tuple[str, int, str]]:
        """(code, status, message) of Azure's errors for this fleet. The end of an operation has
        no status.
        """
        return [*self.seen, *(_said(fault) for fault in self.faults)]

    def shown(self) -> dict[str, str]:
        """The failures in the status: code and last action."""
        return {**dict(self.ended), **self.also}


def _said(fault: Json) -> tuple[str, int, str]:
    error = fault["error"]
    later = fault["on"] == "vm.boot"
    if isinstance(error, dict):
        return error["code"], 0 if later else error["status"], error["message"]
    entry = AZURE_ERRORS[error]
    return entry.code, 0 if later else entry.status, entry.message


def said(code: str, message: str, status: int = 409) -> Json:
    """An error that the simulator's catalogue does not contain."""
    return {"code": code, "message": message, "status": status}


def answer(on: str, error: str | Json, vm: str = "", **conditions: Any) -> Json:
    """A fault. `vm` is the ordinal in the name of the affected VM; default: any."""
    return {"on": on, "error": error, "vm": vm, **conditions}


def _code(error: str | Json) -> str:
    return error if isinstance(error, str) else str(error["code"])


def passing(on: str, error: str | Json, nth: tuple[int, ...] = (1,), **more: Any) -> Case:
    """The first VM's first requests fail, are retried, and leave no failure."""
    fault = answer(on, error, nth=list(nth), **{"vm": "0000", **more})
    return Case(f"{_code(error)} at {on}", (fault,), ran={f"{HOME} {SIZE}": 2}, joins=PASSING)


def throttled(name: str, on: str, vm: str, *others: Json, **request: Any) -> Case:
    """Azure throttles once, for 5 s of real time."""
    busy = {**said("SubscriptionRequestsThrottled", "Too many requests.", 429), "retry_after": 500}
    # Requests that are in flight arrive before the response is sent.
    fault = answer(on, busy, vm, nth=[1], slow=50)
    return Case(
        name, (fault, *others), request, ran={f"{HOME} {SIZE}": request.get("n_instances", 2)}
    )


def at_network(error: str, location: str) -> Case:
    """The first PUT of a network fails; its retry succeeds."""
    fault = answer("vnet.put", error, match=f"-vnet-{location}$", nth=[1])
    requested = {"location": location}
    return Case(f"{error} at vnet.put", (fault,), requested, ran={f"{location} {SIZE}": 2})


def at_deletion(on: str, error: str) -> Case:
    """The cleanup after a refused VM fails twice."""
    faults = (answer("vm.put", "MarkedForDeletion", "0000"), answer(on, error, "0000", nth=[1, 2]))
    ended = [("MarkedForDeletion", ANOTHER)]
    return Case(f"{error} at {on}", faults, ran={f"{HOME} {SIZE}": 2}, ended=ended)


def replaced(on: str, error: str | Json, code: str = "") -> Case:
    """One VM fails; its replacement in the same placement runs."""
    code = code or _code(error)
    fault = answer(on, error, "0000")
    ran = {f"{HOME} {SIZE}": 2}
    return Case(f"{code} at {on}", (fault,), ran=ran, ended=[(code, ANOTHER)], joins=REPLACED)


def joined(name: str, cases: Iterable[Case]) -> Case:
    """A fleet with a VM for each of its cases, and one without a fault."""
    own = [case for case in cases if case.joins == name]
    faults = [{**f, "vm": f"{at:04}"} for at, case in enumerate(own) for f in case.faults]
    ended = [one for case in own for one in case.ended]
    ran = {f"{HOME} {SIZE}": len(own) + 1}
    return Case(name, tuple(faults), {"n_instances": len(own) + 1}, ran=ran, ended=ended)


def moved(
    error: str | Json,
    *placements: Json,
    to: str,
    code: str = "",
    name: str = "",
    on: str = "vm.put",
    **request: Any,
) -> Case:
    """It strikes the first VM, at the first place of all. Every place that it says something about
    comes first among the fallbacks, and the one where the VMs are to run (`to`) last.
    """
    code = code or _code(error)
    requested = {"fallbacks": list(placements), **request}
    fault = answer(on, error, "0000")
    return Case(f"{name or code} at {on}", (fault,), requested, ran={to: 2}, ended=[(code, MOVED)])


def unsuitable(code: str, text: str) -> Case:
    """The size does not fit the rest of the request, wherever the VM is."""
    error = said("InvalidParameter", f"The VM size {SIZE} {text}", 400)
    larger = {"vm_size": LARGER}
    return moved(error, {"location": ELSEWHERE}, larger, to=f"{HOME} {LARGER}", code=code)


def unlucky(error: str) -> Case:
    """Azure accepts the VM of a zone, and its allocation fails later."""
    fault = answer("vm.boot", error, zone="1")
    # One VM: whether a second one is accepted before the first fails depends on the machine's speed.
    requested = {"n_instances": 1, "zones": ["1"], "fallbacks": [{"zone": "2"}]}
    ran = {f"{HOME}/2 {SIZE}": 1}
    return Case(f"{error} at vm.boot", (fault,), requested, ran=ran, ended=[(error, MOVED)])


def fatal(on: str, error: str | Json, code: str = "") -> Case:
    """It affects every VM: the fleet fails once it has requested the first one."""
    # The first VM's role is assigned while a second VM is requested, or before, by the machine's speed.
    vms = 1 if on == "role.put" else 2
    code, fault = code or _code(error), answer(on, error)
    return Case(
        f"{code} at {on}",
        (fault,),
        {"n_instances": vms},
        phase="failed",
        missing={code: vms},
        ended=[(code, GAVE_UP)],
    )


def halting(on: str, error: str | Json) -> Case:
    """The second VM of three fails while others are being created, which run."""
    code = _code(error)
    return Case(
        f"{code} at {on}, midway",
        (answer(on, error, "0001"),),
        {"n_instances": 3},
        ran={f"{HOME} {SIZE}": 2},
        missing={code: 1},
        ended=[(code, GAVE_UP)],
    )


def _over(quota: str, limit: int = 1) -> str:
    return (
        f"Operation could not be completed as it results in exceeding approved {quota} quota. "
        f"Additional details - Deployment Model: Resource Manager, Location: {HOME}, Current Limit: "
        f"{limit}, Current Usage: 0, Additional Required: 2, (Minimum) New Limit Required: 2."
    )


PASSING, REPLACED = "errors that pass", "VMs that are replaced"
GROUP_GONE = "a resource group that is not there"
ROLE_BESIDE = "throttled at a role while another is waited for"
_NETWORK = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network"
_OWN_SUBNET = f"{_NETWORK}/virtualNetworks/powerlift-vnet-eastus/subnets/powerlift-subnet-eastus"
_NIC, _SUBNET = f"{_NETWORK}/networkInterfaces/nic", f"{_NETWORK}/virtualNetworks/mine/subnets/s"
_IMAGE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/a/images/i"
_SECURITY = (
    "The provided gallery image only supports creation of VMs and VM Scale Sets with 'TrustedLaunch' "
    "security type."
)
_IN_ZONE: Json = {"zones": ["1"]}
_SPOT: Json = {"priority": "Spot"}
_ON_DEMAND: Json = {"priority": "Regular"}
_TO_ZONE_2 = f"{HOME}/2 {SIZE}"
_TO_REGION = f"{ELSEWHERE} {SIZE}"

_ROWS: tuple[Case, ...] = (
    # What never ends: these take longest, so they come first
    replace(
        moved(said("Teapot", "I am a teapot.", 418), {"zone": "2"}, to=_TO_ZONE_2, **_IN_ZONE),
        ended=[("Teapot", ANOTHER)],
    ),
    Case(
        "no VM ever boots", (answer("vm.boot", "OSProvisioningTimedOut"),), {"n_instances": 1},
        phase="failed", missing={"OSProvisioningTimedOut": 1},
        ended=[("OSProvisioningTimedOut", ANOTHER), ("OSProvisioningTimedOut", GAVE_UP)],
    ),
    Case(
        "no room, ever", (answer("vm.boot", "AllocationFailed"),), {"n_instances": 1},
        phase="failed", missing={"AllocationFailed": 1},
        ended=[*[("AllocationFailed", QUEUED)] * 8, ("AllocationFailed", GAVE_UP)],
    ),
    Case(
        "a NIC that is never free", (answer("nic.put", "AnotherOperationInProgress", "0000"),),
        ran={f"{HOME} {SIZE}": 2}, ended=[("AnotherOperationInProgress", ANOTHER)],
    ),
    Case(
        "a network that is never made",
        (answer("vnet.put", "InternalServerError", match="-vnet-westus2$"),),
        {"location": "westus2"}, phase="failed", missing={"InternalServerError": 2},
        also={"InternalServerError": "stopped"},
    ),
    Case(
        "a fallback's network that is refused",
        (
            answer("vm.put", "SkuNotAvailable", "0000"),
            answer("vnet.put", "RequestDisallowedByPolicy", match="-vnet-westus3$"),
        ),
        {"fallbacks": [{"location": "westus3"}, {"location": ELSEWHERE}]},
        ran={_TO_REGION: 2}, ended=[("SkuNotAvailable", MOVED)],
        also={"RequestDisallowedByPolicy": "excluded westus3"},
    ),
    # wait
    passing("vm.put", "SubscriptionRequestsThrottled"),
    passing("nic.put", "ResourceRequestsThrottled"),
    passing("vm.put", "CrpThrottled"),
    passing("role.put", "TooManyRequests"),
    passing("nic.put", "RetryableError"),
    at_network("RetryableErrorDueToAnotherOperation", "eastus2"),
    throttled("throttled at the first VM", "vm.put", "0000"),
    throttled("throttled at the first NIC", "nic.put", "0000"),
    throttled("throttled at the second NIC", "nic.put", "0001"),
    throttled("throttled at a role", "role.put", "0000", n_instances=3, max_undead=1),
    throttled(
        ROLE_BESIDE, "role.put", "0001",
        answer("role.put", "PrincipalNotFound", "0000", nth=[1]),
    ),
    throttled("throttled at the end", "vm.delete", "0000"),
    # retry
    passing("vm.put", "RequestTimeout"),
    passing("nic.put", "InternalServerError"),
    passing("role.put", "ServiceUnavailable"),
    passing("vm.put", "GatewayTimeout"),
    passing("vm.put", "InvalidAuthenticationToken"),
    passing("role.put", "ExpiredAuthenticationToken"),
    passing("role.put", "PrincipalNotFound", (1, 2)),
    passing("nic.put", "AnotherOperationInProgress"),
    passing("vm.put", "OperationPreempted"),
    passing("nic.put", said("ReferencedResourceNotProvisioned", "The subnet is Updating.", 400)),
    passing("nic.put", said("PreconditionFailed", "The condition is not met.", 412)),
    at_network("Conflict", "centralus"),
    replace(
        passing("nic.put", said("InvalidResourceReference", f"Resource {_OWN_SUBNET} was not found.")),
        name="the app's subnet is not visible yet",
    ),
    at_deletion("nic.delete", "NicInUse"),
    at_deletion("nic.delete", "AttachedToVm"),
    # succeed
    passing("role.put", "RoleAssignmentExists"),
    # replace
    replaced("vm.put", "MarkedForDeletion"),
    replaced("vm.put", "NicReservedForAnotherVm"),
    replaced("vm.put", "PropertyChangeNotAllowed"),
    replaced("vm.put", said("ConflictingUserInput", "Disk x already exists.")),
    replaced(
        "vm.put",
        said("InvalidResourceReference", f"Resource {_NIC} referenced by v was not found.", 400),
        "NicDeleted",
    ),
    replaced("vm.boot", "OSProvisioningTimedOut"),
    replaced("vm.boot", "InternalExecutionError"),
    replaced("vm.boot", "VMExtensionProvisioningError"),
    # move: quotas
    moved(
        said("OperationNotAllowed", _over("LowPriorityCores")), {"vm_size": OTHER_FAMILY}, _ON_DEMAND,
        to=f"{HOME} {SIZE}", code="SpotQuotaExceeded", **_SPOT,
    ),
    moved(
        "RegionalQuota", {"vm_size": OTHER_FAMILY}, {"location": ELSEWHERE},
        to=_TO_REGION, code="RegionalQuotaExceeded",
    ),
    moved(
        "VirtualMachinesQuota", {"vm_size": OTHER_FAMILY}, {"location": ELSEWHERE},
        to=_TO_REGION, code="VirtualMachinesQuotaExceeded",
    ),
    moved(
        said("OperationNotAllowed", _over("standardDSv5Family Cores", limit=0)),
        {"vm_size": SIZE}, {"vm_size": OTHER_FAMILY},
        to=f"{HOME} {OTHER_FAMILY}", code="FamilyQuotaExceeded", name="Current Limit: 0", vm_size=LARGER,
    ),
    moved(
        "QuotaExceeded", {"vm_size": LARGEST}, {"vm_size": SIZE},
        to=f"{HOME} {SIZE}", code="FamilyQuotaExceeded", vm_size=LARGER,
    ),
    # move: capacity
    moved("SkuNotAvailable", {"zone": "2"}, to=_TO_ZONE_2, **_IN_ZONE),
    moved("NotAvailableForSubscription", {"zone": "2"}, to=_TO_ZONE_2, **_IN_ZONE),
    moved("AllocationFailed", {"location": ELSEWHERE}, to=_TO_REGION),
    moved("ZonalAllocationFailed", {"zone": "2"}, to=_TO_ZONE_2, **_IN_ZONE),
    moved("OverconstrainedZonalAllocationRequest", {"zone": "2"}, to=_TO_ZONE_2, **_IN_ZONE),
    moved(
        "OverconstrainedAllocationRequest", {"zone": "2"}, {"vm_size": LARGER, "zone": "1"},
        to=f"{HOME}/1 {LARGER}", **_IN_ZONE,
    ),
    unlucky("AllocationFailed"),
    unlucky("ZonalAllocationFailed"),
    unlucky("OverconstrainedZonalAllocationRequest"),
    # move: Spot, and lost VMs
    moved("SpotPriceGreaterThanProvidedMaxPrice", _ON_DEMAND, to=f"{HOME} {SIZE}", **_SPOT),
    moved(
        "AzureSpotIsNotSupportedForThisVMSize", {"location": ELSEWHERE}, _ON_DEMAND,
        to=f"{HOME} {SIZE}", **_SPOT,
    ),
    Case(
        "a Spot VM is taken back", request={**_SPOT, "fallbacks": [_ON_DEMAND]},
        ran={f"{HOME} {SIZE} Spot": 1, f"{HOME} {SIZE}": 1}, ended=[("SpotEvicted", MOVED)],
        seen=(("SpotEvicted", 0, ""),), evictions=({"after": 300, "notice": 1, "vm": "0000"},),
    ),
    Case(
        "a VM with a trial goes", ran={f"{HOME} {SIZE}": 2}, ended=[("VmLost", ANOTHER)],
        seen=(("VmLost", 0, ""),), deed="lose_a_vm_that_holds_a_trial",
    ),
    # move: properties of the placement
    moved(
        "SubnetIsFull", {"vm_size": OTHER_FAMILY}, {"location": ELSEWHERE}, to=_TO_REGION, on="nic.put"
    ),
    moved(
        said("InvalidAvailabilityZone", "The zone(s) '1' are not supported.", 400),
        {"vm_size": OTHER_FAMILY, "zone": "1"}, {"zone": "2"}, to=_TO_ZONE_2, **_IN_ZONE,
    ),
    moved(
        said("LocationNotAvailableForResourceType", "The location is not available."),
        {"vm_size": OTHER_FAMILY}, {"location": ELSEWHERE}, to=_TO_REGION,
    ),
    moved(
        said("NoRegisteredProviderFound", "The provided location is not available.", 400),
        {"vm_size": OTHER_FAMILY}, {"location": ELSEWHERE}, to=_TO_REGION,
    ),
    moved(
        said("GalleryImageNotFound", f"The gallery image {_IMAGE} is not available in {HOME}.", 404),
        {"vm_size": OTHER_FAMILY}, {"location": ELSEWHERE}, to=_TO_REGION,
    ),
    moved(
        said("InvalidParameter", f"The requested VM size {SIZE} is not available.", 400),
        {"zone": "2"}, {"vm_size": LARGER}, to=f"{HOME} {LARGER}", code="SizeNotInLocation",
    ),
    unsuitable("DiskTypeNotSupportedBySize", "does not support storage account type Premium_LRS."),
    unsuitable("ImageNotSupportedBySize", "only supports a CPU Architecture of 'Arm64'."),
    unsuitable("SizeNotSuitable", "does not support nested virtualization."),
    # fail_fleet
    Case(
        GROUP_GONE, request={"azure_json": {"resource_group": "deleted"}},
        phase="failed", missing={"ResourceGroupNotFound": 2},
        also={"ResourceGroupNotFound": "ended before anything was created"},
        seen=(("ResourceGroupNotFound", 404, "Resource group 'gone' could not be found."),),
    ),
    fatal("vm.put", "ResourceGroupBeingDeleted"),
    fatal(
        "nic.put",
        said("InvalidResourceReference", f"Resource {_SUBNET} referenced by n was not found.", 400),
    ),
    fatal("nic.put", "AuthorizationFailed"),
    fatal("role.put", "AuthorizationFailed"),
    fatal("vm.put", "LinkedAuthorizationFailed"),
    halting("vm.put", "LinkedAuthorizationFailed"),
    fatal("vm.put", "AuthenticationFailed"),
    fatal("vm.put", "MissingSubscriptionRegistration"),
    fatal("nic.put", "SubscriptionNotRegistered"),
    fatal("nic.put", "RequestDisallowedByPolicy"),
    halting("nic.put", "RequestDisallowedByPolicy"),
    fatal("vm.put", "ReadOnlyDisabledSubscription"),
    Case(
        "ScopeLocked at vnet.put",
        (answer("vnet.put", "ScopeLocked", match="-vnet-southcentralus$"),),
        {"location": "southcentralus"}, phase="failed", missing={"ScopeLocked": 2},
        also={"ScopeLocked": "stopped"},
    ),
    fatal("role.put", "RoleAssignmentLimitExceeded"),
    fatal("vm.put", "PlatformImageNotFound"),
    fatal("vm.put", "MarketplacePurchaseEligibilityFailed"),
    fatal(
        "vm.put", said("InvalidParameter", "Parameter 'osProfile' is not allowed.", 400),
        code="ImageNotGeneralized",
    ),
    fatal("vm.put", said("BadRequest", _SECURITY, 400), code="ImageNeedsSecurityType"),
    fatal("vm.put", "InvalidParameter"),
    fatal("nic.put", "InvalidRequestContent"),
    fatal("vm.put", "MaxPriceValueInvalid"),
    fatal("role.put", "UnmatchedPrincipalType"),
    # unclear
    Case(
        "VMStartTimedOut at vm.boot",
        (answer("vm.boot", said("VMStartTimedOut", "VM did not start."), "0000"),),
        ran={f"{HOME} {SIZE}": 2}, ended=[("VMStartTimedOut", ANOTHER)],
    ),
    passing("vm.put", said("NeverSeen", "The service is busy. Please retry later.")),
)  # fmt: skip

CASES = (
    *(joined(name, _ROWS) for name in (PASSING, REPLACED)),
    *(case for case in _ROWS if not case.joins),
)
