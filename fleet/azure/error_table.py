"""What each Azure error means: one ordered table, first match wins.

Codes, texts and actions: the REST references' error pages and what Karpenter, dstack, Terraform
and Taskcluster learned of them. A new code is one row here and one test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from fleet.model.records import Action, Failure
from fleet.secrets import SealBroken
from fleet.store.database import DatabaseUnreachable

MESSAGE_LIMIT = 400
"""Characters of Azure's words that we keep: a durable history holds one per attempt."""


HOUR = 3600.0
QUOTA_HOLD = 600.0
"""Somebody else's VMs may go meanwhile; Karpenter holds as long."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of failure. An empty condition matches everything."""

    action: Action
    advice: str
    codes: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    text: re.Pattern[str] | None = field(default=None)
    label: str = ""
    """Our own code, where Azure has one code for several things."""
    scope: str = ""
    cool_down: float = 0.0
    passing: bool = False

    def matches(self, code: str, status: int, message: str) -> bool:
        return (
            (not self.codes or code in self.codes)
            and (not self.statuses or status in self.statuses)
            and (self.text is None or bool(self.text.search(message)))
        )


def _row(action: Action, codes: str = "", *, status: str = "", text: str = "", **more: Any) -> Row:
    return Row(
        action,
        more.pop("advice", ""),
        frozenset(codes.split()),
        frozenset(map(int, status.split())),
        re.compile(text, re.IGNORECASE) if text else None,
        **more,
    )


TOKENS = ("InvalidAuthenticationToken", "ExpiredAuthenticationToken")
"""Codes that a new token may cure."""
ENTRA_PASSING = frozenset({"50196", "90006", "90012", "90024", "90033", "90055"})
"""Entra's errors that pass: loops, timeouts, throttling, a part that is down (Microsoft's page of
AADSTS codes). Any other says that the credentials, the tenant or a policy must change."""
_ENTRA = re.compile(r"AADSTS(\d+)")
_MORE_QUOTA = "Ask for more quota (portal: Quotas), or for fewer or smaller VMs, or list fallbacks."
_ELSEWHERE = "Try later, or let the request list more zones or fallbacks."

