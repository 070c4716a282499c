"""What a plan makes of the image, its fit to the sizes, and what the VMs install and run."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import Any

import pytest

from fleet.preflight.plan import evaluate
from fleet.preflight.plan_inputs import PlanInputs
from fleet.vm.render import pinned_version
from tests.fleet.preflight.azure_inputs import (
    GALLERY_IMAGE,
    NO_ANSWER,
    experiment,
    gallery_image,
    image,
    inputs,
    one,
    order,
    region,
    sku,
    statuses,
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


def of_gallery(*regions: Any, image_id: str = "", newest: tuple[str, ...] = ()) -> PlanInputs:
    """A fleet in as many regions, with an image of a gallery in each."""
    names = ("eastus", "westus")[: len(regions)]
    asked = order(
        vm={**vm(), "image": {"id": image_id or f"{GALLERY_IMAGE}/versions/1.2.3"}},
        fallbacks=[{"location": one} for one in names[1:]],
    )
    seen = [region(image=one, newest_image=new) for one, new in zip_longest(regions, newest)]
    return inputs(asked, regions=dict(zip(names, seen, strict=True)))


SPECIALIZED = {"osState": "Specialized"}
YESTERDAY = {"endOfLifeDate": "2020-01-01T00:00:00Z"}
TOMORROW = {"endOfLifeDate": "2999-01-01T00:00:00+00:00"}


def security(kind: str) -> dict[str, Any]:
    return {"features": [{"name": "SecurityType", "value": kind}]}


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (gallery_image("eastus"), None),
        (gallery_image("East US"), None),
        (None, "ImageNotFound"),
        (gallery_image("westus"), "ImageNotReplicated"),
        (gallery_image("eastus", definition={"osType": "Windows"}), "ImageNotLinux"),
        (gallery_image("eastus", definition=SPECIALIZED), "ImageNotGeneralized"),
        (gallery_image("eastus", definition=security("TrustedLaunch")), "ImageNeedsSecurityType"),
        (gallery_image("eastus", definition=security("ConfidentialVM")), "ImageNeedsSecurityType"),
        (gallery_image("eastus", definition=security("TrustedLaunchSupported")), None),
        (gallery_image("eastus", definition={"plan": {"name": "p"}}), "ImageNeedsPlan"),
    ],
)
def test_what_makes_a_gallery_image_unusable(found: Any, code: str | None):
    faults = [one["code"] for one in evaluate(of_gallery(found))["faults"]]
    assert faults == ([code] if code else [])


@pytest.mark.parametrize(
    ("found", "detail"),
    [
        (gallery_image("eastus", profile=YESTERDAY), "past its end of life (2020-01-01)"),
        (gallery_image("eastus", definition=YESTERDAY), "past its end of life (2020-01-01)"),
        (gallery_image("eastus", profile={"excludeFromLatest": True}), "excluded from latest"),
        (gallery_image("eastus", profile=TOMORROW), None),
    ],
)
def test_a_version_that_its_owner_discourages_is_a_warning(found: Any, detail: str | None):
    check = one(of_gallery(found), "image")
    expected = "ok" if detail is None else "warning"
    assert (check["status"], (detail or "") in check["detail"]) == (expected, True), check


def test_each_fault_of_an_image_is_reported():
    seen = of_gallery(
        gallery_image("westus", definition={**SPECIALIZED, **security("TrustedLaunch")})
    )
    assert [one["code"] for one in evaluate(seen)["faults"]] == [
        "ImageNotGeneralized", "ImageNeedsSecurityType", "ImageNotReplicated"
    ]  # fmt: skip


def test_a_missing_region_is_named_with_the_command_that_adds_it():
    both = gallery_image("eastus")
    check = one(of_gallery(both, both), "image")
    assert check["status"] == "warning"
    assert check["detail"].endswith("is not replicated to westus")
    command = "az sig image-version update --subscription 941eb251-27ab-53dd-b1e0-b1ca8fecaab2 "
    command += "-g powerlift -r g -i i -e 1.2.3 --target-regions eastus westus"
    assert check["advice"] == f"Replicate it: {command}. Or use another region."


@pytest.mark.parametrize("home", ["/sharedGalleries/g/images/i", "/communityGalleries/g/images/i"])
def test_a_shared_image_is_only_shown_where_it_is(home: str):
    shared = gallery_image()
    shared["properties"]["version"] = {"imageState": "Active"}
    seen = of_gallery(shared, None, image_id=f"{home}/versions/1.2.3")
    check = one(seen, "image")
    assert (check["status"], "ask" in check["advice"].lower()) == ("warning", True), check


def test_a_deleted_shared_version_is_a_fault():
    shared = gallery_image()
    shared["properties"]["version"] = {"imageState": "SoftDeleted"}
    seen = of_gallery(shared, image_id="/communityGalleries/g/images/i/versions/1.2.3")
    assert statuses(seen, "image") == ["fault"]


@pytest.mark.parametrize(
    ("newest", "expected"), [(("1.2.3", "1.2.3"), ["ok"]), (("1.10.0", "1.2.3"), ["warning"])]
)
def test_a_newer_version_that_only_some_regions_have_is_a_warning(
    newest: tuple[str, str], expected: list[str]
):
    both = gallery_image("eastus", "westus")
    seen = of_gallery(both, both, newest=newest)
    assert statuses(seen, "image") == expected


def test_a_private_image_needs_a_role_at_it():
    seen = of_gallery(gallery_image("eastus"))
    reader = {"actions": ["*/read"], "notActions": []}
    [fault] = evaluate(replace(seen, permissions={**seen.permissions, GALLERY_IMAGE: []}))["faults"]
    enough = evaluate(replace(seen, permissions={**seen.permissions, GALLERY_IMAGE: [reader]}))
    assert (fault["code"], "Reader" in fault["advice"]) == ("PermissionsMissing", True), fault
    assert (
        f"{GALLERY_IMAGE}: Microsoft.Compute/galleries/images/{{versions/read}}" in fault["message"]
    )
    assert enough["faults"] == []


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
