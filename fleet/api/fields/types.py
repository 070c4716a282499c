"""The types of a request's fields. Values with several legal forms are normalised."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from fleet.model.names import region_of

# \x00-\x1f\x7f in patterns: control characters, which Azure and PostgreSQL reject.
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
# What is checked is what is sent: HTTP clients keep these characters, and no segment ends with a dot,
# because they resolve `.` and `..`.
_SEGMENT = r"[-!$&'()+,.:;=@A-Za-z0-9_~]*[-!$&'()+,:;=@A-Za-z0-9_~]"
ResourceId = Annotated[
    str,
    # Powerlift's own client formats "/{scope}/…", so that IDs without the first slash work there.
    StringConstraints(pattern=rf"^/?subscriptions(/{_SEGMENT})+/?$", max_length=1024),
    AfterValidator(lambda scope: f"/{scope.strip('/')}"),
]
_ARM_NAME = r"[-\w.()]*[-\w()]"
SUBNET = (
    r"^/subscriptions/{0}/resourceGroups/{0}/providers/Microsoft\.Network/virtualNetworks/{0}"
    r"/subnets/{0}$"
).replace("{0}", _ARM_NAME)
SubnetId = Annotated[
    str,
    StringConstraints(pattern=f"(?i){SUBNET}", max_length=1024),
    # JSON Schema patterns do not support (?i).
    Field(json_schema_extra={"pattern": SUBNET}),
]
GALLERY_IMAGE = (
    r"^(/subscriptions/{0}/resourceGroups/{0}/providers/Microsoft\.Compute/galleries"
    r"|/sharedGalleries|/communityGalleries)/{0}/images/{0}(/versions/(latest|[0-9]+\.[0-9]+\.[0-9]+))?$"
).replace("{0}", _ARM_NAME)
GalleryImageId = Annotated[
    str,
    # ASCII: in Unicode, two other letters are an s and a k in another case.
    StringConstraints(pattern=f"(?i-u){GALLERY_IMAGE}", max_length=1024),
    Field(json_schema_extra={"pattern": GALLERY_IMAGE}),
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
Version = Annotated[str, StringConstraints(pattern=r"^[0-9][-.!+_0-9A-Za-z]{0,63}$")]
FleetName = Annotated[
    str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", max_length=63)
]
CpuModel = Annotated[
    str,
    StringConstraints(
        pattern=r"^[-A-Za-z0-9()@.+_/*]+( +[-A-Za-z0-9()@.+_/*]+)*$",
        max_length=64,
    ),
]
TrialOrder = Literal["fifo", "shuffled", "paired"]
Zone = Literal["1", "2", "3"]


ALIKE = 0.6
"""How similar a value must be to be suggested, as in `difflib.get_close_matches`."""


def _one_of(values: Sequence[str], problem: str) -> Callable[[Any], Any]:
    """A validator that suggests the value that the user may have meant."""

    def check(given: Any) -> Any:
        if given in values:
            return given
        likeness = {
            one: SequenceMatcher(None, str(given).lower(), one.lower()).ratio() for one in values
        }
        best = max(values, key=likeness.__getitem__)
        hint = f"Did you mean {best}? " if likeness[best] >= ALIKE else ""
        # Azure ignores case, but whoever reads the answer compares it with the request.
        text = f"{problem} {hint}Use one of {', '.join(values)}."
        raise PydanticCustomError("one_of", "{text}", {"text": text})

    return check


def _choice(*values: str, problem: str) -> BeforeValidator:
    return BeforeValidator(_one_of(values, problem))


Priority = Annotated[
    Literal["Regular", "Spot"], _choice("Regular", "Spot", problem="Not a priority of VMs.")
]
PrincipalType = Annotated[
    Literal["User", "Group", "ServicePrincipal"],
    _choice("User", "Group", "ServicePrincipal", problem="Not the type of a principal."),
]
Outbound = Annotated[
    Literal["default", "existing"],
    _choice("default", "existing", problem="Not a kind of outbound access."),
]


def _from_digits(batch_id: Any) -> Any:
    digits = isinstance(batch_id, str) and re.fullmatch("0|[1-9][0-9]{0,19}", batch_id)
    return int(batch_id) if digits else batch_id


BatchId = Annotated[
    int,
    Field(ge=0, lt=2**64),
    BeforeValidator(_from_digits),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**64},
                {"type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$"},
            ]
        }
    ),
]

Location = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9]( ?[A-Za-z0-9]){0,39}$"),
    AfterValidator(region_of),
]
"""A region as Azure displays it (`East US`) or names it (`eastus`); normalised to its name."""

MAX_UNDEAD = 1000
MaxUndead = Annotated[int, Field(ge=0), AfterValidator(lambda most: min(max(most, 1), MAX_UNDEAD))]
"""Normalised to 1 to MAX_UNDEAD. Powerlift's 0 means one VM at a time."""

DISK_TYPES = (
    "Standard_LRS",
    "StandardSSD_LRS",
    "StandardSSD_ZRS",
    "Premium_LRS",
    "Premium_ZRS",
)
"""Storage types of OS disks. Ultra disks and Premium SSD v2 can be data disks only."""


DiskType = Annotated[
    str,
    PlainValidator(_one_of(DISK_TYPES, "Not the storage type of an OS disk.")),
    WithJsonSchema({"enum": [*DISK_TYPES]}),
]


def _only_null(given: Any) -> None:
    if given is not None:
        text = (
            "A credential object cannot be sent. Use null: the app then uses its own identity, or the "
            "client_secret in azure_json."
        )
        raise PydanticCustomError("credential", "{text}", {"text": text})


Credential = Annotated[None, PlainValidator(_only_null), WithJsonSchema({"type": "null"})]

EXPECTED = {
    "batch_id": "an integer from 0 to 2^64 - 1, as a number or as digits in a string",
    "client_principal_id": "the object ID (GUID) of a principal, not an application ID",
    "cpu_models": "a part of a processor's name, such as EPYC 7763 or Platinum 8370C",
    "image_id": "the ID of an image in a Compute Gallery, or of a version of it: "
    "/subscriptions/ID/…/galleries/NAME/images/NAME, /sharedGalleries/NAME/images/NAME or "
    "/communityGalleries/NAME/images/NAME, then /versions/1.2.3 or nothing",
    "location": "an Azure region, such as eastus or East US",
    "name": "lower-case letters, digits and hyphens, starting with a letter",
    "resource_group": "the name of a resource group, not its ARM ID",
    "resource_uris": "an ARM ID, such as /subscriptions/ID/resourceGroups/NAME/providers/TYPE/NAME",
    "powerlift_version": "a version, such as 0.1.12 or 0.1.12+source",
    "ssh_public_key": "the text of an ssh-rsa or ssh-ed25519 public key",
    "subnet_id": "the ARM ID of a subnet: /subscriptions/ID/…/virtualNetworks/NAME/subnets/NAME",
    "subscription_id": "the subscription's GUID, not its name",
    "tenant_id": "the tenant's GUID or domain name",
    "timeout": "a number of seconds above 0, or null for no limit",
    "vm_size": "the name of a VM size, such as Standard_D4s_v5",
    **dict.fromkeys(
        ("image_publisher", "image_offer", "image_sku", "image_version"),
        "one part of an image's URN (publisher:offer:sku:version)",
    ),
}
"""What a field takes, in words, for values that do not match its pattern or type."""
