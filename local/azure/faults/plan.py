"""The fault plan: its schema, and a validation that reports every error at once."""

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
from local.azure.corrupted_response import GARBLED
from local.azure.faults.azure_errors import AZURE_ERRORS
from local.azure.faults.operation_names import LONG_RUNNING, OPERATIONS
from local.azure.faults.rate_limits import RATES, Rate

ANY = "*"
"""Any location, zone or size."""

REGIONAL_QUOTAS = ("cores", "lowPriorityCores", "virtualMachines")


class InvalidPlan(ValueError):
    """The fault plan is invalid. The message has one line per error."""


def _one_of(known: Any, what: str) -> AfterValidator:
    def check(text: str) -> str:
        if text not in known:
            raise ValueError(f"{text!r} is not a known {what}; known: {', '.join(sorted(known))}")
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


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Capacity(_Section):
    """At most `vms` VMs of this kind run at a time. One more fails at the end of its boot."""

    vms: NonNegativeInt
    location: Location = ANY
    zone: Annotated[str, _one_of({*_ZONES, ANY}, "zone")] | None = ANY
    """None matches VMs without a zone; `*` matches all."""
    size: SizeName = ANY


class Restriction(_Section):
    """A size that is not available to the subscription, in some zones or in the whole location."""

    size: SizeName
    location: Location = ANY
    zones: tuple[Zone, ...] | None = Field(None, min_length=1)


class CustomRate(_Section):
    """A custom bucket with exactly one of the two refill rates."""

    bucket: PositiveInt
    per_second: PositiveFloat | None = None
    per_minute: PositiveFloat | None = None

    @model_validator(mode="after")
    def _one_speed(self) -> Self:
        if (self.per_second is None) == (self.per_minute is None):
            raise ValueError("set exactly one of per_second and per_minute")
        return self

    def rate(self) -> Rate:
        """The rate limit that this describes."""
        if self.per_second is not None:
            return Rate(self.bucket, self.per_second, 1)
        return Rate(self.bucket, self.per_minute or 0, 60)


class Eviction(_Section):
    """VMs to evict. Times are simulated seconds since the VM started running."""

    after: NonNegativeFloat | None = None
    within: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    """[low, high]; a time is drawn for each VM."""
    share: float = Field(1.0, ge=0, le=1)
    match: Pattern = ""
    notice: NonNegativeFloat = 30.0
    priority: Literal["Spot", "any"] = "Spot"

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if (self.after is None) == (self.within is None):
            raise ValueError("set exactly one of after and within")
        if self.within is not None and self.within[0] > self.within[1]:
            raise ValueError("within must be [low, high]")
        return self


class CustomError(_Section):
    """An error that is not among `AZURE_ERRORS`."""

    code: str = Field(min_length=1)
    message: str = ""
    status: int = Field(409, ge=400, le=599)
    retry_after: NonNegativeFloat | None = None
    """Simulated seconds."""
    details: tuple[dict[str, Any], ...] = ()


_Error = Annotated[
    Annotated[str, _one_of(AZURE_ERRORS, "error name"), Tag("<name>")]
    | Annotated[CustomError, Tag("<own>")],
    Discriminator(lambda given: "<name>" if isinstance(given, str) else "<own>"),
]


class Fault(_Section):
    """One fault. It fires when all of its conditions hold."""

    on: Annotated[str, _one_of(OPERATIONS, "operation")]
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
    cut: NonNegativeInt | None = None
    """Bytes of the response's body that are sent."""
    garbled: Annotated[str, _one_of(GARBLED, "garbled response")] | None = None
    slow: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        given = {"lost": self.lost, "cut": self.cut is not None, "garbled": bool(self.garbled)}
        corrupted = [name for name, is_set in given.items() if is_set]
        if self.error is None and not corrupted and not self.slow:
            raise ValueError("set error, lost, cut, garbled or slow")
        if corrupted and self.on in LONG_RUNNING:
            raise ValueError(f"{corrupted[0]}: no client waits for a response to {self.on}")
        if self.lost and len(corrupted) > 1:
            raise ValueError("lost: no response is sent that could be cut or garbled")
        of_a_vm = self.zone is not None or self.size != ANY or self.location != ANY
        if of_a_vm and not self.on.startswith("vm."):
            raise ValueError("zone, size and location apply only to vm.*")
        return self


class Plan(_Section):
    """The whole plan. An empty one injects nothing."""

    quotas: dict[Location, dict[_Quota, NonNegativeInt]] = {}
    capacity: tuple[Capacity, ...] = ()
    restrictions: tuple[Restriction, ...] = ()
    throttling: Annotated[
        Annotated[bool, Tag("<switch>")]
        | Annotated[dict[_RateName, CustomRate | None], Tag("<rates>")],
        Discriminator(lambda given: "<switch>" if isinstance(given, bool) else "<rates>"),
    ] = False
    evictions: tuple[Eviction, ...] = ()
    faults: tuple[Fault, ...] = ()

    def rates(self) -> dict[str, Rate]:
        """The rate limits in force; empty when throttling is off."""
        if isinstance(self.throttling, bool):
            return dict(RATES) if self.throttling else {}
        own = {name: given.rate() for name, given in self.throttling.items() if given}
        return {k: v for k, v in {**RATES, **own}.items() if self.throttling.get(k, v) is not None}


def parse(document: str | Mapping[str, Any]) -> Plan:
    """Parse a plan from JSON text or parsed JSON. Raises InvalidPlan with every error."""
    text = document if isinstance(document, str) else json.dumps(document)
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        lines = [
            f"  {_path(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        ]
        raise InvalidPlan("\n".join(["Invalid fault plan:", *lines])) from None


def load(file: Path) -> Plan:
    """Load a plan from a file. Raises InvalidPlan if it cannot be read or is invalid."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidPlan(f"The fault plan {file} cannot be read: {error}") from None
    return parse(text)


def _path(location: tuple[int | str, ...]) -> str:
    steps = [str(step) for step in location if not str(step).startswith("<")]
    return ".".join(step for step in steps if step != "[key]") or "the plan"
