"""VMs as processes: what they run, what they see, and that nothing of them is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.azure.driver import Driver, serve, unique, until

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
DELETE_BY_AZ = """#!/bin/bash
until az login --identity >/dev/null; do sleep 0.1; done
until az vm delete --resource-group powerlift --name "$(hostname)" --yes --no-wait; do sleep 0.1; done
echo accepted
"""


def _console(guests: Driver, vm: str) -> str:
    """What the VM has said, alive or not."""
    for path in (
        guests.state / "machines" / vm / "console.log",
        guests.state / "consoles" / f"{vm}.log",
    ):
        if path.exists():
            return path.read_text()
    return ""


def _said(guests: Driver, vm: str, text: str) -> str:
    return str(until(lambda: text in _console(guests, vm) and _console(guests, vm)))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie has ended; only its parent has not looked yet.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_script_runs_as_on_a_fresh_machine(guests: Driver) -> None:
    script = """#!/bin/bash
sudo apt-get install -y postgresql-client && echo "installed"
cloud-init status --wait
[ "$HOME" = "$PWD" ] && echo "home sweet home"
echo "$GREETING from $(hostname)"
read -r line || echo "no input"
"""
    vm = guests.make_running(script=script)["name"]

    said = _said(guests, vm, "no input")

    assert "installed" in said
    assert "home sweet home" in said
    assert f"hello there from {vm}" in said


def test_environment_is_clean(guests: Driver) -> None:
    vm = guests.make_running(script="#!/bin/bash\nenv\necho end\n")["name"]

    said = _said(guests, vm, "end")

    assert "GREETING" in said
    assert "OF_THE_HOST" not in said


def test_interpreter_is_that_of_the_first_line(guests: Driver) -> None:
    vm = guests.make_running(script="#!/usr/bin/env python3\nprint(6 * 7)\n")["name"]

    assert _said(guests, vm, "42")


def test_virtual_environments_work(guests: Driver) -> None:
    script = (
        '#!/bin/bash\npython3 -m venv --without-pip v && v/bin/python -c \'print("in" + "side")\'\n'
    )
    vm = guests.make_running(script=script)["name"]

    assert _said(guests, vm, "inside")


def test_text_without_an_interpreter_is_not_run(guests: Driver) -> None:
    vm = guests.make_running(script="echo hello\n")["name"]

    assert "unhandled non-multipart" in _said(guests, vm, "userdata")


def test_vm_runs_on_after_its_script(guests: Driver) -> None:
    vm = guests.make_running(script="#!/bin/sh\necho end\n")
    _said(guests, vm["name"], "end")

    view = guests.send("GET", f"{vm['id']}/instanceView").json()

    assert view["statuses"][1]["code"] == "PowerState/running"


def test_shutdown_stops_it_but_it_stays(guests: Driver) -> None:
    vm = guests.make_running(script="#!/bin/sh\nsudo shutdown -h now\n")

    def power() -> str:
        view = guests.send("GET", f"{vm['id']}/instanceView").json()
        return str(view["statuses"][1]["code"])

    until(lambda: power() == "PowerState/stopped")


def test_metadata_needs_its_header(guests: Driver) -> None:
    script = """#!/bin/bash
imds=$AZURE_POD_IDENTITY_AUTHORITY_HOST/metadata
curl -s -w ' %{http_code}\\n' "$imds/instance?api-version=2021-02-01"
"""
    vm = guests.make_running(script=script)["name"]

    assert "Required metadata header not specified" in _said(guests, vm, "400")


def test_metadata_names_the_vm(guests: Driver) -> None:
    script = """#!/bin/bash
imds=$AZURE_POD_IDENTITY_AUTHORITY_HOST/metadata
curl -s -H Metadata:true "$imds/instance/compute/name?api-version=2021-02-01&format=text"; echo
curl -s -H Metadata:true "$imds/scheduledevents?api-version=2020-07-01"; echo
"""
    vm = guests.make_running(script=script)["name"]

    assert vm in _said(guests, vm, '"Events": []').splitlines()


@pytest.mark.parametrize("script", [DELETE_BY_CURL, DELETE_BY_AZ], ids=["curl", "az"])
def test_vm_deletes_itself_once_it_may(guests: Driver, script: str) -> None:
    vm = guests.make_running(script=script)
    refusal = "AuthorizationFailed" if script is DELETE_BY_CURL else "No access was configured"
    _said(guests, vm["name"], refusal)

    guests.grant(vm["id"], vm["identity"]["principalId"])

    guests.gone(vm["id"])


def test_private_subnet_leads_nowhere(guests: Driver) -> None:
    subnet = guests.make_network(unique("v"), "10.5.0.0/24", defaultOutboundAccess=False)
    script = """#!/bin/bash
curl -s -o /dev/null "$AZURE_RESOURCE_MANAGER_ENDPOINT/metadata/endpoints"; echo "curl says $?"
"""
    body = guests.vm_body(guests.make_nic(subnet=subnet), script)
    vm = unique("vm")
    guests.send("PUT", guests.vm_path(vm), body)

    assert "curl says 7" in _said(guests, vm, "curl says")


DAEMONS = """#!/bin/bash
setsid nohup sleep 300 >/dev/null 2>&1 &
(setsid bash -c 'sleep 300 & echo $! > grandchild; wait' >/dev/null 2>&1 &)
until [ -s grandchild ]; do sleep 0.05; done
echo "pids $! $(cat grandchild) $$ end"
sleep 300
"""


def _daemons(guests: Driver, vm: str) -> list[int]:
    said = _said(guests, vm, " end")
    return [int(word) for word in said.split("pids ")[1].split()[:3]]


def test_nothing_outlives_a_deleted_vm(guests: Driver) -> None:
    vm = guests.make_running(script=DAEMONS)
    pids = _daemons(guests, vm["name"])
    assert all(_alive(pid) for pid in pids)

    guests.send("DELETE", vm["id"])
    guests.gone(vm["id"])

    assert not [pid for pid in pids if _alive(pid)]
    assert not (guests.state / "machines" / vm["name"]).exists()
    assert "pids" in (guests.state / "consoles" / f"{vm['name']}.log").read_text()


@pytest.fixture
def one_guest(tmp_path: Path) -> Iterator[tuple[Driver, list[int]]]:
    """A simulator of its own with one busy VM: the driver, and all process ids, its own first."""
    service, driver = serve(tmp_path)
    vm = driver.make_running(script=DAEMONS)["name"]
    yield driver, [driver.ready["pid"], *_daemons(driver, vm)]
    service.stop()


def test_nothing_outlives_a_killed_simulator(one_guest: tuple[Driver, list[int]]) -> None:
    _, pids = one_guest

    os.kill(pids[0], signal.SIGKILL)

    until(lambda: not [pid for pid in pids if _alive(pid)])


def test_simulator_ends_quickly_and_takes_its_machines_along(
    one_guest: tuple[Driver, list[int]],
) -> None:
    _, pids = one_guest
    began = time.monotonic()

    os.kill(pids[0], signal.SIGTERM)
    until(lambda: not [pid for pid in pids if _alive(pid)])

    assert time.monotonic() - began < 5
