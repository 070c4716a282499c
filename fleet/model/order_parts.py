"""The parts of an order: an activity, or a child orchestration, gets the one that it needs.

Each episode of an orchestrator repeats the input of every call since its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypeVar, cast

from typing_extensions import TypedDict

from fleet.model.images import Image

Part = TypeVar("Part")


def part_of(record: Mapping[str, object], kind: type[Part]) -> Part:
    """The members of a record that `kind` has, for example of an order."""
    return cast(Part, {name: record[name] for name in kind.__annotations__ if name in record})


class VmOptions(TypedDict):
    """The options of a VM that no placement decision depends on."""

    image: Image
    disk_type: str
    max_price: float | None
    ephemeral_os_disk: bool


class VmIdentity(TypedDict):
    """A user-assigned identity with which VMs log in to a database whose URI has no password."""

    id: str
    """ARM ID."""
    database_user: str


class RequestedLock(TypedDict):
    """The lock of packages in a request. Its text is in the app's database."""

    digest: str
    missing_tools: list[str]


class Account(TypedDict):
    """An Azure account. Without a secret in `sealed`, the app's own identity is used."""

    subscription_id: str
    resource_group: str
    tenant_id: str | None
    client_id: str | None


class FleetRef(Account):
    """Which fleet an activity works for, with the access to its Azure account and database.

    The classes below are larger parts.
    """

    batch_id: int
    experiment_id: int
    owner: str
    """The deployment that manages the fleet: `Settings.owner`."""
    sealed: str
    created_at: NotRequired[str]


class NetworkOrder(FleetRef):
    """What a network depends on."""

    subnet_id: str | None


class VmOrder(NetworkOrder):
    """What the bodies of a VM and of its NIC depend on, besides the placement."""

    n_instances: int
    timeout: float | None
    delete_on_complete: bool
    vm: VmOptions
    vm_identity: NotRequired[VmIdentity]
    ssh_public_key: str | None
    tags: dict[str, str]
    deadline: NotRequired[str]
    requirements_lock: NotRequired[RequestedLock]
    trial_order: NotRequired[str]
    """`shuffled` or `paired`; absent: `fifo`."""
    trial_seed: NotRequired[int]
    """What this order is drawn from."""
    cpu_models: NotRequired[list[str]]
    """The processors that VMs may have, as parts of their names; absent: any."""


class RoleOrder(FleetRef):
    """What the role assignments of a VM depend on."""

    resource_uris: list[str]
    client_principal_id: str | None
    """Object ID of a principal that gets a role on each VM. The plan fills it in for a client_id whose
    secret the request contains."""
    client_principal_type: str
    client_refused: NotRequired[bool]
    """Whether Azure does not know the client principal: then it is requested for no further VM."""
    vm_role: NotRequired[str]
    """GUID of the role that each VM gets at itself; Contributor in an order without it."""
    deadline: NotRequired[str]


class WritesOrder(FleetRef):
    """What the writes of a fleet depend on."""

    resource_uris: list[str]
    client_principal_id: str | None
    writes_per_second: float


class TeardownOrder(FleetRef):
    """What a teardown depends on."""

    resource_uris: list[str]
    run_poll_seconds: float


class RecordOrder(FleetRef):
    """What the database and the telemetry record of a fleet."""

    n_instances: int
    delete_on_complete: bool
