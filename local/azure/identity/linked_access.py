"""ARM's linked access checks: which actions a PUT requires on the resources that its body refers to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from local.azure.arm.resources import member_at

_NETWORK = "Microsoft.Network"
_JOIN = {
    "subnet": f"{_NETWORK}/virtualNetworks/subnets/join/action",
    "networksecuritygroup": f"{_NETWORK}/networkSecurityGroups/join/action",
    "natgateway": f"{_NETWORK}/natGateways/join/action",
    "publicipaddress": f"{_NETWORK}/publicIPAddresses/join/action",
    "publicipaddresses": f"{_NETWORK}/publicIPAddresses/join/action",
    "networkinterfaces": f"{_NETWORK}/networkInterfaces/join/action",
}
"""Member with `id`s, in lower case -> action (RBAC permissions reference, Microsoft.Network)."""
_IDENTITIES = "userassignedidentities"
_VMS = "microsoft.compute/virtualmachines/"
_WRITE_DISK = "Microsoft.Compute/disks/write"
_COMPUTE = re.compile(
    "/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.Compute/(.+)", re.IGNORECASE
)
_IMAGES = {
    kind.lower(): f"Microsoft.Compute/{kind}/read"
    for kind in ("images", "galleries/images", "galleries/images/versions")
}
_ASSIGN = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"


def linked_actions(path: str, body: Any) -> list[tuple[str, str]]:
    """(ARM ID, action) of each resource that a request's body refers to, and of the resource group for
    the disk that a VM's creation implies.

    Values that are not ARM IDs are left to the validation of the body.
    """
    found = [
        (id_, act) for act, id_ in _references(body) if id_.lower().startswith("/subscriptions/")
    ]
    image = member_at(body, "properties", "storageProfile", "imageReference", "id")
    if isinstance(image, str) and (read := _read_image(image)):
        found.append((image, read))
    group, _, resource = path.partition("/providers/")
    disk = member_at(body, "properties", "storageProfile", "osDisk", "createOption")
    if resource.lower().startswith(_VMS) and disk in ("FromImage", "Empty", "Copy"):
        found.append((group, _WRITE_DISK))
    return found


def _read_image(id_: str) -> str | None:
    """Of a private image: a version, a gallery's image without one, or a managed one (azure-docs#68563).
    Those that are shared need no role.
    """
    found = _COMPUTE.fullmatch(id_)
    kind = found and "/".join(found[1].split("/")[::2]).lower()
    return kind and _IMAGES.get(kind)


def _references(body: Any) -> Iterator[tuple[str, str]]:
    if isinstance(body, list):
        for item in body:
            yield from _references(item)
    if not isinstance(body, dict):
        return
    for name, value in body.items():
        member = str(name).lower()
        if member == _IDENTITIES and isinstance(value, dict):
            yield from ((_ASSIGN, str(id_)) for id_ in value)
        elif member in _JOIN:
            linked = value if isinstance(value, list) else [value]
            ids = (one.get("id") for one in linked if isinstance(one, dict))
            yield from ((_JOIN[member], id_) for id_ in ids if isinstance(id_, str))
        yield from _references(value)
