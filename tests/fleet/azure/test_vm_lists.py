"""LISTs of VMs that the fleets of a process share: never older than a caller asks for."""

from __future__ import annotations

from typing import Any

import pytest

from local.stack import Stack
from tests.fleet.azure.processes import output_of

VMS = "/microsoft.compute/virtualmachines"


@pytest.fixture(scope="module")
def seen(stack: Stack) -> dict[str, Any]:
    return output_of("shared_lists", stack)


def test_concurrent_callers_share_a_list(seen: dict[str, Any]):
    assert seen["concurrent"] == 1


def test_a_list_that_is_too_old_is_not_returned(seen: dict[str, Any]):
    assert seen["later"]


def test_a_list_that_began_too_early_is_not_returned_though_it_has_not_ended(seen: dict[str, Any]):
    """It may have read its first pages before a VM was created."""
    assert seen["unfinished"]


def test_a_cancelled_caller_does_not_cancel_the_list_of_others(seen: dict[str, Any]):
    assert seen["survives"]


def test_a_failed_list_is_repeated(seen: dict[str, Any]):
    assert (seen["failures"], seen["repeated"]) == (["ClientAuthenticationError"] * 2, True)
