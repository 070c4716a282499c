"""How many Azure clients a process keeps, and when it closes the others."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.azure.credentials import MAX_CONNECTIONS
from local.stack import Stack
from tests.fleet.azure.processes import output_of


@pytest.fixture(scope="module")
def seen(stack: Stack) -> dict[str, Any]:
    return output_of("many_accounts", stack)


@pytest.mark.long
def test_clients_beyond_the_limit_are_closed(seen: dict[str, Any]):
    assert seen["full"] >= MAX_CONNECTIONS
    assert seen["after"] <= seen["full"]
    assert seen["unclosed"] == []


def test_a_client_in_use_is_not_closed_when_it_is_evicted(stack: Stack, seen: dict[str, Any]):
    assert seen["evicted"]
    assert seen["answers"] == [stack.arm["resource_group"]] * 2
