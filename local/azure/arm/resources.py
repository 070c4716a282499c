"""Resource ids, the store of resources, conditional requests, tags and paging."""

from __future__ import annotations

import base64
import binascii
import bisect
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from local.azure.arm.errors import ArmError, gateway, invalid_parameter, resource_not_found

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """What a path refers to: a resource, or the collection of one type below a scope.

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
        """The id in lower case: ARM's ids are case-insensitive."""
        return self.path.lower()

    @property
    def kind(self) -> str:
        """The type in lower case."""
        return self.type.lower()

    @property
    def name(self) -> str:
        """The last name; empty for a top-level collection."""
        return self.names[-1] if self.names else ""

    @property
    def parent(self) -> str:
        """The key of the parent resource, for a nested type."""
        return "/".join(self.path.split("/")[:-2]).lower()


def parse_id(path: str) -> Target:
    """Parse a path. Raises ArmError 404 if it is not a resource id."""
    parts = [part for part in path.split("/") if part]
    lowered = [part.lower() for part in parts]
    if "providers" in lowered:
        # The last one: a role assignment's id extends the id of another resource.
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


def member_at(value: Any, *path: str) -> Any:
    """The member at a path of a body that may have any form, or None."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


_etags = itertools.count(1)


@dataclass
class Resource:
    """A stored resource. `body` is what a GET returns."""

    target: Target
    body: Json
    etag: str = field(default_factory=lambda: f'W/"{next(_etags):08d}"')

    @property
    def id(self) -> str:
        """The id, spelled as in the request that created it."""
        return self.target.path

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def location(self) -> str:
        """The region; empty for a resource without one."""
        return str(self.body.get("location", ""))

    @property
    def properties(self) -> Json:
        properties: Json = self.body["properties"]
        return properties

    def touch(self) -> None:
        """Set a new etag after a change."""
        self.etag = f'W/"{next(_etags):08d}"'


class Store:
    """All resources of the subscription, by case-insensitive id."""

    def __init__(self) -> None:
        self._resources: dict[str, Resource] = {}
        self._keys: defaultdict[str, list[str]] = defaultdict(list)
        """The keys of each kind, ordered: each page of a list needs them."""

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._resources.values()))

    def find(self, id_: str) -> Resource | None:
        return self._resources.get(id_.rstrip("/").lower())

    def get(self, target: Target) -> Resource:
        """The resource at `target`. Raises ArmError 404 if it does not exist."""
        found = self._resources.get(target.key)
        if found is None:
            raise self.not_found(target)
        return found

    def owner(self, target: Target) -> Resource:
        """The resource that an action or a collection is of. Raises ArmError 404."""
        return self.get(parse_id(target.path.rpartition("/")[0]))

    def not_found(self, target: Target) -> ArmError:
        """The 404 for `target`; for a missing child of an existing resource, the provider's own 404."""
        if len(target.names) > 1:
            if target.parent in self._resources:
                return ArmError(404, "NotFound", f"Resource {target.path} not found.")
            outer = "/".join(target.type.split("/")[:2])
            return resource_not_found(outer, target.names[0], target.group or "")
        return resource_not_found(target.type, target.name, target.group or "")

    def add(self, resource: Resource) -> None:
        """Store a resource, replacing one with the same id."""
        key = resource.target.key
        if key not in self._resources:
            bisect.insort(self._keys[resource.target.kind], key)
        self._resources[key] = resource

    def remove(self, resource: Resource) -> None:
        """Remove a resource. Idempotent."""
        key, keys = resource.target.key, self._keys[resource.target.kind]
        if self._resources.get(key) is resource:
            del self._resources[key]
            del keys[bisect.bisect_left(keys, key)]

    def list_collection(self, target: Target) -> Iterator[tuple[str, Resource]]:
        """The resources of the collection `target`, by key and ordered by it."""
        prefix = (target.path.rpartition("/")[0] if len(target.names) else target.scope).lower()
        for key in self._keys[target.kind]:
            if key.startswith(prefix + "/"):
                yield key, self._resources[key]


def check_conditions(headers: Mapping[str, str], existing: Resource | None) -> None:
    """Apply If-Match and If-None-Match. Raises ArmError 412."""
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


def page(
    items: Iterable[tuple[str, T]],
    render: Callable[[T], Json],
    size: int,
    url: str,
    query: Mapping[str, str],
) -> Json:
    """One page of a list. `items` are ordered by key, and `render` returns the body of one; `url` is the
    list's own URL.

    The token is the last key of the page, so that a concurrent change neither skips nor repeats
    another item. Raises ArmError 400 for an invalid token.
    """
    after = _decode_token(query.get("$skiptoken"))
    rest = list(itertools.islice((i for i in items if i[0] > after), size + 1))
    shown: Json = {"value": [render(item) for _, item in rest[:size]]}
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
