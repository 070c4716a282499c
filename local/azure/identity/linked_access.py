"""ARM's linked access checks: which actions a PUT requires on the resources that its body refers to."""

from __future__ import annotations

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
_ASSIGN = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"


def linked_actions(body: Any) -> Iterator[tuple[str, str]]:
    """(action, ARM ID) of each resource that a request's body refers to.

    Values that are not ARM IDs are left to the validation of the body.
    """
    found = _references(body)
    yield from ((action, id_) for action, id_ in found if id_.lower().startswith("/subscriptions/"))


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
