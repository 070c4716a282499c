"""The errors that a fault plan can inject, in Azure's own words.

Texts are copied from real responses where one was found (docs/fault-injection.md lists the sources).
`template_values` fills in each `$name` from the request.
"""

from __future__ import annotations

from dataclasses import replace

from local.azure.arm.errors import (
    ArmError,
    authorization_failed,
    invalid_reference,
    linked_authorization_failed,
    marked_for_deletion,
    nic_in_use,
    nic_reserved,
    resource_not_found,
)
from local.azure.faults.error_template import ErrorTemplate, template_of
from local.azure.faults.vm_errors import NAMED_VM_ERRORS, VM_ERRORS


def _quota(what: str, page: str) -> ErrorTemplate:
    # karpenter-provider-azure#192, cb-spider#1558, scylla-cluster-tests#4994
    return ErrorTemplate(
        "OperationNotAllowed",
        409,
        f"Operation could not be completed as it results in exceeding approved {what} quota. "
        "Additional details - Deployment Model: Resource Manager, Location: $location, Current "
        "Limit: $limit, Current Usage: $usage, Additional Required: $required, (Minimum) New Limit "
        "Required: $new_limit. Submit a request for Quota increase. Please read more about quota "
        f"limits at https://docs.microsoft.com/en-us/azure/azure-supportability/{page}-quota-requests",
    )


_OPERATION_IN_PROGRESS = "Another operation on this or dependent resource is in progress."
_FAMILY = _quota("$family Cores", "per-vm")

_COMPUTE_THROTTLED = ErrorTemplate(
    "OperationNotAllowed",
    429,
    "The server rejected the request because too many requests have been received for this "
    "subscription.",
    retry_after=60,
    details=(
        {
            "code": "TooManyRequests",
            "target": "$policy",
            "message": '{"operationGroup":"$policy","startTime":"$begin","endTime":"$end",'
            '"allowedRequestCount":$limit,"measuredRequestCount":$usage}',
        },
    ),
    wrapped=False,
)

