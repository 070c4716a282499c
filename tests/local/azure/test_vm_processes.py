"""VMs as processes: what they run, their environment, and their cleanup."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.local.azure.driver import ROOT, Driver, code, serve, unique, until

DELETE_BY_CURL = """#!/bin/bash
set -eu
imds="$AZURE_POD_IDENTITY_AUTHORITY_HOST/metadata"
me=$(curl -sf -H Metadata:true "$imds/instance/compute/resourceId?api-version=2021-02-01&format=text")
resource=https://management.azure.com
query="api-version=2018-02-01&resource=$resource"
token=$(curl -sf -H Metadata:true "$imds/identity/oauth2/token?$query" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')
arm=$AZURE_RESOURCE_MANAGER_ENDPOINT
while :; do
  status=$(curl -s -o answer -w '%{http_code}' -X DELETE -H "Authorization: Bearer $token" \\
    "$arm$me?api-version=2024-11-01&forceDeletion=true")
  echo "status $status $(grep -o '"code": "[A-Za-z]*"' answer)"
  [ "$status" = 202 ] && break
  sleep 0.1
done
"""


def _console(azure_processes: Driver, vm: str) -> str:
    """The VM's console, whether it runs or is deleted."""
    for path in (
        azure_processes.state / "vms" / vm / "console.log",
        azure_processes.state / "consoles" / f"{vm}.log",
    ):
        if path.exists():
            return path.read_text()
    return ""


def _wait_for_output(azure_processes: Driver, vm: str, text: str) -> str:
    return str(
        until(lambda: text in _console(azure_processes, vm) and _console(azure_processes, vm))
    )


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # also if it exits while the file is read
        return False
    return state != "Z"  # a zombie has exited; its parent has not reaped it yet


def test_script_runs_as_on_a_new_vm(azure_processes: Driver) -> None:
    script = """#!/bin/bash
sudo apt-get install -y postgresql-client && echo "installed"
cloud-init status --wait
[ "$HOME" = "$PWD" ] && echo "home sweet home"
echo "$GREETING from $(hostname)"
read -r line || echo "no input"
"""
    vm = azure_processes.make_running(script=script)["name"]

    output = _wait_for_output(azure_processes, vm, "no input")

    assert "installed" in output
    assert "home sweet home" in output
    assert f"hello there from {vm}" in output


def test_environment_is_clean(azure_processes: Driver) -> None:
    vm = azure_processes.make_running(script="#!/bin/bash\nenv\necho end\n")["name"]

    output = _wait_for_output(azure_processes, vm, "end")

    assert "GREETING" in output
    assert "OF_THE_HOST" not in output


def test_custom_data_is_where_cloud_init_leaves_it(azure_processes: Driver) -> None:
    script = """#!/bin/bash
echo "$0"
cmp "$0" "$HOME/var/lib/cloud/instance/user-data.txt" && echo same
"""
    vm = azure_processes.make_running(script=script)["name"]

    output = _wait_for_output(azure_processes, vm, "same")

    assert output.startswith(f"{azure_processes.state}/vms/{vm}/var/lib/cloud/instance/scripts/")


def test_interpreter_is_from_the_first_line(azure_processes: Driver) -> None:
    vm = azure_processes.make_running(script="#!/usr/bin/env python3\nprint(6 * 7)\n")["name"]

    assert _wait_for_output(azure_processes, vm, "42")


def test_virtual_environments_work(azure_processes: Driver) -> None:
    script = (
        '#!/bin/bash\npython3 -m venv --without-pip v && v/bin/python -c \'print("in" + "side")\'\n'
    )
    vm = azure_processes.make_running(script=script)["name"]

    assert _wait_for_output(azure_processes, vm, "inside")


def test_text_without_an_interpreter_is_not_run(azure_processes: Driver) -> None:
    vm = azure_processes.make_running(script="echo hello\n")["name"]

    assert "unhandled non-multipart" in _wait_for_output(azure_processes, vm, "userdata")


def test_vm_keeps_running_after_its_script(azure_processes: Driver) -> None:
    vm = azure_processes.make_running(script="#!/bin/sh\necho end\n")
    _wait_for_output(azure_processes, vm["name"], "end")

    view = azure_processes.send("GET", f"{vm['id']}/instanceView").json()

    assert view["statuses"][1]["code"] == "PowerState/running"


def test_shutdown_stops_the_vm(azure_processes: Driver) -> None:
    vm = azure_processes.make_running(script="#!/bin/sh\nsudo shutdown -h now\n")

    def power() -> str:
        view = azure_processes.send("GET", f"{vm['id']}/instanceView").json()
        return str(view["statuses"][1]["code"])

    until(lambda: power() == "PowerState/stopped")


def test_metadata_requires_its_header(azure_processes: Driver) -> None:
    script = """#!/bin/bash
imds=$AZURE_POD_IDENTITY_AUTHORITY_HOST/metadata
curl -s -w ' %{http_code}\\n' "$imds/instance?api-version=2021-02-01"
"""
    vm = azure_processes.make_running(script=script)["name"]

    assert "Required metadata header not specified" in _wait_for_output(azure_processes, vm, "400")


def test_metadata_names_the_vm_and_its_image(azure_processes: Driver) -> None:
    agent = (ROOT / "fleet" / "vm" / "agent.py").read_text()
    script = f"""#!/bin/bash
imds=$AZURE_POD_IDENTITY_AUTHORITY_HOST/metadata
curl -s -H Metadata:true "$imds/instance/compute/name?api-version=2021-02-01&format=text"; echo
python3 - describe <<'AGENT'
{agent}
AGENT
curl -s -H Metadata:true "$imds/scheduledevents?api-version=2020-07-01"; echo
"""
    image = azure_processes.make_image("1.0.0")
    body = azure_processes.vm_body(azure_processes.make_nic(), script)
    body["properties"]["storageProfile"]["imageReference"] = {"id": f"{image}/versions/1.0.0"}
    vm = unique("vm")
    azure_processes.send("PUT", azure_processes.vm_path(vm), body)

    name, facts, *_ = _wait_for_output(azure_processes, vm, '"Events": []').splitlines()

    described = json.loads(facts)
    assert (name, described["image"], described["image_version"]) == (vm, image, "1.0.0")


def test_vm_deletes_itself_once_authorized(azure_processes: Driver) -> None:
    vm = azure_processes.make_running(script=DELETE_BY_CURL)
    _wait_for_output(azure_processes, vm["name"], "AuthorizationFailed")

    azure_processes.grant(vm["id"], vm["identity"]["principalId"])

    azure_processes.wait_until_deleted(vm["id"])


def make_identity(driver: Driver, name: str) -> dict[str, Any]:
    """A user-assigned identity, as ARM shows it."""
    path = f"{driver.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
    answer = driver.send("PUT", path, {"location": "eastus"}, api="2023-01-31")
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_vm_gets_tokens_of_each_of_its_identities(azure_processes: Driver) -> None:
    shared = make_identity(azure_processes, unique("identity"))
    ask = (
        'curl -s -H Metadata:true "$AZURE_POD_IDENTITY_AUTHORITY_HOST/metadata/identity/oauth2/token'
        '?api-version=2018-02-01&resource=https://ossrdbms-aad.database.windows.net{}"; echo'
    )
    names = ("", f"&msi_res_id={shared['id']}", "&msi_res_id=/nobody")
    script = "\n".join(["#!/bin/bash", *map(ask.format, names), "echo end"])
    body = azure_processes.vm_body(azure_processes.make_nic(), script)
    body["identity"] = {
        "type": "SystemAssigned, UserAssigned",
        "userAssignedIdentities": {shared["id"]: {}},
    }
    vm = unique("vm")
    created = azure_processes.send("PUT", azure_processes.vm_path(vm), body).json()

    answers = _wait_for_output(azure_processes, vm, "end").splitlines()

    own, database, nobody = map(json.loads, answers[:3])
    claims = [
        jwt.decode(one["access_token"], options={"verify_signature": False})
        for one in (own, database)
    ]
    assert [one["oid"] for one in claims] == [
        created["identity"]["principalId"],
        shared["properties"]["principalId"],
    ]
    assert claims[1]["aud"] == "https://ossrdbms-aad.database.windows.net"
    assert nobody["error_description"] == "Identity not found"


def test_vm_with_an_unknown_identity_is_rejected(azure_processes: Driver) -> None:
    body = azure_processes.vm_body(azure_processes.make_nic())
    missing = (
        f"{azure_processes.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/x"
    )
    body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {missing: {}}}

    answer = azure_processes.send("PUT", azure_processes.vm_path(unique("vm")), body)

    assert (answer.status_code, code(answer)) == (400, "FailedIdentityOperation")


