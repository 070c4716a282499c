"""Checks of the image: that it exists, that it boots on the sizes, and what it has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fleet.api.responses.plan import Status
from fleet.azure.arm_bodies import Body
from fleet.model.order_parts import VmOptions
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
    absent, urn = [], _urn(inputs)
    for location, region in inputs.regions.items():
        if isinstance(region.image, Unavailable):
            yield unreadable(f"The image in {location}", region.image)
        elif region.image is None:
            absent.append(location)
        elif region.image["properties"].get("plan"):
            text = f"Image {urn} has a purchase plan, which the app does not accept for you"
            advice = "Choose an image without a plan."
            yield CheckResult("fault", text, advice, "ImageNeedsPlan")
            return
    if absent:
        status: Status = "fault" if len(absent) == len(inputs.regions) else "warning"
        text = f"Image {urn} does not exist in {', '.join(absent)}"
        yield CheckResult(status, text, _ADVICE, "ImageNotFound")
    elif not any(isinstance(one.image, Unavailable) for one in inputs.regions.values()):
        yield CheckResult("ok", f"Image {urn} exists")


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
    publisher = inputs.order["vm"]["image"]["publisher"].lower()
    if not sizes:
        yield CheckResult("ok", "No size has GPUs")
    elif installs or publisher in _WITH_GPU_DRIVER:
        yield CheckResult(
            "ok", f"{', '.join(sizes)}: a driver comes with the image or shell_install"
        )
    else:
        text = f"{', '.join(sizes)}: GPUs, for which image {_urn(inputs)} has no driver"
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
            f"Image {_urn(inputs)} has Python 3.13 or newer, on which Powerlift's own script fails in "
            "every trial: KeyError: 'wired_function'"
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
    offer = inputs.order["vm"]["image"]["offer"].lower()
    if found := _UBUNTU.search(offer):
        return (int(found[1]), int(found[2])) >= (25, 4)
    found = _DEBIAN.search(offer)
    return found is not None and int(found[1]) >= 13


def _items(text: str) -> set[str]:
    return {one.strip().lower() for one in text.split(",")}


def _urn(inputs: PlanInputs) -> str:
    named = inputs.order["vm"]["image"]
    return ":".join((named["publisher"], named["offer"], named["sku"], named["version"]))
