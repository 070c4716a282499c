"""The fleet request: one model for HTTP bodies and queue messages."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from fleet.api.fields.rules import (
    CLIENT_SECRET_SCHEMA,
    CROSS_FIELD_SCHEMAS,
    NAME_SCHEMA,
    TAG_KEY_SCHEMA,
    violated_rules,
)
from fleet.api.fields.types import (
    EXPECTED,
    BatchId,
    CpuModel,
    Credential,
    DiskType,
    FleetName,
    GalleryImageId,
    Guid,
    Location,
    MaxUndead,
    Name,
    Outbound,
    PrincipalType,
    Priority,
    PublicKey,
    ResourceGroup,
    ResourceId,
    SubnetId,
    TagValue,
    Tenant,
    Text,
    TrialOrder,
    Version,
    Zone,
)
from fleet.model import requirements_lock
from fleet.model.database_uri import PATTERN, InvalidDatabaseUri, libpq_options
from fleet.model.requirements_lock import LONGEST_LOCK
from fleet.model.webhooks import LONGEST_URL, host_of
from fleet.model.webhooks import PATTERN as WEBHOOK_PATTERN

BATCH_BITS = 53
"""Bits of a generated batch ID: JavaScript and jq parse JSON numbers up to this size exactly."""

MESSAGE_FAULTS, MESSAGE_POINTER = 20, 100
"""Limits of an InvalidRequest's message: number of faults, and characters of a pointer."""

_SPECIFIC = ("string_too_long", "too_long", "list_type")
"""Errors whose own message says more than EXPECTED."""

LONGEST_NAME = 64
"""Characters of an unknown field that are compared with the known ones."""
LONGEST_URI = 2048
WEEK = 7 * 24 * 3600.0


class Fault(dict[str, str]):
    """A validation error: `pointer` (a JSON pointer, RFC 6901) and `detail`."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(pointer=pointer, detail=detail)


class InvalidRequest(ValueError):
    """An invalid fleet request. `faults` lists every validation error, without the request's values.

    The message is one bounded line, because it is logged and field names are untrusted input.
    """

    def __init__(self, faults: list[Fault]) -> None:
        shown = [
            f"{one['pointer'][:MESSAGE_POINTER]}: {one['detail']}".removeprefix(": ")
            for one in faults[:MESSAGE_FAULTS]
        ]
        omitted = len(faults) - len(shown)
        shown += [f"and {omitted} more"] if omitted else []
        super().__init__(" ".join("; ".join(shown).split()))
        self.faults = faults


class InvalidQuery(InvalidRequest):
    """Invalid query parameters, which the details name."""

    def __init__(self, details: list[str]) -> None:
        super().__init__([Fault("", detail) for detail in details])


class AzureJson(BaseModel):
    """The Azure account of the fleet. Omitted fields come from the deployment's settings.

    Without `client_secret` the app uses its own identity (azure-identity's DefaultAzureCredential).
    """

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra=CLIENT_SECRET_SCHEMA
    )

    tenant_id: Tenant | None = Field(
        None, description="The Entra tenant of client_id: a GUID or a domain name."
    )
    client_id: Text | None = Field(
        None,
        description="The application (client) ID to authenticate with; requires client_secret.",
    )
    client_secret: SecretStr | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="The application's secret; requires tenant_id and client_id. Encrypted on receipt.",
    )
    subscription_id: Guid | None = Field(
        None, description="The Azure subscription. Default: the deployment's."
    )
    resource_group: ResourceGroup | None = Field(
        None, description="The resource group; must exist. Default: the deployment's."
    )


class Fallback(BaseModel):
    """An alternative placement, as differences from the request."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra={"minProperties": 1}
    )

    location: Location | None = Field(None, description="A different Azure region.")
    vm_size: Name | None = Field(None, description="A different VM size.")
    zone: Zone | None = Field(None, description="An availability zone of the location.")
    priority: Priority | None = Field(None, description="A different priority.")


