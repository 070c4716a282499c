"""The resources that survive a restart of the simulator: resource groups and networks.

VMs do not: they end with the simulator's processes, and with them their NICs, disks, identities and role
assignments, as if somebody had deleted them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from local.azure.arm.resources import Json, Resource, Store, Target, parse_id
from local.azure.network.virtual_networks import Subnet
from local.process import announce, recall

_NETWORK = "microsoft.network"
KINDS: Mapping[str, type[Resource]] = {
    "subscriptions/resourcegroups": Resource,
    f"{_NETWORK}/virtualnetworks": Resource,
    f"{_NETWORK}/virtualnetworks/subnets": Subnet,
    f"{_NETWORK}/natgateways": Resource,
    f"{_NETWORK}/publicipaddresses": Resource,
    f"{_NETWORK}/networksecuritygroups": Resource,
}
"""By type in lower case."""


class KeptResources:
    """A file with the resources of `KINDS`."""

    def __init__(self, file: Path, store: Store) -> None:
        self._file, self._store = file, store

    def load(self) -> None:
        """Add the resources of the last start to the store."""
        for id_, body in recall(self._file).items():
            target = parse_id(id_)
            self._store.add(KINDS[target.kind](target, _settled(body)))

    def save(self) -> None:
        kept = [one for one in self._store if one.target.kind in KINDS]
        announce(self._file, {one.id: one.body for one in kept})

    def save_if_kept(self, target: Target) -> None:
        """Save after a change of `target`: a killed simulator does not save at its end."""
        if target.kind in KINDS:
            self.save()


def _settled(body: Json) -> Json:
    """Without what an operation or a NIC of the last start has left."""
    settled: Json = json.loads(json.dumps(body))
    properties = settled.get("properties", {})
    if "provisioningState" in properties:
        properties["provisioningState"] = "Succeeded"
    properties.pop("ipConfiguration", None)
    return settled
