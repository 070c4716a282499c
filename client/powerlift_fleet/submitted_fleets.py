"""The fleets that an executor has submitted: to watch and to cancel them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from powerlift_fleet.api import html
from powerlift_fleet.api.client import FleetClient
from powerlift_fleet.api.errors import ConfigurationError, FleetEnded, FleetError, NotFound
from powerlift_fleet.api.responses import FleetStatus, LogLine, Machine, Trial
from powerlift_fleet.api.rows import Rows
from powerlift_fleet.benchmark.provenance import provenance
from powerlift_fleet.progress import display
from powerlift_fleet.storage_queue import READ_TIMEOUT, not_read

JOIN_RETRY_TIMEOUT = 1800.0
"""Seconds that `join` retries after the app has responded once. Long: runs are often unattended."""
_COLUMNS = ("fleet", "phase", "VMs", "trials")


class SubmittedFleets:
    """The fleets of one app, by ID. A base of AzureVMFleet.

    `client` is None if the app cannot be called; `queue`: the name of the queue on which the fleets are
    submitted, or None; `interval`: seconds between two polls.
    """

    def __init__(
        self, client: FleetClient | None, queue: str | None, quiet: bool, interval: float
    ) -> None:
        self._client, self._queue_name = client, queue
        self._quiet, self._interval = quiet, interval
        self._fleets: list[str] = []
        self._labels: dict[str, str] = {}
        self._last: dict[str, FleetStatus] = {}

    def _repr_html_(self) -> str:
        """For notebooks: the fleets as they were last seen, without a call of the app."""
        rows = [self._row(fleet) for fleet in self._fleets]
        return html.table(rows or [["No fleet has been submitted yet."]], _COLUMNS if rows else ())

    def _row(self, fleet: str) -> list[object]:
        seen = self._last.get(fleet)
        if seen is None:
            return [self._label(fleet), "submitted"]
        bars = [bar.text for bar in seen.bars.values()]
        return [html.link(seen.label, seen.links.view), seen.outcome or seen.phase, *bars]

    def _submitted(self, fleet: str, label: str) -> None:
        """Add a fleet; `label`: what a user calls it until its first status."""
        self._fleets.append(fleet)
        self._labels[fleet] = label

    def _label(self, fleet: str) -> str:
        """`fleet-7 (nightly)`: IDs of the client's choice are 16 random digits."""
        seen = self._last.get(fleet)
        return seen.label if seen else self._labels.get(fleet, fleet)

    @property
    def fleets(self) -> list[str]:
        """The fleet IDs, the latest last."""
        return list(self._fleets)

    def attach(self, fleet: str | int) -> None:
        """Add a fleet that another session submitted: its ID, number, name, prefix, or "latest".

        The executor keeps the fleet's full ID: a later fleet does not replace "latest". Raises NotFound,
        FleetAmbiguous, FleetPurged, and what `FleetClient.status` raises.
        """
        status = self._api.status(fleet)
        self._fleets.append(status.id)
        self._last[status.id] = status

    def join(self) -> list[FleetStatus]:
        """Wait until every fleet has ended, and show the progress; return the last statuses.

        Without a fleet, returns immediately, as Powerlift's executors do. Raises FleetFailed,
        FleetCancelled or AllTrialsFailed for the first such fleet, after all have ended;
        FleetUnreachable. Interrupting it does not affect the fleets.
        """
        statuses, error = [], None
        for fleet in self._fleets:
            try:
                statuses.append(self._api.raise_unless_done(self._follow(fleet)))
            except FleetEnded as ended:
                error = error or ended
        if error is not None:
            raise error
        return statuses

    def cancel(self) -> None:
        """Cancel every fleet. Returns before the VMs are deleted; `join` waits for that.

        Raises the first FleetError, after all were tried.
        """
        error: FleetError | None = None
        for fleet in self._fleets:
            try:
                if self._queue_name is not None:
                    next(self._watch(fleet))  # until the app has read the message
                self._api.cancel(fleet)
            except FleetError as failed:
                error = error or failed
        if error is not None:
            raise error

    def statuses(self) -> list[FleetStatus]:
        """The current status of each fleet."""
        self._last |= {fleet: self._api.status(fleet) for fleet in self._fleets}
        return [self._last[fleet] for fleet in self._fleets]

    def machines(self) -> Rows[Machine]:
        """The latest fleet's VMs: a table in a notebook, and a data frame by `to_frame()`."""
        return self._api.machines(self._latest)

    def trials(self, **options: Any) -> Rows[Trial]:
        """The trials of the latest fleet's experiment; options as of `FleetClient.trials`."""
        return self._api.trials(self._latest, **options)

    def logs(self, machine: int | None = None, **options: Any) -> Iterator[LogLine]:
        """Yield the console output of the latest fleet's VMs, or of one; as `FleetClient.logs`."""
        return self._api.logs(self._latest, machine, **options)

    def retry(self) -> str:
        """Run the failed trials of the latest fleet again, as `FleetClient.retry`; return the ID of the
        new fleet, which replaces it here.
        """
        retried = self._api.retry(self._latest)
        del self._fleets[-1]
        self._submitted(retried.id, retried.handle)
        return retried.id

    def provenance(
        self, fleets: Iterable[str] = (), experiment: str | None = None
    ) -> dict[str, Any]:
        """Request without secrets, locks of packages and versions of the latest fleet, and of others."""
        return provenance(self._api, self._latest, fleets, experiment)

    def view_url(self) -> str:
        """The latest fleet's web page. The URL contains the key: do not share it."""
        return self._api.view_url(self._latest)

    @property
    def _latest(self) -> str:
        if not self._fleets:
            raise ConfigurationError("No fleet has been submitted yet.")
        return self._fleets[-1]

    @property
    def _api(self) -> FleetClient:
        if self._client is None:
            raise ConfigurationError(
                "A fleet submitted by queue can only be watched through the app. Pass url and key, or "
                "set FLEET_URL and FLEET_KEY."
            )
        return self._client

    def _follow(self, fleet: str) -> FleetStatus:
        def handle() -> str:
            return self._last[fleet].handle if fleet in self._last else fleet

        with display(handle, self._quiet) as shown:
            for status in self._watch(fleet):
                shown.show(status)
        return status

    def _watch(self, fleet: str) -> Iterator[FleetStatus]:
        appears_within = READ_TIMEOUT if self._queue_name is not None else 0.0
        try:
            for status in self._api.watch(
                fleet,
                self._interval,
                appears_within=appears_within,
                retry_timeout=JOIN_RETRY_TIMEOUT,
            ):
                self._last[fleet] = status
                yield status
        except NotFound:
            if self._queue_name is None:
                raise
            raise not_read(fleet, self._queue_name, appears_within) from None
