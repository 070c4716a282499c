from __future__ import annotations
from typing import Any, Literal, NotRequired
from typing_extensions import TypedDict
Action = Literal['succeed', 'wait', 'retry', 'replace', 'move', 'fail_machine', 'fail_fleet']

class Failure(TypedDict):
    code: str
    message: str
    action: Action
    advice: str
    retry_after: float | None
    scope: str
    cool_down: float
    passing: bool

class Place(TypedDict):
    location: str
    zone: str | None
    vm_size: str
    priority: str

class Size(TypedDict):
    family: str
    vcpus: int

class Order(TypedDict):
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
    sizes: dict[str, Size]
    vm: dict[str, Any]
    outbound: str
    subnet_id: str | None
    ssh_public_key: str | None
    tags: dict[str, str]
    max_lifetime: float
    observe_seconds: float
    watch_seconds: float
    writes_per_second: float
    owner: str
    sealed: str
    fingerprint: str
    created_at: NotRequired[str]
    deadline: NotRequired[str]

class Assignment(TypedDict):
    ordinal: int
    place: Place
    replaces: int | None
    attempt: int

class Opening(TypedDict):
    replaces: int
    attempt: int
    code: str

class Postponed(TypedDict):
    assignment: Assignment
    code: str

class Prepared(TypedDict):
    ordinal: int
    location: str
    made: bool

class Machine(Assignment):
    name: str
    created_at: str
    principal_id: str | None
    assigned: list[int]
    settled: bool
    refusal: Failure | None
    tries: int
    next_try: str | None
    state: Literal['refused', 'creating', 'running', 'failed', 'gone']
    ended: dict[str, str] | None
    permitted_at: str | None
    running_at: str | None
    ended_at: str | None
    gone_at: str | None
    noted: str

class Trials(TypedDict):
    total: int
    ready: int
    running: int
    complete: int
    error: int
