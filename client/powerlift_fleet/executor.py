"""A Powerlift executor that runs an experiment's trials on a fleet of Azure VMs."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from powerlift_fleet.api.client import POLL_SECONDS, FleetClient
from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.api.flows import new_batch_id
from powerlift_fleet.api.responses.submissions import label_of
from powerlift_fleet.api.settings import sources
from powerlift_fleet.api.wire import Secret, without_none
from powerlift_fleet.benchmark import arguments, early_plan
from powerlift_fleet.benchmark.container import ContainerArguments, as_vm_arguments
from powerlift_fleet.benchmark.notices import powerlift_version, warn_of
from powerlift_fleet.experiment import run_experiment
from powerlift_fleet.storage_queue import read_address, submit_by_queue
from powerlift_fleet.submitted_fleets import SubmittedFleets

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
    from typing_extensions import Unpack


class AzureVMFleet(SubmittedFleets, Executor):  # type: ignore[misc]
    """Runs trials on a fleet of Azure VMs. A drop-in replacement for Powerlift's AzureVMInstance.

    The app's settings provide what the account (`azure_tenant_id` to `resource_group`) omits. Without
    `azure_client_secret` the app calls Azure with its own identity.
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
        queue_name: str | None = None,
        send_uri: bool = True,
        batch_id: int | None = None,
        name: str | None = None,
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
        max_lifetime: float | str | None = None,
        max_cost: float | None = None,
        min_instances: int | None = None,
        trial_order: Literal["fifo", "shuffled", "paired"] | None = None,
        trial_seed: int | None = None,
        cpu_models: Sequence[str] | None = None,
        image_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        notify_url: str | None = None,
        requirements_lock: str | Path | None = None,
        quiet: bool = False,
        interval: float = POLL_SECONDS,
        client: FleetClient | None = None,
        **container: Unpack[ContainerArguments],
    ) -> None:
        """Sends nothing. Raises ConfigurationError.

        Args:
            store: Powerlift's store; the VMs use the database at its `uri`.
            azure_tenant_id, subscription_id, azure_client_id, azure_client_secret, resource_group:
                the Azure account. With a subscription, `resource_group` defaults to powerlift_rg.
            credential: must be None: an object cannot be sent to the app.
            shell_install: packages for apt-get on each VM, or commands (docs/request.md).
            pip_install: arguments for pip on each VM.
            wheel_filepaths: wheels to install on each VM.
            n_instances: number of VMs.
            location: Azure region; default: the resource group's.
            docker_db_uri: the database URI for the VMs, if it differs from the store's.
            resource_uris: ARM IDs on which every VM gets the Contributor role.
            max_undead: maximum number of VMs that do not have their role yet.
            delete_on_complete: VMs delete themselves after the last trial.
            url, key: the app and its function key; default: FLEET_URL and FLEET_KEY, else what
                `powerlift-fleet login` stored.
            queue: to submit by queue: its URL, with a SAS or for Entra ID, or its account's connection
                string (see submit_by_queue). `url` and `key` are still needed to watch the fleet.
            queue_name: the app's queue; default: the one in the queue's URL, else powerlift-fleets.
            send_uri: False: the VMs use the database of the app's settings.
            batch_id: the idempotency key of the first fleet; default: random.
            name: of the first fleet, to refer to it instead of its ID; `submit` takes one for each.
            client_principal_id, client_principal_type: another principal that gets the role on each VM.
            ssh_public_key: for SSH access to the VMs.
            outbound, subnet_id: the VMs' network.
            zones: availability zones, used in turn.
            priority, max_price: Spot or Regular; maximum US dollars an hour.
            fallbacks: placements to try, in order, when Azure has no capacity; each gives what differs:
                location, vm_size, zone, priority.
            ephemeral_os_disk: put the OS disk on the VM's host.
            max_lifetime: seconds, or "12h", until the fleet is torn down.
            max_cost: US dollars that the fleet may cost. Shortly before, trials no longer start.
            min_instances: the fleet fails with fewer VMs.
            trial_order, trial_seed: fifo (default), shuffled, or paired: all methods of a task and
                replicate run one after the other on one VM; what the order is drawn from.
            cpu_models: parts of the names of processors that VMs may have; others are replaced.
            image_id: an image of a Compute Gallery, instead of image_publisher to image_version.
            tags: for every Azure resource.
            notify_url: a webhook that gets a POST at the first failure and at the end.
            requirements_lock: the packages of every VM, as FleetClient.locks or `powerlift-fleet lock`
                gives them; or the Path of a file. They replace those that `pip_install` names.
            quiet: `join` shows no progress.
            interval: seconds between two polls.
            client: replaces url and key.
            container: n_running_containers, num_cores, mem_size_gb, delete_group_container_on_complete
                of AzureContainerInstance: cores and memory choose `vm_size` (docs/moving-over.md).
        """
        if credential is not None:
            raise ConfigurationError(
                "A credential object cannot be sent to the app. Omit credential: the app then uses its "
                "own identity. Or pass a service principal's azure_tenant_id, azure_client_id and "
                "azure_client_secret."
            )
        if resource_group is None and subscription_id is not None:
            resource_group = early_plan.DEFAULT_RESOURCE_GROUP
        self._azure_json: dict[str, Any] | None = without_none(
            tenant_id=azure_tenant_id,
            client_id=azure_client_id,
            client_secret=Secret(azure_client_secret) if azure_client_secret else None,
            subscription_id=subscription_id,
            resource_group=resource_group,
        )
        # Powerlift's Benchmark.run reads these three attributes.
        self._shell_install = arguments.text_or_none("shell_install", shell_install, "libgomp1 g++")
        self._pip_install = arguments.text_or_none("pip_install", pip_install, "numpy scikit-learn")
        self._wheel_filepaths = arguments.texts_or_none("wheel_filepaths", wheel_filepaths)

        self._store = store
        self._docker_db_uri = Secret(docker_db_uri) if docker_db_uri else None
        self._send_uri = send_uri
        self._batch_id, self._name = batch_id, name
        self._unconfirmed: dict[int, dict[str, Any]] = {}
        self._options = without_none(
            n_instances=arguments.count(
                "n_instances", 1 if n_instances is None else n_instances, 1
            ),
            location=location,
            vm_size=vm_size,
            disk_type=disk_type,
            resource_uris=arguments.texts_or_none("resource_uris", resource_uris),
            max_undead=arguments.count("max_undead", max_undead, 0),
            delete_on_complete=delete_on_complete,
            client_principal_id=client_principal_id,
            client_principal_type=client_principal_type,
            ssh_public_key=ssh_public_key,
            outbound=outbound,
            subnet_id=subnet_id,
            zones=arguments.texts_or_none("zones", zones),
            priority=priority,
            fallbacks=arguments.mappings_or_none("fallbacks", fallbacks, {"location": "westus2"}),
            max_price=arguments.limit_or_none("max_price", max_price),
            ephemeral_os_disk=ephemeral_os_disk,
            max_lifetime=arguments.duration_or_none("max_lifetime", max_lifetime),
            max_cost=arguments.limit_or_none("max_cost", max_cost),
            min_instances=min_instances,
            trial_order=trial_order,
            trial_seed=trial_seed,
            cpu_models=arguments.texts_or_none("cpu_models", cpu_models),
            tags=dict(tags) if tags is not None else None,
            notify_url=Secret(notify_url) if notify_url else None,
            requirements_lock=arguments.text_or_file_or_none(
                "requirements_lock", requirements_lock
            ),
        )
        self._options |= arguments.image(
            image_id,
            image_publisher=image_publisher,
            image_offer=image_offer,
            image_sku=image_sku,
            image_version=image_version,
        )
        _check_names(container)
        self._options |= as_vm_arguments(container, self._options)
        self._queue = Secret(queue) if queue else None
        if client is None and (self._queue is None or url or sources.is_known()):
            client = FleetClient(url, key)
        queue_name = read_address(queue, queue_name).name if queue else None
        super().__init__(client, queue_name, quiet, interval)

    def __repr__(self) -> str:
        app = self._client.url if self._client else f"queue {self._queue_name}"
        fleets = ", ".join(map(self._label, self._fleets)) or "none yet"
        return f"<AzureVMFleet of {self._options['n_instances']} VMs, app: {app}, fleets: {fleets}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            "An AzureVMFleet cannot be pickled: it has secrets and connections. Create another one."
        )

    @property
    def store(self) -> Store:
        return self._store

    @property
    def wheel_filepaths(self) -> list[str] | None:
        return self._wheel_filepaths

    def delete_credentials(self) -> None:
        """Forget the Azure account. Submitted fleets keep running; no other fleet can be submitted."""
        self._azure_json = None

    def check(
        self, trials: int, timeout: float | str | None = None, *, name: str | None = None
    ) -> None:
        """Plan a fleet for trials that do not exist yet. Raises FleetCannotStart, and as `submit`."""
        request = self._request(early_plan.NO_EXPERIMENT, timeout) | self._given_identity(name)
        if self._client is not None:
            early_plan.check_early_plan(self._client, request, trials)

    def submit(
        self,
        experiment_id: int,
        timeout: float | str | None = None,
        *,
        name: str | None = None,
        plan: bool = True,
    ) -> None:
        """Submit a fleet for an experiment; return when the app has accepted the request.

        `timeout`: seconds per trial, or "30m"; None: no limit. `name`: unique among fleets that have not
        ended. `plan`: first check whether the fleet can start, except by queue. Raises FleetError:
        FleetCannotStart with every fault of the plan, RequestRefused with every fault of the request.
        After an error with an unknown outcome, the same call submits the same fleet.
        """
        request = self._request(experiment_id, timeout)
        warn_of(request, self._pip_install, self._wheel_filepaths)
        if experiment_id not in self._unconfirmed:
            if plan and self._queue is None:
                early_plan.check_plan(self._api, request | self._given_identity(name))
            self._unconfirmed[experiment_id] = self._next_identity()
        request |= self._unconfirmed[experiment_id] | without_none(name=name)
        if self._queue is not None:
            fleet = submit_by_queue(self._queue, request, self._queue_name).id
            label = request.get("name") or f"a fleet of experiment {experiment_id}"
        else:
            accepted = self._api.submit(request)
            fleet = accepted.id
            label = label_of(fleet, accepted.number, request.get("name"))
        del self._unconfirmed[experiment_id]
        self._submitted(fleet, label)

    def _request(self, experiment_id: int, timeout: float | str | None) -> dict[str, Any]:
        if self._azure_json is None:
            raise ConfigurationError(
                "The credentials were deleted. Create another AzureVMFleet to submit a fleet."
            )
        uri = self._docker_db_uri or Secret(self._store.uri)
        return without_none(
            experiment_id=arguments.identifier("experiment_id", experiment_id),
            timeout=arguments.duration_or_none("timeout", timeout),
            uri=uri if self._send_uri else None,
            azure_json=self._azure_json,
            powerlift_version=powerlift_version(self._pip_install, self._wheel_filepaths),
            **self._options,
        )

    def _given_identity(self, name: str | None) -> dict[str, Any]:
        """Batch ID and name of the next fleet, as far as the user has chosen them."""
        return without_none(batch_id=self._batch_id, name=name or self._name)

    def _next_identity(self) -> dict[str, Any]:
        """Batch ID and name of the next fleet."""
        batch_id, name = self._batch_id, self._name
        self._batch_id = self._name = None
        batch_id = new_batch_id() if batch_id is None else batch_id
        return without_none(batch_id=batch_id, name=name)


def _check_names(given: Iterable[str]) -> None:
    """Raises TypeError for names that the executor does not have, with what may have been meant."""
    known = {*inspect.signature(AzureVMFleet).parameters, *ContainerArguments.__annotations__}
    known.remove("container")  # which takes all others
    said = []
    for name in sorted(set(given) - known):
        said.append(f"AzureVMFleet has no argument {name}.")
        if name in inspect.signature(run_experiment).parameters:
            said.append("It is an argument of run_experiment.")
        elif similar := difflib.get_close_matches(name, known, 1):
            said.append(f"Did you mean {similar[0]}?")
    if said:
        raise TypeError(" ".join(said))
