"""Serves the OpenAPI document anonymously, because it contains no fleet data."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from urllib.parse import urlsplit

import azure.durable_functions as df
import azure.functions as func

from fleet.api.openapi.document import openapi_document
from fleet.api.routes import JSON
from triggers.http.problems import HEADERS, READ, with_problems

bp = df.Blueprint()


@bp.route(route="openapi.json", methods=READ, auth_level=func.AuthLevel.ANONYMOUS)
@with_problems
async def get_openapi(req: func.HttpRequest) -> func.HttpResponse:
    """The document for the requested base path; 304 if the client's ETag matches."""
    text, tag = _rendered(re.sub("(?i)/openapi.json/?$", "", urlsplit(req.url).path))
    headers = {"Content-Type": JSON, **HEADERS, "ETag": tag, "Cache-Control": "no-cache"}
    known = req.headers.get("If-None-Match") or ""
    if tag in (one.strip().removeprefix("W/") for one in known.split(",")) or known.strip() == "*":
        return func.HttpResponse(status_code=304, headers=headers)
    return func.HttpResponse(text, headers=headers)


@functools.lru_cache(maxsize=4)
def _rendered(base: str) -> tuple[str, str]:
    text = json.dumps(openapi_document(base or "/"))
    return text, f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
