"""Who submits a fleet: an idempotency key is unique for each of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import azure.functions as func

from fleet.secrets import Seal


@dataclass(frozen=True, slots=True)
class Caller:
    """A signed-in principal, or the bearer of a function key, or a door by its name."""

    name: str = "anonymous"
    function_key: str = field(default="", repr=False)

    def digests(self, seal: Seal) -> Sequence[str]:
        """What may be stored and shown: one text per sealing key, the newest first."""
        if not self.function_key:
            return [self.name]
        return [f"key-{digest[:12]}" for digest in seal.fingerprints(self.function_key)]


QUEUE = Caller("queue")


def of_request(req: func.HttpRequest) -> Caller:
    """The caller of an HTTP request, whom the host has let in.

    The platform removes a client's own X-MS-CLIENT-PRINCIPAL headers where its authentication is on.
    """
    principal = req.headers.get("X-MS-CLIENT-PRINCIPAL-ID")
    if principal and os.environ.get("WEBSITE_AUTH_ENABLED", "").lower() == "true":
        return Caller(f"principal-{principal[:100]}")
    # The host prefers the header as well.
    key = req.headers.get("x-functions-key") or req.params.get("code")
    return Caller(function_key=key) if key else Caller()
