"""The JSON objects in a durable history: small, because each is replayed many times, and
without secrets.
"""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from fleet.model import names
from fleet.model.order_parts import (
    FleetRef,
    RecordOrder,
    RoleOrder,
    TeardownOrder,
    VmOrder,
    part_of,
)

Action = Literal[
    "succeed", "wait", "retry", "replace", "redraw", "move", "unclear", "fail_vm", "fail_fleet"
]
"""What follows a failure; `fleet.model.failure_policy` has the table."""


State = Literal["refused", "creating", "running", "failed", "deleted"]


class Reason(TypedDict):
    """An error: what happened, what the app does about it, and what the user can do."""

    code: str
    """Azure's code, or the app's own where Azure uses one code for several errors."""
    message: str
    """Azure's message."""
    action: Action
    """What the app does about it."""
    advice: str
    """What the user can do."""


class Failure(Reason):
    """An error with what the failure policy needs."""

    retry_after: float | None
    """Azure's `Retry-After` in seconds; null if it sent none."""
    scope: str
    """For `move` and `unclear`: the members of a placement that it applies to, space-separated
    ("location family")."""
    cool_down: float
    """For `move` and `unclear`: seconds during which VMs are placed elsewhere."""
    passing: bool
    """For `move` and `unclear`: whether one VM at a time may probe the placement when no other is open.
    For `retry`: whether Azure as a whole has an outage, rather than one resource."""


class Placement(TypedDict):
    """Where a VM is created: everything that Azure's capacity and quotas depend on."""

    location: str
    """The Azure region."""
    zone: str | None
    """The availability zone, `1` to `3`; null for a regional VM."""
    vm_size: str
    """As Azure names it: `Standard_D2s_v5`."""
    priority: str
    """`Regular` or `Spot`."""


class Fallback(TypedDict, total=False):
    """The members of a placement in which a fallback differs from the request."""

    location: str
    zone: str
    vm_size: str
    priority: str


class Size(TypedDict):
    """A VM size, as the plan looked it up."""

    family: str
    """The quota family."""
    vcpus: int
    architecture: NotRequired[str]
    """`x64` or `Arm64`; absent in an earlier build's plan, empty if Azure does not say."""


class Price(TypedDict):
    """What a VM costs in a placement, in US dollars per hour, with its OS disk."""

    per_hour: float
    regular: float | None
    """The same without Spot; null if unknown."""


class Order(VmOrder, RoleOrder, TeardownOrder, RecordOrder):
    """A fleet request with the deployment's settings. The plan resolves what was left open. Secrets are
    in `sealed` only.
    """

    min_instances: int
    max_undead: int
    location: str | None
    zones: list[str]
    vm_size: str
    priority: str
    fallbacks: list[Fallback]
    """In order of preference."""
    sizes: dict[str, Size]
    """By VM size; empty before the plan, and without the sizes that it could not look up."""
    outbound: str
    max_lifetime: float
    boot_poll_seconds: float
    writes_per_second: float
    fingerprint: str
    powerlift_version: NotRequired[str | None]
    """Of the author's Powerlift; None or absent if the request does not say."""
    max_cost: NotRequired[float | None]
    """US dollars; None or absent: no limit."""
    prices: NotRequired[dict[str, Price]]
    """By `costs.price_key`: those that the plan found. A fleet keeps them until its end."""


class VmRequest(TypedDict):
    """A VM to create. An ordinal belongs to one placement: no PUT is repeated with another body."""

    ordinal: int
    placement: Placement
    replaces: int | None
    """The ordinal of the VM that this one replaces."""
    attempt: int
    """1 for the first VM of a chain of replacements."""


class Replacement(TypedDict):
    """A failed VM that is to be replaced."""

    replaces: int
    attempt: int
    """Of the replacement."""
    code: str
    """Of the failure."""


class PendingRetry(TypedDict):
    """A VM whose create was throttled or failed in an outage. It is retried with an identical body."""

    request: VmRequest
    code: str
    """Of the failure."""


