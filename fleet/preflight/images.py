"""Checks of the image: that it exists, that it boots on the sizes, and what it has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from fleet.api.responses.plan import Status
from fleet.azure.arm_bodies import Body
from fleet.model.images import Image, name_of, version_of
from fleet.model.order_parts import VmOptions
from fleet.preflight import galleries
from fleet.preflight.check_result import CheckResult, unreadable
from fleet.preflight.plan_inputs import PlanInputs, Unavailable, capabilities

_ADVICE = (
    "Check image_publisher, image_offer, image_sku and image_version: az vm image list --location "
    "LOCATION --publisher PUBLISHER --all."
)
_WITH_GPU_DRIVER = ("microsoft-dsvm", "nvidia")
"""Publishers of images with NVIDIA's driver."""
_UBUNTU, _DEBIAN = re.compile(r"ubuntu-(\d\d)_(\d\d)"), re.compile(r"debian-(\d+)")


def image(inputs: PlanInputs) -> Iterator[CheckResult]:
    """A fault if no location has the image, a warning if some do not."""
    named, absent, present = inputs.order["vm"]["image"], [], list[Body]()
    regions = inputs.regions
    for location, region in regions.items():
        if isinstance(region.image, Unavailable):
            yield unreadable(f"The image in {location}", region.image)
            continue
        present += [region.image] if region.image else []
        if region.image is None or _is_elsewhere(named, region.image, location):
            absent.append(location)
    found = (list(_problems(inputs, named, one)) for one in present)
    problems = next((some for some in found if some), [])
    yield from problems
    if absent:
        status: Status = "fault" if len(absent) == len(regions) else "warning"
        yield replace(_absent(named, present, absent), status=status)
    elif not problems and not any(isinstance(one.image, Unavailable) for one in regions.values()):
        yield CheckResult("ok", f"Image {name_of(named)} exists")


def _is_elsewhere(named: Image, image: Body, location: str) -> bool:
    return "id" in named and galleries.not_replicated(named["id"], image, location)


def _problems(inputs: PlanInputs, named: Image, image: Body) -> Iterator[CheckResult]:
    if image["properties"].get("plan"):
        text = f"Image {name_of(named)} has a purchase plan, which the app does not accept for you"
        yield CheckResult("fault", text, "Choose an image without a plan.", "ImageNeedsPlan")
    if "id" in named:
        yield from galleries.problems(named["id"], image)
        yield from galleries.newer(inputs, named["id"], version_of(named))


def _absent(named: Image, present: list[Body], locations: list[str]) -> CheckResult:
    if "id" in named:
        image = present[0] if present else None
        return galleries.absent(named["id"], version_of(named), image, locations)
    text = f"Image {name_of(named)} does not exist in {', '.join(locations)}"
    return CheckResult("fault", text, _ADVICE, "ImageNotFound")


def refusals(options: VmOptions, image: Body | Unavailable | None, sku: Body) -> Iterator[str]:
    """Why a size cannot boot the image or have the OS disk. What Azure does not report is no reason."""
    size, disk = capabilities(sku), options["disk_type"]
    if disk.startswith("Premium") and size.get("PremiumIO") == "False":
        yield f"no support for {disk}: change disk_type or vm_size"
    if image is None or isinstance(image, Unavailable):
        return
    about = image["properties"]
    named = {one["name"]: one["value"] for one in about.get("features") or []}
    # The documentation names SCSI for images without this feature.
    pairs = (
        ("CPU architecture", size.get("CpuArchitectureType"), about.get("architecture")),
        ("Hyper-V generation", size.get("HyperVGenerations"), about.get("hyperVGeneration")),
        (
            "disk controller",
            size.get("DiskControllerTypes"),
            named.get("DiskControllerTypes", "SCSI"),
        ),
    )
    for what, of_size, of_image in pairs:
        if of_size and of_image and not _items(of_size) & _items(of_image):
            yield f"{what} {of_size}, but the image has {of_image}: change vm_size or the image"


def gpu(inputs: PlanInputs) -> Iterator[CheckResult]:
    """Canonical's and Debian's images have no GPU driver, and VMs install none by themselves."""
    skus = {one["vm_size"]: inputs.sku(one) for one in inputs.placements}
    sizes = [name for name, sku in skus.items() if sku and int(capabilities(sku).get("GPUs", 0))]
    experiment = inputs.experiment
    installs = isinstance(experiment, dict) and "nvidia" in experiment["shell_install"].lower()
    image = inputs.order["vm"]["image"]
    has_driver = "id" not in image and image["publisher"].lower() in _WITH_GPU_DRIVER
    if not sizes:
        yield CheckResult("ok", "No size has GPUs")
    elif installs or has_driver:
        yield CheckResult(
            "ok", f"{', '.join(sizes)}: a driver comes with the image or shell_install"
        )
    else:
        # No API says what a gallery's image contains.
        lacks = "may have" if "id" in image else "has"
        text = f"{', '.join(sizes)}: GPUs, for which image {name_of(image)} {lacks} no driver"
        advice = (
            "Use an image with a driver (microsoft-dsvm:ubuntu-hpc:2204), or name the driver's packages "
            "in shell_install: docs/recipes.md."
        )
        yield CheckResult("warning", text, advice)


def python(inputs: PlanInputs) -> Iterator[CheckResult]:
    """Powerlift's own script reads a name that `exec` has defined from `locals()`, which is a copy since
    Python 3.13 (PEP 667): KeyError: 'wired_function'.
    """
    experiment = inputs.experiment
    if isinstance(experiment, Unavailable):
        yield unreadable("The experiment's script", experiment)
    elif experiment and experiment["is_upstream_script"] and _has_python_3_13(inputs):
        text = (
            f"Image {name_of(inputs.order['vm']['image'])} has Python 3.13 or newer, on which "
            "Powerlift's own script fails in every trial: KeyError: 'wired_function'"
        )
        advice = (
            "Use an image with an older Python, such as ubuntu-24_04-lts, or submit with "
            "powerlift_fleet.run_experiment, which brings its own script."
        )
        yield CheckResult("warning", text, advice)
    else:
        yield CheckResult("ok", "The image's Python is not known to break the experiment's script")


def _has_python_3_13(inputs: PlanInputs) -> bool:
    """VMs use the image's python3. Ubuntu 25.04 and Debian 13 are the first with 3.13."""
    image = inputs.order["vm"]["image"]
    offer = "" if "id" in image else image["offer"].lower()
    if found := _UBUNTU.search(offer):
        return (int(found[1]), int(found[2])) >= (25, 4)
    found = _DEBIAN.search(offer)
    return found is not None and int(found[1]) >= 13


def _items(text: str) -> set[str]:
    return {one.strip().lower() for one in text.split(",")}
