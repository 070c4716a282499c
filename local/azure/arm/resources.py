"""Resource ids, the store of what exists, tags and paging."""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from local.azure.arm.errors import ArmError, gateway, invalid_parameter, resource_not_found

Json = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What a path points at: a resource, or the collection of one type below a scope.

    `/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/virtualNetworks/v/subnets` has
    the scope `/subscriptions/S/resourceGroups/G`, the type `Microsoft.Network/virtualNetworks/subnets`,
    the names `("v",)`, and is a collection.
    """

    path: str
    scope: str
    type: str
    names: tuple[str, ...]
    collection: bool
    subscription: str | None
    group: str | None

    @property
    def key(self) -> str:
        """The id in one letter case: ARM's ids are case-insensitive."""
        return self.path.lower()

    @property
    def kind(self) -> str:
        """The type in one letter case."""
        return self.type.lower()

    @property
    def name(self) -> str:
        """The last name; empty for a collection at the top."""
        return self.names[-1] if self.names else ""

    @property
    def parent(self) -> str:
        """The key of the resource that this one is part of, for a nested type."""
        return "/".join(self.path.split("/")[:-2]).lower()


def parse_id(path: str) -> Target:
    """Take a path apart. Raises ArmError 404 when it cannot be a resource id."""
    parts = [part for part in path.split("/") if part]
    lowered = [part.lower() for part in parts]
    if "providers" in lowered:
        # The last one: a role assignment hangs on the id of another resource.
        at = len(lowered) - 1 - lowered[::-1].index("providers")
        scope, namespace, rest = parts[:at], parts[at + 1 : at + 2], parts[at + 2 :]
        if not namespace or not rest:
            raise gateway(404, "InvalidResourceType", f"The path '{path}' names no resource type.")
        type_ = "/".join(namespace + rest[0::2])
    else:
        scope, rest = [], parts
        type_ = "/".join(rest[0::2])
    names = tuple(rest[1::2])
    inside = scope or parts
    return Target(
        path="/" + "/".join(parts),
        scope="/" + "/".join(scope),
        type=type_,
        names=names,
        collection=len(rest) % 2 == 1,
        subscription=_after(inside, "subscriptions"),
        group=_after(inside, "resourcegroups"),
    )


def _after(parts: list[str], word: str) -> str | None:
    for at, part in enumerate(parts[:-1]):
        if part.lower() == word:
            return parts[at + 1]
    return None


_etags = itertools.count(1)


@dataclass
class Resource:
    """Something that exists. `body` is what a GET answers."""

    target: Target
    body: Json
    etag: str = field(default_factory=lambda: f'W/"{next(_etags):08d}"')

    @property
    def id(self) -> str:
        """The id, in the letter case of the request that created it."""
        return self.target.path

    @property
    def name(self) -> str:
        """The resource's own name."""
        return self.target.name

    @property
    def location(self) -> str:
        """The region, or the empty string for what has none."""
        return str(self.body.get("location", ""))

    @property
    def properties(self) -> Json:
        """`body["properties"]`."""
        properties: Json = self.body["properties"]
        return properties

    def touch(self) -> None:
        """Give it a new etag after a change."""
        self.etag = f'W/"{next(_etags):08d}"'