TABLE: tuple[Row, ...] = (
    # By status first: at 429 OperationNotAllowed is throttling, at 409 it is quota.
    _row("wait", status="429", advice="Azure asks us to go slower; we wait as long as it says."),
    _row(
        "retry",
        status="408 500 502 503 504",
        passing=True,
        advice="Azure had a fault; we try again.",
    ),
    _row("succeed", "RoleAssignmentExists"),
    _row(
        "retry",
        "InvalidAuthenticationToken ExpiredAuthenticationToken",
        advice="We ask for a new token. If that does not help: check tenant_id and client_id.",
    ),
    _row(
        "retry",
        "PrincipalNotFound",
        advice="A new identity takes seconds, at times minutes, to be known everywhere; we try "
        "again. For the client user: client_principal_id must be an object id.",
    ),
    _row(
        "retry",
        "RetryableError RetryableErrorDueToAnotherOperation AnotherOperationInProgress "
        "OperationPreempted Conflict ReferencedResourceNotProvisioned NicInUse "
        "InUseSubnetCannotBeDeleted InUseNetworkSecurityGroupCannotBeDeleted",
        advice="Another operation holds this resource; we try again.",
    ),
    _row(
        "replace",
        "OperationNotAllowed",
        text="marked for deletion",
        label="MarkedForDeletion",
        advice="Somebody deletes this VM; we ask for another.",
    ),
    _row(
        "retry",
        "OperationNotAllowed",
        text="attached to VM",
        label="StillAttached",
        advice="The VM that holds it goes first; we try again.",
    ),
    # All quotas share a code. In Karpenter's order: spot, family, then the region's total.
    _row(
        "move",
        "OperationNotAllowed QuotaExceeded",
        text="LowPriority|Spot",
        label="SpotQuotaExceeded",
        scope="location priority",
        cool_down=HOUR,
        advice=_MORE_QUOTA,
    ),
    _row(
        "move",
        "OperationNotAllowed QuotaExceeded",
        text="Total Regional",
        label="RegionalQuotaExceeded",
        scope="location priority",
        cool_down=QUOTA_HOLD,
        advice=_MORE_QUOTA,
    ),
    _row(
        "move",
        "OperationNotAllowed QuotaExceeded",
        text="approved Virtual ?Machines",
        label="VirtualMachinesQuotaExceeded",
        scope="location",
        cool_down=QUOTA_HOLD,
        advice=_MORE_QUOTA,
    ),
    _row(
        "move",
        "OperationNotAllowed QuotaExceeded",
        text=r"quota.*Current Limit: 0\b",
        label="FamilyQuotaExceeded",
        scope="location priority family",
        cool_down=HOUR,
        advice=_MORE_QUOTA,
    ),
    _row(
        "move",
        "OperationNotAllowed QuotaExceeded",
        text="quota|cores",
        label="FamilyQuotaExceeded",
        scope="location priority family vcpus",  # smaller sizes of the family may still fit
        cool_down=QUOTA_HOLD,
        advice=_MORE_QUOTA,
    ),
    # Karpenter holds it for 23 h; two recorded answers show that it is capacity, which comes back.
    _row(
        "move",
        "SkuNotAvailable",
        scope="location zone vm_size priority",
        cool_down=HOUR,
        advice=f"Azure does not offer this size here now. {_ELSEWHERE}",
    ),
    _row(
        "move",
        "NotAvailableForSubscription",
        scope="location zone vm_size",
        cool_down=24 * HOUR,
        advice="Ask Azure to open this size to the subscription, or choose another.",
    ),
    _row(
        "move",
        "ZonalAllocationFailed AllocationFailed",
        scope="location zone vm_size",
        cool_down=HOUR,
        passing=True,
        advice=f"Azure has no room for this size here now. {_ELSEWHERE}",
    ),
    _row(
        "move",
        "OverconstrainedZonalAllocationRequest",
        scope="location zone vm_size priority",
        cool_down=HOUR,
        passing=True,
        advice=f"Azure has no room for this size in this zone now. {_ELSEWHERE}",
    ),
    _row(
        "move",
        "OverconstrainedAllocationRequest",
        scope="location vm_size priority",
        cool_down=HOUR,
        passing=True,
        advice="Azure has no room for this combination: drop ephemeral_os_disk, or change vm_size.",
    ),
    _row(
        "move",
        "SpotEvicted",
        scope="location zone vm_size priority",
        cool_down=HOUR,
        passing=True,
        advice="Azure took the Spot VM back. List a fallback with priority Regular to be sure.",
    ),
    _row(
        "move",
        "VmLost",
        advice="Look at the resource group's activity log; the VM's trial went back to the queue.",
    ),
    _row(
        "move",
        "SpotPriceGreaterThanProvidedMaxPrice",
        scope="location vm_size priority",
        cool_down=HOUR,
        advice="Raise max_price, or leave it out: then the on-demand price is the limit.",
    ),
    _row(
        "move",
        "AzureSpotIsNotSupportedForThisVMSize",
        scope="vm_size priority",
        cool_down=24 * HOUR,
        advice="Choose another vm_size, or priority Regular.",
    ),
    _row(
        "move",
        "SubnetIsFull",
        scope="location",
        cool_down=QUOTA_HOLD,
        advice="The subnet has no free address: use a larger one, or ask for fewer VMs.",
    ),
    _row(
        "move",
        "InvalidAvailabilityZone",
        scope="location zone",
        cool_down=24 * HOUR,
        advice="The location has no such zone: change zones.",
    ),
    _row(
        "move",
        "LocationNotAvailableForResourceType",
        scope="location",
        cool_down=24 * HOUR,
        advice="The subscription cannot use this location: choose another.",
    ),
    _row(
        "move",
        "InvalidParameter",
        text="VM size",
        label="SizeNotInLocation",
        scope="location vm_size",
        cool_down=24 * HOUR,
        advice="The location has no such vm_size: choose another.",
    ),
    _row(
        "replace",
        "OSProvisioningTimedOut",
        advice="The VM did not start in time: check that the image runs on this size.",
    ),
    _row(
        "replace",
        "InternalExecutionError VMExtensionProvisioningError VMAgentStatusCommunicationError "
        "ProvisioningFailed BootTimedOut",
        advice="Azure could not bring the VM up; we ask for another.",
    ),
    _row(
        "replace",
        "NicReservedForAnotherVm PropertyChangeNotAllowed ConflictingUserInput",
        advice="A name that we wanted is taken by what is left of another VM; we take a new one.",
    ),
    _row(
        "replace",
        "InvalidResourceReference",
        text=r"^Resource \S+/networkInterfaces/",
        label="NicGone",
        advice="Somebody deleted the VM's network interface; we ask for another VM.",
    ),
    _row(
        "fail_fleet",
        "ResourceGroupNotFound SubscriptionNotFound ResourceGroupBeingDeleted "
        "InvalidResourceReference SubnetNotFound",
        advice="Create what is missing, or name another one, and submit again.",
    ),
    _row(
        "fail_fleet",
        "AuthorizationFailed LinkedAuthorizationFailed",
        advice="Give the app's identity the roles that the deployment guide lists.",
    ),
    _row(
        "fail_fleet",
        "AuthenticationFailed",
        advice="Check tenant_id, client_id and client_secret, or the app's identity.",
    ),
    _row(
        "fail_fleet",
        "MissingSubscriptionRegistration SubscriptionNotRegistered",
        advice="Register the named provider in the subscription: az provider register -n ...",
    ),
    _row(
        "fail_fleet",
        "RequestDisallowedByPolicy ScopeLocked ReadOnlyDisabledSubscription",
        advice="A policy or a lock forbids it: talk to whoever runs the subscription.",
    ),
    _row(
        "fail_fleet",
        "RoleAssignmentLimitExceeded",
        advice="The subscription is full of role assignments (4,000): delete those of principals "
        "that are gone.",
    ),
    _row(
        "fail_fleet",
        "ImageNotFound PlatformImageNotFound MarketplacePurchaseEligibilityFailed "
        "VMMarketplaceInvalidInput",
        advice="Check image_publisher, image_offer, image_sku and image_version, and its terms.",
    ),
    _row(
        "fail_fleet",
        "InvalidParameter InvalidRequestContent InvalidRequestFormat BadRequest "
        "MaxPriceValueInvalid EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines "
        "MaxPriceIsSupportedOnlyForAzureSpotVirtualMachines UnmatchedPrincipalType",
        advice="Azure will refuse this however often it is asked: change it and submit again.",
    ),
    _row("fail_machine", advice="This answer is not known to us; the VM is given up."),
)


