"""Compute Galleries: galleries, image definitions and versions; and what others see of shared ones."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import partial

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import ArmError, gateway, invalid_parameter
from local.azure.arm.operations import NETWORK_DELETE, NETWORK_PUT, Operations
from local.azure.arm.resources import Json, Resource
from local.azure.arm.schema import GALLERY, GALLERY_IMAGE, GALLERY_SHARING, GALLERY_VERSION, Schema
from local.azure.arm.validation import validate
from local.azure.clock import timestamp
from local.azure.cloud import Cloud
from local.azure.compute.images import Image
from local.azure.compute.sizes import check_region
from local.azure.identity.directory import seeded_guid

_GALLERY = "Microsoft.Compute/galleries"
_IMAGE, _VERSION = f"{_GALLERY}/images", f"{_GALLERY}/images/versions"
_LATENCIES = {_GALLERY: "gallery.put", _IMAGE: "gallery.put", _VERSION: "gallery.replication"}
_SCHEMAS: dict[str, Schema] = {_GALLERY: GALLERY, _IMAGE: GALLERY_IMAGE, _VERSION: GALLERY_VERSION}
_VERSION_NAME = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_REFERENCE = re.compile(
    r"/(sharedGalleries|communityGalleries)/([^/]+)/images/([^/]+)/versions/([^/]+)", re.IGNORECASE
)
_HIDDEN = ("provisioningState", "description", "releaseNoteUri", "allowUpdateImage")
"""Members of a definition that users of a shared gallery do not see."""


class Galleries:
    """Microsoft.Compute/galleries, and the views of them at a location."""

    def __init__(self, cloud: Cloud, operations: Operations) -> None:
        self._cloud, self._operations = cloud, operations

    def routes(self) -> list[Route]:
        routes = [Route("POST", f"{_GALLERY}/share", self._share, collection=True)]
        for kind in _SCHEMAS:
            routes += [
                Route("PUT", kind, self._put),
                Route("GET", kind, self._get),
                Route("DELETE", kind, self._delete),
                Route("GET", kind, self._list, collection=True),
            ]
        for view in ("sharedGalleries", "communityGalleries"):
            base = f"Microsoft.Compute/locations/{view}/images"
            routes += [
                Route("GET", base, self._get_shared),
                Route("GET", f"{base}/versions", self._get_shared),
                Route("GET", f"{base}/versions", self._list_shared, collection=True),
            ]
        return routes

    def find(self, reference: Json, location: str) -> Image:
        """The image of a VM's `imageReference`. Raises ArmError 404 if it is not in the region."""
        named = reference.get("id") or reference.get("sharedGalleryImageId")
        named = str(named or reference["communityGalleryImageId"])
        path = named
        if found := _REFERENCE.fullmatch(named):
            view, gallery, image, version = found.groups()
            owner = self._shared_gallery(view, gallery)
            path = f"{owner.id if owner else '/none'}/images/{image}/versions/{version}"
        version_ = self._usable(path.removesuffix("/versions/latest"), location)
        if version_ is None:
            # With quotes, as recorded (cloud-api-adaptor#1709, terraform-azurerm-caf#852).
            text = (
                f'"The gallery image {named} is not available in {location} region. Please contact '
                'image owner to replicate to this region, or change your requested region."'
            )
            raise ArmError(404, "GalleryImageNotFound", text, target="imageReference")
        definition = self._cloud.store.find(version_.target.parent)
        assert definition is not None  # `_put` demands it
        return _as_image(definition.properties, version_.name)

    def _usable(self, path: str, location: str) -> Resource | None:
        """The version at a path, or the newest one of a definition, if it is in the region."""
        found = self._cloud.store.find(path)
        if found is None or found.target.kind == _VERSION.lower():
            return found if found is not None and _is_in(found, location) else None
        versions = [one for one in self._versions(found) if _may_be_latest(one, location)]
        return max(versions, key=lambda one: _numbers(one.name), default=None)

    def _versions(self, definition: Resource) -> Iterator[Resource]:
        for one in self._cloud.store:
            if (one.target.kind, one.target.parent) == (_VERSION.lower(), definition.target.key):
                yield one

    async def _put(self, call: Call) -> Reply:
        kind = next(one for one in _SCHEMAS if one.lower() == call.target.kind)
        body = validate(call.request.body, _SCHEMAS[kind])
        existing = self._cloud.store.find(call.target.path)
        if len(call.target.names) > 1 and self._cloud.store.find(call.target.parent) is None:
            text = (
                "Can not perform requested operation on nested resource. Parent resource "
                f"'{'/'.join(call.target.names[:-1])}' not found."
            )
            raise gateway(404, "ParentResourceNotFound", text)
        resource = existing or Resource(call.target, {})
        before = resource.body.get("properties") or {}
        properties = copy.deepcopy(body.get("properties") or {})
        if kind == _VERSION:
            _complete_version(call.target.name, body["location"], properties, before)
        if kind == _IMAGE:
            properties = {"hyperVGeneration": "V1", "architecture": "x64", **properties}
        if kind == _GALLERY:
            profile = {"permissions": "Private", **(properties.get("sharingProfile") or {})}
            properties["sharingProfile"] = {**(before.get("sharingProfile") or {}), **profile}
        state = "Creating" if existing is None else "Updating"
        resource.body = {
            "name": call.target.name, "id": call.target.path, "type": kind,
            **{name: value for name, value in body.items() if name not in ("id", "name", "type")},
            "properties": {**properties, "provisioningState": state},
        }  # fmt: skip
        self._cloud.store.add(resource)
        return self._start(call, resource, kind, 201 if existing is None else 200)

    def _start(self, call: Call, resource: Resource, kind: str, status: int) -> Reply:
        def finish() -> None:
            resource.properties["provisioningState"] = "Succeeded"
            for region in (resource.properties.get("replicationStatus") or {}).get("summary", []):
                region |= {"state": "Completed", "progress": 100}

        shown = _without_replication(resource.body)
        operation = self._operations.start(
            call,
            resource.location,
            NETWORK_PUT,
            work=partial(self._cloud.wait, _LATENCIES[kind], resource.name),
            finish=finish,
        )
        return Reply(status, shown, self._operations.headers(operation, call))

    async def _get(self, call: Call) -> Reply:
        resource = self._cloud.store.get(call.target)
        if call.request.query.get("$expand", "").lower() == "replicationstatus":
            return Reply(200, resource.body)
        return Reply(200, _without_replication(resource.body))

    async def _list(self, call: Call) -> Reply:
        if len(call.target.names) > 1:
            self._owner(call)
        listed = self._cloud.store.list_collection(call.target)
        return self._cloud.page(call, listed, lambda one: _without_replication(one.body))

    def _owner(self, call: Call) -> Resource:
        """The resource that an action or a collection is of. Raises ArmError 404."""
        path = call.target.path.rpartition("/")[0]
        owner = self._cloud.store.find(path)
        if owner is None:
            raise ArmError(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        return owner

    async def _delete(self, call: Call) -> Reply:
        resource = self._cloud.store.find(call.target.path)
        if resource is None:
            return Reply(204)
        if any(one.target.parent == resource.target.key for one in self._cloud.store):
            text = f"Can not delete resource before nested resources are deleted: {resource.id}."
            raise ArmError(409, "CannotDeleteResource", text)
        remove = partial(self._cloud.store.remove, resource)
        return self._operations.start_delete(
            call, resource.location, NETWORK_DELETE, "gallery.put", remove
        )

    async def _share(self, call: Call) -> Reply:
        """The one way to share a gallery: its PUT only says with whom it may be shared."""
        body = validate(call.request.body, GALLERY_SHARING)
        gallery = self._owner(call)
        profile = gallery.properties["sharingProfile"]
        needed = "Community" if body["operationType"] == "EnableCommunity" else "Groups"
        if profile["permissions"] != needed:
            text = f"The operation '{body['operationType']}' requires the sharing permission '{needed}'."
            raise ArmError(409, "OperationNotAllowed", text)
        if needed == "Groups":
            profile["groups"] = [] if body["operationType"] == "Reset" else body.get("groups") or []
        else:
            info = profile.setdefault("communityGalleryInfo", {})
            guid = seeded_guid(self._cloud.options.seed, gallery.target.key)
            names = [f"{info.get('publicNamePrefix', gallery.name)}-{guid}"]
            info |= {"communityGalleryEnabled": True, "publicNames": names}
        operation = self._operations.completed(call, gallery.location, NETWORK_PUT)
        return Reply(200, body, self._operations.headers(operation, call))

    def _shared_gallery(self, view: str, name: str) -> Resource | None:
        """The gallery that the subscription sees under a public name."""
        subscription = self._cloud.identity.subscription_id
        for one in self._cloud.store:
            if one.target.kind != _GALLERY.lower():
                continue
            profile = one.properties["sharingProfile"]
            if view.lower() == "sharedgalleries":
                ids = [id_ for group in profile.get("groups") or [] for id_ in group["ids"]]
                names = [f"{subscription}-{one.name}"] if subscription in ids else []
            else:
                names = (profile.get("communityGalleryInfo") or {}).get("publicNames") or []
            if name.lower() in (own.lower() for own in names):
                return one
        return None

    def _shared_definition(self, call: Call) -> Resource:
        """The image of a path at a location. Raises ArmError 400 or 404."""
        gallery, image = call.target.names[1:3]
        check_region(call, "locations")
        owner = self._shared_gallery(call.target.type.split("/")[2], gallery)
        found = owner and self._cloud.store.find(f"{owner.id}/images/{image}")
        if found is None:
            raise ArmError(404, "NotFound", f"Resource {call.target.path} not found.")
        return found

    async def _get_shared(self, call: Call) -> Reply:
        definition = self._shared_definition(call)
        if len(call.target.names) == 3:
            return Reply(200, _public(call, definition, call.target.path))
        version = self._cloud.store.find(f"{definition.id}/versions/{call.target.name}")
        if version is None or not _is_in(version, call.target.names[0]):
            raise ArmError(404, "NotFound", f"Resource {call.target.path} not found.")
        return Reply(200, _public(call, version, call.target.path))

    async def _list_shared(self, call: Call) -> Reply:
        definition, location = self._shared_definition(call), call.target.names[0]
        versions = [one for one in self._versions(definition) if _is_in(one, location)]
        listed = [_public(call, one, f"{call.target.path}/{one.name}") for one in versions]
        return Reply(200, {"value": listed})


def _complete_version(name: str, location: str, properties: Json, before: Json) -> None:
    """Add what Azure adds. New regions replicate; the others stay as they are."""
    if not _VERSION_NAME.fullmatch(name):
        text = f"The gallery image version name '{name}' is invalid: expected Major.Minor.Patch."
        raise invalid_parameter("galleryImageVersionName", text)
    profile = properties.setdefault("publishingProfile", {})
    regions = profile.setdefault("targetRegions", [{"name": location}])
    if not any(_is_same(one["name"], location) for one in regions):
        text = "The publishing profile's target regions must contain the location of the version."
        raise invalid_parameter("publishingProfile.targetRegions", text)
    profile.setdefault("publishedDate", timestamp())
    known = (before.get("replicationStatus") or {}).get("summary") or []
    done = [one["region"] for one in known if one["state"] == "Completed"]
    summary = [
        {"region": one["name"], "state": "Completed" if one["name"] in done else "Replicating",
         "details": "", "progress": 100 if one["name"] in done else 0}
        for one in regions
    ]  # fmt: skip
    properties["replicationStatus"] = {"aggregatedState": "InProgress", "summary": summary}


def _as_image(about: Json, version: str) -> Image:
    features = {one["name"]: one["value"] for one in about.get("features") or []}
    return Image(
        "", "", "", version,
        generation=about["hyperVGeneration"],
        controllers=features.get("DiskControllerTypes", "SCSI"),
        architecture=about["architecture"],
        needs_plan=bool(about.get("purchasePlan")),
        is_specialized=about["osState"].lower() == "specialized",
        security=features.get("SecurityType", ""),
    )  # fmt: skip


def _public(call: Call, resource: Resource, path: str) -> Json:
    """What users of a shared gallery see of a definition or version."""
    shown = {k: v for k, v in resource.properties.items() if k not in _HIDDEN}
    if profile := shown.pop("publishingProfile", None):
        shown = {k: v for k, v in profile.items() if k != "targetRegions"}
    public = path[path.lower().index("galleries/") :].split("/", 1)[1]
    view = call.target.type.split("/")[2]
    return {
        "name": resource.name,
        "location": call.target.names[0],
        "type": call.target.type,
        "identifier": {"uniqueId": f"/{view[:1].upper()}{view[1:]}/{public}"},
        "properties": shown,
    }


def _without_replication(body: Json) -> Json:
    properties = {k: v for k, v in body["properties"].items() if k != "replicationStatus"}
    return {**body, "properties": properties}


def _is_in(version: Resource, location: str) -> bool:
    regions = version.properties["replicationStatus"]["summary"]
    return any(_is_same(one["region"], location) and one["state"] == "Completed" for one in regions)


def _may_be_latest(version: Resource, location: str) -> bool:
    profile = version.properties["publishingProfile"]
    here = [one for one in profile["targetRegions"] if _is_same(one["name"], location)]
    excluded = [profile.get("excludeFromLatest"), *(one.get("excludeFromLatest") for one in here)]
    return _is_in(version, location) and not any(excluded)


def _is_same(region: str, location: str) -> bool:
    return region.replace(" ", "").lower() == location.replace(" ", "").lower()


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
