"""A fleet's PUTs in the simulator's wire log: what was created, how often, and in which order."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

VM = re.compile(r".*/virtualMachines/(powerlift-vm-\d+-\d{4})")
NIC = re.compile(r".*/networkInterfaces/(powerlift-nic-\d+-\d{4})")
ROLE = re.compile(r".*/roleAssignments/([-0-9a-f]{36})")
ROLE_AT_VM = re.compile(rf"{VM.pattern}/providers/Microsoft.Authorization/roleAssignments/.*")

Call = dict[str, Any]


@dataclass(frozen=True)
class VmCalls:
    """The calls of fleets with one `client` user each, who also gets a role at each VM."""

    calls: Sequence[Call]
    client: str = ""

    def puts(self, kind: re.Pattern[str]) -> dict[str, list[Call]]:
        """The PUTs that Azure accepted, in order, by the name of the resource."""
        puts = defaultdict(list)
        for call in sorted(self.calls, key=lambda call: float(call["answered"])):
            name = kind.fullmatch(call["path"])
            if name and call["method"] == "PUT" and call["status"] < 300:
                puts[name[1]].append(call)
        return puts

    def created(self, kind: re.Pattern[str]) -> list[int]:
        """How often each resource was created."""
        return [[call["status"] for call in calls].count(201) for calls in self.puts(kind).values()]

    def repeated(self, kind: re.Pattern[str]) -> set[int]:
        """The status codes of all PUTs but the first of each resource."""
        return {call["status"] for calls in self.puts(kind).values() for call in calls[1:]}

    def distinct_bodies(self, kind: re.Pattern[str]) -> list[int]:
        """The number of different PUT bodies for each resource."""
        return [len({str(call["body"]) for call in calls}) for calls in self.puts(kind).values()]

    def most_without_role(self) -> int:
        """The largest number of VMs without the role to delete themselves at one time."""
        roles = self._own_roles(accepted=True)
        events = [(calls[0]["at"], 1) for calls in self.puts(VM).values()]
        events += [(call["answered"], -1) for call in roles.values()]
        without_role = most = 0
        for _, change in sorted(events):
            without_role += change
            most = max(most, without_role)
        return most

    def most_overtaking(self) -> int:
        """The largest number of VMs whose role was requested before that of an older VM: one that Azure
        had accepted before their creation was requested.

        Activities of one fan-out run at once: they may overtake each other.
        """
        created = {vm: calls[0] for vm, calls in self.puts(VM).items()}
        tried = {vm: call["at"] for vm, call in self._own_roles(accepted=False).items()}
        return max(
            sum(
                created[vm]["answered"] < created[later]["at"] and tried[later] < tried[vm]
                for later in tried
            )
            for vm in tried
        )

    def _own_roles(self, *, accepted: bool) -> dict[str, Call]:
        """The first request for a role of each VM's own identity at the VM."""
        roles: dict[str, Call] = {}
        for call in sorted(self.calls, key=lambda call: float(call["at"])):
            vm = ROLE_AT_VM.fullmatch(call["path"])
            if vm is None or call["method"] != "PUT" or (accepted and call["status"] >= 300):
                continue
            if call["body"]["properties"]["principalId"] != self.client:
                roles.setdefault(vm[1], call)
        return roles
