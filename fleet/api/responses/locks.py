"""Response of `GET /fleets/{id}/lock`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from fleet.api.responses.common import FleetId, Ordinal, Time

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$", examples=[f"{7:064x}"])]
"""SHA-256 of a lock's text."""


class PackageLock(TypedDict):
    """The packages of a fleet's VMs with one CPU architecture."""

    architecture: Literal["x64", "Arm64"]
    """The architecture of the VMs' CPUs."""
    digest: Digest
    """SHA-256 of the stored text. `requirements` differs from it where a URL contains credentials."""
    requirements: str
    """The text, as `requirements_lock` of a request takes it; credentials in URLs are `***`."""
    python: str | None
    """The version of Python that it was resolved for; null for a lock of the request."""
    ordinal: Ordinal | None
    """The VM that resolved it; null for a lock of the request."""
    resolved_at: Time | None
    """When it was stored."""


class PackageLocks(TypedDict):
    """What the VMs of a fleet install."""

    id: FleetId
    """The fleet's ID."""
    locks: list[PackageLock]
    """One for each architecture whose packages are resolved; empty before that, and without the app's
    tables."""
    problem: str | None
    """Why the benchmark's database could not be read; null if it could."""
