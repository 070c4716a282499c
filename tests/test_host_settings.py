"""host.json: what the app's promises rest on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

HOST: dict[str, Any] = json.loads((Path(__file__).parent.parent / "host.json").read_text())
DURABLE = HOST["extensions"]["durableTask"]


@pytest.mark.parametrize(
    "timeout", ["controlQueueVisibilityTimeout", "workItemQueueVisibilityTimeout"]
)
def test_work_in_flight_at_a_crash_is_hidden_for_the_least_time_that_the_host_allows(timeout: str):
    assert DURABLE["storageProvider"][timeout] == "00:01:00"


def test_orchestrations_have_a_version_and_wait_for_a_matching_host():
    """Strings of digits and dots: the host compares any others as text."""
    assert all(part.isdigit() for part in DURABLE["defaultVersion"].split("."))
    strategies = (DURABLE["versionMatchStrategy"], DURABLE["versionFailureStrategy"])
    assert strategies == ("CurrentOrOlder", "Reject")
