"""Assembles the simulated cloud, and starts and stops it."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

from local.azure import retail_prices
from local.azure.arm.operations import Operations
from local.azure.arm.resources import Store
from local.azure.arm.router import Router
from local.azure.arm.subscriptions import Subscriptions
from local.azure.clock import Clock
from local.azure.cloud import Cloud, Interceptor, pass_through
from local.azure.compute.boot_diagnostics import BootDiagnostics
from local.azure.compute.disks import Disks
from local.azure.compute.galleries import Galleries
from local.azure.compute.images import Images
from local.azure.compute.virtual_machines import VirtualMachines
from local.azure.faults.allocator import Allocator
from local.azure.faults.injector import with_faults
from local.azure.identity.authorization import Authorization
from local.azure.identity.directory import USERS, Directory, load_identity
from local.azure.identity.entra import Entra
from local.azure.identity.role_definitions import RoleDefinitions
from local.azure.identity.user_assigned import UserAssignedIdentities
from local.azure.latency import Latencies
from local.azure.network.interfaces import Interfaces
from local.azure.network.kept_resources import KeptResources
from local.azure.network.simple_resources import SimpleResources
from local.azure.network.virtual_networks import VirtualNetworks
from local.azure.options import GROUP, LOCATION, Options
from local.azure.retail_prices import RetailPrices
from local.azure.server import Server
from local.azure.tls import ensure_certificates
from local.azure.vm.runner import ProcessVmRunner, VmRunner
from local.azure.wire_log import WireLog


class AzureSimulator:
    """A simulated Azure: `async with AzureSimulator(Options(state=...)) as azure: azure.ready()`.

    `intercept` runs at every checkpoint of every operation (see `cloud.Interceptor`). Identity,
    certificates, resource groups and networks are kept in `options.state` for the next start; all
    other resources live in memory.
    """

    def __init__(self, options: Options, *, intercept: Interceptor = pass_through) -> None:
        self._options = options
        options.state.mkdir(parents=True, exist_ok=True)
        self._certificates = ensure_certificates(options.state / "tls")
        identity = load_identity(options.state, options.seed)
        directory = Directory(identity)
        clock, latencies = Clock(options.time_scale), Latencies(options.seed)
        store = Store()
        allocator = Allocator(options.fault_plan, store)
        intercept = with_faults(intercept, options, clock, store, identity.tenant_id)
        self.cloud = Cloud(
            options, clock, latencies, store, identity, directory, allocator, intercept
        )
        self._operations = Operations(self.cloud)
        roles = RoleDefinitions(self.cloud)
        authorization = Authorization(self.cloud, roles)
        interfaces = Interfaces(self.cloud, self._operations)
        disks = Disks(self.cloud, self._operations)
        galleries = Galleries(self.cloud, self._operations)
        self._runner = self._make_runner()
        self._compute = VirtualMachines(
            self.cloud, self._operations, interfaces, disks, galleries, self._runner
        )
        diagnostics = BootDiagnostics(self.cloud, self._runner)
        providers = (
            self._operations,
            authorization,
            roles,
            UserAssignedIdentities(self.cloud),
            Subscriptions(self.cloud, authorization),
            VirtualNetworks(self.cloud, self._operations),
            interfaces,
            SimpleResources(self.cloud, self._operations),
            disks,
            Images(),
            galleries,
            self._compute,
            diagnostics,
        )
        router = Router(
            self.cloud,
            authorization,
            (route for provider in providers for route in provider.routes()),
        )
        self._kept = KeptResources(options.state / "resources.json", store)
        self._kept.load()
        self._operations.succeeded = self._kept.save_if_kept
        self._log = WireLog(options.state / "wire.jsonl")
        prices = RetailPrices(options.page_size, intercept)
        entra = Entra(directory, intercept)
        self._server = Server(clock, entra, diagnostics, prices, router, self._log)

    def _make_runner(self) -> VmRunner:
        if self._options.machines == "none":
            return VmRunner()
        return ProcessVmRunner(self.cloud, self._certificates.bundle, lambda: self._server.url)

    async def __aenter__(self) -> Self:
        await self._server.start(self._options.port, self._certificates)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._operations.stop()
        await self._compute.evictor.stop()
        await self._runner.close()
        await self._server.stop()
        self._kept.save()
        self._log.close()

    def ready(self) -> dict[str, Any]:
        """What clients need to know. `env` makes SDKs and app use this cloud; it contains a secret."""
        identity, url = self.cloud.identity, self._server.url
        bundle = str(self._certificates.bundle)
        return {
            "pid": os.getpid(),
            "arm": url,
            "ca_bundle": bundle,
            "subscription_id": identity.subscription_id,
            "tenant_id": identity.tenant_id,
            "client_id": identity.client_id,
            "client_secret": identity.client_secret,
            "client_object_id": identity.client_object_id,
            "users": USERS,
            "resource_group": GROUP,
            "location": LOCATION,
            "managed_identity_env": {
                "IDENTITY_ENDPOINT": f"{url}/msi/token",
                "IDENTITY_HEADER": identity.client_secret,
            },
            "env": {
                "AZURE_SUBSCRIPTION_ID": identity.subscription_id,
                "AZURE_RESOURCE_GROUP": GROUP,
                "AZURE_TENANT_ID": identity.tenant_id,
                "AZURE_CLIENT_ID": identity.client_id,
                "AZURE_CLIENT_SECRET": identity.client_secret,
                "AZURE_AUTHORITY_HOST": url,
                "AZURE_RESOURCE_MANAGER_ENDPOINT": url,
                "FLEET_PRICE_API": f"{url}{retail_prices.PATH}",
                "SSL_CERT_FILE": bundle,
                "REQUESTS_CA_BUNDLE": bundle,
            },
        }
