"""The meaning of each Azure error: an ordered table, first match wins.

Sources: the error pages of the REST references, and the error handling of Karpenter, dstack, Terraform
and Taskcluster. A new code takes one row here and one test.
"""

from __future__ import annotations

from typing import Any

from fleet.model import names
from fleet.model.failure import HOUR, NOT_PROVISIONED, SPOT_EVICTED, VM_LOST, Row, row
from fleet.model.failure_policy import UNCLEAR

QUOTA_HOLD = 600.0
"""Seconds in which other VMs may release quota; the same as Karpenter's cooldown."""

_MORE_QUOTA = (
    "Request a quota increase (Azure portal: Quotas), use fewer or smaller VMs, or add fallbacks."
)
_RETRY_LATER = "Retry later, or add zones or fallbacks to the request."
_UNCLEAR: dict[str, Any] = {name: value for name, value in UNCLEAR.items() if name != "action"}
_OWN_SUBNET = f"/virtualNetworks/{names.vnet('')}[^/ ]+/subnets/|^Subnet {names.subnet('')}"
"""In a message: the subnet that the app makes, not a request's `subnet_id`."""
_SIZE_SCOPE: dict[str, Any] = {"scope": "vm_size", "cool_down": 24 * HOUR}
_CHOOSE_SIZE = "Change vm_size, or add a fallback with another vm_size."

