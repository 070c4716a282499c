"""The request for a fleet: one model for both doors (the HTTP body and the queue message)."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
)

from fleet.api import constraints

BATCH_BITS = 53
"""Bits of a batch id that we choose: what survives JSON in JavaScript and jq unrounded."""

DATABASE = r"^[Pp][Oo][Ss][Tt][Gg][Rr][Ee][Ss]([Qq][Ll])?(\+[-.A-Za-z0-9]*)?://[^\x00-\x20\x7f]+$"
"""What JSON Schema can say of a database URI; `uri_faults` says the rest."""

TOLD, NAMED = 20, 100
"""Faults in a refusal's text, and characters of a pointer there."""

WEEK = 7 * 24 * 3600.0

# In patterns: \x00-\x1f\x7f are control characters, which neither Azure nor PostgreSQL takes.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*$", max_length=256)]
Tenant = Annotated[str, StringConstraints(pattern=r"^[-.A-Za-z0-9]+$", max_length=256)]
Text = Annotated[
    str,
    StringConstraints(
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
        max_length=256,
        strip_whitespace=True,
    ),
]
ResourceGroup = Annotated[str, StringConstraints(pattern=r"^[-\w._()]{1,89}[-\w_()]$")]
ResourceId = Annotated[
    str,
    StringConstraints(
        pattern=r"^/subscriptions/[^/?#%\x00-\x1f\x7f]+(/[^/?#%\x00-\x1f\x7f]+)*$", max_length=1024
    ),
]
SUBNET = (
    r"^/subscriptions/{0}/resourceGroups/{0}/providers/Microsoft\.Network/virtualNetworks/{0}"
    r"/subnets/{0}$"
).replace("{0}", r"[-\w.()]+")
SubnetId = Annotated[
    str,
    StringConstraints(pattern=f"(?i){SUBNET}", max_length=1024),
    # JSON Schema's patterns know no (?i).
    Field(json_schema_extra={"pattern": SUBNET}),
]
Guid = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
]
PublicKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^ssh-(rsa|ed25519) [A-Za-z0-9+/]+=*( [^\x00-\x1f\x7f]*)?$",
        max_length=8192,
        strip_whitespace=True,
    ),
]
TagValue = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=256)]
FleetName = Annotated[
    str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", max_length=63)
]
Location = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,40}$")]
Zone = Literal["1", "2", "3"]
Priority = Literal["Regular", "Spot"]


class Fault(dict[str, str]):
    """One thing wrong with a request: `pointer` (a JSON pointer, RFC 6901) and `detail`."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(pointer=pointer, detail=detail)


class RequestRefused(ValueError):
    """A request that cannot be a fleet; `faults` lists every reason. Holds no value of the request.

    As text it is a line for a log: names of fields are whatever their sender likes.
    """

    def __init__(self, faults: list[Fault]) -> None:
        told = [f"{fault['pointer'][:NAMED]}: {fault['detail']}" for fault in faults[:TOLD]]
        told += [f"and {len(faults) - TOLD} more"] if len(faults) > TOLD else []
        super().__init__(" ".join("; ".join(told).split()))
        self.faults = faults


class AzureJson(BaseModel):
    """Who calls Azure, and where. What is left out comes from the deployment's settings.

    Without `client_secret` the app uses its own identity (azure-identity's DefaultAzureCredential).
    """

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra=constraints.LONE_SECRET
    )

    tenant_id: Tenant | None = Field(
        None, description="The Entra tenant that client_id is of: a GUID or a domain name."
    )
    client_id: Text | None = Field(
        None, description="With client_secret: the application (client) id that calls Azure."
    )
    client_secret: SecretStr | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="The application's secret; needs tenant_id and client_id. It is sealed at once.",
    )
    subscription_id: Guid | None = Field(
        None, description="The Azure subscription; default: the deployment's."
    )
    resource_group: ResourceGroup | None = Field(
        None, description="The resource group, which must exist; default: the deployment's."
    )


class Fallback(BaseModel):
    """Where to go when Azure has no room in the places before: what differs from the request."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra={"minProperties": 1}
    )

    location: Location | None = Field(None, description="Another Azure region.")
    vm_size: Name | None = Field(None, description="Another VM size.")
    zone: Zone | None = Field(None, description="An availability zone of the location.")
    priority: Priority | None = Field(None, description="The other priority.")


