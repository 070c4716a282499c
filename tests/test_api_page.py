"""docs/api.md matches the OpenAPI document, and its examples work as printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from docs.api import PAGE, page
from fleet.api.routes import ROUTES, Route
from local.stack import Stack
from tests.harness import Api, experiment, sql

TEXT = PAGE.read_text()
RETRY = next(route for route in ROUTES if route.name == "retry_fleet")
BATCH = 5_000_007
"""Replaces the page's batch 7, which another test uses."""


def section(title: str) -> str:
    return TEXT.partition(f"\n{title}\n")[2].partition("\n## ")[0]


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_page_is_up_to_date():
    assert page() == TEXT, "run: make docs"


def test_every_link_within_the_page_has_a_target():
    titles = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert {link for link in re.findall(r"\]\(#([^)]*)\)", TEXT) if link not in anchors} == set()


@pytest.fixture(scope="module")
def number(stack: Stack) -> int:
    return experiment(stack)


@pytest.fixture(scope="module")
def submitted(api: Api, stack: Stack, number: int) -> Iterator[dict[str, Any]]:
    """The fleet of the page's first command, with running VMs."""
    status, answer = run(ROUTES[0], stack, number)
    assert status == 202
    fleet_id = json.loads(answer)["id"]
    api.wait(fleet_id, "run")
    yield json.loads(answer)
    api.end(fleet_id)


def run(route: Route, stack: Stack, number: int) -> tuple[int, str]:
    """Run a route's command as printed; returns the status and the body."""
    (command,) = blocks(section(f"## {route.method} {route.path}"), "sh")
    command = command.strip().replace("fleet-7", f"fleet-{BATCH}")
    command = command.replace('"batch_id": 7', f'"batch_id": {BATCH}')
    command = command.replace('"experiment_id": 1', f'"experiment_id": {number}')
    done = subprocess.run(
        ["bash", "-c", f"{command} -sS -w '\\n%{{http_code}}'"],
        env={**os.environ, "FLEET_URL": stack.url, "FLEET_KEY": stack.key},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def printed(route: Route) -> Any:
    """The response that the page shows for a route, or None."""
    found = blocks(section(f"## {route.method} {route.path}"), "json")
    return json.loads(found[0]) if found else None


def alike(shown: Any, documented: Any) -> bool:
    """Whether two responses have the same members; null and empty values match anything."""
    match shown, documented:
        case (None, _) | (_, None):
            return True
        case dict(), dict():
            same = not shown or not documented or shown.keys() == documented.keys()
            return same and all(
                alike(shown[name], documented[name]) for name in shown if name in documented
            )
        case list(), list():
            return not shown or not documented or alike(shown[0], documented[0])
        case _:
            return type(shown) is type(documented) or {type(shown), type(documented)} == {
                int,
                float,
            }


@pytest.mark.parametrize(
    "route",
    sorted(
        (route for route in ROUTES[1:] if route is not RETRY),
        key=lambda route: route.method == "DELETE",
    ),
    ids=lambda route: route.name,
)
def test_a_command_gets_the_documented_response(
    route: Route, stack: Stack, number: int, submitted: dict[str, Any]
):
    status, answer = run(route, stack, number)
    shown = printed(route)
    assert (status, shown is None or alike(shown, json.loads(answer))) == (
        next(iter(route.responses)),
        True,
    ), answer


def test_a_retry_gets_the_documented_response(
    api: Api, stack: Stack, number: int, submitted: dict[str, Any]
):
    api.end(submitted["id"])
    sql(stack, "UPDATE trial SET end_time = now(), errmsg = 'no' WHERE experiment_id = %s", number)
    status, answer = run(RETRY, stack, number)
    assert (status, alike(printed(RETRY), json.loads(answer))) == (202, True), answer
    api.end(json.loads(answer)["id"])


def test_the_submission_gets_the_documented_response(submitted: dict[str, Any]):
    assert alike(printed(ROUTES[0]), submitted)


@pytest.mark.parametrize("example", blocks(section("## Request"), "json"), ids=range(5))
def test_example_requests_are_accepted(stack: Stack, example: str):
    headers = {"x-functions-key": stack.key}
    answer = requests.post(f"{stack.url}/api/plan", example, headers=headers, timeout=60)
    assert (answer.status_code, answer.json().get("errors")) == (200, None)
