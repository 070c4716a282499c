"""Virtual machines on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.local.azure.driver import GROUP, Driver, code, unique, until, with_change


def test_sdk_creates_a_vm_and_waits_for_it(azure: Driver) -> None:
    body = azure.vm_body(azure.make_nic())

    vm = azure.compute().virtual_machines.begin_create_or_update(GROUP, unique("vm"), body).result()

    assert vm.provisioning_state == "Succeeded"


def test_identity_is_in_the_first_response(azure: Driver) -> None:
    vm = azure.make_vm()

    assert vm["identity"]["principalId"]
    assert vm["properties"]["provisioningState"] == "Creating"


def test_server_fills_in_defaults(azure: Driver) -> None:
    properties = azure.make_vm()["properties"]

    assert properties["storageProfile"]["osDisk"]["osType"] == "Linux"
    assert properties["osProfile"]["allowExtensionOperations"] is True
    assert properties["vmId"]
    assert properties["timeCreated"]


def test_custom_data_is_never_returned(azure: Driver) -> None:
    vm = azure.make_vm(script="#!/bin/sh\n")

    assert "customData" not in str(vm) + azure.send("GET", vm["id"]).text


def test_headers_of_a_vm_put(azure: Driver) -> None:
    answer = azure.send("PUT", azure.vm_path(unique("vm")), azure.vm_body(azure.make_nic()))

    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Azure-AsyncNotification"] == "Enabled"
    assert "Location" not in answer.headers
    assert "PutVM" in answer.headers["x-ms-ratelimit-remaining-resource"]


def test_polling_hints_match_the_recording(azure: Driver) -> None:
    answer = azure.send("PUT", azure.vm_path(unique("vm")), azure.vm_body(azure.make_nic()))
    url = answer.headers["Azure-AsyncOperation"]

    polls = [azure.send("GET", url) for _ in range(2)]

    assert [poll.headers.get("Retry-After") for poll in polls] == ["1", None]
    assert polls[0].json()["status"] == "InProgress"


def test_operation_succeeds(azure: Driver) -> None:
    answer = azure.send("PUT", azure.vm_path(unique("vm")), azure.vm_body(azure.make_nic()))
    url = answer.headers["Azure-AsyncOperation"]

    final = until(lambda: (s := azure.send("GET", url).json())["status"] == "Succeeded" and s)

    assert final["endTime"] > final["startTime"]


def test_instance_view_shows_power_once_it_runs(azure: Driver) -> None:
    vm = azure.make_vm()
    early = azure.send("GET", f"{vm['id']}/instanceView").json()
    azure.settled(vm["id"])

    late = azure.compute().virtual_machines.get(GROUP, vm["name"], expand="instanceView")

    assert [s["code"] for s in early["statuses"]] == ["ProvisioningState/creating"]
    assert [s.code for s in late.instance_view.statuses] == [
        "ProvisioningState/succeeded",
        "PowerState/running",
    ]


def test_status_list_of_the_subscription_has_power_but_no_tags(azure: Driver) -> None:
    vm = azure.make_running()

    listed = {v.id: v for v in azure.compute().virtual_machines.list_all(status_only="true")}

    assert listed[vm["id"]].instance_view.statuses[1].code == "PowerState/running"
    assert listed[vm["id"]].tags is None


def test_list_of_a_group_has_no_instance_view(azure: Driver) -> None:
    vm = azure.make_running()

    listed = azure.compute().virtual_machines.list(GROUP, expand="instanceView")

    assert next(v for v in listed if v.id == vm["id"]).instance_view is None


def test_repeated_put_is_the_same_vm(azure: Driver) -> None:
    body, path = azure.vm_body(azure.make_nic(), "#!/bin/sh\n"), azure.vm_path(unique("vm"))
    first = azure.send("PUT", path, body)

    second = azure.send("PUT", path, body)

    assert second.status_code == 200
    assert second.json()["identity"] == first.json()["identity"]


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("properties.osProfile.customData", "IyEvYmluL3NoCmVjaG8K"),
        ("properties.storageProfile.imageReference.offer", "ubuntu-22_04-lts"),
        ("zones", ["1"]),
    ],
)
def test_immutable_properties(azure: Driver, change: str, value: Any) -> None:
    body, path = azure.vm_body(azure.make_nic(), "#!/bin/sh\n"), azure.vm_path(unique("vm"))
    azure.send("PUT", path, body)

    answer = azure.send("PUT", path, with_change(body, change, value))

    assert (answer.status_code, code(answer)) == (409, "PropertyChangeNotAllowed")


def test_tags_can_change(azure: Driver) -> None:
    body, path = azure.vm_body(azure.make_nic()), azure.vm_path(unique("vm"))
    azure.send("PUT", path, body)

    answer = azure.send("PUT", path, {**body, "tags": {"a": "b"}})

    assert answer.json()["tags"] == {"a": "b"}


def test_region_cannot_change(azure: Driver) -> None:
    body, path = azure.vm_body(azure.make_nic()), azure.vm_path(unique("vm"))
    azure.send("PUT", path, body)

    answer = azure.send("PUT", path, {**body, "location": "westus2"})

    assert code(answer) == "InvalidResourceLocation"


def test_interface_must_exist(azure: Driver) -> None:
    body = azure.vm_body(azure.net("networkInterfaces", "absent"))

    assert code(azure.send("PUT", azure.vm_path("x"), body)) == "InvalidResourceReference"


def test_interface_serves_one_vm(azure: Driver) -> None:
    body = azure.vm_body(azure.make_nic())
    azure.send("PUT", azure.vm_path(unique("vm")), body)

    answer = azure.send("PUT", azure.vm_path(unique("vm")), body)

    assert (answer.status_code, code(answer)) == (400, "NicInUse")


def test_interface_in_use_cannot_be_deleted(azure: Driver) -> None:
    vm = azure.make_vm()
    nic = vm["properties"]["networkProfile"]["networkInterfaces"][0]["id"]

    assert code(azure.send("DELETE", nic)) == "NicInUse"
    assert azure.send("GET", nic).json()["properties"]["virtualMachine"] == {"id": vm["id"]}


def test_delete_includes_interface_and_disk(azure: Driver) -> None:
    vm = azure.make_running()
    disk = vm["properties"]["storageProfile"]["osDisk"]["managedDisk"]["id"]
    nic = vm["properties"]["networkProfile"]["networkInterfaces"][0]["id"]

    azure.compute().virtual_machines.begin_delete(GROUP, vm["name"]).result()

    assert [azure.send("GET", path).status_code for path in (vm["id"], disk, nic)] == [404] * 3


def test_delete_detaches_without_the_delete_option(azure: Driver) -> None:
    nic, name = azure.make_nic(), unique("vm")
    body = azure.vm_body(nic)
    del body["properties"]["networkProfile"]["networkInterfaces"][0]["properties"]
    del body["properties"]["storageProfile"]["osDisk"]["deleteOption"]
    body["properties"]["storageProfile"]["osDisk"]["name"] = f"{name}_osdisk"
    azure.send("PUT", azure.vm_path(name), body)
    azure.settled(azure.vm_path(name))

    azure.send("DELETE", azure.vm_path(name), query={"forceDeletion": "true"})
    azure.wait_until_deleted(azure.vm_path(name))

    disk = azure.compute().disks.get(GROUP, f"{name}_osdisk")
    assert disk.disk_state == "Unattached"
    assert code(azure.send("DELETE", nic)) == "NicReservedForAnotherVm"
    until(lambda: azure.send("DELETE", nic).status_code == 202)


def test_attached_disk_cannot_be_deleted(azure: Driver) -> None:
    vm = azure.make_running()
    disk = vm["properties"]["storageProfile"]["osDisk"]["managedDisk"]["id"]

    answer = azure.send("DELETE", disk)

    assert "/resourceGroups/POWERLIFT/" in disk
    assert (answer.status_code, code(answer)) == (409, "OperationNotAllowed")


def test_delete_response_has_both_polling_urls(azure: Driver) -> None:
    vm = azure.make_running()

    answer = azure.send("DELETE", vm["id"])

    assert answer.status_code == 202
    assert "monitor=true" in answer.headers["Location"]
    assert azure.send("GET", answer.headers["Location"]).status_code == 202
    until(lambda: azure.send("GET", answer.headers["Location"]).status_code == 200)


def test_delete_of_a_missing_vm(azure: Driver) -> None:
    assert azure.send("DELETE", azure.vm_path("absent")).status_code == 204


def test_vm_being_deleted_cannot_be_put(azure: Driver) -> None:
    body, path = azure.vm_body(azure.make_nic()), azure.vm_path(unique("vm"))
    azure.send("PUT", path, body)
    azure.send("DELETE", path)

    answer = azure.send("PUT", path, body)

    assert (answer.status_code, code(answer)) == (409, "OperationNotAllowed")
    assert "marked for deletion" in answer.text


def test_delete_preempts_the_creation(azure: Driver) -> None:
    body, name = azure.vm_body(azure.make_nic()), unique("vm")
    created = azure.compute().virtual_machines.begin_create_or_update(GROUP, name, body)
    azure.send("DELETE", azure.vm_path(name))

    with pytest.raises(HttpResponseError) as caught:
        created.result()

    assert caught.value.error is not None
    assert caught.value.error.code == "OperationPreempted"


def test_user_data_is_returned_only_on_request(azure: Driver) -> None:
    body, path = azure.vm_body(azure.make_nic()), azure.vm_path(unique("vm"))
    body["properties"]["userData"] = "aGVsbG8="
    answer = azure.send("PUT", path, body)

    expanded = azure.send("GET", path, query={"$expand": "userData"}).json()

    assert "userData" not in answer.text
    assert expanded["properties"]["userData"] == "aGVsbG8="


def test_sdk_replaces_the_tags_of_a_vm(azure: Driver) -> None:
    vm = azure.make_running()
    machines = azure.compute().virtual_machines
    machines.begin_update(GROUP, vm["name"], {"tags": {"a": "1", "b": "2"}}).result()

    updated = machines.begin_update(GROUP, vm["name"], {"tags": {"a": "3"}}).result()

    assert (updated.tags, updated.hardware_profile.vm_size) == ({"a": "3"}, "Standard_D2s_v5")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"properties": {"osProfile": {"customData": "bmV3"}}}, "PropertyChangeNotAllowed"),
        ({"tags": {"<": "1"}}, "InvalidTagNameCharacters"),
        ({"tags": {"a": 1}}, "InvalidRequestContent"),
    ],
)
def test_update_of_a_vm_is_rejected(azure: Driver, body: dict[str, Any], expected: str) -> None:
    vm = azure.make_vm()

    answer = azure.send("PATCH", vm["id"], body)

    assert code(answer) == expected