_ERRORS = (
    # Quotas
    replace(_FAMILY, code="QuotaExceeded"),
    # Subscription
    ErrorTemplate("ReadOnlyDisabledSubscription", 409,
        "The subscription '$subscription' is disabled and therefore marked as read only. You cannot "
        "perform any write actions on this subscription until it is re-enabled.", cause="gateway"),
    ErrorTemplate("MissingSubscriptionRegistration", 409,
        "The subscription is not registered to use namespace '$namespace'. See "
        "https://aka.ms/rps-not-found for how to register subscriptions.", cause="gateway"),
    ErrorTemplate("SubscriptionNotRegistered", 409,
        "Subscription $subscription is not registered with '$namespace'."),
    ErrorTemplate("DeploymentQuotaExceeded", 409,
        "Creating the deployment would exceed the quota of '800'. The current deployment count is "
        "'800'. Please delete some deployments before creating a new one.", cause="gateway"),
    # Throttling
    ErrorTemplate("SubscriptionRequestsThrottled", 429,
        "Number of requests for subscription '$subscription' and operation '$operation' exceeded the "
        "backend storage limit. Please try again after '$seconds' seconds.",
        retry_after=6, cause="gateway"),
    ErrorTemplate("ResourceRequestsThrottled", 429,
        "Number of requests for $namespace exceeded the limit of '$limit' for time interval "
        "'$interval'. Please try again after '$seconds' seconds.",
        retry_after=5, cause="gateway"),
    replace(_COMPUTE_THROTTLED, code="TooManyRequests"),
    # Conflicting operations
    ErrorTemplate("RetryableError", 429, "A retryable error occurred.",
        details=(
            {
                "code": "ReferencedResourceNotProvisioned",
                "message": "Cannot proceed with operation because resource $subnet used by resource "
                "$id is not in Succeeded state. Resource is in Updating state and the last operation "
                "that updated/is updating the resource is $put_operation.",
            },
        )),
    ErrorTemplate("RetryableErrorDueToAnotherOperation", 429,
        f"{_OPERATION_IN_PROGRESS} To retrieve status of the operation use uri: $operation_uri."),
    ErrorTemplate("AnotherOperationInProgress", 409,
        f"{_OPERATION_IN_PROGRESS} To retrieve status of the operation use uri: $operation_uri."),
    ErrorTemplate("RequestConflict", 409,  # go-azure-sdk#889
        "Cannot proceed with operation because resource $id is not in Succeeded state."),
    ErrorTemplate("CanceledAndSupersededDueToAnotherOperation", 409,  # AzureTRE#3177
        "Operation $operation was canceled and superseded by another operation."),
    ErrorTemplate("OperationPreempted", 409,
        "The operation has been preempted by a more recent operation."),
    ErrorTemplate("Conflict", 409, _OPERATION_IN_PROGRESS),
    # Azure failures
    ErrorTemplate("RequestTimeout", 408, "The request timed out.", cause="gateway"),
    ErrorTemplate("InternalServerError", 500, "Encountered internal server error.", cause="gateway"),
    ErrorTemplate("BadGateway", 502, "The gateway got a bad answer.", cause="gateway"),
    ErrorTemplate("ServiceUnavailable", 503, "The service is temporarily unavailable.", cause="gateway"),
    ErrorTemplate("GatewayTimeout", 504,
        "The gateway did not receive a response from '$namespace' within the specified time period.",
        cause="gateway"),
    # Conflicts
    ErrorTemplate("PropertyChangeNotAllowed", 409,
        "Changing property 'osProfile.customData' is not allowed.", target="osProfile.customData"),
    template_of(nic_reserved("$vm_id")),
    template_of(nic_in_use("$id", "$vm_id")),
    ErrorTemplate("InUseSubnetCannotBeDeleted", 400,
        "Subnet $name is in use by $nic_id and cannot be deleted. In order to delete the subnet, "
        "delete all the resources within the subnet. See aka.ms/deletesubnet."),
    ErrorTemplate("InUseNetworkSecurityGroupCannotBeDeleted", 400,
        "Network security group $id cannot be deleted because it is in use by the following "
        "resources: $nic_id."),
    ErrorTemplate("UnsupportedForceDeletionResourceTypeInQueryString", 400,
        "The resource type '$type' in the query string does not support force deletion."),
    ErrorTemplate("ResourceGroupBeingDeleted", 409,
        "The resource group '$group' is in deprovisioning state and cannot perform this operation.",
        cause="gateway"),
    ErrorTemplate("ScopeLocked", 409,
        "The scope '$id' cannot perform write operation because following scope(s) are locked: "
        "'$scope'. Please remove the lock and try again.", cause="gateway"),
    ErrorTemplate("RequestDisallowedByPolicy", 403,
        "Resource '$name' was disallowed by policy.", cause="gateway"),
    # Missing resources
    ErrorTemplate("SubnetIsFull", 400,
        "Subnet $subnet_name with address prefix $prefix does not have enough capacity for 1 IP "
        "addresses."),
    ErrorTemplate("ResourceGroupNotFound", 404,
        "Resource group '$group' could not be found.", cause="gateway"),
    template_of(resource_not_found("$type", "$name", "$group")),
    ErrorTemplate("NotFound", 404, "Resource $id not found."),
    template_of(invalid_reference("$subnet", "$id")),
    ErrorTemplate("SubnetNotFound", 400, "Subnet $subnet_name is not found."),
    ErrorTemplate("ImageNotFound", 404, "The image '$image' was not found."),
    ErrorTemplate("PlatformImageNotFound", 404,
        "The platform image '$image' is not available. Verify that all fields in the storage profile "
        "are correct. For more details about storage profile information, please refer to "
        "https://aka.ms/storageprofile", target="imageReference"),
    # Invalid requests
    ErrorTemplate("BadRequest", 400, "The request is invalid."),
    ErrorTemplate("InvalidParameter", 400, "The value of parameter vmSize is invalid.", target="vmSize"),
    ErrorTemplate("InvalidRequestContent", 400,
        "The request content was invalid and could not be deserialized: 'Could not find member "
        "'hardware_profile' on object of type 'ResourceDefinition'.'.", cause="gateway"),
    ErrorTemplate("MarketplacePurchaseEligibilityFailed", 400,
        "Marketplace purchase eligibility check returned errors. See inner errors for details."),
    ErrorTemplate("VMMarketplaceInvalidInput", 400,
        "Creating a virtual machine from Marketplace image or a custom image sourced from a "
        "Marketplace image requires Plan information in the request. VM: '$id'."),
    # Authentication and authorization
    template_of(authorization_failed("$client", "$principal", "$action", "$id")),
    template_of(
        linked_authorization_failed(
            "$client", "$principal", "$action", "$id",
            "Microsoft.Network/networkInterfaces/join/action", "$nic_id",
        )
    ),
    ErrorTemplate("InvalidAuthenticationToken", 401, "The access token is invalid.",
        cause="gateway", challenge=True),
    ErrorTemplate("ExpiredAuthenticationToken", 401,
        "The access token expiry UTC time '$begin' is earlier than current UTC time '$end'.",
        cause="gateway", challenge=True),
    ErrorTemplate("AuthenticationFailed", 401,
        "Authentication failed. The 'Authorization' header is missing.",
        cause="gateway", challenge=True),
    # Roles (RBAC troubleshooting; avdaccelerator#76)
    ErrorTemplate("PrincipalNotFound", 400,
        "Principal $assignee does not exist in the directory $tenant. Check that you have the correct "
        "principal ID. If you are creating this principal and then immediately assigning a role, this "
        "error might be related to a replication delay. In this case, set the role assignment "
        "principalType property to a value, such as ServicePrincipal, User, or Group.  See "
        "https://aka.ms/docs-principaltype"),
    ErrorTemplate("RoleAssignmentExists", 409,
        "The role assignment already exists. The ID of the existing role assignment is "
        "$assignment."),
    ErrorTemplate("RoleAssignmentUpdateNotPermitted", 400,
        "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."),
    ErrorTemplate("RoleAssignmentLimitExceeded", 400, "No more role assignments can be created."),
    ErrorTemplate("UnmatchedPrincipalType", 400,
        "The PrincipalId '$assignee' has type 'ServicePrincipal', which is different from specified "
        "PrincipalType 'User'."),
    ErrorTemplate("HashConflictOfDifferentRoleAssignmentIds", 409,
        "There is a hash conflict for the role assignment ID '$name'. Please use a new Guid."),
)  # fmt: skip

_NAMED_ERRORS = {
    "FamilyQuota": _FAMILY,
    "RegionalQuota": _quota("Total Regional Cores", "regional"),
    "SpotQuota": _quota("LowPriorityCores", "low-priority"),
    "VirtualMachinesQuota": _quota("Virtual Machines", "regional"),
    "CrpThrottled": _COMPUTE_THROTTLED,
    "AttachedToVm": ErrorTemplate("OperationNotAllowed", 409, "Disk $name is attached to VM $vm_id."),
    "MarkedForDeletion": template_of(marked_for_deletion("createOrUpdate", "$vm")),
}  # fmt: skip

AZURE_ERRORS: dict[str, ErrorTemplate] = {
    **{one.code: one for one in (*_ERRORS, *VM_ERRORS)},
    **_NAMED_ERRORS,
    **NAMED_VM_ERRORS,
}
"""Keyed by the name in a plan: Azure's code, or our own name where a code has several meanings."""


def azure_error(name: str, /, **values: str) -> ArmError:
    """An error of the providers that a plan can inject, too; `values` are those of its placeholders."""
    return AZURE_ERRORS[name].render(values, None)
