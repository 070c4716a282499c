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

BATCH_BITS = 53
"""Bits of a batch id that we choose: what survives JSON in JavaScript and jq unrounded."""

WEEK = 7 * 24 * 3600.0

Text = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]
ResourceGroup = Annotated[str, StringConstraints(pattern=r"^[-\w._()]{1,89}[-\w_()]$")]
ResourceId = Annotated[
    str, StringConstraints(pattern=r"^/subscriptions/[^/?#%]+(/[^/?#%]+)*$", max_length=1024)
]
SubnetId = Annotated[
    str,
    StringConstraints(
        pattern=r"(?i)^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network"
        r"/virtualNetworks/[^/]+/subnets/[^/]+$"
    ),
]
Guid = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
]


Location = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,40}$")]
Zone = Literal["1", "2", "3"]
Priority = Literal["Regular", "Spot"]


class Fault(dict[str, str]):
    """One thing wrong with a request: `pointer` (a JSON pointer, RFC 6901) and `detail`."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(pointer=pointer, detail=detail)


class RequestRefused(ValueError):
    """A request that cannot be a fleet; `faults` lists every reason. Holds no value of the request."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault['pointer']}: {fault['detail']}" for fault in faults))
        self.faults = faults


class AzureJson(BaseModel):
    """Who calls Azure, and where. What is left out comes from the deployment's settings.

    Without `client_secret` the app uses its own identity (azure-identity's DefaultAzureCredential).
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    tenant_id: Text | None = None
    client_id: Text | None = None
    client_secret: SecretStr | None = Field(None, min_length=1)
    subscription_id: Guid | None = None
    resource_group: ResourceGroup | None = None


class Fallback(BaseModel):
    """Where to go when Azure has no room in the places before: what differs from the request."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    location: Location | None = None
    vm_size: Text | None = None
    zone: Zone | None = None
    priority: Priority | None = None


class FleetRequest(BaseModel):
    """Everything that a user can ask of a fleet. Names and defaults are `AzureVMInstance`'s."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    experiment_id: int = Field(ge=0, description="Powerlift's experiment to run trials of.")
    n_instances: int = Field(ge=1, le=5000, description="How many VMs to create.")
    uri: SecretStr | None = Field(None, description="The Powerlift database (postgresql://…).")
    resource_uris: list[ResourceId] = Field(
        [], max_length=20, description="ARM ids at which every VM gets the Contributor role."
    )
    timeout: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds per trial; null: no limit."
    )
    azure_json: AzureJson = AzureJson.model_construct()
    location: Location | None = Field(
        None, description="Azure region; default: the resource group's."
    )
    vm_size: Text = "Standard_B16s_v2"
    image_publisher: Text = "canonical"
    image_offer: Text = "ubuntu-24_04-lts"
    image_sku: Text = "server"
    image_version: Text = "latest"
    disk_type: Text = "Standard_LRS"
    max_undead: int = Field(20, ge=1, le=1000, description="VMs that may lack their role at once.")
    delete_on_complete: bool = Field(
        True, description="VMs delete themselves after the last trial."
    )
    batch_id: int | None = Field(None, ge=0, lt=2**63, description="The idempotency key.")

    client_principal_id: Guid | None = Field(
        None, description="Who else gets the role on each VM; default: azure_json.client_id."
    )
    client_principal_type: Literal["User", "Group", "ServicePrincipal"] = "User"
    ssh_public_key: Annotated[str, StringConstraints(pattern=r"^ssh-(rsa|ed25519) \S+")] | None = (
        None
    )
    outbound: Literal["default", "existing"] = Field(
        "default", description="The way out of a new subnet; existing: subnet_id has its own."
    )
    subnet_id: SubnetId | None = None
    zones: list[Zone] = Field([], description="VMs are dealt to these in turn.")
    priority: Priority = "Regular"
    fallbacks: list[Fallback] = Field(
        [], max_length=20, description="Where to go, in this order, when Azure has no room."
    )
    max_price: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Spot: US dollars an hour at most."
    )
    ephemeral_os_disk: bool = False
    max_lifetime: float = Field(
        WEEK, ge=1, le=31 * 24 * 3600, description="Seconds to the deadline."
    )
    min_instances: int = Field(1, ge=1, description="With fewer VMs than this the fleet fails.")
    tags: dict[Text, Annotated[str, StringConstraints(max_length=256)]] = Field({}, max_length=40)


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
    faults += [Fault(pointer, text) for wrong, pointer, text in _disagreements(document) if wrong]
    if faults or request is None:
        raise RequestRefused(faults)
    return request


def chosen_batch(request: FleetRequest, idempotency_key: str | None) -> int:
    """The request's batch id, else one derived from the key, else a random one."""
    if request.batch_id is not None:
        return request.batch_id
    if idempotency_key:
        digest = hashlib.sha256(idempotency_key.encode()).digest()
        return int.from_bytes(digest[:8], "big") >> (64 - BATCH_BITS)
    return secrets.randbits(BATCH_BITS)


