"""Headers of every response, and log lines with text from requests."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from fleet.api.routes import ROUTES
from local.stack import Stack
from tests.harness import Api

FORGED = "2026-01-01T00:00:00.000Z ERROR forged"


def answer(stack: Stack, route: Any) -> requests.Response:
    """A route's response to a request for a missing fleet, or without a body."""
    path = route.path.replace("{id}", "fleet-999999999").replace("{ordinal}", "0")
    headers = {"x-functions-key": stack.key}
    return requests.request(route.method, f"{stack.url}/api{path}", headers=headers, timeout=60)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_responses_are_neither_sniffed_nor_cached(stack: Stack, route: Any):
    headers = answer(stack, route).headers
    # The document is revalidated by its ETag, and has no data.
    cache = "no-cache" if route.name == "get_openapi" else "no-store"
    assert (headers.get("X-Content-Type-Options"), headers.get("Cache-Control")) == (
        "nosniff",
        cache,
    )


@pytest.mark.parametrize("end", ["\u2028", "\u0085", "\r\n", "\x1b[1A"], ids=ascii)
def test_a_field_name_cannot_forge_a_log_line(api: Api, stack: Stack, end: str):
    mark = f"forged-{ord(end[0]):05}"
    name = f"x [event=fleet.ended fleet={mark}]{end}{FORGED} {mark}"
    assert api.post({"experiment_id": 1, "n_instances": 1, name: 1}).status_code == 400
    log = (stack.logs / "host.log").read_text(encoding="utf-8")
    lines = [line for line in log.splitlines() if mark in line]
    assert [line for line in lines if line.lstrip().startswith(FORGED)] == []
    assert f"fleet={mark}" not in "\n".join(lines)
    assert [("event=request.refused" in line) for line in lines] == [True]
