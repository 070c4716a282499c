"""What each Azure error means: one ordered table, first match wins.

Codes, texts and actions: the REST references' error pages and what Karpenter, dstack, Terraform
and Taskcluster learned of them. A new code is one row here and one test.
"""

from __future__ import annotations

from fleet.model.failure import HOUR, NOT_PROVISIONED, SPOT_EVICTED, VM_LOST, Row, row

QUOTA_HOLD = 600.0
"""Somebody else's VMs may go meanwhile; Karpenter holds as long."""

_MORE_QUOTA = "Ask for more quota (portal: Quotas), or for fewer or smaller VMs, or list fallbacks."
_ELSEWHERE = "Try later, or let the request list more zones or fallbacks."

TABLE: tuple[Row, ...] = (
    # By status first: at 429 OperationNotAllowed is throttling, at 409 it is quota.
    row("wait", status="429", advice="Azure asks us to go slower; we wait as long as it says."),
    row(
        "retry",
        status="408 500 502 503 504",
        passing=True,
        advice="Azure had a fault; we try again.",
    ),
    row("succeed", "RoleAssignmentExists"),
    row(
        "retry",
        "InvalidAuthenticationToken ExpiredAuthenticationToken",
        advice="We ask for a new token. If that does not help: check tenant_id and client_id.",
    ),
    row(
        "retry",
        "PrincipalNotFound",
        advice="A new identity takes seconds, at times minutes, to be known everywhere; we try "
        "again. For the client user: client_principal_id must be an object id.",
    ),
    row(
        "retry",
        "RetryableError RetryableErrorDueToAnotherOperation AnotherOperationInProgress "
        "OperationPreempted Conflict ReferencedResourceNotProvisioned NicInUse "
        "InUseSubnetCannotBeDeleted InUseNetworkSecurityGroupCannotBeDeleted",
        advice="Another operation holds this resource; we try again.",
    ),
    row(
        "replace",
        "OperationNotAllowed",
        text="marked for deletion",
        label="MarkedForDeletion",
        advice="Somebody deletes this VM; we ask for another.",
    ),
    row(
        "retry",
        "OperationNotAllowed",
        text="attached to VM",
        label="StillAttached",
        advice="The VM that holds it goes first; we try again.",
    ),
    # All quotas share a code. In Karpenter's order: spot, family, then the region's total.
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
    # Karpenter holds it for 23 h; two recorded answers show that it is capacity, which comes back.
    row(
        "move",
        "SkuNotAvailable",
        scope="location zone vm_size priority",
        cool_down=HOUR,
        advice=f"Azure does not offer this size here now. {_ELSEWHERE}",
    ),
    row(
        "move",
        "NotAvailableForSubscription",
        scope="location zone vm_size",
        cool_down=24 * HOUR,
        advice="Ask Azure to open this size to the subscription, or choose another.",
    ),
    row(
        "move",
        "ZonalAllocationFailed AllocationFailed",
        scope="location zone vm_size",
        cool_down=HOUR,
        passing=True,
        advice=f"Azure has no room for this size here now. {_ELSEWHERE}",
    ),
    row(
        "move",
        "OverconstrainedZonalAllocationRequest",
        scope="location zone vm_size priority",
        cool_down=HOUR,
        passing=True,
        advice=f"Azure has no room for this size in this zone now. {_ELSEWHERE}",
    ),
    row(
        "move",
        "OverconstrainedAllocationRequest",
        scope="location vm_size priority",
        cool_down=HOUR,
        passing=True,
        advice="Azure has no room for this combination: drop ephemeral_os_disk, or change vm_size.",
    ),
    SPOT_EVICTED,
    VM_LOST,
    row(
        "move",
        "SpotPriceGreaterThanProvidedMaxPrice",
        scope="location vm_size priority",
        cool_down=HOUR,
        advice="Raise max_price, or leave it out: then the on-demand price is the limit.",
    ),
    row(
        "move",
        "AzureSpotIsNotSupportedForThisVMSize",
        scope="vm_size priority",
        cool_down=24 * HOUR,
        advice="Choose another vm_size, or priority Regular.",
    ),
    row(
        "move",
        "SubnetIsFull",
        scope="location",
        cool_down=QUOTA_HOLD,
        advice="The subnet has no free address: use a larger one, or ask for fewer VMs.",
    ),
    row(
        "move",
        "InvalidAvailabilityZone",
        scope="location zone",
        cool_down=24 * HOUR,
        advice="The location has no such zone: change zones.",
    ),
    row(
        "move",
        "LocationNotAvailableForResourceType",
        scope="location",
        cool_down=24 * HOUR,
        advice="The subscription cannot use this location: choose another.",
    ),
    row(
        "move",
        "InvalidParameter",
        text="VM size",
        label="SizeNotInLocation",
        scope="location vm_size",
        cool_down=24 * HOUR,
        advice="The location has no such vm_size: choose another.",
    ),
    row(
        "replace",
        "OSProvisioningTimedOut",
        advice="The VM did not start in time: check that the image runs on this size.",
    ),
    NOT_PROVISIONED,
    row(
        "replace",
        "NicReservedForAnotherVm PropertyChangeNotAllowed ConflictingUserInput",
        advice="A name that we wanted is taken by what is left of another VM; we take a new one.",
    ),
    row(
        "replace",
        "InvalidResourceReference",
        text=r"^Resource \S+/networkInterfaces/",
        label="NicGone",
        advice="Somebody deleted the VM's network interface; we ask for another VM.",
    ),
    row(
        "fail_fleet",
        "ResourceGroupNotFound SubscriptionNotFound ResourceGroupBeingDeleted "
        "InvalidResourceReference SubnetNotFound",
        advice="Create what is missing, or name another one, and submit again.",
    ),
    row(
        "fail_fleet",
        "AuthorizationFailed LinkedAuthorizationFailed",
        advice="Give the app's identity the roles that the deployment guide lists.",
    ),
    row(
        "fail_fleet",
        "AuthenticationFailed",
        advice="Check tenant_id, client_id and client_secret, or the app's identity.",
    ),
    row(
        "fail_fleet",
        "MissingSubscriptionRegistration SubscriptionNotRegistered",
        advice="Register the named provider in the subscription: az provider register -n ...",
    ),
    row(
        "fail_fleet",
        "RequestDisallowedByPolicy ScopeLocked ReadOnlyDisabledSubscription",
        advice="A policy or a lock forbids it: talk to whoever runs the subscription.",
    ),
    row(
        "fail_fleet",
        "RoleAssignmentLimitExceeded",
        advice="The subscription is full of role assignments (4,000): delete those of principals "
        "that are gone.",
    ),
    row(
        "fail_fleet",
        "ImageNotFound PlatformImageNotFound MarketplacePurchaseEligibilityFailed "
        "VMMarketplaceInvalidInput",
        advice="Check image_publisher, image_offer, image_sku and image_version, and its terms.",
    ),
    row(
        "fail_fleet",
        "InvalidParameter InvalidRequestContent InvalidRequestFormat BadRequest "
        "MaxPriceValueInvalid EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines "
        "MaxPriceIsSupportedOnlyForAzureSpotVirtualMachines UnmatchedPrincipalType",
        advice="Azure will refuse this however often it is asked: change it and submit again.",
    ),
    row("fail_vm", advice="This answer is not known to us; the VM is given up."),
)
