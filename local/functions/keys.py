"""The host's access keys, stored in a file that only its owner can read."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from hmac import compare_digest
from pathlib import Path

from aiohttp import web

from local.process import announce

MASTER, DEFAULT, DURABLE = "master", "default", "durabletask_extension"

_ACCEPTED: Mapping[str, tuple[str, ...]] = {
    "FUNCTION": (MASTER, DEFAULT),
    "ADMIN": (MASTER,),
    "SYSTEM": (MASTER, DURABLE),
}


class Keys:
    """The keys by name; authorizes requests."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = dict(keys)

    @classmethod
    def load(cls, path: Path) -> Keys:
        """Load the keys from `path`. Generates missing ones."""
        keys = json.loads(path.read_text()) if path.exists() else {}
        absent = {MASTER, DEFAULT, DURABLE} - keys.keys()
        if absent:
            keys |= {name: secrets.token_urlsafe(30) for name in sorted(absent)}
            announce(path, keys)
        return cls(keys)

    def __getitem__(self, name: str) -> str:
        return self._keys[name]

    def allow(self, level: str, request: web.Request) -> bool:
        """Whether the key of `request` is sufficient for an auth `level`.

        The key is in the `x-functions-key` header or, without that header, in the `code` parameter.
        Levels are ANONYMOUS, FUNCTION, ADMIN, and SYSTEM for webhooks."""
        if level == "ANONYMOUS":
            return True
        codes = [value for name, value in request.query.items() if name.lower() == "code"]
        given = request.headers.get("x-functions-key", codes[0] if codes else "")
        return any(
            compare_digest(given.encode(), self._keys[name].encode()) for name in _ACCEPTED[level]
        )

    def require(self, level: str, request: web.Request) -> None:
        """Raise HTTPUnauthorized without a valid key, HTTPForbidden for a key of another level."""
        if not self.allow(level, request):
            known = any(self.allow(other, request) for other in _ACCEPTED)
            raise web.HTTPForbidden if known else web.HTTPUnauthorized