class FleetRequest(BaseModel):
    """A fleet request. Names and defaults match `AzureVMInstance`."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"allOf": CROSS_FIELD_SCHEMAS},
    )

    experiment_id: int = Field(ge=0, lt=2**31, description="The Powerlift experiment to run.")
    n_instances: int = Field(
        ge=1, le=5000, description="VMs to provision, capped at the number of unfinished trials."
    )
    uri: SecretStr | None = Field(
        None,
        max_length=LONGEST_URI,
        description="The Powerlift database, reachable from the VMs: postgresql://user:password@host/"
        "name, optionally with a SQLAlchemy driver. Without a password, the app logs in with its "
        "identity. A host other than the app's own must offer TLS, with a certificate for this host. "
        "Default: the deployment's. Encrypted on receipt.",
        json_schema_extra={"pattern": PATTERN},
    )
    resource_uris: Annotated[
        list[ResourceId],
        BeforeValidator(
            lambda given: [] if given is None else given,
            json_schema_input_type=Annotated[list[ResourceId], Field(max_length=20)] | None,
        ),
    ] = Field(
        [],
        max_length=20,
        description="ARM IDs of scopes at which every VM gets the Contributor role.",
    )
    timeout: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds per trial; null: no limit."
    )
    azure_json: Annotated[
        AzureJson,
        BeforeValidator(
            lambda given: {} if given is None else given, json_schema_input_type=AzureJson | None
        ),
    ] = Field(
        AzureJson.model_construct(),
        description="The Azure account. Default: the deployment's own identity and settings.",
    )
    credential: Credential = Field(
        None,
        exclude=True,
        description="Always null, as in calls of `run_azure_process`: an object cannot be sent.",
    )
    location: Location | None = Field(
        None,
        description="Azure region (`eastus` or `East US`). Default: the resource group's.",
    )
    vm_size: Name = Field("Standard_B16s_v2", description="The Azure VM size.")
    image_publisher: Name = Field("canonical", description="The image's publisher.")
    image_offer: Name = Field("ubuntu-24_04-lts", description="The image's offer.")
    image_sku: Name = Field("server", description="The image's SKU.")
    image_version: Name = Field("latest", description="The image's version.")
    image_id: GalleryImageId | None = Field(
        None,
        description="An image of a Compute Gallery, instead of image_publisher to image_version: "
        "private (`/subscriptions/…/galleries/G/images/I`), shared with the subscription "
        "(`/sharedGalleries/G/images/I`) or community (`/communityGalleries/G/images/I`), with "
        "`/versions/1.2.3`. Default version: the newest that all regions of the fleet have.",
    )
    disk_type: DiskType = Field("Standard_LRS", description="Storage type of the OS disk.")
    max_undead: MaxUndead = Field(
        20,
        description="Maximum number of VMs that exist without the role to delete themselves. 0 means 1; "
        "more than 1,000 means 1,000.",
    )
    delete_on_complete: bool = Field(
        True,
        description="Whether VMs delete themselves after the last trial. If false, they stay until you "
        "DELETE the fleet or the deadline passes.",
    )
    batch_id: BatchId | None = Field(
        None,
        description="The idempotency key; part of all resource names. Default: derived from the header "
        "Idempotency-Key, else random. Up to 64 bits; as a string above 2^53, which some JSON parsers "
        "round.",
    )
    name: FleetName | None = Field(
        None,
        description="A name that can be used in place of the fleet's ID: lower-case letters, digits and "
        "hyphens, starting with a letter. Unique among fleets that have not ended. `latest` and names "
        "that begin with `fleet-` are reserved.",
        json_schema_extra=NAME_SCHEMA,
    )

    notify_url: SecretStr | None = Field(
        None,
        max_length=LONGEST_URL,
        exclude=True,  # absent, as in a request to an earlier build
        description="A webhook: the app POSTs JSON to it when the first VM or trial fails, and at the "
        "end. The deployment allows hosts, and signs. Encrypted on receipt.",
        json_schema_extra={"pattern": f"^{WEBHOOK_PATTERN}$"},
    )

    powerlift_version: Version | None = Field(
        None,
        exclude=True,
        description="The version of the author's Powerlift, with which the plan compares that of the "
        "VMs. A build from source has a local version, such as 0.1.12+source.",
    )
    requirements_lock: Annotated[str, Field(max_length=LONGEST_LOCK)] | None = Field(
        None,
        description="The packages of every VM: requirements with exact versions and hashes, as "
        "`powerlift-fleet lock` prints them. They replace the packages that pip_install names; its "
        "options still apply. Default: the first VM resolves pip_install for all.",
        json_schema_extra={"pattern": requirements_lock.PATTERN},
    )
    client_principal_id: Guid | None = Field(
        None,
        description="Object ID of an additional principal that gets the Contributor role on each VM. "
        "Default: with a client_secret, the service principal of azure_json.client_id; otherwise "
        "azure_json.client_id, as an object ID.",
    )
    client_principal_type: PrincipalType = Field(
        "User", description="The principal type of client_principal_id, if the request sets it."
    )
    ssh_public_key: PublicKey | None = Field(
        None,
        description="SSH public key of user azureuser. Default: a new key without a stored private key.",
    )
    outbound: Outbound = Field(
        "default",
        description="Outbound access: default for a new subnet, existing if subnet_id has its own.",
    )
    subnet_id: SubnetId | None = Field(
        None, description="ARM ID of an existing subnet; requires outbound existing."
    )
    zones: list[Zone] = Field(
        [], max_length=20, description="Availability zones, used round-robin."
    )
    priority: Priority = Field("Regular", description="Spot VMs cost less and can be evicted.")
    fallbacks: list[Fallback] = Field(
        [],
        max_length=20,
        description="Alternative placements, tried in order when Azure has no capacity or quota. With "
        "subnet_id, a fallback cannot set location.",
    )
    max_price: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Maximum price in US dollars per VM and hour; requires priority Spot, here or in a "
        "fallback. Default: the pay-as-you-go price.",
    )
    max_cost: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Maximum cost of the fleet in US dollars, by list prices. Shortly before it, no "
        "trial starts; VMs are deleted when the running trials have ended, or when the limit requires "
        "it. Requires a known price of each placement, and delete_on_complete. Default: no limit.",
    )
    ephemeral_os_disk: bool = Field(
        False, description="OS disks on the VM's host: faster, and lost if the host fails."
    )
    max_lifetime: float = Field(
        WEEK,
        ge=1,
        le=31 * 24 * 3600,
        description="Seconds from the start to the deadline. All VMs are deleted at the deadline.",
    )
    min_instances: int = Field(
        1,
        ge=1,
        description="The fleet fails with fewer VMs than this, unless fewer trials are unfinished. At "
        "most n_instances.",
    )
    trial_order: TrialOrder = Field(
        "fifo",
        description="The order in which VMs take trials. fifo: by ID. shuffled: at random. paired: all "
        "methods of a task and replicate one after the other on one VM, at random. Requires the "
        "client's own runner.",
    )
    trial_seed: int | None = Field(
        None,
        ge=0,
        lt=2**53,
        description="What shuffled and paired are drawn from: the same seed and trials give the same "
        "order. Default: the experiment's ID.",
    )
    cpu_models: list[CpuModel] = Field(
        [],
        max_length=20,
        description="Processors that VMs may have: parts of their names, in any case, * for any text. A "
        "VM with another one is replaced before it takes a trial. Default: any.",
    )
    tags: dict[Text, TagValue] = Field(
        {},
        max_length=40,
        description="Additional tags for every resource. Keys must not start with powerlift- "
        "(in any case).",
        json_schema_extra={"propertyNames": TAG_KEY_SCHEMA},
    )


def parse(document: Any) -> FleetRequest:
    """Validate a request. Raises InvalidRequest with every fault; faults never repeat a value."""
    if not isinstance(document, Mapping):
        raise InvalidRequest([Fault("", "The request must be a JSON object.")])
    faults: list[Fault] = []
    request: FleetRequest | None = None
    try:
        # JSON mode, because strict Python mode would reject JSON's representations.
        request = FleetRequest.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            pointer = "".join(f"/{_escape(part)}" for part in item["loc"])
            faults.append(Fault(pointer, _sentence(item["loc"], item["type"], item["msg"])))
    faults += [*uri_faults(document.get("uri")), *_webhook_faults(document.get("notify_url"))]
    faults += _lock_faults(document.get("requirements_lock"))
    faults += [Fault(rule.pointer, rule.detail) for rule in violated_rules(document)]
    if faults or request is None:
        raise InvalidRequest(faults)
    return request


def batch_id_of(request: FleetRequest, digest: str | None) -> int:
    """The request's batch ID, else one derived from a digest of its idempotency key, else a random
    one."""
    if request.batch_id is not None:
        return request.batch_id
    return derived_batch_id(digest) if digest else secrets.randbits(BATCH_BITS)


def derived_batch_id(digest: str) -> int:
    """A batch ID from a hexadecimal digest."""
    return int(digest[:16], 16) >> (64 - BATCH_BITS)


def unique_scopes(request: FleetRequest) -> list[str]:
    """The resource_uris without duplicates, in order. ARM IDs are case-insensitive."""
    first: dict[str, str] = {}
    for uri in request.resource_uris:
        first.setdefault(uri.lower(), uri)
    return list(first.values())


def uri_faults(uri: Any) -> list[Fault]:
    """The fault of a database URI. Empty where the model reports another type, or the length."""
    if not isinstance(uri, str) or len(uri) > LONGEST_URI:
        return []
    try:
        libpq_options(uri)
    except InvalidDatabaseUri as error:
        return [Fault("/uri", str(error))]
    return []


def _webhook_faults(url: Any) -> list[Fault]:
    """As `uri_faults`, of a webhook."""
    if not isinstance(url, str) or len(url) > LONGEST_URL or host_of(url):
        return []
    detail = (
        "Expected https://host/path, without credentials or a fragment, and escaped where needed."
    )
    return [Fault("/notify_url", detail)]


def _lock_faults(lock: Any) -> list[Fault]:
    """As `uri_faults`, of a lock of packages."""
    if not isinstance(lock, str) or len(lock) > LONGEST_LOCK:
        return []
    return [Fault("/requirements_lock", detail) for detail in requirements_lock.faults(lock)]


def _escape(part: int | str) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _unknown_field(at: tuple[int | str, ...]) -> str:
    parts: dict[int | str, type[BaseModel]] = {"azure_json": AzureJson, "fallbacks": Fallback}
    known = parts.get(at[0], FleetRequest).model_fields
    close = get_close_matches(str(at[-1])[:LONGEST_NAME].lower(), known, 1, 0.7)
    return f"Unknown field. Did you mean {close[0]}?" if close else "Unknown field."


def _sentence(at: tuple[int | str, ...], kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return _unknown_field(at)
    if kind == "missing":
        return "This field is required."
    field = next((part for part in reversed(at) if isinstance(part, str)), "")
    if field in EXPECTED and kind not in _SPECIFIC:
        return f"Expected {EXPECTED[field]}."
    return message if message.endswith(".") else f"{message}."