def scopes_of(request: FleetRequest) -> list[str]:
    """The resource_uris, each once, in the order given; ARM ids ignore case."""
    first: dict[str, str] = {}
    for uri in request.resource_uris:
        first.setdefault(uri.lower(), uri)
    return list(first.values())


def _disagreements(asked: Mapping[str, Any]) -> list[tuple[bool, str, str]]:
    """What two fields say against each other. Reads the raw document: it may hold other faults."""
    account = asked.get("azure_json")
    account = account if isinstance(account, Mapping) else {}
    least, wanted, tags = asked.get("min_instances"), asked.get("n_instances"), asked.get("tags")
    listed = asked.get("fallbacks")
    fallbacks = listed if isinstance(listed, list) else []
    fallbacks = [fallback for fallback in fallbacks if isinstance(fallback, Mapping)]
    return [
        (
            "client_secret" in account
            and not (account.get("tenant_id") and account.get("client_id")),
            "/azure_json/client_secret",
            "A client secret needs tenant_id and client_id beside it.",
        ),
        (
            isinstance(least, int) and isinstance(wanted, int) and least > max(wanted, 1),
            "/min_instances",
            "This is above n_instances.",
        ),
        (
            asked.get("max_price") is not None
            and asked.get("priority") != "Spot"
            and not any(fallback.get("priority") == "Spot" for fallback in fallbacks),
            "/max_price",
            "A price limit is for priority Spot only.",
        ),
        (
            any(not fallback for fallback in fallbacks),
            "/fallbacks",
            "A fallback must differ in something: location, vm_size, zone or priority.",
        ),
        (
            bool(asked.get("subnet_id"))
            and any(fallback.get("location") for fallback in fallbacks),
            "/fallbacks",
            "With a subnet of yours (subnet_id) every VM must be in that subnet's region.",
        ),
        (
            asked.get("outbound") == "existing" and not asked.get("subnet_id"),
            "/outbound",
            "An existing way out is that of a subnet of yours: name it in subnet_id.",
        ),
        (
            bool(asked.get("subnet_id")) and asked.get("outbound", "default") != "existing",
            "/subnet_id",
            "We do not change a subnet of yours: say outbound existing.",
        ),
        (
            isinstance(tags, Mapping) and any(re.search(r"[<>%&\\?/]", key) for key in tags),
            "/tags",
            "A key may hold none of < > % & \\ ? / (Azure's rule).",
        ),
        (
            isinstance(tags, Mapping) and any(key.lower().startswith("powerlift-") for key in tags),
            "/tags",
            "Keys that start with powerlift- are ours; Azure ignores their case.",
        ),
    ]


def uri_faults(uri: Any) -> list[Fault]:
    """What keeps a database URI from serving the VMs; what is no text is another check's fault."""
    if not isinstance(uri, str):
        return []
    try:
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