def test_private_subnet_has_no_outbound_access(azure_processes: Driver) -> None:
    subnet = azure_processes.make_network(unique("v"), "10.5.0.0/24", defaultOutboundAccess=False)
    script = """#!/bin/bash
curl -s -o /dev/null "$AZURE_RESOURCE_MANAGER_ENDPOINT/metadata/endpoints"; echo "curl says $?"
"""
    body = azure_processes.vm_body(azure_processes.make_nic(subnet=subnet), script)
    vm = unique("vm")
    azure_processes.send("PUT", azure_processes.vm_path(vm), body)

    assert "curl says 7" in _wait_for_output(azure_processes, vm, "curl says")


DAEMONS = """#!/bin/bash
setsid nohup sleep 300 >/dev/null 2>&1 &
(setsid bash -c 'sleep 300 & echo $! > grandchild; wait' >/dev/null 2>&1 &)
until [ -s grandchild ]; do sleep 0.05; done
echo "pids $! $(cat grandchild) $$ end"
sleep 300
"""


def _daemons(azure_processes: Driver, vm: str) -> list[int]:
    output = _wait_for_output(azure_processes, vm, " end")
    return [int(word) for word in output.split("pids ")[1].split()[:3]]


def test_nothing_outlives_a_deleted_vm(azure_processes: Driver) -> None:
    vm = azure_processes.make_running(script=DAEMONS)
    pids = _daemons(azure_processes, vm["name"])
    assert all(_alive(pid) for pid in pids)

    azure_processes.send("DELETE", vm["id"])
    azure_processes.wait_until_deleted(vm["id"])

    assert not [pid for pid in pids if _alive(pid)]
    assert not (azure_processes.state / "vms" / vm["name"]).exists()
    assert "pids" in (azure_processes.state / "consoles" / f"{vm['name']}.log").read_text()


@pytest.fixture
def one_vm(tmp_path: Path) -> Iterator[tuple[Driver, list[int]]]:
    """A separate simulator with one busy VM: the driver, and the process ids, the simulator's first."""
    service, driver = serve(tmp_path)
    vm = driver.make_running(script=DAEMONS)["name"]
    yield driver, [driver.ready["pid"], *_daemons(driver, vm)]
    service.stop()


def test_nothing_outlives_a_killed_simulator(one_vm: tuple[Driver, list[int]]) -> None:
    _, pids = one_vm

    os.kill(pids[0], signal.SIGKILL)

    until(lambda: not [pid for pid in pids if _alive(pid)])


@pytest.mark.long
def test_simulator_stops_quickly_with_its_vms(one_vm: tuple[Driver, list[int]]) -> None:
    _, pids = one_vm
    began = time.monotonic()

    os.kill(pids[0], signal.SIGTERM)
    until(lambda: not [pid for pid in pids if _alive(pid)])

    assert time.monotonic() - began < 5
