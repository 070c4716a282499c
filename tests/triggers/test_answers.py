"""What every answer has, and what no text in a request can do to the log."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from fleet.api.routes import ROUTES
from local.stack import Stack
from tests.harness import Api

FORGED = "2026-01-01T00:00:00.000Z ERROR forged"


def answer(stack: Stack, route: Any) -> requests.Response:
    """A route's answer to a request for a fleet that does not exist, or without a body."""
    path = route.path.replace("{id}", "fleet-999999999").replace("{ordinal}", "0")
    headers = {"x-functions-key": stack.key}
    return requests.request(route.method, f"{stack.url}/api{path}", headers=headers, timeout=60)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_no_browser_guesses_the_type_of_an_answer_and_no_cache_keeps_it(stack: Stack, route: Any):
    headers = answer(stack, route).headers
    # The document is revalidated by its ETag, and has no data.
    cache = "no-cache" if route.name == "get_openapi" else "no-store"
    assert (headers.get("X-Content-Type-Options"), headers.get("Cache-Control")) == (
        "nosniff",
        cache,
    )


@pytest.mark.parametrize("end", ["\u2028", "\u0085", "\r\n", "\x1b[1A"], ids=ascii)
def test_the_name_of_a_field_cannot_forge_a_line_of_the_log(api: Api, stack: Stack, end: str):
    mark = f"forged-{ord(end[0]):05}"
    name = f"x [event=fleet.ended fleet={mark}]{end}{FORGED} {mark}"
    assert api.post({"experiment_id": 1, "n_instances": 1, name: 1}).status_code == 400
    log = (stack.logs / "host.log").read_text(encoding="utf-8")
    lines = [line for line in log.splitlines() if mark in line]
    assert [line for line in lines if line.lstrip().startswith(FORGED)] == []
    assert f"fleet={mark}" not in "\n".join(lines)
    assert [("event=request.refused" in line) for line in lines] == [True]
