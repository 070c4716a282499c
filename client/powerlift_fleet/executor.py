"""A Powerlift executor that runs an experiment's trials on a fleet of Azure VMs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from powerlift_fleet.api.client import INTERVAL, FleetClient
from powerlift_fleet.api.errors import ConfigurationError, FleetEnded, FleetError, NotFound
from powerlift_fleet.api.flows import new_batch_id, settled
from powerlift_fleet.api.wire import Secret, fleet_id
from powerlift_fleet.progress import display
from powerlift_fleet.storage_queue import QUEUE, submit_by_queue

try:
    import powerlift.bench  # first: Powerlift's packages import each other in a circle  # noqa: F401
    from powerlift.executors.base import Executor
except ImportError as error:
    raise ImportError(
        f"AzureVMFleet needs Powerlift, which cannot be imported: {error}. "
        "pip install powerlift 'setuptools<82'"
    ) from error

if TYPE_CHECKING:
    from powerlift.bench.store import Store

RESOURCE_GROUP = "powerlift_rg"
"""AzureVMInstance's default: for who names a subscription, and no resource group."""

APPEARANCE = 120.0
"""Seconds that a fleet asked for by queue may be unknown to the app."""

SILENCE = 1800.0
"""Seconds that `join` rides out an app that had answered: nobody sits beside a run of a night."""


