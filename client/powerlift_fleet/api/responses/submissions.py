"""Submissions and cancellations, and what identifies their fleets."""

from __future__ import annotations

from dataclasses import dataclass

from powerlift_fleet.api.json_reader import Response


@dataclass(frozen=True, kw_only=True)
class Links(Response):
    """Absolute URLs of a fleet, without the function key."""

    self: str
    machines: str
    progress: str
    view: str
    """The web page."""
    cancel: str


def handle_of(id_: str, number: int | None) -> str:
    return id_ if number is None else f"fleet-{number}"


def label_of(id_: str, number: int | None, name: str | None) -> str:
    """`fleet-7 (nightly)`."""
    handle = handle_of(id_, number)
    return f"{handle} ({name})" if name else handle


@dataclass(frozen=True, kw_only=True)
class Submission(Response):
    """An accepted request."""

    id: str
    """The fleet ID: `fleet-7`."""
    number: int
    """The short number: `fleet-` and this number is another ID of the fleet."""
    batch_id: int
    links: Links
    created: bool = True
    """Set by the client: False if the fleet already existed. Not part of `raw`."""
    trials: int | None = None
    """Of a retry: the failed trials that were reset; 0 if the fleet already existed."""

    @property
    def handle(self) -> str:
        """The short ID: `fleet-` and the number."""
        return handle_of(self.id, self.number)


@dataclass(frozen=True, kw_only=True)
class QueuedSubmission(Response):
    """A request on the storage queue, which the app has not read yet."""

    id: str
    batch_id: int
    message_id: str
    """Of the storage service: finds the reason if the app refuses the request."""


@dataclass(frozen=True, kw_only=True)
class Cancellation(Response):
    """An accepted cancellation."""

    id: str
    links: Links
