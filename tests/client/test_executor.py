"""The executor, and Powerlift's own Benchmark on top of it, against the real app."""

from __future__ import annotations

import copy
import inspect
import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import powerlift
import powerlift_fleet as fleets
import pytest
from powerlift.bench.store import Store
from powerlift_fleet import AzureVMFleet, FleetClient, runner_script

from fleet.api.request import AzureJson, FleetRequest
from local.stack import Stack
from tests.client.both import Script, status
from tests.harness import eventually, experiment, queue_sas, sql

TAKEN = httpx.Response(
    202, json={"id": "fleet-7", "number": 7, "batch_id": 7, "links": status()["links"]}
)
SECRETS = ("cl13nt-s3cr3t", "d8-s3cr3t", "k3y-s3cr3t", "qu3u3-s3cr3t")
ACCOUNT = {
    "azure_tenant_id": "tenant",
    "subscription_id": "00000000-0000-0000-0000-000000000001",
    "azure_client_id": "client",
    "azure_client_secret": SECRETS[0],
}
OTHER_NAMES = {
    "experiment_id": "submit",
    "timeout": "submit",
    "uri": "docker_db_uri",
    "azure_json": "azure_tenant_id",
    "tenant_id": "azure_tenant_id",
    "client_id": "azure_client_id",
    "client_secret": "azure_client_secret",
    "powerlift_version": "store",  # of the Powerlift that the store belongs to
}
"""Request fields whose arguments have AzureVMInstance's names."""

Make = Callable[..., AzureVMFleet]


@pytest.fixture
def store(stack: Stack) -> Store:
    return Store(stack.db_uri.replace("postgresql://", "postgresql+psycopg2://", 1))


@pytest.fixture
def make(stack: Stack, store: Store) -> Make:
    def made(**options: Any) -> AzureVMFleet:
        given = {"url": stack.url, "key": stack.key, "interval": 0.2, **options}
        return AzureVMFleet(store, **given)

    return made


class NoStore:
    uri = f"postgresql://user:{SECRETS[1]}@host/db"


def unsent(**options: Any) -> AzureVMFleet:
    """An executor that sends nothing."""
    return AzureVMFleet(NoStore(), url="https://fleet.example", key=SECRETS[2], **options)


def test_every_field_of_a_request_has_an_argument() -> None:
    fields = {*FleetRequest.model_fields, *AzureJson.model_fields}
    known = {*inspect.signature(AzureVMFleet).parameters, "submit"}
    assert {name for name in fields if OTHER_NAMES.get(name, name) not in known} == set()


def test_powerlifts_arguments_come_first_and_in_order() -> None:
    upstream = [
        *("store", "azure_tenant_id", "subscription_id", "azure_client_id", "credential"),
        *("azure_client_secret", "resource_group", "shell_install", "pip_install"),
        *("wheel_filepaths", "n_instances", "location", "vm_size", "image_publisher"),
        *("image_offer", "image_sku", "image_version", "disk_type", "docker_db_uri"),
        *("resource_uris", "max_undead", "delete_on_complete"),
    ]
    assert list(inspect.signature(AzureVMFleet).parameters)[: len(upstream)] == upstream


def test_defaults_are_those_of_the_app() -> None:
    defaults = FleetRequest(experiment_id=1, n_instances=1).model_dump()
    request = unsent()._request(1, None)
    assert request.pop("uri") == NoStore.uri
    assert request.pop("azure_json") == {}
    assert request.pop("powerlift_version") == distribution("powerlift").version
    assert {name: value for name, value in request.items() if value != defaults[name]} == {}


def test_a_lock_of_packages_is_a_text_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "requirements.lock"
    file.write_text("lib==1\n")
    locks = (file, "lib==1\n")
    sent = [unsent(requirements_lock=lock)._request(1, None)["requirements_lock"] for lock in locks]
    assert sent == ["lib==1\n"] * 2
    with pytest.raises(fleets.ConfigurationError, match="requirements_lock cannot be read"):
        unsent(requirements_lock=tmp_path / "none")


def test_a_subscription_without_a_group_selects_powerlifts_group() -> None:
    assert unsent(**ACCOUNT)._request(1, None)["azure_json"]["resource_group"] == "powerlift_rg"


def test_the_database_uri_of_the_vms_can_differ() -> None:
    uri = "postgresql://user@inner/db"
    assert unsent(docker_db_uri=uri)._request(1, None)["uri"] == uri


