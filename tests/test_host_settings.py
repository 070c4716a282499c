"""host.json: settings on which the app's guarantees depend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.registered import FUNCTIONS

HOST: dict[str, Any] = json.loads((Path(__file__).parent.parent / "host.json").read_text())
DURABLE = HOST["extensions"]["durableTask"]


@pytest.mark.parametrize(
    "timeout", ["controlQueueVisibilityTimeout", "workItemQueueVisibilityTimeout"]
)
def test_the_visibility_timeout_is_the_hosts_minimum(timeout: str):
    assert DURABLE["storageProvider"][timeout] == "00:01:00"


def test_orchestrations_have_a_version_and_wait_for_a_matching_host():
    """Strings of digits and dots: the host compares any others as text."""
    assert all(part.isdigit() for part in DURABLE["defaultVersion"].split("."))
    strategies = (DURABLE["versionMatchStrategy"], DURABLE["versionFailureStrategy"])
    assert strategies == ("CurrentOrOlder", "Reject")


LEVELS: dict[str, str] = HOST["logging"]["logLevel"]


def level(category: str) -> str:
    """The level of a category: of the longest entry that is the category or a parent of it."""
    parents = [name for name in LEVELS if f"{category}.".startswith(f"{name}.")]
    return LEVELS[max(parents, key=len, default="default")]


@pytest.mark.parametrize("name", [function.get_function_name() for function in FUNCTIONS])
def test_the_hosts_invocation_lines_are_not_exported_and_the_apps_are(name: str):
    """`Executing` and `Executed` are information; a failure is an error."""
    assert (level(f"Function.{name}"), level(f"Function.{name}.User")) == (
        "Warning",
        "Information",
    )


def test_no_level_is_set_for_a_function_that_does_not_exist():
    """Functions are listed individually, because a category cannot have a wildcard."""
    named = {name.split(".")[1] for name in LEVELS if name.endswith(".User")}
    assert named == {function.get_function_name() for function in FUNCTIONS}


@pytest.mark.parametrize("category", ["Host.Triggers.DurableTask", "DurableTask.Core", "azure"])
def test_lines_of_the_durable_extension_and_the_sdks_are_not_exported(category: str):
    assert level(category) == "Warning"


SAMPLING: dict[str, Any] = HOST["logging"]["applicationInsights"]["samplingSettings"]


def test_failures_and_the_apps_events_are_exported():
    assert set(SAMPLING["excludedTypes"].split(";")) == {"Trace", "Exception"}


def test_invocations_are_sampled_from_the_first_seconds_of_a_fleet():
    """The host's default interval is an hour: a fleet starts before anything is sampled."""
    assert (SAMPLING["isEnabled"], SAMPLING["evaluationInterval"]) == (True, "00:00:15")
    assert SAMPLING["maxTelemetryItemsPerSecond"] == 1


def test_the_hosts_storage_calls_and_replays_are_not_exported():
    tracing = DURABLE["tracing"]
    assert HOST["logging"]["applicationInsights"]["enableDependencyTracking"] is False
    assert (tracing["distributedTracingEnabled"], tracing["traceReplayEvents"]) == (False, False)
