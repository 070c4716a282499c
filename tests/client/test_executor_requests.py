"""What an executor sends, warns about and refuses, without an app."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import powerlift_fleet as fleets
import pytest
from powerlift_fleet import AzureVMFleet, FleetClient

from fleet.api.request import AzureJson, FleetRequest, InvalidRequest, parse
from tests.client.both import TAKEN, Script, ok, problem, status
from tests.client.cli import served
from tests.client.executors import CAN_START, SECRETS, NoStore, scripted, unsent

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


GALLERY = "/communityGalleries/bench-1/images/i"


def test_an_image_of_a_gallery_replaces_the_default_image() -> None:
    request = unsent(image_id=GALLERY)._request(1, None)
    assert {name: one for name, one in request.items() if name.startswith("image")} == {
        "image_id": GALLERY
    }


def test_the_app_refuses_two_images() -> None:
    request = unsent(image_id=GALLERY, image_sku="minimal")._request(1, None)
    with pytest.raises(InvalidRequest, match=r"/image_sku: .*together with image_id"):
        parse(request)


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("n_instance", r"no argument n_instance\. Did you mean n_instances\?$"),
        ("num_core", r"no argument num_core\. Did you mean num_cores\?$"),
        ("timeout", r"no argument timeout\. It is an argument of run_experiment\.$"),
        ("xyz", r"no argument xyz\.$"),
    ],
)
def test_an_unknown_argument_is_named_with_what_was_meant(name: str, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        unsent(**{name: 1})


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


def test_a_retried_submit_keeps_the_batch_id() -> None:
    app = Script(httpx.Response(500), httpx.Response(500), TAKEN)
    executor = scripted(app)
    with pytest.raises(fleets.AppUnavailable):
        executor.submit(1)
    executor.submit(1)
    assert len({body["batch_id"] for body in app.bodies}) == 1


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
    executor = scripted(app)
    for _ in range(2):
        executor.submit(1)
    assert len({body["batch_id"] for body in app.bodies}) == 2


def test_join_says_why_every_trial_failed() -> None:
    ended = ok(**status("done", outcome="all_trials_failed"))
    executor = scripted(Script(ended, ok(**served.progress())), quiet=True)
    executor._fleets.append("fleet-7")
    with pytest.raises(fleets.AllTrialsFailed, match="12 of 8 trials: ValueError: Input X"):
        executor.join()


@pytest.mark.parametrize(("name", "sent"), [(None, "nightly"), ("hourly", "hourly")])
def test_the_plan_is_of_the_name_and_batch_id_that_submit_uses(name: str | None, sent: str) -> None:
    app = Script(CAN_START, problem(404, "None", "No fleet-7."), CAN_START, TAKEN)
    client = FleetClient("https://fleet.example", "k", transport=httpx.MockTransport(app))
    executor = AzureVMFleet(NoStore(), client=client, name="nightly", batch_id=7)
    executor.check(5, name=name)
    executor.submit(1, name=name)
    bodies = [json.loads(request.content) for request in app.requests if request.content]
    assert [(body["name"], body["batch_id"]) for body in bodies] == [(sent, 7)] * 3


FAULT = {
    "name": "trials",
    "status": "fault",
    "detail": "Experiment 999 does not exist.",
    "advice": "",
}
CANNOT_START = ok(**{**served.plan(), "ok": False, "checks": [FAULT]})


def test_a_fleet_that_cannot_start_is_not_submitted() -> None:
    app = Script(TAKEN)
    executor = scripted(app, plan=CANNOT_START, name="nightly")
    with pytest.raises(fleets.FleetCannotStart, match=r"trials: Experiment 999 does not exist\."):
        executor.submit(999)
    assert (app.requests, executor.fleets, executor.join()) == ([], [], [])
    executor.submit(999, plan=False)
    assert app.bodies[0]["name"] == "nightly"


def test_the_batch_id_of_an_existing_fleet_is_not_planned() -> None:
    """It may have run the trials."""
    existing = Script(ok(**status("done")), TAKEN)
    executor = scripted(existing, plan=CANNOT_START, batch_id=7)
    executor.submit(1)
    assert executor.fleets == ["fleet-7"]
