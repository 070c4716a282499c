"""Keys for some functions only: reading, submitting and cancelling are separate permissions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from fleet.api.routes import ROUTES
from local.stack import Stack

OPERATING = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
PATHS = {"id": "fleet-404404404", "ordinal": "0"}


def functions(role: str) -> list[str]:
    """The functions of a role, according to the commands in docs/operating.md."""
    [names] = re.findall(rf'^{role}="(.*)"$', OPERATING, flags=re.MULTILINE)
    return re.sub(r"\$(\w+)", lambda other: " ".join(functions(other[1])), names).split()


def set_key(stack: Stack, role: str) -> str:
    """Set one value as the key of each function of a role, as the operator does."""
    key = f"a-key-of-{role}"
    master = json.loads((stack.state_dir / "host/keys.json").read_text())["master"]
    for function in functions(role):
        url = f"{stack.url}/admin/functions/{function}/keys/{role}"
        document = {"name": role, "value": key}
        answer = requests.put(url, json=document, headers={"x-functions-key": master}, timeout=30)
        assert answer.status_code in (200, 201)
    return key


def opened(stack: Stack, key: str) -> set[str]:
    """The functions that a key authorizes. The requests have no effect."""

    def status(route: Any) -> int:
        url = f"{stack.url}/api{route.path.format(**PATHS)}"
        headers = {"x-functions-key": key, "Content-Type": "application/json"}
        answer = requests.request(route.method, url, data="{}", headers=headers, timeout=60)
        return answer.status_code

    return {route.name for route in ROUTES if not route.anonymous and status(route) != 401}


@pytest.mark.parametrize("role", ["READER", "SUBMITTER", "OPERATOR"])
def test_a_key_authorizes_only_the_functions_of_its_role(stack: Stack, role: str):
    assert opened(stack, set_key(stack, role)) == set(functions(role))


def test_a_reader_can_neither_submit_nor_cancel():
    assert {"submit_fleet", "cancel_fleet"} & set(functions("READER")) == set()


def test_an_operators_key_authorizes_every_function():
    assert set(functions("OPERATOR")) == {one.name for one in ROUTES if not one.anonymous}


def test_a_reader_may_call_every_read_only_function():
    reading = {one.name for one in ROUTES if one.method == "GET" and not one.anonymous}
    assert set(functions("READER")) == reading - {"get_health_details"}
