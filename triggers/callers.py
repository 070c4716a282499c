"""The authenticated caller of a submission. Idempotency keys are unique per caller."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import azure.functions as func

from fleet.secrets import Seal


@dataclass(frozen=True, slots=True)
class Caller:
    """A signed-in principal, the holder of a function key, or the queue."""

    name: str = "anonymous"
    function_key: str = field(default="", repr=False)

    def digests(self, seal: Seal) -> Sequence[str]:
        """What may be stored and shown: one text per sealing key, the newest first."""
        if not self.function_key:
            return [self.name]
        return [f"key-{digest[:12]}" for digest in seal.fingerprints(self.function_key)]


QUEUE = Caller("queue")


def of_request(req: func.HttpRequest) -> Caller:
    """The caller of an HTTP request, which the host has authorized.

    The platform removes a client's own X-MS-CLIENT-PRINCIPAL headers where its authentication is on.
    """
    principal = req.headers.get("X-MS-CLIENT-PRINCIPAL-ID")
    if principal and os.environ.get("WEBSITE_AUTH_ENABLED", "").lower() == "true":
        return Caller(f"principal-{principal[:100]}")
    # As the host does it: the header first, and the parameter in any case.
    codes = [value for name, value in req.params.items() if name.lower() == "code"]
    key = req.headers.get("x-functions-key") or next(iter(codes), "")
    return Caller(function_key=key) if key else Caller()
