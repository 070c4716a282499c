"""What VMs boot: an image of the marketplace, or of a Compute Gallery."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import final

from typing_extensions import TypedDict

LATEST = "latest"
_GALLERY_IMAGE = re.compile(r"(.*/images/[^/]+?)(?:/versions/([^/]+))?", re.IGNORECASE)


@final
class MarketplaceImage(TypedDict):
    publisher: str
    offer: str
    sku: str
    version: str
    """`latest`, until the plan has resolved it."""


@final
class GalleryImage(TypedDict):
    id: str
    """`/subscriptions/…/galleries/G/images/I`, `/sharedGalleries/G/images/I` or
    `/communityGalleries/G/images/I`, with `/versions/V` once the plan has resolved it."""


Image = MarketplaceImage | GalleryImage


def is_private(image_id: str) -> bool:
    """Whether an image is read at its own ARM ID, with a role there."""
    return image_id.lower().startswith("/subscriptions/")


def definition_of(image_id: str) -> str:
    """A gallery image's ID without its version."""
    found = _GALLERY_IMAGE.fullmatch(image_id)
    return found[1] if found else image_id


def version_of(image: Image) -> str:
    """The version, which may be `latest`."""
    if "id" not in image:
        return image["version"]
    found = _GALLERY_IMAGE.fullmatch(image["id"])
    return (found and found[2]) or LATEST


def is_latest(image: Image) -> bool:
    return version_of(image).lower() == LATEST


def with_version(image: Image, version: str) -> Image:
    if "id" in image:
        return {"id": f"{definition_of(image['id'])}/versions/{version}"}
    return {**image, "version": version}


def name_of(image: Image) -> str:
    """publisher:offer:sku:version, or the ID of a gallery's image."""
    if "id" in image:
        return image["id"]
    return ":".join((image["publisher"], image["offer"], image["sku"], image["version"]))


def by_version(version: str) -> list[int]:
    """A sort key: versions consist of numbers and dots."""
    return [int(part) for part in re.findall(r"\d+", version)]


def common_version(listed: Sequence[Sequence[str]]) -> str:
    """The newest version in all lists, of which none is empty and each has the newest first; without
    one, the newest of the first list.
    """
    first, *others = listed
    return next((one for one in first if all(one in rest for rest in others)), first[0])
