"""ARM's linked access checks: which actions a PUT requires on the resources that its body refers to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

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
    found += [(id_, action) for id_ in _images(body) if (action := _read_image(id_))]
    group, _, resource = path.partition("/providers/")
    if resource.lower().startswith("microsoft.compute/virtualmachines/") and _makes_disk(body):
        found.append((group, _WRITE_DISK))
    return found


def _images(body: Any) -> Iterator[str]:
    """The private image of a VM's body. Those that are shared need no role."""
    here = body
    for member in ("properties", "storageProfile", "imageReference", "id"):
        here = here.get(member) if isinstance(here, dict) else None
    if isinstance(here, str):
        yield here


def _read_image(id_: str) -> str | None:
    """Of a version, of a gallery's image without one, or of a managed image (azure-docs#68563)."""
    found = _COMPUTE.fullmatch(id_)
    kind = found and "/".join(found[1].split("/")[::2]).lower()
    return kind and _IMAGES.get(kind)


def _makes_disk(body: Any) -> bool:
    here = body
    for member in ("properties", "storageProfile", "osDisk"):
        here = here.get(member) if isinstance(here, dict) else None
    return isinstance(here, dict) and here.get("createOption") in ("FromImage", "Empty", "Copy")


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
