"""What a plan makes of an image in a Compute Gallery."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from fleet.azure.arm_bodies import Body
from fleet.azure.images import is_active
from fleet.model.images import by_version, definition_of, is_private
from fleet.model.names import region_of
from fleet.preflight.check_result import CheckResult
from fleet.preflight.plan_inputs import PlanInputs

_NEEDED_SECURITY = {"trustedlaunch": "TrustedLaunch", "confidentialvm": "ConfidentialVM"}
"""Values of the feature SecurityType with which an image boots no VM without a security profile."""
_PREPARE = "docs/images.md describes how to make one."
_LIST = "az sig image-version list --subscription {2} -g {4} -r {8} -i {10}"
_UPDATE = "az sig image-version update --subscription {2} -g {4} -r {8} -i {10}"
"""With the parts of a private image's ARM ID."""


def not_replicated(image_id: str, image: Body, location: str) -> bool:
    """Whether Azure would refuse the image in a location: its replication there is not complete."""
    if not is_private(image_id):
        return False  # it is only shown where it is replicated
    status = _own(image).get("replicationStatus") or {}
    return not any(
        region_of(one.get("region", "")) == location and one.get("state") == "Completed"
        for one in status.get("summary") or []
    )


def absent(image_id: str, version: str, image: Body | None, locations: list[str]) -> CheckResult:
    """A fault: the version does not exist (`image` None), or is not replicated to these locations."""
    named, where = f"Version {version} of image {definition_of(image_id)}", ", ".join(locations)
    if image is None:
        text = f"{named} does not exist in {where}"
        advice = (
            "Check image_id, or ask the gallery's owner to replicate the version to the region."
        )
        if is_private(image_id):
            advice = f"Check image_id: {_command(_LIST, image_id)}."
        return CheckResult("fault", text, advice, "ImageNotFound")
    advice = "Ask the gallery's owner to replicate it, or use another region."
    if is_private(image_id):
        targets = _own(image).get("publishingProfile", {}).get("targetRegions") or []
        regions = [region_of(one["name"]) for one in targets]
        command = f"{_command(_UPDATE, image_id)} -e {version} --target-regions"
        every = " ".join(dict.fromkeys([*regions, *locations]))
        advice = f"Replicate it: {command} {every}. Or use another region."
    return CheckResult(
        "fault", f"{named} is not replicated to {where}", advice, "ImageNotReplicated"
    )


def problems(image_id: str, image: Body) -> Iterator[CheckResult]:
    """What is wrong with a version wherever it is."""
    about, own = image["properties"], _own(image)
    named = f"Version {image['name']} of image {definition_of(image_id)}"
    if str(about.get("osType", "Linux")).lower() != "linux":
        text = f"Image {definition_of(image_id)} has {about['osType']}, and VMs need Linux"
        yield CheckResult("fault", text, f"Choose a Linux image. {_PREPARE}", "ImageNotLinux")
    if str(about.get("osState", "Generalized")).lower() != "generalized":
        text = (
            f"Image {definition_of(image_id)} is {about['osState'].lower()}: Azure gives its VMs no "
            "user and no startup script"
        )
        advice = f"Generalize the VM (waagent -deprovision+user) before the capture. {_PREPARE}"
        yield CheckResult("fault", text, advice, "ImageNotGeneralized")
    yield from _security(image_id, about)
    if not is_active(own):
        text, advice = f"{named} is deleted", "Choose another version, or have it restored."
        yield CheckResult("fault", text, advice, "ImageNotFound")
    profile = own.get("publishingProfile") or own
    ends = [one for one in (about.get("endOfLifeDate"), profile.get("endOfLifeDate")) if one]
    if any(_is_over(one) for one in ends):
        text = f"{named} is past its end of life ({min(ends)[:10]}), which Azure ignores"
        yield CheckResult("warning", text, "Choose a newer version, or move the date.")
    if profile.get("excludeFromLatest"):
        text = f"{named} is excluded from latest: its owner may not have released it"
        yield CheckResult("warning", text, "Choose another version, or keep this one on purpose.")


def _security(image_id: str, about: Body) -> Iterator[CheckResult]:
    features = {one["name"]: one["value"] for one in about.get("features") or []}
    needed = _NEEDED_SECURITY.get(str(features.get("SecurityType", "")).lower())
    if needed is not None:
        text = f"Image {definition_of(image_id)} only boots {needed} VMs, which the app does not create"
        advice = (
            "Capture a VM with --security-type Standard, in an image definition with "
            f"SecurityType=Standard. {_PREPARE}"
        )
        yield CheckResult("fault", text, advice, "ImageNeedsSecurityType")


def newer(inputs: PlanInputs, image_id: str, version: str) -> Iterator[CheckResult]:
    """A warning if `latest` is older than in a region, since another region has no newer one."""
    newest = {where: one.newest_image or version for where, one in inputs.regions.items()}
    latest = max(newest.values(), key=by_version)
    if by_version(latest) > by_version(version):
        older = ", ".join(where for where, one in newest.items() if one != latest)
        text = (
            f"The fleet boots version {version} of image {definition_of(image_id)}: the newest, "
            f"{latest}, is not in {older}"
        )
        advice = "Replicate it, or name a version in image_id."
        yield CheckResult("warning", text, advice)


def _own(image: Body) -> dict[str, Any]:
    own: dict[str, Any] = image["properties"].get("version") or {}
    return own


def _command(template: str, image_id: str) -> str:
    return template.format(*image_id.split("/"))


def _is_over(date: str) -> bool:
    try:
        end = datetime.fromisoformat(date)
    except ValueError:
        return False
    return end.replace(tzinfo=end.tzinfo or UTC) < datetime.now(UTC)
