"""Reads the image of a fleet, in one version for all of its VMs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass

from fleet.azure.arm_bodies import Body
from fleet.azure.client import Azure
from fleet.model.images import Image, common_version, is_latest, with_version
from fleet.preflight.reads import Unavailable, fetch


@dataclass(frozen=True, slots=True)
class OneVersion:
    """An image in the version that all VMs of a fleet boot."""

    image: Image
    versions: Mapping[str, list[str] | Unavailable]
    """By location, the newest first. Empty if the request names the version."""


async def one_version(
    connection: Azure, image: Image, locations: Sequence[str], until: float
) -> OneVersion:
    """Resolve `latest`, which would give VMs of one fleet different versions. It stays if no location
    has a version.
    """
    if not is_latest(image):
        return OneVersion(image, {})
    reads = (fetch(connection.images.latest(one, image), until) for one in locations)
    versions = dict(zip(locations, await asyncio.gather(*reads), strict=True))
    known = [one for one in versions.values() if isinstance(one, list) and one]
    return OneVersion(with_version(image, common_version(known)) if known else image, versions)


async def read_image(
    connection: Azure, location: str, resolved: Awaitable[OneVersion], until: float
) -> tuple[Body | Unavailable | None, str | None]:
    """The image in a location; and its newest version there, if the request names none."""
    one = await resolved
    listed = one.versions.get(location)
    if isinstance(listed, Unavailable):
        return listed, None
    if is_latest(one.image):
        return None, None
    found = await fetch(connection.images.find(location, one.image), until)
    return found, listed[0] if listed else None
