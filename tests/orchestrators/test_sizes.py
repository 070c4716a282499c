"""The JSON of a fleet's activities and children: what each gets of the request, and how large it is.

Every episode of an orchestrator repeats the input of each call since its start. A message above 45 KB
goes through a blob, which is slower.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, get_type_hints

import pytest
from cryptography.fernet import Fernet

from fleet.api.order_builder import build_order
from fleet.api.request import LONGEST_URI, parse
from fleet.azure.error_classifier import explain
from fleet.model.activities import AssignWave, CreateWave, Teardown
from fleet.model.failure import failure
from fleet.model.records import new_vm
from fleet.secrets import Seal
from fleet.settings import Settings
from orchestrators.fleet import run_fleet
from orchestrators.teardown import teardown_fleet
from orchestrators.wave import assign_wave, create_wave
from tests.fleets import NOW, SIZE
from tests.orchestrators.play import play
from tests.registered import FUNCTIONS

ACTIVITIES = {
    one.get_function_name(): one for one in FUNCTIONS if one.get_trigger().type == "activityTrigger"
}
CHILDREN: dict[str, Any] = {
    "create_wave": CreateWave,
    "assign_wave": AssignWave,
    "teardown_fleet": Teardown,
}
MOST = {
    "plan_fleet": (1_500, 70_000),  # once for each fleet
    "ensure_network": (700, 7_000),
    "take_writes": (1_000, 27_500),
    "create_wave": (2_500, 40_000),
    "create_vm": (1_500, 38_000),
    "delete_nics": (600, 5_500),
    "assign_wave": (2_500, 30_000),
    "assign_permissions": (900, 27_000),
    "revoke_permissions": (1_200, 27_500),
    "list_vms": (600, 5_500),
    "inspect_vms": (600, 5_500),
    "save_logs": (900, 6_000),
    "delete_vm": (600, 5_500),
    "record_snapshot": (2_600, 8_000),
    "release_trials": (1_000, 7_000),
    "drain_vms": (800, 6_000),
    "was_cancelled": (100, 100),
    "report_completion": (1_000, 6_000),
    "teardown_fleet": (700, 27_000),
    "list_owned_resources": (700, 27_000),
    "delete_owned_resources": (12_000, 17_000),
}
"""Bytes of the largest input in a fleet of six VMs: with a usual request, and with the largest one."""
MESSAGE = 45 * 1024
"""Bytes of JSON that need no blob."""
GUID = "01234567-89ab-cdef-0123-456789abcdef"
GROUP = f"/subscriptions/{GUID}/resourceGroups/{'g' * 90}"
SUBNET = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/{'n' * 64}/subnets/"
USUAL = {"experiment_id": 12, "n_instances": 6, "batch_id": 2**53 - 1, "location": "eastus"}
LARGEST = {
    **USUAL,
    "uri": "postgresql://u:p@db.example.org/d?application_name=".ljust(LONGEST_URI, "a"),
    "azure_json": {
        "tenant_id": "t" * 256,
        "client_id": "c" * 256,
        "client_secret": "s" * 1024,
        "subscription_id": GUID,
        "resource_group": "g" * 90,
    },
    "resource_uris": [f"{GROUP}/providers/N/t/{n:02}".ljust(1024, "r") for n in range(20)],
    "vm_size": "v" * 256,
    "fallbacks": [{"vm_size": f"{n:02}".ljust(256, "v")} for n in range(20)],
    "ssh_public_key": "ssh-rsa AAAA ".ljust(8192, "k"),
    "outbound": "existing",
    "subnet_id": SUBNET.ljust(1024, "s"),
    "tags": {f"{n:02}".ljust(256, "k"): "v" * 256 for n in range(40)},
    **dict.fromkeys(
        ("image_publisher", "image_offer", "image_sku", "image_version"), "i" * 256
    ),
}  # fmt: skip
REFUSED, FAILED, LOST = 1, 2, 3
"""Ordinals: Azure refuses one VM, fails to boot the next, and the last is deleted while it runs."""


class Cloud:
    """The answers of all activities in one fleet. The VMs that run end after the loss of another."""

    def __init__(self, index: int = 0, *, whole: bool = False) -> None:
        self.index = index
        """Of the request in MOST."""
        self.whole = whole
        """Whether `create_vm` returns a whole record, as at first."""
        self.calls: dict[str, list[Any]] = defaultdict(list)
        """The inputs of activities and children, by name."""
        self.states: list[Any] = []
        """The inputs of the fleet's later histories."""
        self.vms: set[int] = set()
        self.phase, self.released, self.owned = "", False, 10

    def answers(self) -> Mapping[str, Any]:
        children = (create_wave, assign_wave, teardown_fleet)
        names = (*ACTIVITIES, *(one._function._name for one in children))
        found = {name: self._recorded(name, getattr(self, name, self._ok)) for name in names}
        for child in children:
            name = child._function._name
            found[name] = self._recorded(name, lambda given, child=child: self._play(child, given))
        return found

    def run(self, order: Mapping[str, Any]) -> Any:
        """Run a fleet to its end, and return its output."""
        played = play(run_fleet, order, self.answers(), version="1.0")
        self.states = played.states
        return played.output

    def plan_fleet(self, given: Any) -> Any:
        key = given["order"]["ssh_public_key"] or "ssh-rsa ".ljust(381, "k")
        size = given["order"]["vm_size"]
        resolved = {"location": "eastus", "n_instances": given["order"]["n_instances"]}
        resolved |= {"sizes": {size: {"family": "f", "vcpus": 2}}, "ssh_public_key": key}
        return {"ok": True, "resolved": resolved, "trials": None, "checks": [], "faults": []}

    def ensure_network(self, _: Any) -> Any:
        return {"ok": True, "ready": True, "retry_after": 0.0}

    def take_writes(self, given: Any) -> Any:
        granted = {name: given["ask"][name] for name in ("roles", "vms")}
        return {"ok": True, "grant": {**granted, "retry_after": 0.0, "paused": 0.0}}

    def create_vm(self, given: Any) -> Any:
        request = given["request"]
        if request["ordinal"] == REFUSED:
            return {"ok": False, "failure": explain("InvalidParameter", "m" * 200)}
        self.vms.add(request["ordinal"])
        vm = {"ordinal": request["ordinal"], "created_at": NOW.isoformat(), "principal_id": GUID}
        whole = {**new_vm(given["order"], request), **vm, "state": "creating"}
        return {"ok": True, "vm": whole if self.whole else vm}

    def assign_permissions(self, given: Any) -> Any:
        assigned = list(range(1 + len(given["order"]["resource_uris"])))
        return {"ok": True, "assigned": assigned, "failures": []}

    def list_vms(self, _: Any) -> Any:
        if self.phase == "run":
            self.vms -= {LOST} if not self.released else self.vms
        states = {"Failed": [FAILED] if FAILED in self.vms else []}
        return {
            "ok": True,
            "states": {**states, "Succeeded": sorted(self.vms - {FAILED})},
            "identities": {},
        }

    def inspect_vms(self, _: Any) -> Any:
        return {"ok": True, "failures": {str(FAILED): explain("OSProvisioningTimedOut", "m")}}

    def delete_vm(self, given: Any) -> Any:
        self.vms.discard(given["ordinal"])
        return {"ok": True}

    def record_snapshot(self, given: Any) -> Any:
        self.phase = given["phase"]
        left = 0 if self.released else 6
        trials = {"total": 6, "ready": 0, "running": left, "complete": 6 - left, "error": 0}
        return {"ok": True, "trials": trials, "vms_failure": None}

    def drain_vms(self, given: Any) -> Any:
        return {"ok": True, "busy": given["ordinals"]}

    def release_trials(self, given: Any) -> Any:
        self.released = True
        return {"ok": True, "interrupted": given["ordinals"] or [], "outcomes": {}}

    def was_cancelled(self, _: Any) -> Any:
        return {"ok": True, "cancelled": False}

    def list_owned_resources(self, _: Any) -> Any:
        role = {"kind": "assignment", "name": GUID, "scope": "/" + "s" * 1023}
        found, self.owned = [role] * self.owned, 0
        return {"ok": True, "delete": found, "waiting": 0, "machines": 0}

    def delete_owned_resources(self, given: Any) -> Any:
        deleted = len(given["resources"])
        return {"ok": True, "deleted": deleted, "refused": {}, "retry_after": None}

    def _ok(self, _: Any) -> Any:
        return {"ok": True}

    def _recorded(self, name: str, answer: Any) -> Any:
        def record(given: Any) -> Any:
            self.calls[name].append(given)
            return answer(given)

        return record

    def _play(self, orchestrator: Any, given: Any) -> Any:
        return play(orchestrator, given, self.answers(), version="1.0").output


