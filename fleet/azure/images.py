"""Reads what a plan needs of an image: of the marketplace, or of a Compute Gallery.

A private image is read at its own ARM ID. Those that are shared with the subscription, and community
images, are read at a location, which only shows what is replicated there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azure.core.exceptions import HttpResponseError

from fleet.azure.arm_bodies import Body
from fleet.azure.arm_pipeline import get_json_or_none, list_all
from fleet.azure.error_classifier import code_of
from fleet.model.images import (
    Image,
    MarketplaceImage,
    by_version,
    definition_of,
    is_private,
    version_of,
)
from fleet.model.names import region_of

if TYPE_CHECKING:
    from azure.mgmt.compute.aio import ComputeManagementClient

MARKETPLACE_API, GALLERIES_API = "2026-04-01", "2026-03-03"
"""The same as the SDK's."""

_RECENT = 10
"""Versions of a marketplace image that are compared between regions."""
_ABSENT = {"NotFound", "ResourceNotFound", "ResourceGroupNotFound", "ParentResourceNotFound"}
_USABLE = ("Succeeded", "Updating")
"""Provisioning states: a version is updated while it is replicated to one more region."""


class Images:
    """The images that a subscription can read."""

    def __init__(self, compute: ComputeManagementClient, subscription: str) -> None:
        self._compute, self._provider = compute, f"{subscription}/providers/Microsoft.Compute"

    async def latest(self, location: str, image: Image) -> list[str]:
        """The versions that `latest` may be in a location, the newest first; empty if there is none."""
        if "id" not in image:
            return await self._marketplace_versions(location, image)
        url = f"{self._definition_url(location, image['id'])}/versions?api-version={GALLERIES_API}"
        try:
            listed = await list_all(self._compute, url)
        except HttpResponseError as error:
            if code_of(error) not in _ABSENT:
                raise
            return []
        named = [one["name"] for one in listed if _is_candidate(one["properties"], location)]
        return sorted(named, key=by_version, reverse=True)

    async def find(self, location: str, image: Image) -> Body | None:
        """One version; None if it does not exist. `properties` of a gallery's are those of its
        definition, and in `version` its own.
        """
        version = version_of(image)
        if "id" not in image:
            url = f"{self._sku_url(location, image)}/{version}?api-version={MARKETPLACE_API}"
            return await get_json_or_none(self._compute, url, _ABSENT)
        url = self._definition_url(location, image["id"])
        api = f"api-version={GALLERIES_API}"
        definition = await get_json_or_none(self._compute, f"{url}?{api}", _ABSENT)
        expand = "&$expand=ReplicationStatus" if is_private(image["id"]) else ""
        own = f"{url}/versions/{version}?{api}{expand}"
        found = definition and await get_json_or_none(self._compute, own, _ABSENT)
        if definition is None or found is None:
            return None
        about = definition["properties"]
        plan, properties = about.get("purchasePlan"), found["properties"]
        return {**found, "properties": {**about, "plan": plan, "version": properties}}

    async def _marketplace_versions(self, location: str, image: MarketplaceImage) -> list[str]:
        query = f"api-version={MARKETPLACE_API}&$top={_RECENT}&$orderby=name%20desc"
        url = f"{self._sku_url(location, image)}?{query}"
        listed: Any = await get_json_or_none(self._compute, url, _ABSENT)
        return [str(one["name"]) for one in listed or []]

    def _sku_url(self, location: str, image: MarketplaceImage) -> str:
        return (
            f"{self._provider}/locations/{location}/publishers/{image['publisher']}/artifacttypes/"
            f"vmimage/offers/{image['offer']}/skus/{image['sku']}/versions"
        )

    def _definition_url(self, location: str, image_id: str) -> str:
        path = definition_of(image_id)
        return path if is_private(image_id) else f"{self._provider}/locations/{location}{path}"


def _is_candidate(version: Body, location: str) -> bool:
    """Whether `latest` may be this version of a gallery's image in a location."""
    profile = version.get("publishingProfile")
    if profile is None:
        return not version.get("excludeFromLatest") and is_active(version)
    here = [one for one in profile.get("targetRegions") or [] if region_of(one["name"]) == location]
    excluded = profile.get("excludeFromLatest") or any(one.get("excludeFromLatest") for one in here)
    return bool(here) and not excluded and version.get("provisioningState") in _USABLE


def is_active(version: Body) -> bool:
    """Whether a shared or community version is not deleted."""
    return str(version.get("imageState") or "Active").lower() == "active"