def describe(error: BaseException) -> Failure:
    """Any error as a failure record. Never raises; never holds a secret or more than a few lines."""
    match error:
        case ClientAuthenticationError() if _is_matter_of_time(error):
            words = " ".join(_message(error).split())
            advice = "If it goes on: see that the app has its identity, and that Entra answers it."
            found = failure("TokenUnavailable", words, "retry", advice, _retry_after(error))
            return {**found, "passing": True}
        case ClientAuthenticationError():
            # Entra's own errors have no code, or one of many; to us they are all the same.
            code, status = _code(error) or "", 401
            code = code if code in TOKENS else "AuthenticationFailed"
        case HttpResponseError():
            code, status = _code(error) or f"Http{error.status_code}", error.status_code or 0
        case ServiceRequestError() | ServiceResponseError() | TimeoutError():
            code, status = "ConnectionFailed", 503
        case SealBroken():
            return failure("SealBroken", str(error), "fail_fleet", "See the message.")
        case DatabaseUnreachable():
            advice = "Check the request's uri or the setting POWERLIFT_DB_URI, and the firewall."
            return failure("DatabaseUnreachable", str(error), "retry", advice)
        case AzureError():
            code, status = type(error).__name__, 0
        case _:
            # The text of an unknown exception may hold anything, a connection string included.
            return failure(
                type(error).__name__,
                "An error that the app did not expect; its log has the traceback.",
                "fail_machine",
                "Read the app's log; if it is a fault of ours, report it.",
            )
    return _looked_up(code, status, _message(error), _retry_after(error))


def explain(code: str, message: str) -> Failure:
    """Why Azure could not bring a VM up that it had accepted: the words of its instance view.

    The operation is over, so what would be tried again is a matter of another VM.
    """
    found = _looked_up(code, 0, message, None)
    if found["action"] in ("succeed", "wait", "retry"):
        found["action"] = "replace"
    return found


def _looked_up(code: str, status: int, text: str, retry_after: float | None) -> Failure:
    message = " ".join(text.split())
    row = next(row for row in TABLE if row.matches(code, status, message))
    if row.label:
        message = f"{code}: {message}"
    return {
        **failure(row.label or code, message, row.action, row.advice, retry_after),
        "scope": row.scope,
        "cool_down": row.cool_down,
        "passing": row.passing,
    }


def failure(
    code: str, message: str, action: Action, advice: str, retry_after: float | None = None
) -> Failure:
    """A failure record, with its message cut to MESSAGE_LIMIT characters."""
    return {
        "code": code,
        "message": message[:MESSAGE_LIMIT],
        "action": action,
        "advice": advice,
        "retry_after": retry_after,
        "scope": "",
        "cool_down": 0.0,
        "passing": False,
    }


def _is_matter_of_time(error: ClientAuthenticationError) -> bool:
    """Whether a token was not to be had, and may be later.

    Entra numbers its errors. Without a number nobody answered, or what gives the app its identity.
    """
    numbers = set(_ENTRA.findall(_message(error)))
    if numbers:
        return numbers <= ENTRA_PASSING
    status = error.status_code
    return status is None or status == 429 or status >= 500


def _code(error: HttpResponseError) -> str | None:
    return getattr(error.error, "code", None)


def _message(error: BaseException) -> str:
    detail = getattr(getattr(error, "error", None), "message", None)
    return str(detail or getattr(error, "message", None) or error)


def _retry_after(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):  # absent, or a date: our own backoff serves as well
        return None