TABLE: tuple[Row, ...] = (
    # Status first: OperationNotAllowed means throttling with 429, and quota with 409.
    row("wait", status="429", advice="No action needed: the app honours Retry-After."),
    row(
        "retry",
        status="408 500 502 503 504",
        passing=True,
        advice="No action needed: the app retries with backoff.",
    ),
    row("succeed", "RoleAssignmentExists"),
    row(
        "retry",
        "InvalidAuthenticationToken ExpiredAuthenticationToken",
        advice="The app requests a new token. If the error persists, check tenant_id and client_id.",
    ),
    row(
        "retry",
        "PrincipalNotFound",
        advice="The app retries: a new identity takes up to minutes to replicate. If the error "
        "persists, check that client_principal_id is an object ID.",
    ),
    row(
        "retry",
        "RetryableError RetryableErrorDueToAnotherOperation AnotherOperationInProgress "
        "CanceledAndSupersededDueToAnotherOperation ConflictingConcurrentWriteNotAllowed "
        "RequestConflict OperationPreempted Conflict ReferencedResourceNotProvisioned NicInUse "
        "InUseSubnetCannotBeDeleted InUseNetworkSecurityGroupCannotBeDeleted PreconditionFailed",
        advice="No action needed: the app retries after the other operation.",
    ),
    row(
        "retry",
        "InvalidResourceReference SubnetNotFound",
        text=_OWN_SUBNET,
        label="SubnetNotVisible",
        passing=True,  # for minutes: a refused VM is not given up
        advice="The app's own subnet is not visible to Azure yet; the app retries for 15 minutes. If "
        "the subnet was deleted, submit again.",
    ),
    row(
        "replace",
        "OperationNotAllowed",
        text="marked for deletion",
        label="MarkedForDeletion",
        advice="The VM is being deleted; the app creates a replacement.",
    ),
    row(
        "retry",
        "OperationNotAllowed",
        text="attached to VM",
        label="StillAttached",
        advice="No action needed: the app retries after the VM is deleted.",
    ),
    # All quotas share a code. Karpenter matches in the same order: Spot, region, family.
    row(
        "move",
        "OperationNotAllowed QuotaExceeded",
        text="LowPriority|Spot",
        label="SpotQuotaExceeded",
        scope="location priority",
        cool_down=HOUR,
        advice=_MORE_QUOTA,
    ),
    row(
        "move",
        "OperationNotAllowed QuotaExceeded",
        text="Total Regional",
        label="RegionalQuotaExceeded",
        scope="location priority",
        cool_down=QUOTA_HOLD,
        advice=_MORE_QUOTA,
    ),
    row(
        "move",
        "OperationNotAllowed QuotaExceeded",
        text="approved Virtual ?Machines",
        label="VirtualMachinesQuotaExceeded",
        scope="location",
        cool_down=QUOTA_HOLD,
        advice=_MORE_QUOTA,
    ),
    row(
        "move",
        "OperationNotAllowed QuotaExceeded",
        text=r"quota.*Current Limit: 0\b",
        label="FamilyQuotaExceeded",
        scope="location priority family",
        cool_down=HOUR,
        advice=_MORE_QUOTA,
    ),
    row(
        "move",
        "OperationNotAllowed QuotaExceeded",
        text="quota|cores",
        label="FamilyQuotaExceeded",
        scope="location priority family vcpus",  # smaller sizes of the family may still fit
        cool_down=QUOTA_HOLD,
        advice=_MORE_QUOTA,
    ),
    # Karpenter's cooldown is 23 h, but two recorded responses show temporary capacity shortages.
    row(
        "move",
        "SkuNotAvailable",
        scope="location zone vm_size priority",
        cool_down=HOUR,
        advice=f"The size is currently not available there. {_RETRY_LATER}",
    ),
    row(
        "move",
        "NotAvailableForSubscription",
        scope="location zone vm_size",
        cool_down=24 * HOUR,
        advice="Ask Azure support to enable this size for the subscription, or choose another size.",
    ),
    row(
        "move",
        "ZonalAllocationFailed AllocationFailed",
        scope="location zone vm_size",
        cool_down=HOUR,
        passing=True,
        advice=f"Azure has insufficient capacity for this size. {_RETRY_LATER}",
    ),
    row(
        "move",
        "OverconstrainedZonalAllocationRequest",
        scope="location zone vm_size priority",
        cool_down=HOUR,
        passing=True,
        advice=f"Azure has insufficient capacity for this size in this zone. {_RETRY_LATER}",
    ),
    row(
        "move",
        "OverconstrainedAllocationRequest",
        scope="location vm_size priority",
        cool_down=HOUR,
        passing=True,
        advice="Azure has no capacity for this combination. Remove ephemeral_os_disk, or change "
        "vm_size.",
    ),
    SPOT_EVICTED,
    VM_LOST,
    row(
        "move",
        "SpotPriceGreaterThanProvidedMaxPrice",
        scope="location vm_size priority",
        cool_down=HOUR,
        advice="Raise max_price, or omit it to use the pay-as-you-go price as the limit.",
    ),
    row(
        "move",
        "AzureSpotIsNotSupportedForThisVMSize",
        scope="vm_size priority",
        cool_down=24 * HOUR,
        advice="Choose another vm_size, or use priority Regular.",
    ),
    row(
        "move",
        "SubnetIsFull",
        scope="location",
        cool_down=QUOTA_HOLD,
        advice="The subnet has no free IP addresses. Use a larger subnet or fewer VMs.",
    ),
    row(
        "move",
        "InvalidAvailabilityZone ResourceTypeNotSupportAvailabilityZones "
        "AvailabilityZoneNotSupported",
        scope="location zone",
        cool_down=24 * HOUR,
        advice="The region has no such zone, or not for VMs. Change zones.",
    ),
    row(
        "move",
        "LocationNotAvailableForResourceType NoRegisteredProviderFound",
        scope="location",
        cool_down=24 * HOUR,
        advice="The region is not available to the subscription. Choose another location.",
    ),
    row(
        "move",
        "GalleryImageNotFound",
        scope="location",
        cool_down=24 * HOUR,
        advice="The gallery's image is not in this region. Replicate the version: az sig image-version "
        "update --target-regions. Or name one in image_id that the region has.",
    ),
    # A size that does not fit the rest of the request fails in every zone and location.
    row(
        "move",
        text=r"VM size .*\bstorage account type|storage account type .*\bVM size",
        label="DiskTypeNotSupportedBySize",
        advice="The VM size does not support this type of disk. Change disk_type or vm_size.",
        **_SIZE_SCOPE,
    ),
    row(
        "move",
        text=r"VM size .*(disk controller|CPU architecture|hypervisor generation|security type)",
        label="ImageNotSupportedBySize",
        advice=f"The VM size cannot boot this image. Change the image. Or: {_CHOOSE_SIZE}",
        **_SIZE_SCOPE,
    ),
    row(
        "move",
        "InvalidParameter",
        text="VM size .*(region|location|not available|not valid)",
        label="SizeNotInLocation",
        scope="location vm_size",
        cool_down=24 * HOUR,
        advice="The region does not offer this vm_size. Choose another size or location.",
    ),
    row(
        "move",
        "InvalidParameter",
        text="VM size",
        label="SizeNotSuitable",
        advice=f"The VM size does not fit the request. {_CHOOSE_SIZE}",
        **_SIZE_SCOPE,
    ),
    row(
        "unclear",
        "VMStartTimedOut OSProvisioningClientError OSProvisioningInternalError "
        "NetworkingInternalOperationError InternalOperationError InternalDiskManagementError",
        advice="Azure failed to start the VM; the app requested a replacement. If this persists, change "
        "zones, location or vm_size, or check the image.",
        **_UNCLEAR,
    ),
    row(
        "replace",
        "OSProvisioningTimedOut",
        advice="The OS did not start in time. Check that the image supports this VM size.",
    ),
    NOT_PROVISIONED,
    row(
        "replace",
        "NicReservedForAnotherVm PropertyChangeNotAllowed ConflictingUserInput",
        advice="A resource of an earlier VM still uses the name; the app creates a replacement "
        "with a new name.",
    ),
    row(
        "replace",
        "InvalidResourceReference",
        text=r"^Resource \S+/networkInterfaces/",
        label="NicDeleted",
        advice="The VM's network interface was deleted externally; the app creates a replacement.",
    ),
    row(
        "fail_fleet",
        "ResourceGroupNotFound SubscriptionNotFound ResourceGroupBeingDeleted "
        "InvalidResourceReference SubnetNotFound",
        advice="Create the missing resource, or specify another one, and submit again.",
    ),
    row(
        "fail_fleet",
        "AuthorizationFailed LinkedAuthorizationFailed",
        advice="Assign the app's identity the roles listed in docs/operating.md.",
    ),
    row(
        "fail_fleet",
        "AuthenticationFailed",
        advice="Check tenant_id, client_id and client_secret, or the app's identity.",
    ),
    row(
        "fail_fleet",
        "MissingSubscriptionRegistration SubscriptionNotRegistered",
        advice="Register the resource provider in the subscription: az provider register -n ...",
    ),
    row(
        "fail_fleet",
        "RequestDisallowedByPolicy ScopeLocked ReadOnlyDisabledSubscription",
        advice="An Azure policy, a lock or the subscription's state blocks the operation. Contact the "
        "subscription's administrator.",
    ),
    row(
        "fail_fleet",
        "RoleAssignmentLimitExceeded",
        advice="The subscription has reached its limit of 4,000 role assignments. Delete those of "
        "deleted principals.",
    ),
    row(
        "fail_fleet",
        "ImageNotFound PlatformImageNotFound MarketplacePurchaseEligibilityFailed "
        "VMMarketplaceInvalidInput",
        advice="Check image_publisher, image_offer, image_sku and image_version, and accept the "
        "image's terms.",
    ),
    row(
        "fail_fleet",
        text=r"^Parameter 'osProfile' is not allowed",
        label="ImageNotGeneralized",
        advice="The image in image_id is specialized. Use a generalized one: docs/images.md.",
    ),
    row(
        "fail_fleet",
        text=r"gallery image only supports creation of VMs",
        label="ImageNeedsSecurityType",
        advice="The app creates no VMs with this security type. Capture a VM with --security-type "
        "Standard, in an image definition with SecurityType=Standard: docs/images.md.",
    ),
    row(
        "unclear",
        text=r"\b(retry|try again) (later|in|after|the)\b|\bplease retry\b|\btransient\b",
        advice="Azure asks to retry, which the app did, in the request's placements. If it "
        "persists, submit again later.",
        **_UNCLEAR,
    ),
    row(
        "fail_fleet",
        "InvalidParameter InvalidRequestContent InvalidRequestFormat BadRequest "
        "MaxPriceValueInvalid EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines "
        "MaxPriceIsSupportedOnlyForAzureSpotVirtualMachines UnmatchedPrincipalType",
        advice="The request is invalid, and retrying cannot succeed. Correct it and submit again.",
    ),
    row(
        "unclear",
        advice="Unrecognised Azure error. The app retried, in the request's placements. "
        "Read Azure's message; if it persists, change zones, vm_size or location.",
        **_UNCLEAR,
    ),
)
