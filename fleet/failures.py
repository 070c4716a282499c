"""What each Azure error means: one ordered table, first match wins.

Codes, texts and actions: the REST references' error pages and what Karpenter, dstack, Terraform
and Taskcluster learned of them. A new code is one row here and one test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from fleet.records import Action, Failure
from fleet.secrets import SealBroken
from fleet.trials import DatabaseUnreachable

MESSAGE_LIMIT = 400
"""Characters of Azure's words that we keep: a durable history holds one per attempt."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of failure. An empty condition matches everything."""

    action: Action
    advice: str
    codes: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    text: re.Pattern[str] | None = field(default=None)

    def matches(self, code: str, status: int, message: str) -> bool:
        return (
            (not self.codes or code in self.codes)
            and (not self.statuses or status in self.statuses)
            and (self.text is None or bool(self.text.search(message)))
        )


def _row(
    action: Action, codes: str = "", *, status: str = "", text: str = "", advice: str = ""
) -> Row:
    return Row(
        action,
        advice,
        frozenset(codes.split()),
        frozenset(map(int, status.split())),
        re.compile(text, re.IGNORECASE) if text else None,
    )


_AUTHENTICATION = "AuthenticationFailed InvalidAuthenticationToken ExpiredAuthenticationToken"

TABLE: tuple[Row, ...] = (
    # By status first: at 429 OperationNotAllowed is throttling, at 409 it is quota.
    _row("wait", status="429", advice="Azure asks us to go slower; we wait as long as it says."),
    _row("retry", status="408 500 502 503 504", advice="Azure had a fault; we try again."),
    _row("succeed", "RoleAssignmentExists"),
    _row(
        "retry",
        "PrincipalNotFound",
        advice="A new identity takes seconds, at times minutes, to be known everywhere; we try "
        "again. For the client user: client_principal_id must be an object id.",
    ),
    _row(
        "retry",
        "RetryableError RetryableErrorDueToAnotherOperation AnotherOperationInProgress "
        "OperationPreempted ReferencedResourceNotProvisioned NicReservedForAnotherVm",
        advice="Another operation holds this resource; we try again.",
    ),
    _row(
        "retry",
        "OperationNotAllowed",
        text="marked for deletion",
        advice="The VM is being deleted; we try again.",
    ),
    _row(
        "fail_machine",
        "OperationNotAllowed QuotaExceeded",
        text="quota|cores",
        advice="Ask for more quota (portal: Quotas), or for fewer or smaller VMs.",
    ),
    _row(
        "fail_machine",
        "SkuNotAvailable",
        advice="Azure does not offer this size here now: choose another vm_size, zone or location.",
    ),
    _row(
        "fail_machine",
        "AllocationFailed ZonalAllocationFailed OverconstrainedAllocationRequest "
        "OverconstrainedZonalAllocationRequest",
        advice="Azure has no room for this size here now: try later, or another zone or vm_size.",
    ),
    _row(
        "fail_machine", "SubnetIsFull", advice="The subnet has no free address: use a larger one."
    ),
    _row(
        "fail_machine",
        "OSProvisioningTimedOut",
        advice="The VM did not start in time: check that the image runs on this size.",
    ),
    _row(
        "fail_fleet",
        "ResourceGroupNotFound SubscriptionNotFound ResourceGroupBeingDeleted "
        "InvalidResourceReference",
        advice="Create what is missing, or name another one, and submit again.",
    ),
    _row(
        "fail_fleet",
        "AuthorizationFailed LinkedAuthorizationFailed",
        advice="Give the app's identity the roles that the deployment guide lists.",
    ),
    _row(
        "fail_fleet",
        _AUTHENTICATION,
        advice="Check tenant_id, client_id and client_secret, or the app's identity.",
    ),
    _row(
        "fail_fleet",
        "InvalidParameter InvalidRequestContent InvalidRequestFormat BadRequest ImageNotFound "
        "PlatformImageNotFound RequestDisallowedByPolicy ScopeLocked ReadOnlyDisabledSubscription "
        "MissingSubscriptionRegistration SubscriptionNotRegistered RoleAssignmentLimitExceeded "
        "UnmatchedPrincipalType",
        advice="Azure will refuse this however often it is asked: change it and submit again.",
    ),
    _row("fail_machine", advice="This answer is not known to us; the VM is given up."),
)


def describe(error: BaseException) -> Failure:
    """Any error as a failure record. Never raises; never holds a secret or more than a few lines."""
    match error:
        case ClientAuthenticationError():
            # Entra's own errors have no code, or one of many; to us they are all the same.
            code, status = _code(error) or "", 401
            code = code if code in _AUTHENTICATION.split() else "AuthenticationFailed"
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
    message = " ".join(_message(error).split())
    row = next(row for row in TABLE if row.matches(code, status, message))
    return failure(code, message, row.action, row.advice, _retry_after(error))


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
    }


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
