"""What travels between orchestrators and activities: plain JSON objects, small and without secrets.

Durable Functions keeps all of it in a history, so every member here is written many times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from fleet.model import names

Action = Literal["succeed", "wait", "retry", "replace", "move", "fail_machine", "fail_fleet"]
"""What follows a failure: nothing (it was done already), the same call later (told when, or not),
another VM in the same place, or elsewhere, one VM less, or no fleet."""


class Failure(TypedDict):
    """One thing that went wrong: Azure's code and words, what we do about it, what a user can do."""

    code: str
    """Azure's code, or ours where Azure has one code for several things."""
    message: str
    """Azure's words."""
    action: Action
    """What follows."""
    advice: str
    """What a user can do."""
    retry_after: float | None
    """Seconds that Azure asked us to wait, when it said so."""
    scope: str
    """For `move`: the members of a place, space-separated, in which it holds ("location family")."""
    cool_down: float
    """For `move`: seconds for which VMs go elsewhere."""
    passing: bool
    """For `move`: whether one VM at a time may try the same place when no other is open. For `retry`:
    whether Azure as a whole has a fault, and not one resource."""


class Placement(TypedDict):
    """Where a VM can be: what Azure's capacity and quotas depend on."""

    location: str
    """The Azure region."""
    zone: str | None
    """The availability zone, `1` to `3`; null outside of zones."""
    vm_size: str
    """As Azure names it: `Standard_D2s_v5`."""
    priority: str
    """`Regular` or `Spot`."""


class Size(TypedDict):
    """What the plan learned of a VM size."""

    family: str
    """As the quotas name it."""
    vcpus: int


class Order(TypedDict):
    """A fleet as it was asked for, and, once planned, as it will be made. Secrets only in `sealed`."""

    batch_id: int
    experiment_id: int
    n_instances: int
    min_instances: int
    max_undead: int
    timeout: float | None
    delete_on_complete: bool
    resource_uris: list[str]
    subscription_id: str
    resource_group: str
    tenant_id: str | None
    client_id: str | None
    client_principal_id: str | None
    client_principal_type: str
    location: str | None
    zones: list[str]
    vm_size: str
    priority: str
    fallbacks: list[dict[str, Any]]
    """In the order of preference: the members of `Place` in which each differs from the above."""
    sizes: dict[str, Size]
    """By VM size; empty until planned, and for sizes that the plan could not look up."""
    vm: dict[str, Any]
    outbound: str
    subnet_id: str | None
    ssh_public_key: str | None
    tags: dict[str, str]
    max_lifetime: float
    boot_poll_seconds: float
    run_poll_seconds: float
    writes_per_second: float
    owner: str
    """The deployment that looks after the fleet: `Settings.owner`."""
    sealed: str
    fingerprint: str
    created_at: NotRequired[str]
    deadline: NotRequired[str]


class VmRequest(TypedDict):
    """A VM to ask for, and where. An ordinal is asked for in one place only: no PUT is ever repeated
    with another body.
    """

    ordinal: int
    placement: Placement
    replaces: int | None
    """The ordinal of the VM in whose stead this one is asked for."""
    attempt: int
    """1 for the first VM of a line of replacements."""


class Opening(TypedDict):
    """A VM that failed, and that another is to stand in for."""

    replaces: int
    attempt: int
    """Of the VM to come."""
    code: str
    """Of the failure."""


class Postponed(TypedDict):
    """A VM that Azure had no ear for: it is asked for again, in the very same words."""

    assignment: VmRequest
    code: str
    """Of the failure."""


class Prepared(TypedDict):
    """An ordinal whose NIC was asked for, and its VM not yet."""

    ordinal: int
    location: str
    """Of the NIC."""
    made: bool
    """Whether it is known to be there."""


class Machine(VmRequest):
    """One VM as the orchestrator knows it."""

    name: str
    created_at: str
    """When Azure accepted the VM (`properties.timeCreated`), ISO 8601."""
    principal_id: str | None
    assigned: list[int]
    """Which of the VM's role assignments stand, by their place in `grants.of_machine`."""
    settled: bool
    """Whether nothing is left to assign: every role stands, or was given up."""
    refusal: Failure | None
    """Why the last try left a role unassigned."""
    tries: int
    next_try: str | None
    """When its missing roles are to be sent again, ISO 8601; None: at once."""
    state: Literal["refused", "creating", "running", "failed", "deleted"]
    """`refused`: Azure never accepted it. `gone`: it ended, by itself or by Azure's hand."""
    ended: dict[str, str] | None
    """Why it failed or was refused: `code`, `message`, and `next`, what was done then."""
    role_assigned_at: str | None
    """When its role stood: since then it can delete itself. This and the next three: ISO 8601."""
    running_at: str | None
    """When it was first seen to run."""
    ended_at: str | None
    """When its failure became known."""
    deleted_at: str | None
    """When it was no longer there."""
    noted: str
    """What the database was last told of it: see `FleetState.news`."""


class Trials(TypedDict):
    """How many of an experiment's trials are where."""

    total: int
    """All of them."""
    ready: int
    """Not begun."""
    running: int
    """Begun, and not ended."""
    complete: int
    """Ended well."""
    error: int
    """Ended with an error."""


def not_accepted(order: Order, assignment: VmRequest) -> Machine:
    """The record of a VM that Azure has not accepted yet."""
    return {
        **assignment,
        "name": names.machine(order["batch_id"], assignment["ordinal"]),
        "created_at": "",
        "principal_id": None,
        "assigned": [],
        "settled": False,
        "refusal": None,
        "tries": 0,
        "next_try": None,
        "state": "refused",
        "ended": None,
        "role_assigned_at": None,
        "running_at": None,
        "ended_at": None,
        "deleted_at": None,
        "noted": "",
    }


STORED = (
    "ordinal", "name", "placement", "state", "attempt", "replaces", "created_at", "role_assigned_at",
    "running_at", "ended_at", "deleted_at", "ended",
)  # fmt: skip
"""Members of a VM's record that the database has: no principal ids."""


def stored(machine: Machine) -> dict[str, Any]:
    """What the database has of a VM: the members of STORED."""
    every: Mapping[str, Any] = machine
    return {name: every[name] for name in STORED}
