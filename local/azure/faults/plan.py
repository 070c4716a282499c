"""The plan as JSON: its shape, and everything that is wrong with one, at once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    model_validator,
)

from local.azure.compute.sizes import SIZES, ZONES
from local.azure.faults.azure_errors import CATALOGUE
from local.azure.faults.operation_names import LATER, NAMES
from local.azure.faults.rate_limits import RATES, Rate

ANY = "*"
"""Any location, zone or size."""

REGIONAL_QUOTAS = ("cores", "lowPriorityCores", "virtualMachines")


class PlanRefused(ValueError):
    """The document is not a plan; the message has a line for every fault."""


def _one_of(known: Any, what: str) -> AfterValidator:
    def check(text: str) -> str:
        if text not in known:
            raise ValueError(f"{text!r} is no {what}; there are {', '.join(sorted(known))}")
        return text

    return AfterValidator(check)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


_LOCATIONS, _SIZES = [*ZONES, ANY], [*(size.name for size in SIZES.values()), ANY]
_QUOTAS = {*REGIONAL_QUOTAS, *(size.family for size in SIZES.values())}
_ZONES = {zone for zones in ZONES.values() for zone in zones}

Location = Annotated[str, _one_of(_LOCATIONS, "location")]
SizeName = Annotated[str, _one_of(_SIZES, "VM size")]
Zone = Annotated[str, _one_of(_ZONES, "zone")]
Pattern = Annotated[str, AfterValidator(_pattern)]
_Quota = Annotated[str, _one_of(_QUOTAS, "quota")]
_RateName = Annotated[str, _one_of(RATES, "bucket")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Capacity(_Part):
    """No more than `vms` VMs of this kind run at a time; another one fails at the end of its boot."""

    vms: NonNegativeInt
    location: Location = ANY
    zone: Annotated[str, _one_of({*_ZONES, ANY}, "zone")] | None = ANY
    """None is what has no zone; `*` is everything."""
    size: SizeName = ANY


class Restriction(_Part):
    """A size that this subscription does not get, in some zones or in the whole location."""

    size: SizeName
    location: Location = ANY
    zones: tuple[Zone, ...] | None = Field(None, min_length=1)


class RateGiven(_Part):
    """A bucket of one's own; exactly one of the two speeds."""

    bucket: PositiveInt
    per_second: PositiveFloat | None = None
    per_minute: PositiveFloat | None = None

    @model_validator(mode="after")
    def _one_speed(self) -> Self:
        if (self.per_second is None) == (self.per_minute is None):
            raise ValueError("give per_second or per_minute")
        return self

    def rate(self) -> Rate:
        """The bucket that this describes."""
        if self.per_second is not None:
            return Rate(self.bucket, self.per_second, 1)
        return Rate(self.bucket, self.per_minute or 0, 60)


class Eviction(_Part):
    """VMs that Azure takes back, so many simulated seconds after they have come up."""

    after: NonNegativeFloat | None = None
    within: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    """Drawn for each VM, from low to high."""
    share: float = Field(1.0, ge=0, le=1)
    match: Pattern = ""
    notice: NonNegativeFloat = 30.0
    priority: Literal["Spot", "any"] = "Spot"

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if (self.after is None) == (self.within is None):
            raise ValueError("give after, or within")
        if self.within is not None and self.within[0] > self.within[1]:
            raise ValueError("within is [low, high]")
        return self


class ErrorGiven(_Part):
    """An error that is not in the catalogue."""

    code: str = Field(min_length=1)
    message: str = ""
    status: int = Field(409, ge=400, le=599)
    retry_after: NonNegativeFloat | None = None
    """Simulated seconds."""
    details: tuple[dict[str, Any], ...] = ()


_Error = Annotated[
    Annotated[str, _one_of(CATALOGUE, "error of the catalogue"), Tag("<name>")]
    | Annotated[ErrorGiven, Tag("<own>")],
    Discriminator(lambda given: "<name>" if isinstance(given, str) else "<own>"),
]


class Fault(_Part):
    """One thing that goes wrong, and when. Its conditions must all hold."""

    on: Annotated[str, _one_of(NAMES, "operation")]
    match: Pattern = ""
    zone: Zone | None = None
    size: SizeName = ANY
    location: Location = ANY
    begin: NonNegativeFloat = Field(0.0, alias="from")
    until: NonNegativeFloat = float("inf")
    nth: tuple[PositiveInt, ...] = ()
    probability: float = Field(1.0, ge=0, le=1)
    times: PositiveInt | None = None
    error: _Error | None = None
    lost: bool = False
    slow: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.error is None and not self.lost and not self.slow:
            raise ValueError("give error, lost or slow")
        if self.lost and self.on in LATER:
            raise ValueError(f"lost: nobody waits for an answer of {self.on}")
        of_a_vm = self.zone is not None or self.size != ANY or self.location != ANY
        if of_a_vm and not self.on.startswith("vm."):
            raise ValueError("zone, size and location are conditions of vm.* alone")
        return self


class Plan(_Part):
    """The whole document. An empty one changes nothing."""

    quotas: dict[Location, dict[_Quota, NonNegativeInt]] = {}
    capacity: tuple[Capacity, ...] = ()
    restrictions: tuple[Restriction, ...] = ()
    throttling: Annotated[
        Annotated[bool, Tag("<switch>")]
        | Annotated[dict[_RateName, RateGiven | None], Tag("<rates>")],
        Discriminator(lambda given: "<switch>" if isinstance(given, bool) else "<rates>"),
    ] = False
    evictions: tuple[Eviction, ...] = ()
    faults: tuple[Fault, ...] = ()

    def rates(self) -> dict[str, Rate]:
        """The buckets that hold; empty when nothing is throttled."""
        if isinstance(self.throttling, bool):
            return dict(RATES) if self.throttling else {}
        own = {name: given.rate() for name, given in self.throttling.items() if given}
        return {k: v for k, v in {**RATES, **own}.items() if self.throttling.get(k, v) is not None}


def parse(document: str | Mapping[str, Any]) -> Plan:
    """The plan in a JSON text or in its parsed form. Raises PlanRefused with every fault."""
    text = document if isinstance(document, str) else json.dumps(document)
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        lines = [f"  {_place(fault['loc'])}: {_words(fault['msg'])}" for fault in error.errors()]
        raise PlanRefused("\n".join(["This is not a weather plan:", *lines])) from None


def load(file: Path) -> Plan:
    """The plan in a file. Raises PlanRefused, also when the file cannot be read."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanRefused(f"The weather plan {file} cannot be read: {error}") from None
    return parse(text)


def _place(location: tuple[int | str, ...]) -> str:
    steps = [str(step) for step in location if not str(step).startswith("<")]
    return ".".join(step for step in steps if step != "[key]") or "the document"


def _words(message: str) -> str:
    return message.removeprefix("Value error, ")
