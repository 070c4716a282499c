"""Types that several responses share. Times are ISO 8601 in UTC; durations are in seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

BATCH = "The idempotency key. It is part of the names of all of the fleet's resources."
Count = Annotated[int, Field(ge=0)]
FleetId = Annotated[str, Field(pattern=r"^fleet-(0|[1-9][0-9]{0,19})$", examples=["fleet-7"])]
Batch = Annotated[int, Field(ge=0, le=2**53)] | Annotated[str, Field(pattern="^[0-9]{16,20}$")]
"""See `json_id`."""
Number = Annotated[int, Field(ge=0, examples=[7])]
Ordinal = Annotated[int, Field(ge=0, lt=10_000, examples=[3])]
Time = Annotated[
    str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-03-01T12:00:00Z"])
]
Url = Annotated[str, Field(json_schema_extra={"format": "uri"})]


def json_id(batch_id: int) -> int | str:
    """A batch ID in JSON: a string above 2^53, where JavaScript rounds numbers."""
    return batch_id if batch_id <= 2**53 else str(batch_id)


def json_time(moment: datetime) -> str:
    """A time in JSON: ISO 8601 in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Links(TypedDict):
    """URLs of a fleet's other resources: absolute, without the key."""

    self: Url
    """The fleet: GET."""
    machines: Url
    """The fleet's VMs: GET."""
    progress: Url
    """Trials over time, VM hours and cost: GET."""
    view: Url
    """The fleet's web page: GET, text/html."""
    cancel: Url
    """Cancels the fleet and tears it down: DELETE."""
