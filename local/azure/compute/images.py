"""The images of the simulated marketplace, and Compute's API that reads them."""

from __future__ import annotations

from dataclasses import dataclass

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Json
from local.azure.compute.sizes import check_region

_TYPE = "Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/versions"
_BUILDS = ("202610010", "202611120")
_SCSI, _BOTH = "SCSI", "SCSI, NVMe"


@dataclass(frozen=True)
class Image:
    """A SKU of an offer, with what decides on which sizes it boots."""

    publisher: str
    offer: str
    sku: str
    release: str
    """The first part of its versions."""
    generation: str = "V2"
    controllers: str = _BOTH
    """The disk controllers that it supports."""
    architecture: str = "x64"
    needs_plan: bool = False
    """Whether a VM's body must name the purchase plan."""
    is_specialized: bool = False
    """Whether the image keeps the users of the VM that it was made of."""
    security: str = ""
    """The feature SecurityType of a gallery's image."""

    @property
    def versions(self) -> list[str]:
        """The oldest first."""
        return [f"{self.release}.{build}" for build in _BUILDS]


def _ubuntu(offer: str, release: str) -> list[Image]:
    return [
        Image("canonical", offer, "server", release),
        Image("canonical", offer, "server-arm64", release, architecture="Arm64"),
        Image("canonical", offer, "minimal", release),
        Image("canonical", offer, "server-gen1", release, "V1", _SCSI),
    ]


_JAMMY, _FOCAL = "0001-com-ubuntu-server-jammy", "0001-com-ubuntu-server-focal"
_ALL = [
    *_ubuntu("ubuntu-26_04-lts", "26.04"),
    *_ubuntu("ubuntu-24_04-lts", "24.04"),
    *_ubuntu("ubuntu-22_04-lts", "22.04"),
    Image("canonical", _JAMMY, "22_04-lts", "22.04", "V1", _SCSI),
    Image("canonical", _JAMMY, "22_04-lts-gen2", "22.04"),
    Image("canonical", _JAMMY, "22_04-lts-arm64", "22.04", architecture="Arm64"),
    Image("canonical", _FOCAL, "20_04-lts", "20.04", "V1", _SCSI),
    Image("canonical", _FOCAL, "20_04-lts-gen2", "20.04", controllers=_SCSI),
    Image("debian", "debian-13", "13-gen2", "0"),
    Image("debian", "debian-12", "12", "0", "V1", _SCSI),
    Image("debian", "debian-12", "12-gen2", "0"),
    Image("debian", "debian-12", "12-arm64", "0", architecture="Arm64"),
    Image("almalinux", "almalinux-x86_64", "9-gen2", "9.4"),
    Image("almalinux", "almalinux-x86_64", "8-gen2", "8.10", controllers=_SCSI),
    Image("microsoft-dsvm", "ubuntu-hpc", "2204", "22.04", controllers=_SCSI),
    Image("microsoft-dsvm", "ubuntu-2204", "2204-gen2", "22.04", controllers=_SCSI),
    Image("nvidia", "ngc_azure_17_11", "ngc-base-version-23_10_1_gen2", "23.10", needs_plan=True),
]
_IMAGES = {(one.publisher, one.offer, one.sku): one for one in _ALL}


def find_image(publisher: str, offer: str, sku: str, version: str) -> Image | None:
    """The image, in any case; None if the marketplace does not have it."""
    found = _IMAGES.get((publisher.lower(), offer.lower(), sku.lower()))
    return found if found and version.lower() in ("latest", *found.versions) else None


class Images:
    """The versions of an image's SKU: GET one, or all as a JSON array without an envelope."""

    def routes(self) -> list[Route]:
        return [
            Route("GET", _TYPE, self._get),
            Route("GET", _TYPE, self._list, collection=True),
        ]

    async def _get(self, call: Call) -> Reply:
        image = _image(call)
        if call.target.name not in image.versions:
            raise _absent()
        properties = {
            "hyperVGeneration": image.generation,
            "architecture": image.architecture,
            "osDiskImage": {"operatingSystem": "Linux"},
            "features": [
                {"name": "DiskControllerTypes", "value": image.controllers},
                {"name": "IsAcceleratedNetworkSupported", "value": "True"},
            ],
            "imageDeprecationStatus": {"imageState": "Active"},
        }
        if image.needs_plan:
            plan = {"publisher": image.publisher, "product": image.offer, "name": image.sku}
            properties["plan"] = plan
        return Reply(200, {**_body(call.target.path, call), "properties": properties})

    async def _list(self, call: Call) -> Reply:
        image = _image(call)
        query, names = call.request.query, image.versions
        if query.get("$orderby", "").lower() == "name desc":
            names = names[::-1]
        shown = names[: int(query.get("$top", len(names)))]
        return Reply(200, [_body(f"{call.target.path}/{name}", call) for name in shown])


def _image(call: Call) -> Image:
    """The image of a path. Raises ArmError 400 or 404."""
    _, publisher, _, offer, sku, *_ = call.target.names
    check_region(call, "locations/publishers")
    image = find_image(publisher, offer, sku, "latest")
    if image is None:
        raise _absent()
    return image


def _body(path: str, call: Call) -> Json:
    return {"location": call.target.names[0], "name": path.rpartition("/")[2], "id": path}


def _absent() -> ArmError:
    """For an unknown publisher, offer, SKU or version (azvmimagebuilder#80, vagrant-azure#147)."""
    return ArmError(404, "NotFound", "Artifact: VMImage was not found.")
