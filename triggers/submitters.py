"""The authenticated submitter of a fleet. Idempotency keys are unique per submitter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import azure.functions as func

from fleet.secrets import Seal


@dataclass(frozen=True, slots=True)
class Submitter:
    """A signed-in principal, the holder of a function key, or the queue."""

    name: str = "anonymous"
    function_key: str = field(default="", repr=False)

    def digests(self, seal: Seal) -> Sequence[str]:
        """The texts to store and show: one per sealing key, the newest first."""
        if not self.function_key:
            return [self.name]
        return [f"key-{digest[:12]}" for digest in seal.fingerprints(self.function_key)]


QUEUE = Submitter("queue")


def of_request(req: func.HttpRequest) -> Submitter:
    """The submitter of an HTTP request, which the host has authorized.

    If App Service authentication is on, it removes X-MS-CLIENT-PRINCIPAL headers that a client sends.
    """
    principal = req.headers.get("X-MS-CLIENT-PRINCIPAL-ID")
    if principal and os.environ.get("WEBSITE_AUTH_ENABLED", "").lower() == "true":
        return Submitter(f"principal-{principal[:100]}")
    # As in the host: the header takes precedence, and the parameter's case is ignored.
    codes = [value for name, value in req.params.items() if name.lower() == "code"]
    key = req.headers.get("x-functions-key") or next(iter(codes), "")
    return Submitter(function_key=key) if key else Submitter()