class Store:
    """All resources of the subscription, by case-insensitive id."""

    def __init__(self) -> None:
        self._resources: dict[str, Resource] = {}

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._resources.values()))

    def find(self, id_: str) -> Resource | None:
        """The resource with this id, or None."""
        return self._resources.get(id_.rstrip("/").lower())

    def get(self, target: Target) -> Resource:
        """The resource at `target`. Raises ArmError 404 when it is absent."""
        found = self._resources.get(target.key)
        if found is None:
            raise self.absent(target)
        return found

    def absent(self, target: Target) -> ArmError:
        """The 404 for `target`; a part of an absent resource is a matter of its provider."""
        if len(target.names) > 1:
            if target.parent in self._resources:
                return ArmError(404, "NotFound", f"Resource {target.path} not found.")
            outer = "/".join(target.type.split("/")[:2])
            return resource_not_found(outer, target.names[0], target.group or "")
        return resource_not_found(target.type, target.name, target.group or "")

    def add(self, resource: Resource) -> None:
        """Put a resource in, in place of one of the same id."""
        self._resources[resource.target.key] = resource

    def remove(self, resource: Resource) -> None:
        """Take a resource out; nothing happens when it is gone already."""
        if self._resources.get(resource.target.key) is resource:
            del self._resources[resource.target.key]

    def below(self, target: Target) -> list[Resource]:
        """What a list of the collection `target` shows, ordered by id."""
        kind = target.kind
        prefix = (target.path.rpartition("/")[0] if len(target.names) else target.scope).lower()
        return sorted(
            (
                r
                for r in self._resources.values()
                if r.target.kind == kind and r.target.key.startswith(prefix + "/")
            ),
            key=lambda r: r.target.key,
        )


def check_conditions(headers: Mapping[str, str], existing: Resource | None) -> None:
    """Honour If-Match and If-None-Match. Raises ArmError 412."""
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    failed = (none_match == "*" and existing is not None) or (
        match is not None
        and (existing is None or (match != "*" and match.strip('"') != existing.etag.strip('"')))
    )
    if failed:
        raise ArmError(
            412,
            "PreconditionFailed",
            "The condition of the If-Match or If-None-Match header is not met.",
        )


# Limits of Azure Resource Manager, "Use tags to organize your Azure resources".
_MAX_TAGS, _MAX_TAG_NAME, _MAX_TAG_VALUE = 50, 512, 256
_TAG_NAME_FORBIDS = set("<>%&\\?/")


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise ArmError 400 for tags that break ARM's limits."""
    if len(tags) > _MAX_TAGS:
        raise gateway(
            400,
            "InvalidTags",
            f"The resource has '{len(tags)}' tags. Maximum tag limit is '{_MAX_TAGS}'.",
        )
    for name, value in tags.items():
        if not name or len(name) > _MAX_TAG_NAME or _TAG_NAME_FORBIDS & set(name):
            raise gateway(
                400,
                "InvalidTagNameCharacters" if name else "InvalidTags",
                f"The tag names '{name}' have reserved characters '<,>,%,&,\\,?,/' or control "
                f"characters, or are longer than {_MAX_TAG_NAME}.",
            )
        if len(value) > _MAX_TAG_VALUE:
            raise gateway(
                400,
                "InvalidTagValueLength",
                f"Tag value too large. Following tag value '{value[:40]}...' exceeded the maximum "
                f"length. Maximum allowed length for tag value - '{_MAX_TAG_VALUE}' characters.",
            )


def page(items: Iterable[tuple[str, Json]], size: int, url: str, query: Mapping[str, str]) -> Json:
    """One page of a list. `items` are (key, body), ordered by key; `url` is the list's own address.

    The token is the last key of a page, so that what comes or goes between two requests neither
    hides nor repeats another item. Raises ArmError 400 for a token that is not ours.
    """
    after = _decode_token(query.get("$skiptoken"))
    rest = list(itertools.islice((i for i in items if i[0] > after), size + 1))
    shown: Json = {"value": [body for _, body in rest[:size]]}
    if len(rest) > size:
        token = base64.urlsafe_b64encode(rest[size - 1][0].encode()).decode()
        kept = {k: v for k, v in query.items() if k != "$skiptoken"} | {"$skiptoken": token}
        shown["nextLink"] = f"{url}?" + "&".join(
            f"{quote(k, safe='$-')}={quote(v, safe='')}" for k, v in kept.items()
        )
    return shown


def _decode_token(token: str | None) -> str:
    if token is None:
        return ""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise invalid_parameter("$skiptoken", "The $skiptoken is not valid.") from None
