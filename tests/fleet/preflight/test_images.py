"""What a plan makes of the image, its fit to the sizes, and what the VMs install and run."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.preflight.plan import evaluate
from fleet.preflight.plan_inputs import PlanInputs
from fleet.vm.render import pinned_version
from tests.fleet.preflight.azure_inputs import (
    NO_ANSWER,
    experiment,
    image,
    inputs,
    one,
    order,
    region,
    sku,
    usages,
    vm,
)

LOCK = pinned_version("powerlift")


@pytest.mark.parametrize(
    ("eastus", "westus", "status"),
    [
        (image(), image(), "ok"),
        (None, image(), "warning"),
        (None, None, "fault"),
        (NO_ANSWER, image(), "unknown"),
        (image(plan={"name": "p"}), image(), "fault"),
    ],
)
def test_the_image_must_exist(eastus: Any, westus: Any, status: str):
    asked = order(fallbacks=[{"location": "westus"}])
    regions = {"eastus": region(image=eastus), "westus": region(image=westus)}
    assert one(inputs(asked, regions=regions), "image")["status"] == status


def sizes_of(options: Any, found: Any, capabilities: dict[str, str]) -> PlanInputs:
    regions = {"eastus": region(skus=[sku(capabilities=capabilities)], image=found)}
    return inputs(order(vm=options), regions=regions)


@pytest.mark.parametrize(
    ("capabilities", "found", "options", "reason"),
    [
        ({"PremiumIO": "False"}, image(), {"disk_type": "Premium_LRS"}, "change disk_type or vm_size"),
        ({"PremiumIO": "True"}, image(), {"disk_type": "Premium_LRS"}, None),
        ({"PremiumIO": "False"}, image(), {}, None),
        ({"CpuArchitectureType": "Arm64"}, image(), {}, "CPU architecture Arm64, but the image has x64"),
        ({"CpuArchitectureType": "Arm64"}, image("Arm64"), {}, None),
        ({"CpuArchitectureType": "x64"}, image("Arm64"), {}, "but the image has Arm64"),
        ({"DiskControllerTypes": "NVMe"}, image(), {}, None),
        ({"DiskControllerTypes": "NVMe"}, image(controllers="SCSI"), {}, "disk controller NVMe"),
        ({"DiskControllerTypes": "NVMe"}, image(controllers=None), {}, "but the image has SCSI"),
        ({"DiskControllerTypes": "SCSI,NVMe"}, image(controllers=None), {}, None),
        ({"HyperVGenerations": "V2"}, image(generation="V1"), {}, "Hyper-V generation V2"),
        ({"HyperVGenerations": "V1,V2"}, image(generation="V1"), {}, None),
        ({"CpuArchitectureType": "Arm64"}, NO_ANSWER, {}, None),
        ({"CpuArchitectureType": "Arm64"}, None, {}, None),
    ],
)  # fmt: skip
def test_a_size_that_cannot_boot_the_image_is_not_offered(
    capabilities: dict[str, str], found: Any, options: dict[str, Any], reason: str | None
):
    check = one(sizes_of(vm(**options), found, capabilities), "sizes")
    expected = "ok" if reason is None else "fault"
    assert (check["status"], (reason or "") in check["detail"]) == (expected, True), check


def test_a_fallback_that_fits_keeps_the_fleet():
    asked = order(vm=vm(disk_type="Premium_LRS"), fallbacks=[{"vm_size": "Standard_D2ds_v5"}])
    skus = [sku(capabilities={"PremiumIO": "False"}), sku("Standard_D2ds_v5")]
    seen = inputs(asked, regions={"eastus": region(skus=skus)})
    assert (one(seen, "sizes")["status"], evaluate(seen)["faults"]) == ("warning", [])


@pytest.mark.parametrize(
    ("gpus", "publisher", "shell_install", "status"),
    [
        ("0", "canonical", "", "ok"),
        ("1", "canonical", "", "warning"),
        ("1", "Microsoft-DSVM", "", "ok"),
        ("1", "canonical", "linux-modules-nvidia-570-server-azure", "ok"),
    ],
)
def test_gpus_need_an_image_with_a_driver(
    gpus: str, publisher: str, shell_install: str, status: str
):
    skus = [sku(capabilities={"GPUs": gpus})]
    seen = inputs(
        order(vm=vm(image={"publisher": publisher})),
        regions={"eastus": region(skus=skus, usages=usages())},
        experiment=experiment(shell_install=shell_install),
    )
    assert one(seen, "gpu")["status"] == status


@pytest.mark.parametrize(
    ("offer", "is_upstream", "status"),
    [
        ("ubuntu-24_04-lts", True, "ok"),
        ("0001-com-ubuntu-server-jammy", True, "ok"),
        ("ubuntu-24_10", True, "ok"),
        ("ubuntu-25_04", True, "warning"),
        ("Ubuntu-26_04-lts", True, "warning"),
        ("ubuntu-26_04-lts", False, "ok"),
        ("debian-12", True, "ok"),
        ("debian-13", True, "warning"),
    ],
)
def test_upstreams_script_needs_a_python_below_3_13(offer: str, is_upstream: bool, status: str):
    asked = order(vm=vm(image={"offer": offer}))
    seen = inputs(asked, experiment=experiment(is_upstream_script=is_upstream))
    assert (one(seen, "python")["status"], evaluate(seen)["faults"]) == (status, [])


@pytest.mark.parametrize(
    ("timeout", "status"), [(None, "ok"), (3600, "ok"), (3600.5, "warning"), (1e9, "warning")]
)
def test_a_timeout_beyond_the_deadline_is_a_warning(timeout: float | None, status: str):
    seen = inputs(order(timeout=timeout, max_lifetime=3600.0))
    assert one(seen, "timeout")["status"] == status


@pytest.mark.parametrize(
    ("author", "installed", "status"),
    [
        (None, {}, "ok"),
        (LOCK, {}, "ok"),
        (f"{LOCK}+source", {}, "warning"),
        ("0.1.11", {}, "warning"),
        ("0.1.11", {"pip_install": "numpy 'powerlift==0.1.11'"}, "ok"),
        (LOCK, {"pip_install": "powerlift==0.1.11 numpy"}, "warning"),
        ("0.2+source", {"pip_install": "git+https://example.org/i#subdirectory=python/powerlift"}, "ok"),
        ("0.2+source", {"pip_install": "powerlift-extras numpy"}, "warning"),
        ("0.2", {"pip_install": "'unclosed"}, "ok"),
        ("0.2", {"wheels": ["numpy-1-py3-none-any.whl", "powerlift-0.2-py3-none-any.whl"]}, "ok"),
        ("0.3", {"wheels": ["powerlift-0.2-py3-none-any.whl"]}, "warning"),
        ("0.2+source", {"wheels": ["powerlift-0.2+source-py3-none-any.whl"]}, "ok"),
    ],
)  # fmt: skip
def test_the_authors_powerlift_is_compared_with_that_of_the_vms(
    author: str | None, installed: dict[str, Any], status: str
):
    seen = inputs(order(powerlift_version=author), experiment=experiment(**installed))
    assert one(seen, "powerlift")["status"] == status


@pytest.mark.parametrize("name", ["powerlift", "python"])
def test_an_experiment_that_cannot_be_read_is_unknown(name: str):
    seen = inputs(order(powerlift_version="0.2"), experiment=NO_ANSWER)
    assert one(seen, name)["status"] == "unknown"
