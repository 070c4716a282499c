"""Compute Galleries of the simulator, as the SDK sees them, and the VMs that boot their images."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.local.azure.driver import GALLERY_API, GROUP, Driver, unique, with_change

REFERENCE = "properties.storageProfile.imageReference"
SIZE = "properties.hardwareProfile.vmSize"


@pytest.fixture(scope="module")
def image(azure: Driver) -> str:
    """An image in two versions; the newer one is excluded from `latest`."""
    path = azure.make_image("1.9.0", gallery="images")
    azure.put_version(f"{path}/versions/1.10.0", "East US", "westus")
    azure.put_version(f"{path}/versions/2.0.0", "eastus", excludeFromLatest=True)
    return path


@pytest.fixture(scope="module")
def shared(azure: Driver) -> dict[str, str]:
    """The ids of two images: one shared with the subscription, the other with everybody."""
    kinds = ("Groups", "Community")
    return {kind: azure.share_image("1.0.0", permission=kind) for kind in kinds}


def body_of(azure: Driver, reference: dict[str, str]) -> dict[str, Any]:
    return with_change(azure.vm_body(azure.make_nic()), REFERENCE, reference)


def put(azure: Driver, body: dict[str, Any]) -> Any:
    return azure.send("PUT", azure.vm_path(unique("vm")), body).json()


def test_sdk_reads_a_version_and_where_it_is(azure: Driver, image: str) -> None:
    versions, name = azure.compute().gallery_image_versions, image.rpartition("/")[2]

    listed = [one.name for one in versions.list_by_gallery_image(GROUP, "images", name)]
    found = versions.get(GROUP, "images", name, "1.10.0", expand="ReplicationStatus")

    states = {one.region: one.state for one in found.replication_status.summary}
    assert (sorted(listed), states) == (
        ["1.10.0", "1.9.0", "2.0.0"], {"East US": "Completed", "westus": "Completed"}
    )  # fmt: skip


def test_a_new_region_replicates_while_the_others_stay(azure: Driver) -> None:
    path = f"{azure.make_image('1.0.0')}/versions/1.0.0"
    found = azure.send("GET", path, api=GALLERY_API).json()
    regions = [{"name": "eastus"}, {"name": "westus"}]
    found["properties"]["publishingProfile"]["targetRegions"] = regions

    azure.send("PUT", path, found, api=GALLERY_API)

    query = {"$expand": "ReplicationStatus"}
    seen = azure.send("GET", path, api=GALLERY_API, query=query).json()["properties"]
    states = [one["state"] for one in seen["replicationStatus"]["summary"]]
    assert (seen["provisioningState"], states) == ("Updating", ["Completed", "Replicating"])
    assert azure.settled(path, GALLERY_API)["properties"]["provisioningState"] == "Succeeded"


@pytest.mark.parametrize(
    ("version", "exact"),
    [("", "1.10.0"), ("/versions/1.9.0", "1.9.0"), ("/versions/2.0.0", "2.0.0")],
)
def test_a_vm_boots_a_version_or_the_newest_one(
    azure: Driver, image: str, version: str, exact: str
) -> None:
    booted = put(azure, body_of(azure, {"id": f"{image}{version}"}))

    reference = booted["properties"]["storageProfile"]["imageReference"]
    assert reference == {"id": f"{image}{version}", "exactVersion": exact}


@pytest.mark.parametrize("kind", ["Groups", "Community"])
@pytest.mark.parametrize("version", ["1.0.0", "latest"])
def test_a_vm_boots_a_shared_image(
    azure: Driver, shared: dict[str, str], kind: str, version: str
) -> None:
    member = "sharedGalleryImageId" if kind == "Groups" else "communityGalleryImageId"
    booted = put(azure, body_of(azure, {member: f"{shared[kind]}/versions/{version}"}))

    reference = booted["properties"]["storageProfile"]["imageReference"]
    assert reference["exactVersion"] == "1.0.0"


def test_sdk_sees_shared_images_where_they_are(azure: Driver, shared: dict[str, str]) -> None:
    _, _, gallery, _, image = shared["Groups"].split("/")
    versions = azure.compute().shared_gallery_image_versions

    assert [one.name for one in versions.list("eastus", gallery, image)] == ["1.0.0"]
    assert list(versions.list("westus", gallery, image)) == []
    with pytest.raises(ResourceNotFoundError):
        versions.get("westus", gallery, image, "1.0.0")


def test_sdk_reads_a_community_image(azure: Driver, shared: dict[str, str]) -> None:
    _, _, gallery, _, image = shared["Community"].split("/")

    found = azure.compute().community_gallery_images.get("eastus", gallery, image)

    about = found.properties
    assert (about.os_state, about.hyper_v_generation) == ("Generalized", "V2")


def test_an_image_of_somebody_else_is_not_shared(azure: Driver, image: str) -> None:
    gallery = f"{azure.ready['subscription_id']}-images"

    with pytest.raises(HttpResponseError, match="NotFound"):
        azure.compute().shared_gallery_images.get("eastus", gallery, image.rpartition("/")[2])


@pytest.mark.parametrize(
    ("properties", "change", "expected"),
    [
        ({}, ("location", "westus"), ("GalleryImageNotFound", "is not available in westus region")),
        ({"osState": "Specialized"}, (), ("InvalidParameter", "Parameter 'osProfile' is not allowed")),
        ({"features": [{"name": "SecurityType", "value": "TrustedLaunch"}]}, (),
         ("BadRequest", "with 'TrustedLaunch' security type")),
        ({"features": [{"name": "SecurityType", "value": "TrustedLaunchSupported"}]}, (), None),
        ({"architecture": "Arm64"}, (), ("BadRequest", "CPU Architecture of 'x64'")),
        ({}, (SIZE, "Standard_D2s_v6"), ("InvalidParameter", "disk controller")),
        ({"features": [{"name": "DiskControllerTypes", "value": "SCSI, NVMe"}]},
         (SIZE, "Standard_D2s_v6"), None),
        ({"purchasePlan": {"name": "p", "publisher": "q", "product": "r"}}, (),
         ("VMMarketplaceInvalidInput", "Plan information")),
    ],
)  # fmt: skip
def test_a_vm_that_cannot_boot_the_image_is_rejected(
    azure: Driver, properties: dict[str, Any], change: Any, expected: tuple[str, str] | None
) -> None:
    path = azure.make_image("1.0.0", **properties)
    body = body_of(azure, {"id": f"{path}/versions/1.0.0"})
    answer = put(azure, with_change(body, *change) if change else body)

    error = answer.get("error")
    if expected is None or error is None:
        assert error is expected, answer
    else:
        assert (error["code"], expected[1] in error["message"]) == (expected[0], True), error


def test_an_absent_version_is_rejected(azure: Driver, image: str) -> None:
    error = put(azure, body_of(azure, {"id": f"{image}/versions/3.0.0"}))["error"]

    assert (error["code"], error["target"]) == ("GalleryImageNotFound", "imageReference")


@pytest.mark.parametrize(
    ("name", "regions", "target"),
    [("1.0", ["eastus"], "galleryImageVersionName"),
     ("1.0.0", ["westus"], "publishingProfile.targetRegions")],
)  # fmt: skip
def test_an_invalid_version_is_rejected(
    azure: Driver, image: str, name: str, regions: list[str], target: str
) -> None:
    profile = {"targetRegions": [{"name": one} for one in regions]}
    properties = {"publishingProfile": profile, "storageProfile": {"source": {"id": "/x"}}}
    body = {"location": "eastus", "properties": properties}

    error = azure.send("PUT", f"{image}/versions/{name}", body, api=GALLERY_API).json()["error"]

    assert (error["code"], error["target"]) == ("InvalidParameter", target)


def test_parents_come_first_and_go_last(azure: Driver, image: str) -> None:
    orphan = image.replace("/galleries/images/", "/galleries/none/")
    properties = {"storageProfile": {"source": {"id": "/x"}}}
    body = {"location": "eastus", "properties": properties}

    made = azure.send("PUT", f"{orphan}/versions/1.0.0", body, api=GALLERY_API)
    gone = azure.send("DELETE", image, api=GALLERY_API)

    assert [one.json()["error"]["code"] for one in (made, gone)] == [
        "ParentResourceNotFound", "CannotDeleteResource"
    ]  # fmt: skip
