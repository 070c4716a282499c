"""Orchestration versions: which version an instance gets, and which hosts run it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local.functions.durable.versions import runnable
from local.functions.settings import DurableSettings
from local.process import ServiceError
from tests.local.functions.conftest import Host, variant


@contextmanager
def hosted(folder: Path, version: str, **settings: Any) -> Iterator[Host]:
    """Host the durable app as `version`; all versions in `folder` share their state."""
    app = folder / f"app-{version}-{time.monotonic_ns()}"
    host = Host(variant(app, defaultVersion=version, **settings), folder).start()
    try:
        yield host
    finally:
        host.service.stop()


def raise_go(host: Host, instance_id: str) -> None:
    host.client("raise_event", instance_id=instance_id, event_name="go", event_data=1)


def test_without_a_setting_there_is_no_version(durable: Host) -> None:
    assert durable.run("version_of")["output"] is None


def test_a_new_instance_and_its_children_get_the_hosts_version(tmp_path: Path) -> None:
    with hosted(tmp_path, "1.0") as host:
        assert host.run("children_of_versions")["output"] == ["1.0", "1.0", "0.1"]


def test_a_start_may_name_a_version(tmp_path: Path) -> None:
    with hosted(tmp_path, "1.0") as host:
        arguments = {"orchestration_function_name": "version_of", "version": "0.9"}
        instance_id = host.client("start_new", **arguments)

        assert host.finished(instance_id)["output"] == "0.9"


@pytest.mark.long
def test_an_instance_keeps_its_version_and_its_new_children_get_the_hosts(tmp_path: Path) -> None:
    with hosted(tmp_path, "1.0") as host:
        instance_id = host.start_new("versions_in_time")
        raise_go(host, instance_id)
        host.until(lambda: host.status(instance_id)["customStatus"], lambda seen: seen == 1)

    with hosted(tmp_path, "2.0") as host:
        for _ in range(2):
            raise_go(host, instance_id)

        output = host.finished(instance_id)["output"]
        assert output == [["1.0", "1.0"], ["1.0", "2.0"], ["1.0", "2.0"]]


def test_an_older_host_does_not_run_a_newer_instance(tmp_path: Path) -> None:
    with hosted(tmp_path, "1.0") as host:
        instance_id = host.start_new("versions_in_time")
        raise_go(host, instance_id)
        host.until(lambda: host.status(instance_id)["customStatus"], lambda seen: seen == 1)

    with hosted(tmp_path, "0.5") as host:
        raise_go(host, instance_id)
        raise_go(host, instance_id)
        host.run("instant")  # by then it would have run an episode
        status = host.status(instance_id)
        assert (status["runtimeStatus"], status["customStatus"]) == ("Running", 1)
        assert "ERROR" not in host.log.read_text()

    with hosted(tmp_path, "1.0") as host:
        assert host.finished(instance_id)["output"] == [["1.0", "1.0"]] * 3


@pytest.mark.long
def test_a_strict_host_does_not_run_an_older_instance(tmp_path: Path) -> None:
    with hosted(tmp_path, "2.0", versionMatchStrategy="Strict") as host:
        arguments = {"orchestration_function_name": "version_of", "version": "1.0"}
        instance_id = host.client("start_new", **arguments)
        host.run("instant")

        assert host.status(instance_id)["runtimeStatus"] == "Pending"


@pytest.mark.long
def test_a_newer_instance_fails_with_the_fail_strategy(tmp_path: Path) -> None:
    with hosted(tmp_path, "1.0", versionFailureStrategy="Fail") as host:
        arguments = {"orchestration_function_name": "version_of", "version": "2.0"}
        status = host.finished(host.client("start_new", **arguments))

        assert (status["runtimeStatus"], status["output"]) == (
            "Failed",
            "VersionMismatch: Orchestration version did not comply with Worker Versioning",
        )


def test_an_unknown_strategy_is_rejected(tmp_path: Path) -> None:
    message = (
        "durableTask.versionMatchStrategy is 'Newest', must be one of CurrentOrOlder, Strict, None"
    )
    with (
        pytest.raises(ServiceError, match=message),
        hosted(tmp_path, "1.0", versionMatchStrategy="Newest"),
    ):
        pass


@pytest.mark.parametrize(
    ("strategy", "instance", "host", "runs"),
    [
        ("CurrentOrOlder", None, "1.0", True),
        ("CurrentOrOlder", "1.0", "1.0", True),
        ("CurrentOrOlder", "1.9", "1.10", True),
        ("CurrentOrOlder", "1.10", "1.9", False),
        ("CurrentOrOlder", "1.0", None, False),
        ("CurrentOrOlder", "1.0", "1.0.0", True),
        ("CurrentOrOlder", "1.0.0", "1.0", False),
        ("CurrentOrOlder", "Beta", "alpha", False),
        ("CurrentOrOlder", "10", "9", True),  # not dotted numbers, so they compare as text
        ("Strict", "0.9", "1.0", False),
        ("Strict", "1.0", "1.0", True),
        ("None", "2.0", "1.0", True),
    ],
)
def test_which_versions_a_host_runs(
    strategy: str, instance: str | None, host: str | None, runs: bool
) -> None:
    settings = DurableSettings(default_version=host, version_match=strategy)

    assert runnable(instance, settings) is runs