class AzureVMFleet(Executor):  # type: ignore[misc]
    """Runs trials on a fleet of Azure VMs, which Powerlift Fleet provisions and takes down.

    In the place of Powerlift's AzureVMInstance, whose arguments it takes. What you leave out of the
    account (`azure_tenant_id` to `resource_group`) comes from the app's settings; without
    `azure_client_secret` the app calls Azure as itself.
    """

    def __init__(
        self,
        store: Store,
        azure_tenant_id: str | None = None,
        subscription_id: str | None = None,
        azure_client_id: str | None = None,
        credential: object = None,
        azure_client_secret: str | None = None,
        resource_group: str | None = None,
        shell_install: str | None = None,
        pip_install: str | None = None,
        wheel_filepaths: Sequence[str] | None = None,
        n_instances: int = 1,
        location: str | None = None,
        vm_size: str = "Standard_B16s_v2",
        image_publisher: str = "canonical",
        image_offer: str = "ubuntu-24_04-lts",
        image_sku: str = "server",
        image_version: str = "latest",
        disk_type: str = "Standard_LRS",
        docker_db_uri: str | None = None,
        resource_uris: Sequence[str] | None = None,
        max_undead: int = 20,
        delete_on_complete: bool = True,
        *,
        url: str | None = None,
        key: str | None = None,
        queue: str | None = None,
        queue_name: str = QUEUE,
        send_uri: bool = True,
        batch_id: int | None = None,
        client_principal_id: str | None = None,
        client_principal_type: Literal["User", "Group", "ServicePrincipal"] | None = None,
        ssh_public_key: str | None = None,
        outbound: Literal["default", "existing"] | None = None,
        subnet_id: str | None = None,
        zones: Sequence[str] | None = None,
        priority: Literal["Regular", "Spot"] | None = None,
        fallbacks: Sequence[Mapping[str, str]] | None = None,
        max_price: float | None = None,
        ephemeral_os_disk: bool | None = None,
        max_lifetime: float | None = None,
        min_instances: int | None = None,
        tags: Mapping[str, str] | None = None,
        quiet: bool = False,
        interval: float = INTERVAL,
        client: FleetClient | None = None,
    ) -> None:
        """Nothing is sent yet. Raises ConfigurationError.

        Args:
            store: Powerlift's store; the VMs use the database at its `uri`.
            azure_tenant_id, subscription_id, azure_client_id, azure_client_secret, resource_group:
                who calls Azure, and where. `resource_group` is powerlift_rg where you name a
                subscription and no group.
            credential: refused: an object cannot travel to the app.
            shell_install: packages for apt-get on each VM.
            pip_install: arguments for pip on each VM.
            wheel_filepaths: wheels to install on each VM.
            n_instances: how many VMs.
            location: Azure region; default: the resource group's.
            docker_db_uri: the database as the VMs reach it, where that is not as you do.
            resource_uris: ARM ids at which every VM gets the Contributor role.
            max_undead: VMs that may lack the right to delete themselves at once.
            delete_on_complete: VMs delete themselves after the last trial.
            url, key: the app, and a function key of it; default: FLEET_URL and FLEET_KEY.
            queue: a storage account's connection string: fleets are then asked for by queue. Their
                status needs the URL and the key all the same.
            queue_name: the app's queue.
            send_uri: False: the VMs use the database of the app's settings.
            batch_id: the idempotency key of the first fleet that is submitted; default: a random one.
            client_principal_id, client_principal_type: who else gets the role on each VM.
            ssh_public_key: for you to log in to the VMs.
            outbound, subnet_id: the VMs' network.
            zones: VMs are dealt to these in turn.
            priority, max_price: Spot or Regular; US dollars an hour at most.
            fallbacks: where to go, in this order, when Azure has no room: what differs, of
                location, vm_size, zone, priority.
            ephemeral_os_disk: the OS disk is on the VM's host.
            max_lifetime: seconds after which the fleet is taken down, whatever it does.
            min_instances: with fewer VMs than this the fleet fails.
            tags: on everything in Azure.
            quiet: `join` shows no progress.
            interval: seconds between two looks at a fleet.
            client: in the place of url and key.
        """
        if credential is not None:
            raise ConfigurationError(
                "A credential object cannot travel to the app, which calls Azure for you. Leave "
                "credential out: the app then uses its own identity. Or give azure_tenant_id, "
                "azure_client_id and azure_client_secret of a service principal."
            )
        if resource_group is None and subscription_id is not None:
            resource_group = RESOURCE_GROUP
        self._azure_json: dict[str, Any] | None = _given(
            tenant_id=azure_tenant_id,
            client_id=azure_client_id,
            client_secret=Secret(azure_client_secret) if azure_client_secret else None,
            subscription_id=subscription_id,
            resource_group=resource_group,
        )
        # By these three names Powerlift's Benchmark.run asks for what goes into the experiment.
        self._shell_install = shell_install
        self._pip_install = pip_install
        self._wheel_filepaths = list(wheel_filepaths) if wheel_filepaths is not None else None

        self._store = store
        self._docker_db_uri = Secret(docker_db_uri) if docker_db_uri else None
        self._send_uri = send_uri
        self._batch_id = batch_id
        self._unsettled: dict[int, int] = {}
        self._wanted = _given(
            n_instances=n_instances,
            location=location,
            vm_size=vm_size,
            image_publisher=image_publisher,
            image_offer=image_offer,
            image_sku=image_sku,
            image_version=image_version,
            disk_type=disk_type,
            resource_uris=_list(resource_uris),
            max_undead=max_undead,
            delete_on_complete=delete_on_complete,
            client_principal_id=client_principal_id,
            client_principal_type=client_principal_type,
            ssh_public_key=ssh_public_key,
            outbound=outbound,
            subnet_id=subnet_id,
            zones=_list(zones),
            priority=priority,
            fallbacks=[dict(one) for one in fallbacks] if fallbacks is not None else None,
            max_price=max_price,
            ephemeral_os_disk=ephemeral_os_disk,
            max_lifetime=max_lifetime,
            min_instances=min_instances,
            tags=dict(tags) if tags is not None else None,
        )
        self._queue = Secret(queue) if queue else None
        self._queue_name = queue_name
        self._quiet, self._interval = quiet, interval
        self._client = client
        known = os.environ.get("FLEET_URL") and os.environ.get("FLEET_KEY")
        if client is None and (self._queue is None or url or known):
            self._client = FleetClient(url, key)
        self._fleets: list[str] = []

    def __repr__(self) -> str:
        where = self._client.url if self._client else f"queue {self._queue_name}"
        return (
            f"<AzureVMFleet of {self._wanted['n_instances']} VMs by {where}, "
            f"fleets: {', '.join(self._fleets) or 'none yet'}>"
        )

    def __reduce__(self) -> Any:
        raise TypeError(
            "An AzureVMFleet cannot be pickled: it holds secrets and connections, as "
            "AzureVMInstance does. Make another one where it is needed."
        )

    @property
    def store(self) -> Store:
        """The store whose trials are run."""
        return self._store

    @property
    def wheel_filepaths(self) -> list[str] | None:
        """Wheels to install on each VM."""
        return self._wheel_filepaths

    @property
    def fleets(self) -> list[str]:
        """The ids of its fleets, the latest last."""
        return list(self._fleets)

    def delete_credentials(self) -> None:
        """Forget the Azure account; fleets that were submitted go on. No other can be submitted."""
        self._azure_json = None

    def submit(self, experiment_id: int, timeout: float | None = None) -> None:
        """Ask for a fleet for an experiment; returns as soon as the app has taken the request.

        `timeout` is the seconds that a trial may take; None: no limit. Raises FleetError with every
        fault of the request. After an error that leaves it open whether the fleet was started, the
        same `submit` again asks for the same fleet.
        """
        request = self._request(experiment_id, timeout)
        batch_id = self._unsettled.setdefault(experiment_id, self._next_batch_id())
        request["batch_id"] = batch_id
        if self._queue is not None:
            taken = submit_by_queue(self._queue, request, self._queue_name)
        else:
            taken = self._api.submit(request)
        del self._unsettled[experiment_id]
        self._fleets.append(str(taken["id"]))

    def attach(self, fleet: str | int) -> None:
        """Take on a fleet that was submitted elsewhere, for `join`, `cancel` and the others.

        `fleet` is "fleet-7", "7" or 7. Raises ConfigurationError.
        """
        self._fleets.append(fleet_id(fleet))

    def join(self) -> list[dict[str, Any]]:
        """Wait until every fleet has ended, and show how it goes; returns their last statuses.

        Raises FleetFailed or FleetCancelled for the first that did not do its work, after all have
        ended; FleetUnreachable. To interrupt it leaves the fleets alone: `cancel` ends them.
        """
        ended, first = [], None
        for fleet in self._fleets:
            status = self._follow(fleet)
            try:
                ended.append(settled(status))
            except FleetEnded as error:
                first = first or error
        if first is not None:
            raise first
        return ended

    def cancel(self) -> None:
        """Have every fleet cancelled and its VMs taken down; returns before they are, `join` after.

        Raises the first FleetError, after all were tried.
        """
        first: FleetError | None = None
        for fleet in self._fleets:
            try:
                if self._queue is not None:
                    next(self._statuses_of(fleet))  # it may have to appear first
                self._api.cancel(fleet)
            except FleetError as error:
                first = first or error
        if first is not None:
            raise first

    def statuses(self) -> list[dict[str, Any]]:
        """How each fleet is now."""
        return [self._api.status(fleet) for fleet in self._fleets]

    def view_url(self) -> str:
        """The page to watch the latest fleet on. It holds the key: share it with care."""
        if not self._fleets:
            raise ConfigurationError("There is no fleet to view: none has been submitted.")
        return self._api.view_url(self._fleets[-1])

    @property
    def _api(self) -> FleetClient:
        if self._client is None:
            raise ConfigurationError(
                "The queue only takes requests; how a fleet is, and its end, need the app itself. "
                "Give url and key, or set FLEET_URL and FLEET_KEY."
            )
        return self._client

    def _request(self, experiment_id: int, timeout: float | None) -> dict[str, Any]:
        if self._azure_json is None:
            raise ConfigurationError(
                "The credentials were deleted. Make another AzureVMFleet to submit a fleet."
            )
        uri = self._docker_db_uri or Secret(self._store.uri)
        return _given(
            experiment_id=int(experiment_id),
            timeout=None if timeout is None or math.isinf(timeout) else timeout,
            uri=uri if self._send_uri else None,
            azure_json=self._azure_json,
            **self._wanted,
        )

    def _next_batch_id(self) -> int:
        given, self._batch_id = self._batch_id, None
        return new_batch_id() if given is None else given

    def _follow(self, fleet: str) -> dict[str, Any]:
        last: dict[str, Any] = {}
        with display(fleet, self._quiet) as shown:
            for last in self._statuses_of(fleet):
                shown.show(last)
        return last

    def _statuses_of(self, fleet: str) -> Iterator[dict[str, Any]]:
        late = APPEARANCE if self._queue is not None else 0.0
        try:
            yield from self._api.watch(fleet, self._interval, appears_within=late, patience=SILENCE)
        except NotFound:
            if self._queue is None:
                raise
            detail = (
                f"{fleet} was put on the queue {self._queue_name}, and is not known to the app "
                f"{late:.0f} s later. Where the app refused it, its log says why, and the message is "
                f"on {self._queue_name}-poison."
            )
            raise NotFound(404, "The app has not taken the message", detail) from None


def _given(**values: Any) -> dict[str, Any]:
    """What is there: the app has its own defaults, and takes null for a value in some places only."""
    return {name: value for name, value in values.items() if value is not None}


def _list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else [str(value) for value in values]