class FleetRequest(BaseModel):
    """Everything that a user can ask of a fleet. Names and defaults are `AzureVMInstance`'s."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra={"allOf": constraints.TOGETHER}
    )

    experiment_id: int = Field(
        ge=0, lt=2**31, description="Powerlift's experiment to run trials of."
    )
    n_instances: int = Field(
        ge=1, le=5000, description="How many VMs to create; no more than trials are left."
    )
    uri: SecretStr | None = Field(
        None,
        max_length=2048,
        description="The Powerlift database, as the VMs reach it: postgresql://user:password@host/"
        "name, or with a SQLAlchemy driver. Default: the deployment's. It is sealed at once.",
        json_schema_extra={"pattern": DATABASE},
    )
    resource_uris: list[ResourceId] = Field(
        [], max_length=20, description="ARM ids at which every VM gets the Contributor role."
    )
    timeout: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds per trial; null: no limit."
    )
    azure_json: AzureJson = Field(
        AzureJson.model_construct(),
        description="Who calls Azure, and where; default: the deployment's own identity and settings.",
    )
    location: Location | None = Field(
        None, description="Azure region; default: the resource group's."
    )
    vm_size: Name = Field("Standard_B16s_v2", description="Azure's name of the VM size.")
    image_publisher: Name = Field("canonical", description="Who publishes the VMs' image.")
    image_offer: Name = Field("ubuntu-24_04-lts", description="The image's offer.")
    image_sku: Name = Field("server", description="The image's SKU.")
    image_version: Name = Field("latest", description="The image's version.")
    disk_type: Name = Field("Standard_LRS", description="Storage type of the OS disk.")
    max_undead: int = Field(
        20,
        ge=1,
        le=1000,
        description="How many VMs may exist whose role does not let them delete themselves yet.",
    )
    delete_on_complete: bool = Field(
        True,
        description="VMs delete themselves after the last trial; false leaves them to you, until you "
        "DELETE the fleet or the deadline comes.",
    )
    batch_id: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description="The idempotency key, in the names of all resources. Default: derived from the "
        "header Idempotency-Key, else random. Ids above 2^53 are rounded by some JSON readers.",
    )
    name: FleetName | None = Field(
        None,
        description="A name that may be used wherever a fleet's id goes: lower-case letters, digits and "
        "hyphens, first a letter. Unique among fleets that have not ended. `latest` and names that "
        "begin with `fleet-` are reserved.",
        json_schema_extra=constraints.NAME,
    )

    client_principal_id: Guid | None = Field(
        None,
        description="Who else gets the Contributor role on each VM, an object id; default: "
        "azure_json.client_id.",
    )
    client_principal_type: Literal["User", "Group", "ServicePrincipal"] = Field(
        "User", description="What client_principal_id is."
    )
    ssh_public_key: PublicKey | None = Field(
        None,
        description="For user azureuser; default: a key whose private half is thrown away.",
    )
    outbound: Literal["default", "existing"] = Field(
        "default", description="The way out of a new subnet; existing: subnet_id has its own."
    )
    subnet_id: SubnetId | None = Field(
        None, description="ARM id of a subnet of yours; needs outbound existing."
    )
    zones: list[Zone] = Field(
        [], max_length=20, description="Availability zones; VMs are dealt to these in turn."
    )
    priority: Priority = Field("Regular", description="Spot VMs cost less, and can be evicted.")
    fallbacks: list[Fallback] = Field(
        [],
        max_length=20,
        description="Where to go, in this order, when Azure has no room. None may name a location "
        "where there is a subnet_id.",
    )
    max_price: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="US dollars per VM and hour at most; needs priority Spot, here or in a fallback. "
        "Default: the price of a Regular VM.",
    )
    ephemeral_os_disk: bool = Field(
        False, description="OS disks on the VM's own host: quicker, and lost with it."
    )
    max_lifetime: float = Field(
        WEEK,
        ge=1,
        le=31 * 24 * 3600,
        description="Seconds from the start to the deadline, at which VMs are deleted, done or not.",
    )
    min_instances: int = Field(
        1,
        ge=1,
        description="With fewer VMs than this the fleet fails, unless fewer trials are left; no more "
        "than n_instances.",
    )
    tags: dict[Text, TagValue] = Field(
        {},
        max_length=40,
        description="On every resource, beside ours. No key starts with powerlift-, in any case.",
        json_schema_extra={"propertyNames": constraints.TAG_KEYS},
    )


def parse(document: Any) -> FleetRequest:
    """Check a request. Raises RequestRefused with every fault; no value is repeated in a fault."""
    if not isinstance(document, Mapping):
        raise RequestRefused([Fault("", "The request must be a JSON object.")])
    faults: list[Fault] = []
    request: FleetRequest | None = None
    try:
        # JSON mode: strict about types (true is no number), yet a list is a list.
        request = FleetRequest.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            pointer = "".join(f"/{_escape(part)}" for part in item["loc"])
            faults.append(Fault(pointer, _sentence(item["type"], item["msg"])))
    faults += uri_faults(document.get("uri"))
    faults += [Fault(rule.pointer, rule.detail) for rule in constraints.broken_by(document)]
    if faults or request is None:
        raise RequestRefused(faults)
    return request


def chosen_batch(request: FleetRequest, caller: str, idempotency_key: str | None) -> int:
    """The request's batch id, else one derived from caller and key, else a random one."""
    if request.batch_id is not None:
        return request.batch_id
    if idempotency_key:
        # A header may hold any bytes; those that are not UTF-8 come as half surrogate pairs.
        text = f"{caller} {idempotency_key}".encode(errors="surrogatepass")
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> (64 - BATCH_BITS)
    return secrets.randbits(BATCH_BITS)


def scopes_of(request: FleetRequest) -> list[str]:
    """The resource_uris, each once, in the order given; ARM ids ignore case."""
    first: dict[str, str] = {}
    for uri in request.resource_uris:
        first.setdefault(uri.lower(), uri)
    return list(first.values())


def uri_faults(uri: Any) -> list[Fault]:
    """What keeps a database URI from serving the VMs; what is no text is another check's fault."""
    if not isinstance(uri, str):
        return []
    try:
        if re.search(r"[\x00-\x20\x7f]", uri):
            raise ValueError("urlsplit drops some of these")
        parts = urlsplit(uri)
        scheme, host = parts.scheme.split("+")[0], parts.hostname
        _ = parts.port
    except ValueError:
        return [Fault("/uri", "This is no URI; percent-encode what is special in a password.")]
    if scheme not in ("postgresql", "postgres"):
        return [
            Fault(
                "/uri", "The VMs need a PostgreSQL database: postgresql://user:password@host/name."
            )
        ]
    return [] if host else [Fault("/uri", "The URI names no host that a VM could reach.")]


def _escape(part: int | str) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _sentence(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "There is no such field."
    if kind == "missing":
        return "This field is required."
    return message if message.endswith(".") else f"{message}."