def test_the_database_can_be_left_to_the_app() -> None:
    assert "uri" not in unsent(send_uri=False)._request(1, None)


def test_an_infinite_timeout_is_omitted() -> None:
    assert "timeout" not in unsent()._request(1, float("inf"))


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ({"n_running_containers": 5}, {"n_instances": 5, "vm_size": "Standard_D4s_v5"}),
        ({"num_cores": 1, "mem_size_gb": 2}, {"vm_size": "Standard_D2s_v5"}),
        ({"num_cores": 4, "mem_size_gb": 17}, {"vm_size": "Standard_E4s_v5"}),
        ({"num_cores": 1}, {"vm_size": "Standard_E2s_v5"}),
        ({"mem_size_gb": 100.5}, {"vm_size": "Standard_E16s_v5"}),
        ({"n_running_containers": 2, "vm_size": "Standard_F2s_v2"}, {"vm_size": "Standard_F2s_v2"}),
        ({"delete_group_container_on_complete": False}, {"delete_on_complete": False}),
        ({"image": None}, {"vm_size": "Standard_D4s_v5"}),
    ],
)
def test_it_takes_the_names_of_containers(names: dict[str, Any], wanted: dict[str, Any]) -> None:
    request = unsent(**names)._request(1, None)
    assert {name: request[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"image": "python:latest"}, "Omit image"),
        ({"num_cores": 65}, "No VM size is known with 65 cores and 16 GB"),
        ({"num_cores": 2, "vm_size": "Standard_F2s_v2"}, "vm_size, or num_cores"),
        ({"n_running_containers": 2, "n_instances": 3}, "Pass n_instances, or"),
    ],
)
def test_what_a_vm_cannot_do_is_refused_with_advice(names: dict[str, Any], said: str) -> None:
    with pytest.raises(fleets.ConfigurationError, match=said):
        unsent(**names)


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(TypeError, match="no argument n_containers"):
        unsent(n_containers=1)


