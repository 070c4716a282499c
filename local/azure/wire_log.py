"""The wire log: every request and its response, one JSON object per line, secrets redacted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.azure.arm.calls import Reply, Request

_SECRETS = frozenset(("client_secret", "customdata", "adminpassword", "userdata", "sig"))
_SECRET_HEADERS = ("authorization", "x-identity-header")
_LOGGED_RESPONSE_HEADERS = ("Azure-AsyncOperation", "Location", "Retry-After")


class WireLog:
    """Appends to `wire.jsonl`. Each line is written before the client gets its response."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._count = 0

    def number(self) -> int:
        """The number of the next request, in order of arrival."""
        self._count += 1
        return self._count

    def write(
        self, number: int, request: Request, reply: Reply, *, at: float, answered: float
    ) -> None:
        """Log an exchange. Times are simulated seconds since the start."""
        effects = request.effects
        line = {
            "n": number,
            "at": round(at, 4),
            "answered": round(answered, 4),
            "method": request.method,
            "path": request.path,
            "query": redact(request.query),
            "headers": {k: v for k, v in request.headers.items() if k not in _SECRET_HEADERS},
            "body": redact(request.body),
            "status": reply.status,
            "response_headers": {
                name: reply.headers[name]
                for name in _LOGGED_RESPONSE_HEADERS
                if name in reply.headers
            },
            "principal": reply.principal,
            "demanded": effects.demanded,
            **({} if effects.fault is None else {"fault": effects.fault}),
            **({"lost": True} if effects.is_corrupted else {}),
        }
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        self._file.close()


def redact(body: Any) -> Any:
    """`body` with every secret replaced by its size and SHA-256."""
    if isinstance(body, Mapping):
        return {
            name: _digest(value)
            if name.lower() in _SECRETS and value is not None
            else redact(value)
            for name, value in body.items()
        }
    if isinstance(body, list):
        return [redact(item) for item in body]
    return body


def _digest(value: Any) -> str:
    content = (value if isinstance(value, str) else json.dumps(value)).encode()
    return f"<redacted {len(content)} bytes sha256 {hashlib.sha256(content).hexdigest()}>"
