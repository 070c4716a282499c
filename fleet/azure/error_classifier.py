"""Classifies exceptions as failure records, by the error table."""

from __future__ import annotations

import math
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
from fleet.model.failure import DescribedError, failure, join, look_up
from fleet.model.records import Failure

TOKEN_ERRORS = ("InvalidAuthenticationToken", "ExpiredAuthenticationToken")
"""Codes that a new token may resolve."""
ENTRA_TRANSIENT = frozenset({"50196", "90006", "90012", "90024", "90033", "90055"})
"""Transient AADSTS codes: loops, timeouts, throttling and outages (Microsoft's list of AADSTS codes).
All others require a change of credentials, tenant or policy."""
LONGEST_RETRY_AFTER = 3600.0
"""Seconds. Azure asks for minutes; a broken proxy may ask for anything."""
_ENTRA = re.compile(r"AADSTS(\d+)")


def describe(error: BaseException) -> Failure:
    """Convert any error to a failure record. Never raises. The record is short and has no secret."""
    match error:
        case ClientAuthenticationError() if _is_transient(error):
            advice = "If the error persists, check the app's managed identity."
            found = failure(
                "TokenUnavailable", _message(error), "retry", advice, _retry_after(error)
            )
            return {**found, "passing": True}
        case ClientAuthenticationError():
            # Entra errors have many codes or none; all of them have the same remedy.
            code, status = code_of(error) or "", 401
            code = code if code in TOKEN_ERRORS else "AuthenticationFailed"
        case HttpResponseError() if (error.status_code or 0) < 400:
            # A response that could not be read: the request may have taken effect.
            code, status = "ConnectionFailed", 503
        case HttpResponseError():
            code, status = code_of(error) or f"Http{error.status_code}", error.status_code or 0
        case ServiceRequestError() | ServiceResponseError() | TimeoutError():
            code, status = "ConnectionFailed", 503
        case DescribedError():
            return error.failure
        case AzureError():
            code, status = type(error).__name__, 0
        case _:
            # The message of an unknown exception may contain a secret.
            return failure(
                type(error).__name__,
                "Unexpected error. The app's log has the traceback.",
                "fail_vm",
                "Check the app's log, and report the error if it is a bug.",
            )
    return look_up(TABLE, code, _message(error), status=status, retry_after=_retry_after(error))


def explain(code: str, message: str) -> Failure:
    """The failure of a VM that Azure accepted and could not provision, from its instance view.

    A retryable error becomes a replacement: the operation has completed and cannot be retried.
    """
    return failure_policy.after_acceptance(look_up(TABLE, code, message))


def _is_transient(error: ClientAuthenticationError) -> bool:
    """Whether a later token request may succeed.

    An error without an AADSTS code is a connection error, or comes from the managed identity endpoint.
    A fault of Entra's servers is one whatever the code says.
    """
    status = error.status_code
    if status is not None and (status == 429 or status >= 500):
        return True
    numbers = set(_ENTRA.findall(_message(error)))
    return numbers <= ENTRA_TRANSIENT if numbers else status is None


def code_of(error: HttpResponseError) -> str | None:
    """Azure's code, if the response has one."""
    return getattr(error.error, "code", None)


def _message(error: BaseException) -> str:
    """Azure's message and those of its details, which may name the cause; those in JSON are for
    programs.
    """
    found = getattr(error, "error", None)
    main = getattr(found, "message", None) or getattr(error, "message", None) or error
    details = [str(one.message or "") for one in getattr(found, "details", None) or ()]
    return join([str(main), *(one for one in details if not one.startswith("{"))])


def _retry_after(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        seconds = float(headers["Retry-After"])
    except (KeyError, ValueError):  # absent, or a date: the default backoff applies
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER) if math.isfinite(seconds) else None
