"""Powerlift's own functions, with the values that its callers pass; the app is a script."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import powerlift_fleet as fleets
import pytest
from powerlift_fleet import FleetClient

from tests.client.both import Script, status

TAKEN = httpx.Response(
    202, json={"id": "fleet-7", "number": 7, "batch_id": 7, "links": status()["links"]}
)
ARGUMENTS: dict[str, Any] = {
    "experiment_id": 1, "n_instances": 2, "uri": None, "resource_uris": None, "timeout": None,
    "azure_json": {}, "credential": None, "location": None, "vm_size": "Standard_D2s_v5",
    "image_publisher": "canonical", "image_offer": "ubuntu-24_04-lts", "image_sku": "server",
    "image_version": "latest", "disk_type": "Standard_LRS", "max_undead": 1,
    "delete_on_complete": True, "batch_id": 2**64 - 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("experiment_id", np.int64(1), 1),
        ("n_instances", np.uint8(2), 2),
        ("timeout", np.float32(60), 60),
        ("timeout", float("inf"), None),
        ("timeout", np.float64("inf"), None),
        ("delete_on_complete", np.bool_(False), False),
        ("batch_id", np.uint64(2**64 - 1), 2**64 - 1),
        ("azure_json", None, {}),
        ("resource_uris", None, []),
    ],
)
def test_run_azure_process_takes_numpys_numbers_and_infinity(
    name: str, given: Any, sent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Script(TAKEN, httpx.Response(200, json=status(provisioned_at="2026-01-01T00:00:00Z")))
    client = FleetClient("https://fleet.example", "k", transport=httpx.MockTransport(app))
    monkeypatch.setattr("powerlift_fleet.compat.FleetClient", lambda: client)
    fleets.run_azure_process(**{**ARGUMENTS, name: given})
    assert json.loads(app.requests[0].content)[name] == sent


def test_the_name_that_assigns_roles_can_be_imported_and_says_what_to_do() -> None:
    with pytest.raises(fleets.ConfigurationError, match="remove the call"):
        fleets.assign_contributor_permissions("compute_client", vms=[])