class Ended(TypedDict):
    """Why a VM failed or was refused."""

    code: str
    message: str
    next: str
    """What the app did about it."""


class StoredVm(VmRequest):
    """The part of a VM's record that the database stores. All times are ISO 8601."""

    name: str
    state: State
    """`refused`: Azure never accepted the VM. `deleted`: it deleted itself, or Azure did."""
    created_at: str
    """When Azure accepted the VM (`properties.timeCreated`); empty before that."""
    role_assigned_at: str | None
    """When it got the role to delete itself."""
    running_at: str | None
    """When a LIST first showed it running."""
    ended_at: str | None
    """When its failure was detected."""
    deleted_at: str | None
    """When it no longer existed."""
    ended: Ended | None


class VmGrants(TypedDict):
    """A VM and its role assignments."""

    ordinal: int
    attempt: int
    name: str
    principal_id: str | None
    assigned: list[int]
    """Which of its role assignments exist, by index in `role_assignments.grants_for_vm`."""


class RoleOutcome(TypedDict):
    """The part of a VM's record that a try to assign its roles changes."""

    ordinal: int
    assigned: list[int]
    role_assigned_at: str | None
    roles_settled: bool
    """Whether every role was assigned or abandoned."""
    role_failure: Failure | None
    """Why the last try left a role unassigned."""
    role_tries: int
    next_role_try: str | None
    """When its missing roles are retried, ISO 8601; None: immediately."""


class VmRoles(VmGrants, RoleOutcome):
    """The part of a VM's record that determines when its roles are assigned."""

    created_at: str


class AcceptedVm(TypedDict):
    """What Azure says about a VM when it accepts it."""

    ordinal: int
    created_at: str
    principal_id: str | None
    """Null until Azure reports it."""


class Vm(StoredVm, VmRoles):
    """A VM as the orchestrator knows it."""

    recorded: str
    """Its `lifecycle` when the database last recorded it."""


class ExperimentError(TypedDict):
    """Why a VM's script ended, if other VMs would fail as well: see `fleet.model.experiment_errors`."""

    ordinal: int
    exit_code: int
    message: str


class VmCounts(TypedDict):
    """A fleet's VMs by state.

    `wanted` is the sum of pending, creating, running, deleted and the missing; `accepted` that of
    creating, running, failed and deleted.
    """

    wanted: int
    pending: int
    accepted: int
    role_assigned: int
    creating: int
    running: int
    failed: int
    deleted: int
    refused: int


class Trials(TypedDict):
    """An experiment's trials, counted by state."""

    total: int
    """All of them."""
    ready: int
    """Not started."""
    running: int
    """Started, not ended."""
    complete: int
    """Succeeded."""
    error: int
    """Ended with an error."""


def new_vm(order: FleetRef, request: VmRequest) -> Vm:
    """The record of a VM that Azure has not accepted yet."""
    return {
        **request,
        "name": names.vm(order["batch_id"], request["ordinal"]),
        "state": "refused",
        "created_at": "",
        "role_assigned_at": None,
        "running_at": None,
        "ended_at": None,
        "deleted_at": None,
        "ended": None,
        "principal_id": None,
        "assigned": [],
        "roles_settled": False,
        "role_failure": None,
        "role_tries": 0,
        "next_role_try": None,
        "recorded": "",
    }


def stored(vm: Vm) -> StoredVm:
    """The members of a VM's record that the database stores."""
    return part_of(vm, StoredVm)


def lifecycle(vm: Vm) -> str:
    """A VM's state and milestones in words. The database is written where this has changed, and not
    after each try to assign a role.
    """
    text: str = vm["state"]  # concatenated: each step of a large fleet asks this of every VM
    if vm["role_assigned_at"]:
        text += " role_assigned"
    if vm["ended"]:
        text += " ended"
    if vm["deleted_at"]:
        text += " deleted"
    return text
