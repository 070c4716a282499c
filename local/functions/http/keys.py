"""The host's access keys, stored in a file that only its owner can read.

A host key opens all functions, a function's key that function only (azure-functions-host: SecretManager,
KeysController).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from hmac import compare_digest
from pathlib import Path
from typing import Any

from aiohttp import web

from local.process import announce

MASTER, DEFAULT, DURABLE = "master", "default", "durabletask_extension"

_ACCEPTED: Mapping[str, tuple[str, ...]] = {
    "FUNCTION": (MASTER, DEFAULT),
    "ADMIN": (MASTER,),
    "SYSTEM": (MASTER, DURABLE),
}
_ADDED = "added"
"""The member of the file with added keys: by lower-case function ("" for all), then by name."""


class Keys:
    """The keys by name; authorizes requests."""

    def __init__(self, path: Path, keys: Mapping[str, str]) -> None:
        self._path, self._keys = path, dict(keys)

    @classmethod
    def load(cls, path: Path) -> Keys:
        """Load the keys from `path`. Generates missing ones."""
        content = json.loads(path.read_text()) if path.exists() else {}
        absent = {MASTER, DEFAULT, DURABLE} - content.keys()
        if absent:
            content |= {name: secrets.token_urlsafe(30) for name in sorted(absent)}
            announce(path, content)
        return cls(path, {name: key for name, key in content.items() if name != _ADDED})

    def __getitem__(self, name: str) -> str:
        return self._keys[name]

    def set(self, function: str, name: str, value: str | None) -> bool:
        """Set a key of a function ("" for all), or delete it. Returns whether it existed."""
        content = json.loads(self._path.read_text())
        own = content.setdefault(_ADDED, {}).setdefault(function.lower(), {})
        existed = own.pop(name, None) is not None
        if value is not None:
            own[name] = value
        announce(self._path, content)
        return existed

    def allow(self, level: str, request: web.Request, function: str = "") -> bool:
        """Whether the key of `request` is sufficient for an auth `level`, of a function's key: for it.

        The key is in the `x-functions-key` header or, without that header, in the `code` parameter.
        Levels are ANONYMOUS, FUNCTION, ADMIN, and SYSTEM for webhooks."""
        if level == "ANONYMOUS":
            return True
        codes = [value for name, value in request.query.items() if name.lower() == "code"]
        given = request.headers.get("x-functions-key", codes[0] if codes else "")
        if _is_among(given, [self._keys[name] for name in _ACCEPTED[level]]):
            return True
        return level == "FUNCTION" and _is_among(given, self._added("", function))

    def require(self, level: str, request: web.Request) -> None:
        """Raise HTTPUnauthorized without a valid key, HTTPForbidden for a key of another level."""
        if not self.allow(level, request):
            known = any(self.allow(other, request) for other in _ACCEPTED)
            raise web.HTTPForbidden if known else web.HTTPUnauthorized

    def _added(self, *functions: str) -> list[str]:
        """The added keys of functions, from the file: another host may have added them."""
        added = json.loads(self._path.read_text()).get(_ADDED, {})
        return [key for one in functions for key in added.get(one.lower(), {}).values()]


class KeysApi:
    """The admin API with which a key is set or deleted: PUT and DELETE, with the master key."""

    def __init__(self, keys: Keys, functions: Iterable[str]) -> None:
        self._keys, self._functions = keys, {name.lower() for name in functions}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the API. Its paths are those of `az functionapp [function] keys` on the host."""
        for path in ("/admin/functions/{function}/keys/{key}", "/admin/host/functionkeys/{key}"):
            router.add_put(path, self._handle)
            router.add_delete(path, self._handle)

    async def _handle(self, request: web.Request) -> web.Response:
        self._keys.require("ADMIN", request)
        function, key = request.match_info.get("function", ""), request.match_info["key"]
        if function and function.lower() not in self._functions:
            return web.Response(status=404)
        if request.method == "DELETE":
            return web.Response(status=204 if self._keys.set(function, key, None) else 404)
        value = _member(await request.text(), "value")
        if not isinstance(value, str):
            return web.Response(status=400, text="Invalid key value")
        existed = self._keys.set(function, key, value)
        answer = {"name": key, "value": value, "links": []}
        return web.json_response(answer, status=200 if existed else 201)


def _is_among(given: str, keys: Iterable[str]) -> bool:
    return any(compare_digest(given.encode(), key.encode()) for key in keys)


def _member(text: str, name: str) -> Any:
    """A member of a JSON object; None for any other text."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document.get(name) if isinstance(document, dict) else None
