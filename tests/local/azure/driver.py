"""A client of the simulator for tests: raw requests, SDK clients, and valid bodies."""

from __future__ import annotations

import asyncio
import base64
import copy
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import requests
from azure.identity import ClientSecretCredential
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.network import NetworkManagementClient

from local.azure.options import parse
from local.azure.simulator import AzureSimulator
from local.process import Service

T = TypeVar("T")

ROOT = Path(__file__).parents[3]
GROUP = "powerlift"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
NETWORK_API, COMPUTE_API, ROLE_API = "2026-03-01", "2026-04-01", "2022-04-01"
GALLERY_API = "2026-03-03"
SELF_DELETION = (
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/delete",
)
"""The actions of the narrowest role with which a VM can delete itself."""
_KEY = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(32))).decode()


def until(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """The first true result of `condition`. Fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class Driver:
    """Calls one simulator as its configured application."""

    def __init__(self, ready: dict[str, Any], state: Path) -> None:
        self.ready, self.state = ready, state
        self.base: str = ready["arm"]
        self.subscription = f"/subscriptions/{ready['subscription_id']}"
        self.group = f"{self.subscription}/resourceGroups/{GROUP}"
        self._session = requests.Session()
        self._session.verify = ready["ca_bundle"]
        self._session.trust_env = False  # REQUESTS_CA_BUNDLE would win over verify
        self._token: str | None = None
        self._clients: dict[Any, Any] = {}
        self._subnet: str | None = None

    # Raw

    def send(
        self, method: str, path: str, body: Any = None, *, api: str | None = COMPUTE_API,
        headers: dict[str, str] | None = None, query: dict[str, str] | None = None,
    ) -> requests.Response:  # fmt: skip
        """One request to ARM, with a token."""
        url = path if path.startswith("https://") else f"{self.base}{path}"
        version = {"api-version": api} if api and "api-version=" not in url else {}
        given = {"Authorization": f"Bearer {self.token()}", **(headers or {})}
        return self._session.request(
            method, url, params={**version, **(query or {})}, json=body, headers=given, timeout=30
        )

    def bare(self, method: str, path: str, **arguments: Any) -> requests.Response:
        return self._session.request(method, f"{self.base}{path}", timeout=30, **arguments)

    def ask_token(self, **changes: str) -> requests.Response:
        """Request a token, with some form fields changed."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.ready["client_id"],
            "client_secret": self.ready["client_secret"],
            "scope": "https://management.azure.com/.default",
            **changes,
        }
        return self.bare("POST", f"/{self.ready['tenant_id']}/oauth2/v2.0/token", data=form)

    def token(self) -> str:
        if self._token is None:
            self._token = str(self.ask_token().json()["access_token"])
        return self._token

    # The SDK

    def _client(self, kind: Any) -> Any:
        if kind not in self._clients:
            verify = {"connection_verify": self.ready["ca_bundle"]}
            credential = ClientSecretCredential(
                self.ready["tenant_id"], self.ready["client_id"], self.ready["client_secret"],
                authority=self.base, disable_instance_discovery=True, **verify,
            )  # fmt: skip
            self._clients[kind] = kind(
                credential, self.ready["subscription_id"], base_url=self.base, retry_total=0,
                credential_scopes=[f"{self.base}/.default"], polling_interval=0.05, **verify,
            )  # fmt: skip
        return self._clients[kind]

    def compute(self) -> Any:
        return self._client(ComputeManagementClient)

    def network(self) -> Any:
        return self._client(NetworkManagementClient)

    def authorization(self) -> Any:
        return self._client(AuthorizationManagementClient)

    def assignment_usage(self) -> Any:
        """The subscription's number of role assignments and their limit, as the SDK reads them."""
        return self.authorization().role_assignment_metrics.get_metrics_for_subscription()

    # Paths and bodies

    def net(self, kind: str, name: str = "") -> str:
        """Path of a network resource, or of the list of its type."""
        return f"{self.group}/providers/Microsoft.Network/{kind}" + (f"/{name}" if name else "")

    def vm_path(self, name: str) -> str:
        return f"{self.group}/providers/Microsoft.Compute/virtualMachines/{name}"

    def subnet(self) -> str:
        """A large subnet with outbound access, created once."""
        if self._subnet is None:
            self._subnet = self.make_network("shared", "10.0.0.0/16")
        return self._subnet

    def make_network(self, name: str, prefix: str, **subnet: Any) -> str:
        """Create a network with one subnet `s`. Returns the subnet's id."""
        properties = {"addressPrefix": prefix, "defaultOutboundAccess": True, **subnet}
        body = {
            "location": "eastus",
            "properties": {
                "addressSpace": {"addressPrefixes": [prefix]},
                "subnets": [{"name": "s", "properties": properties}],
            },
        }
        path = self.net("virtualNetworks", name)
        assert self.send("PUT", path, body, api=NETWORK_API).status_code == 201
        self.settled(path, NETWORK_API)
        return f"{path}/subnets/s"

    def settled(self, path: str, api: str = COMPUTE_API) -> dict[str, Any]:
        """Wait until a resource has no operation in progress. Returns it."""

        def finished() -> Any:
            found = self.send("GET", path, api=api).json()
            state = found["properties"]["provisioningState"]
            return found if state in ("Succeeded", "Failed") else None

        return dict(until(finished))

    def wait_until_deleted(self, path: str, api: str = COMPUTE_API) -> None:
        """Wait until a resource is deleted."""
        until(lambda: self.send("GET", path, api=api).status_code == 404)

    def make_image(
        self, *versions: str, regions: Sequence[str] = ("eastus",), gallery: str | None = None,
        group: str | None = None, **properties: Any,
    ) -> str:  # fmt: skip
        """Make an image of a gallery, with versions that are in all of the regions. Returns its id."""
        home = (
            f"{group or self.group}/providers/Microsoft.Compute/galleries/{gallery or unique('g')}"
        )
        path = f"{home}/images/{unique('i')}"
        if self.send("GET", home, api=GALLERY_API).status_code == 404:
            self.put_gallery(home, {})
        identifier = {"publisher": "us", "offer": "benchmarks", "sku": path.rpartition("/")[2]}
        about = {"osType": "Linux", "osState": "Generalized", "hyperVGeneration": "V2"}
        self.put_gallery(path, {**about, "identifier": identifier, **properties})
        for version in versions:
            self.put_version(f"{path}/versions/{version}", *regions)
        return path

    def share_image(self, *versions: str, permission: str) -> str:
        """Make an image, and share it with the subscription (`Groups`) or with all (`Community`).
        Returns the id by which others know it.
        """
        gallery, subscription = unique("g"), self.ready["subscription_id"]
        home = f"{self.group}/providers/Microsoft.Compute/galleries/{gallery}"
        self.put_gallery(home, {"sharingProfile": {"permissions": permission}})
        image = self.make_image(*versions, gallery=gallery).rpartition("/")[2]
        share: dict[str, Any] = {"operationType": "EnableCommunity"}
        if permission == "Groups":
            groups = [{"type": "Subscriptions", "ids": [subscription]}]
            share = {"operationType": "Add", "groups": groups}
        answer = self.send("POST", f"{home}/share", share, api=GALLERY_API)
        assert answer.status_code == 200, answer.text
        if permission == "Groups":
            return f"/sharedGalleries/{subscription}-{gallery}/images/{image}"
        profile = self.compute().galleries.get(GROUP, gallery).sharing_profile
        return (
            f"/communityGalleries/{profile.community_gallery_info.public_names[0]}/images/{image}"
        )

    def put_version(self, path: str, *regions: str, **profile: Any) -> dict[str, Any]:
        """Create or update a version of an image, and wait until it is in all of the regions."""
        source = {"id": self.vm_path("captured")}
        targets = [{"name": one, "regionalReplicaCount": 1} for one in regions]
        properties = {
            "publishingProfile": {"targetRegions": targets, **profile},
            "storageProfile": {"source": source},
        }
        return self.put_gallery(path, properties)

    def put_gallery(self, path: str, properties: dict[str, Any]) -> dict[str, Any]:
        """Create or update a gallery or a part of it, and wait for it."""
        body = {"location": "eastus", "properties": properties}
        answer = self.send("PUT", path, body, api=GALLERY_API)
        assert answer.status_code in (200, 201), answer.text
        return self.settled(path, GALLERY_API)

    @staticmethod
    def nic_body(subnet: str) -> dict[str, Any]:
        """The body of a network interface."""
        configuration = {"name": "c", "properties": {"subnet": {"id": subnet}}}
        return {"location": "eastus", "properties": {"ipConfigurations": [configuration]}}

    def make_nic(self, name: str | None = None, subnet: str | None = None) -> str:
        path = self.net("networkInterfaces", name or unique("nic"))
        body = self.nic_body(subnet or self.subnet())
        answer = self.send("PUT", path, body, api=NETWORK_API)
        assert answer.status_code == 201, answer.text
        return path

    @staticmethod
    def vm_body(nic: str, script: str | None = None) -> dict[str, Any]:
        """The body of a VM with an identity, whose interface and disk are deleted with it."""
        profile: dict[str, Any] = {
            "computerName": "vm",
            "adminUsername": "azureuser",
            "linuxConfiguration": {
                "disablePasswordAuthentication": True,
                "ssh": {
                    "publicKeys": [
                        {
                            "path": "/home/azureuser/.ssh/authorized_keys",
                            "keyData": f"ssh-ed25519 {_KEY}",
                        }
                    ]
                },
            },
        }
        if script is not None:
            profile["customData"] = base64.b64encode(script.encode()).decode()
        image = {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"}
        return {
            "location": "eastus",
            "identity": {"type": "SystemAssigned"},
            "properties": {
                "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
                "storageProfile": {
                    "imageReference": {**image, "version": "latest"},
                    "osDisk": {"createOption": "FromImage", "deleteOption": "Delete"},
                },
                "osProfile": profile,
                "networkProfile": {
                    "networkInterfaces": [{"id": nic, "properties": {"deleteOption": "Delete"}}]
                },
            },
        }

    def make_vm(self, name: str | None = None, script: str | None = None) -> dict[str, Any]:
        """Create a VM with its own interface. Returns the body of the 201."""
        body = self.vm_body(self.make_nic(), script)
        answer = self.send("PUT", self.vm_path(name or unique("vm")), body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def make_running(self, name: str | None = None, script: str | None = None) -> dict[str, Any]:
        """Create a VM, and wait until it runs."""
        return self.settled(self.make_vm(name, script)["id"])

    def put_role(
        self, scope: str, principal: str, *, guid: str | None = None, role: str = CONTRIBUTOR,
        type_: str | None = "ServicePrincipal",
    ) -> requests.Response:  # fmt: skip
        definition = f"{self.subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}"
        properties = {"roleDefinitionId": definition, "principalId": principal}
        if type_:
            properties["principalType"] = type_
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{guid or uuid.uuid4()}"
        return self.send("PUT", path, {"properties": properties}, api=ROLE_API)

    def put_role_definition(
        self, guid: str, *actions: str, name: str | None = None, scopes: list[str] | None = None
    ) -> requests.Response:
        """Create or update a custom role."""
        properties = {
            "roleName": name or unique("role"),
            "type": "CustomRole",
            "description": "",
            "permissions": [{"actions": list(actions), "notActions": []}],
            "assignableScopes": [self.subscription] if scopes is None else scopes,
        }
        path = f"{self.subscription}/providers/Microsoft.Authorization/roleDefinitions/{guid}"
        return self.send("PUT", path, {"properties": properties}, api=ROLE_API)

    def grant(self, scope: str, principal: str, role: str = CONTRIBUTOR) -> None:
        """Assign a role to a principal. Retries until the directory knows its identity."""

        def try_once() -> bool:
            answer = self.put_role(scope, principal, role=role)
            assert answer.status_code in (201, 409) or code(answer) == "PrincipalNotFound"
            return answer.status_code in (201, 409)

        until(try_once)


class SimulatorThread:
    """A simulator in a thread of this process, which takes half a second less CPU than a process."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._options = parse(argv)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._simulator: AzureSimulator | None = None

    def start(self) -> dict[str, Any]:
        self._thread.start()
        self._simulator = self._run(self._begin())
        return self._simulator.ready()

    def stop(self) -> None:
        if self._simulator is not None:
            self._run(self._simulator.__aexit__(None, None, None))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._simulator = None

    async def _begin(self) -> AzureSimulator:
        return await AzureSimulator(self._options).__aenter__()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


def serve(
    state: Path, *options: str, **environment: str
) -> tuple[Service | SimulatorThread, Driver]:
    """A simulator: a process if it has VMs or an environment of its own."""
    argv = ["--state", str(state), "--time-scale", "0.006", *options]
    if "none" in options and not environment:
        thread = SimulatorThread(argv)
        return thread, Driver(thread.start(), state)
    service = Service(
        "azure", [sys.executable, "-m", "local.azure", *argv], ready=state / "ready.json",
        log=state / "log", cwd=ROOT, env={**os.environ, **environment},
    )  # fmt: skip
    return service, Driver(service.start(), state)


def code(answer: requests.Response) -> str:
    """The code of an error response."""
    return str(answer.json()["error"]["code"])


def with_change(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `body` with the member at the dotted `path` set, or removed if `value` is None."""
    changed = copy.deepcopy(body)
    *steps, last = path.split(".")
    here = changed
    for step in steps:
        here = here[step]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return changed
