"""From any exception to a failure record, by the error table."""

from __future__ import annotations

import re

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from fleet.azure.error_table import TABLE
from fleet.model import failure_policy
from fleet.model.failure import DescribedError, failure, look_up
from fleet.model.records import Failure

TOKENS = ("InvalidAuthenticationToken", "ExpiredAuthenticationToken")
"""Codes that a new token may cure."""
ENTRA_PASSING = frozenset({"50196", "90006", "90012", "90024", "90033", "90055"})
"""Entra's errors that pass: loops, timeouts, throttling, a part that is down (Microsoft's page of
AADSTS codes). Any other says that the credentials, the tenant or a policy must change."""
_ENTRA = re.compile(r"AADSTS(\d+)")


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
        case DescribedError():
            return error.failure
        case AzureError():
            code, status = type(error).__name__, 0
        case _:
            # The text of an unknown exception may hold anything, a connection string included.
            return failure(
                type(error).__name__,
                "An error that the app did not expect; its log has the traceback.",
                "fail_vm",
                "Read the app's log; if it is a fault of ours, report it.",
            )
    return look_up(TABLE, code, _message(error), status=status, retry_after=_retry_after(error))


def explain(code: str, message: str) -> Failure:
    """Why Azure could not bring a VM up that it had accepted: the words of its instance view.

    The operation is over, so what would be tried again is a matter of another VM.
    """
    return failure_policy.after_acceptance(look_up(TABLE, code, message))


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