def order_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The order of a request, as the app submits it."""
    key = Fernet.generate_key().decode()
    settings = {"FLEET_SEALING_KEY": key, "POWERLIFT_DB_URI": "postgresql://h/d"}
    account = {"AZURE_SUBSCRIPTION_ID": GUID, "AZURE_RESOURCE_GROUP": "powerlift"}
    request = parse({**document, "vm_size": document.get("vm_size", SIZE)})
    order = build_order(request, Settings.read({**settings, **account}), request.batch_id or 0)
    secrets = {}
    if request.uri:
        secrets["uri"] = request.uri.get_secret_value()
    if request.azure_json.client_secret:
        secrets["client_secret"] = request.azure_json.client_secret.get_secret_value()
    sealed = Seal([key]).encrypt(secrets, order["owner"], order["batch_id"])
    return {**order, "sealed": sealed, "fingerprint": "f" * 64}


@pytest.fixture(scope="module", params=[USUAL, LARGEST], ids=["usual", "largest"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    played = Cloud(request.param_index)
    assert played.run(order_of(request.param))["summary"]["phase"] == "done"
    played.calls["drain_vms"] = drained(played.states[-1]).calls["drain_vms"]
    return played


def drained(state: Mapping[str, Any]) -> Cloud:
    """The activities of a fleet that comes close to its max_cost, from a state in which its VMs run."""
    cloud = Cloud()
    cloud.vms = set(range(6)) - {REFUSED, FAILED}
    reason = failure("MaxCostReached", "m" * 200, "fail_fleet", "")
    play(run_fleet, {**state, "drained": reason}, cloud.answers(), version="1.0", only_first=True)
    return cloud


def size(document: Any) -> int:
    return len(json.dumps(document))


def parts(name: str) -> set[str]:
    """The members of the part of an order that an activity or a child is declared to get."""
    task = CHILDREN.get(name) or get_type_hints(ACTIVITIES[name].get_user_function())["task"]
    order = get_type_hints(task, include_extras=True)["order"]
    return set(order.__annotations__)


@pytest.mark.parametrize("name", [one for one in MOST if one != "was_cancelled"])
def test_an_activity_gets_no_more_of_the_order_than_it_declares(cloud: Cloud, name: str):
    assert {part for given in cloud.calls[name] for part in given["order"]} <= parts(name)


def test_every_activity_and_child_is_called(cloud: Cloud):
    assert cloud.calls.keys() == MOST.keys() == {*ACTIVITIES, *CHILDREN}


@pytest.mark.parametrize("name", MOST)
def test_the_input_of_an_activity_is_bounded(cloud: Cloud, name: str):
    assert max(map(size, cloud.calls[name])) <= MOST[name][cloud.index]


def test_only_the_plan_may_need_a_blob():
    assert [name for name, (_, largest) in MOST.items() if largest > MESSAGE] == ["plan_fleet"]


def test_a_whole_record_in_a_result_is_accepted():
    short, whole = (Cloud(whole=whole).run(order_of(USUAL)) for whole in (False, True))
    assert whole == short


def test_the_state_contains_the_order_once(cloud: Cloud):
    (state,) = cloud.states
    machines = size(state["machines"])
    assert size(state) - machines - size(state["order"]) < 5_000
