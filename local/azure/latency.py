"""Azure's latencies: seeded draws from distributions fitted to recorded figures.

Public: from the seed and the names, a benchmark can compute the lower bound of a run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

Draw = Callable[[random.Random], float]


def _uniform(low: float, high: float) -> Draw:
    return lambda rng: rng.uniform(low, high)


def _lognormal(median: float, sigma: float, low: float, high: float) -> Draw:
    mu = math.log(median)
    return lambda rng: min(high, max(low, rng.lognormvariate(mu, sigma)))


def _with_probability(probability: float, draw: Draw) -> Draw:
    return lambda rng: draw(rng) if rng.random() < probability else 0.0


# "2022" and "2020": the recordings in the azure-sdk-for-python tests of azure-mgmt-compute
# (test_mgmt_compute_vm 2022-11-16 eastus, test_mgmt_msi 2020-03-25 westus).
_KINDS: dict[str, Draw] = {
    # From the request until the operation succeeds. 2022: one poll, under 10 s.
    "vnet.put": _uniform(3.0, 9.0),
    # 2022: under 1 s.
    "subnet.put": _uniform(0.4, 1.0),
    # The call; its response already says Succeeded. 2022: under 1 s.
    "nic.put": _uniform(0.4, 1.0),
    # Not recorded; assumed to be like a virtual network, with the gateway the slowest.
    "nat.put": _uniform(5.0, 12.0),
    "ip.put": _uniform(1.0, 4.0),
    "nsg.put": _uniform(1.0, 4.0),
    # From acceptance until deleted. Not recorded; peers report a few seconds.
    "network.delete": _uniform(2.0, 10.0),
    "disk.delete": _uniform(1.0, 5.0),
    # The PUT call itself. 2022: 3 to 4 s.
    "vm.put": _uniform(3.0, 4.0),
    # From acceptance until running. 2022: 75 s; 2020: 110 s (A0); az-hop: 68 s; Karpenter: ten nodes
    # in 55 s; the fastest seen is a confidential VM in 45 s (cloud-api-adaptor#1315). The
    # upper bound is above all of these: five samples do not show the tail of a hundred VMs.
    "vm.boot": _lognormal(70.0, 0.25, 30.0, 300.0),
    # A change of tags or size on a running VM. Not recorded.
    "vm.update": _uniform(2.0, 6.0),
    # From acceptance until deleted, for a running VM: 20 to 60 s is common knowledge, not recorded.
    "vm.delete": _uniform(20.0, 60.0),
    # Faster, since it skips the graceful shutdown (the compute docs give no figure).
    "vm.delete.forced": _uniform(8.0, 25.0),
    # Any DELETE call that returns 202. 2022: 0.4 s.
    "delete": _uniform(0.2, 0.6),
    # A gallery, or the definition of an image in it. Not recorded; the docs say "a few seconds".
    "gallery.put": _uniform(2.0, 10.0),
    # Until a version of an image is in all of its regions. Not recorded; minutes to hours, by its size.
    "gallery.replication": _uniform(60.0, 120.0),
    # Synchronous. Common knowledge: 1 to 3 s.
    "role.put": _uniform(1.0, 3.0),
    "role.delete": _uniform(0.5, 2.0),
    # From the 201 until the role takes effect. The docs say "up to 10 minutes"; usually well under one.
    "role.effective": _lognormal(6.0, 0.6, 1.0, 60.0),
    # From the identity's creation until it can be assigned a role, when the request gives the
    # principal type (which avoids the directory lookup): immediate, except for one in twenty.
    "identity.replication": _with_probability(0.05, _uniform(5.0, 30.0)),
    # The same without the type: always delayed (azure-docs, RBAC troubleshooting: "replication delay").
    "identity.replication.untyped": _uniform(5.0, 45.0),
    # Any GET.
    "read": _lognormal(0.08, 0.4, 0.03, 0.5),
}


class Latencies:
    """Draws that are a pure function of the seed, the kind and the name."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def draw(self, kind: str, name: str) -> float:
        """Simulated seconds that `kind` takes for the resource `name` (case-insensitive).

        Raises KeyError for an unknown kind. For roles `name` is the assignment's GUID, for
        `identity.*` the VM's name, for `read` the request's path.
        """
        return _KINDS[kind](random.Random(f"{self._seed}/{kind}/{name.lower()}"))  # noqa: S311 (a seed)