@pytest.mark.parametrize(
    ("options", "timeout", "warned"),
    [
        ({"max_lifetime": 60}, 61, True),
        ({}, 7 * 24 * 3600 + 1, True),
        ({"max_lifetime": 60}, 60, False),
    ],
)
def test_a_timeout_beyond_the_fleets_end_is_warned_about(
    options: dict[str, Any], timeout: float, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    scripted(Script(TAKEN), **options).submit(1, timeout=timeout)
    assert ("exceeds the fleet's max_lifetime" in caplog.text) == warned


@pytest.mark.parametrize(("max_undead", "warned"), [(1000, False), (1001, True)])
def test_a_max_undead_that_the_app_reduces_is_warned_about(
    max_undead: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    scripted(Script(TAKEN), max_undead=max_undead).submit(1)
    assert ("max_undead is limited to 1,000" in caplog.text) == warned


BUILD = {"url": "https://user:t0ken@example.org/interpret.git", "vcs_info": {"vcs": "git"}}


@pytest.mark.parametrize(
    ("source", "options", "sent", "warned"),
    [
        (BUILD, {}, "0.1.12+source", True),
        (None, {}, "0.1.12", False),
        (BUILD, {"pip_install": "git+https://x#subdirectory=python/Powerlift"}, "0.1.12", False),
        (BUILD, {"wheel_filepaths": ["/b/powerlift-0.1.12-py3-none-any.whl"]}, "0.1.12", False),
    ],
)
def test_vms_with_another_powerlift_are_warned_about(
    source: Any,
    options: dict[str, Any],
    sent: str,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A build from source has the version of the last release."""
    installed = tmp_path / "powerlift-0.1.12.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: powerlift\nVersion: 0.1.12\n")
    if source is not None:
        (installed / "direct_url.json").write_text(json.dumps(source))
    monkeypatch.syspath_prepend(str(tmp_path))

    app = Script(TAKEN)
    scripted(app, **options).submit(1)

    assert app.bodies[0]["powerlift_version"] == sent
    said = "Powerlift 0.1.12 was installed from https://***@example.org/interpret.git"
    assert (said in caplog.text, "t0ken" in caplog.text) == (warned, False)


@pytest.mark.parametrize("number", [np.int64(60), np.float32(60), np.array(60)])
def test_numbers_may_be_numpys(number: Any) -> None:
    app = Script(TAKEN)
    scripted(app, n_instances=number).submit(1, timeout=number)
    assert (app.bodies[0]["n_instances"], app.bodies[0]["timeout"]) == (60, 60)


def test_a_credential_is_refused_with_advice() -> None:
    with pytest.raises(fleets.ConfigurationError, match="azure_client_secret"):
        unsent(credential=object())


def test_repr_hides_secrets() -> None:
    executor = unsent(**ACCOUNT, queue=SECRETS[3])
    printed = f"{executor!r} {vars(executor)!r} {executor._request(1, None)!r}"
    assert [secret for secret in SECRETS if secret in printed] == []


@pytest.mark.parametrize("action", [pickle.dumps, copy.copy])
def test_it_cannot_be_pickled_or_copied(action: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        action(unsent())


def test_submit_fails_without_credentials() -> None:
    executor = unsent(**ACCOUNT)
    executor.delete_credentials()
    with pytest.raises(fleets.ConfigurationError, match="credentials were deleted"):
        executor.submit(1)


def test_join_requires_the_apps_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLEET_URL", raising=False)
    executor = AzureVMFleet(NoStore(), queue="UseDevelopmentStorage=true")
    executor._fleets.append("fleet-1")
    with pytest.raises(fleets.ConfigurationError, match="FLEET_URL"):
        executor.join()


def test_a_rejected_request_raises_immediately(make: Make) -> None:
    with pytest.raises(fleets.RequestRefused, match="/max_price"):
        make(max_price=1.0).submit(1)


def test_join_raises_the_failure(make: Make) -> None:
    executor = make()
    executor.submit(10**6)
    with pytest.raises(fleets.FleetFailed) as caught:
        executor.join()
    assert caught.value.status.id == executor.fleets[0]


def test_join_waits_for_every_fleet_before_it_raises(make: Make, stack: Stack) -> None:
    executor = make()
    executor.submit(10**6)
    executor.submit(experiment(stack))
    executor.cancel()
    with pytest.raises(fleets.FleetFailed):
        executor.join()
    assert executor.statuses()[1].phase == "cancelled"


def test_join_raises_for_a_cancelled_fleet(make: Make, stack: Stack) -> None:
    executor = make()
    executor.submit(experiment(stack))
    executor.cancel()
    with pytest.raises(fleets.FleetCancelled):
        executor.join()


def test_another_session_can_attach_to_a_fleet(make: Make, stack: Stack) -> None:
    first, second = make(), make()
    first.submit(experiment(stack))
    second.attach(first.fleets[0])
    second.cancel()
    with pytest.raises(fleets.FleetCancelled):
        second.join()


def test_another_session_can_attach_by_name(make: Make, stack: Stack) -> None:
    first, second = make(name="attached"), make()
    first.submit(experiment(stack))
    second.attach("attached")
    second.cancel()
    assert second.fleets == first.fleets
    with pytest.raises(fleets.FleetCancelled, match="attached"):
        second.join()


def test_a_script_with_a_batch_id_run_twice_submits_one_fleet(make: Make, stack: Stack) -> None:
    number = experiment(stack)
    executors = [make(batch_id=5101) for _ in range(2)]
    for executor in executors:
        executor.submit(number)
    executors[0].cancel()
    assert [executor.fleets for executor in executors] == [["fleet-5101"]] * 2


def test_a_retried_submit_keeps_the_batch_id() -> None:
    app = Script(httpx.Response(500), httpx.Response(500), TAKEN)
    client = FleetClient("https://fleet.example", "k", transport=httpx.MockTransport(app))
    executor = AzureVMFleet(NoStore(), client=client)
    with pytest.raises(fleets.AppUnavailable):
        executor.submit(1)
    executor.submit(1)
    assert len({body["batch_id"] for body in app.bodies}) == 1


def scripted(app: Script, **options: Any) -> AzureVMFleet:
    """An executor for a scripted app."""
    client = FleetClient("https://fleet.example", "k", transport=httpx.MockTransport(app))
    return AzureVMFleet(NoStore(), client=client, **options)


def test_the_executors_name_is_used_by_its_first_fleet_and_its_retries() -> None:
    app = Script(httpx.Response(500), httpx.Response(500), TAKEN)
    executor = scripted(app, name="nightly")
    with pytest.raises(fleets.AppUnavailable):
        executor.submit(1)
    executor.submit(1)
    executor.submit(1)
    assert [body.get("name") for body in app.bodies] == ["nightly", "nightly", "nightly", None]


def test_submit_accepts_a_fleet_name() -> None:
    app = Script(TAKEN)
    scripted(app, name="nightly").submit(1, name="hourly")
    assert app.bodies[0]["name"] == "hourly"


def test_attach_resolves_latest_once() -> None:
    newest = (httpx.Response(200, json=status(id=f"fleet-{n}")) for n in (9001, 9002))
    app = Script(*newest)
    executor = scripted(app)
    executor.attach("latest")
    executor.statuses()
    assert executor.fleets == ["fleet-9001"]
    assert [request.url.path.rpartition("/")[2] for request in app.requests] == [
        "latest",
        "fleet-9001",
    ]


def test_two_submits_are_two_fleets() -> None:
    app = Script(TAKEN)
    client = FleetClient("https://fleet.example", "k", transport=httpx.MockTransport(app))
    executor = AzureVMFleet(NoStore(), client=client)
    for _ in range(2):
        executor.submit(1)
    assert len({body["batch_id"] for body in app.bodies}) == 2


def test_a_rejected_queue_message_is_reported(
    make: Make, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("powerlift_fleet.executor.READ_TIMEOUT", 3.0)
    executor = make(queue=stack.queue_connection_string, max_price=1.0)
    executor.submit(1)
    with pytest.raises(fleets.NotFound, match="powerlift-fleets-poison"):
        executor.join()


def test_a_fleet_submitted_by_queue_is_watched_over_http(make: Make, stack: Stack) -> None:
    executor = make(queue=queue_sas(stack))
    executor.submit(10**6)
    with pytest.raises(fleets.FleetFailed):
        executor.join()


def test_off_a_terminal_join_prints_a_line_for_each_phase(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = make()
    executor.submit(10**6)
    with pytest.raises(fleets.FleetFailed):
        executor.join()
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"{executor.statuses()[0].handle} failed")
    assert len(lines) <= 4


BENCHMARK = """
    from powerlift.bench import Benchmark, Store
    from powerlift_fleet import AzureVMFleet

    def trial_run(trial):
        trial.log("score", 1.0)

    store = Store(os.environ["POWERLIFT_DB_URI"])
    executor = AzureVMFleet(store, n_instances=1, delete_on_complete=False, interval=0.2)
    benchmark = Benchmark(store, name="through-benchmark-run")
    benchmark.run(trial_run, lambda task: ["m"], timeout=60, executor=executor)
    print(benchmark._experiment_id, executor.fleets[0], flush=True)
    benchmark.wait_until_complete()
    print(len(benchmark.status()))
"""


def test_powerlifts_own_benchmark_runs_on_it(tmp_path: Path, stack: Stack) -> None:
    """With the runner script, which the wheel of Powerlift 0.1.12 lacks."""
    installed = Path(powerlift.__path__[0])
    shutil.copytree(installed, tmp_path / "powerlift")
    (tmp_path / "powerlift" / "run").mkdir()
    (tmp_path / "powerlift" / "run" / "__main__.py").write_text(runner_script())
    script = tmp_path / "benchmark.py"
    script.write_text("import os\n" + textwrap.dedent(BENCHMARK))
    _ = experiment(stack)  # a task for it to take
    run = subprocess.Popen(
        [sys.executable, str(script)],
        env={**environment(stack), "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    number, fleet = run.stdout.readline().split()
    with FleetClient(stack.url, stack.key) as client:
        eventually(lambda: client.status(fleet).machines.running or None)
    end_trials = "UPDATE trial SET start_time = now(), end_time = now() WHERE experiment_id = %s"
    sql(stack, end_trials, int(number))
    count, _ = run.communicate(timeout=60)
    kept = sql(stack, "SELECT script FROM experiment WHERE id = %s", int(number))
    with FleetClient(stack.url, stack.key) as client:
        client.cancel(fleet)
    assert (run.returncode, int(count) >= 1, kept) == (0, True, [(runner_script(),)])


def environment(stack: Stack) -> dict[str, str]:
    uri = stack.db_uri.replace("postgresql://", "postgresql+psycopg2://", 1)
    own = {"FLEET_URL": stack.url, "FLEET_KEY": stack.key, "POWERLIFT_DB_URI": uri}
    return {**os.environ, **own}
