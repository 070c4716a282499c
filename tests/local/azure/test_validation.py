"""The simulator rejects bodies that ARM rejects."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.local.azure.driver import GROUP, Driver, code, unique, with_change

INVALID = "InvalidParameter"
SIZE = "properties.hardwareProfile.vmSize"
STORAGE = "properties.storageProfile"
LINUX = "properties.osProfile.linuxConfiguration"
KEY_PATH = "/home/azureuser/.ssh/authorized_keys"


def _keys(path: str, key: str) -> list[dict[str, str]]:
    return [{"path": path, "keyData": key}]


def _long(size: int) -> str:
    return base64.b64encode(b"#" * size).decode()


def test_snake_case_vm_is_rejected(azure: Driver) -> None:
    body = {"location": "eastus", "hardware_profile": {"vm_size": "Standard_D2s_v5"}}

    with pytest.raises(HttpResponseError, match="Could not find member 'hardware_profile'"):
        azure.compute().virtual_machines.begin_create_or_update(GROUP, "x", body)


def test_snake_case_interface_is_rejected(azure: Driver) -> None:
    body = {"location": "eastus", "ip_configurations": []}

    with pytest.raises(HttpResponseError, match="Could not find member 'ip_configurations'"):
        azure.network().network_interfaces.begin_create_or_update(GROUP, "x", body)


def test_snake_case_subnet_is_rejected(azure: Driver) -> None:
    body = {"address_prefix": "10.0.0.0/24"}

    with pytest.raises(HttpResponseError, match="Could not find member 'address_prefix'"):
        azure.network().subnets.begin_create_or_update(GROUP, "shared", "x", body)


def test_partly_snake_case_body_is_rejected_with_its_path(azure: Driver) -> None:
    body = {"location": "eastus", "properties": {"hardwareProfile": {"vm_size": "x"}}}

    error = azure.send("PUT", azure.vm_path("x"), body).json()["error"]

    assert error["target"] == "properties.hardwareProfile.vm_size"


@pytest.mark.parametrize(
    ("path", "value", "expected", "target"),
    [
        ("location", None, "LocationRequired", None),
        ("location", "atlantis", "LocationNotAvailableForResourceType", None),
        ("properties", None, INVALID, "properties"),
        ("properties.hardwareProfile", None, INVALID, "properties.hardwareProfile"),
        (SIZE, 3, "InvalidRequestContent", SIZE),
        (SIZE, "Standard_Z1", INVALID, "vmSize"),
        ("properties.osProfile.adminUsername", "root", INVALID, "adminUsername"),
        ("properties.osProfile.computerName", "a_b c", INVALID, "computerName"),
        ("properties.osProfile.customData", "not base64!", INVALID, "osProfile.customData"),
        ("properties.osProfile.customData", _long(65536), INVALID, "osProfile.customData"),
        (f"{LINUX}.ssh", {}, INVALID, "linuxConfiguration"),
        (f"{LINUX}.ssh.publicKeys", _keys("/root/k", "x"), INVALID,
         "linuxConfiguration.ssh.publicKeys.path"),
        (f"{LINUX}.ssh.publicKeys", _keys(KEY_PATH, "ssh-rsa AAAA"), INVALID,
         "linuxConfiguration.ssh.publicKeys.keyData"),
        (f"{LINUX}.disablePasswordAuthentication", False, INVALID, "osProfile.adminPassword"),
        (f"{STORAGE}.osDisk.createOption", "Invent", INVALID, f"{STORAGE}.osDisk.createOption"),
        (f"{STORAGE}.imageReference.offer", "windows", "PlatformImageNotFound", "imageReference"),
        (f"{STORAGE}.imageReference.version", "24.04.1", "PlatformImageNotFound", "imageReference"),
        (f"{STORAGE}.imageReference.sku", "server-arm64", "BadRequest", None),
        (SIZE, "Standard_D2ps_v5", "BadRequest", None),
        ("properties.networkProfile.networkInterfaces", [], INVALID, "networkProfile.networkInterfaces"),
        ("properties.evictionPolicy", "Delete",
         "EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines", None),
        ("zones", ["9"], "InvalidAvailabilityZone", None),
        ("tags", {"a": 1}, "InvalidRequestContent", "tags.a"),
    ],
)  # fmt: skip
def test_vm_is_rejected(
    azure: Driver, path: str, value: Any, expected: str, target: str | None
) -> None:
    body = with_change(azure.vm_body("/nic"), path, value)

    error = azure.send("PUT", azure.vm_path("rejected"), body).json()["error"]

    assert (error["code"], error.get("target")) == (expected, target)


def test_size_that_boots_from_nvme_needs_an_image_that_does(azure: Driver) -> None:
    body = with_change(azure.vm_body("/nic"), SIZE, "Standard_D2s_v6")
    body["properties"]["storageProfile"]["imageReference"] |= {
        "offer": "0001-com-ubuntu-server-focal",
        "sku": "20_04-lts-gen2",
    }

    error = azure.send("PUT", azure.vm_path("rejected"), body).json()["error"]

    assert (error["code"], error["target"]) == (INVALID, "vmSize")


def test_premium_disk_needs_a_size_that_supports_it(azure: Driver) -> None:
    body = with_change(azure.vm_body("/nic"), SIZE, "Standard_D2_v5")
    disk = {"managedDisk": {"storageAccountType": "Premium_LRS"}}
    body["properties"]["storageProfile"]["osDisk"] |= disk

    error = azure.send("PUT", azure.vm_path("rejected"), body).json()["error"]

    assert error["code"] == INVALID
    assert "does not support the storage account type Premium_LRS" in error["message"]


def test_sdk_reads_an_image(azure: Driver) -> None:
    images, where = (
        azure.compute().virtual_machine_images,
        ("eastus", "canonical", "ubuntu-24_04-lts"),
    )

    [newest] = images.list(*where, "server-arm64", top=1, orderby="name desc")
    found = images.get(*where, "server-arm64", newest.name)

    assert (found.name, found.architecture, found.hyper_v_generation) == (
        newest.name,
        "Arm64",
        "V2",
    )


def test_sdk_learns_that_an_image_does_not_exist(azure: Driver) -> None:
    images = azure.compute().virtual_machine_images

    with pytest.raises(
        ResourceNotFoundError, match=r"\(NotFound\) Artifact: VMImage was not found"
    ):
        images.list("eastus", "canonical", "ubuntu-24_04-lts", "serve")


def test_longest_custom_data_is_accepted(azure: Driver) -> None:
    body = azure.vm_body(azure.make_nic())
    body["properties"]["osProfile"]["customData"] = _long(65535)

    assert azure.send("PUT", azure.vm_path(unique("vm")), body).status_code == 201


SKU = "properties.storageProfile.imageReference.sku"


@pytest.mark.parametrize(
    ("size", "sku"), [("Standard_D2ps_v5", "server-arm64"), ("Standard_D2s_v6", "server")]
)
def test_a_size_that_fits_is_accepted(azure: Driver, size: str, sku: str) -> None:
    body = with_change(with_change(azure.vm_body(azure.make_nic()), SIZE, size), SKU, sku)

    assert azure.send("PUT", azure.vm_path(unique("vm")), body).status_code == 201


def test_enumerations_are_case_insensitive(azure: Driver) -> None:
    body = azure.vm_body(azure.make_nic())
    body["properties"] |= {"priority": "spot", "evictionPolicy": "delete"}

    assert azure.send("PUT", azure.vm_path(unique("vm")), body).status_code == 201


@pytest.mark.parametrize("name", ["a" * 65, "_a", "a-", "1234"])
def test_vm_name_is_rejected(azure: Driver, name: str) -> None:
    answer = azure.send("PUT", azure.vm_path(name), azure.vm_body("/nic"))

    assert code(answer) == "InvalidParameter"


def test_interface_name_is_rejected(azure: Driver) -> None:
    answer = azure.send("PUT", azure.net("networkInterfaces", "-x"), azure.nic_body("/s"))

    assert code(answer) == "InvalidResourceName"


def test_whole_response_can_be_sent_back(azure: Driver) -> None:
    vm = azure.make_running()

    assert azure.send("PUT", vm["id"], vm).status_code == 200
