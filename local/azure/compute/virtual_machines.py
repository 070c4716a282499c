"""Virtual machines: the requests, and the life cycle of a VM."""

from __future__ import annotations

import copy
from functools import partial

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import ArmError, invalid_parameter, marked_for_deletion
from local.azure.arm.operations import VM_DELETE, VM_PUT, Operations
from local.azure.arm.resources import Json, Resource, check_conditions
from local.azure.arm.schema import VIRTUAL_MACHINE, VIRTUAL_MACHINE_UPDATE
from local.azure.arm.validation import validate
from local.azure.cloud import Cloud
from local.azure.compute.disks import Disks
from local.azure.compute.evictor import Evictor
from local.azure.compute.galleries import Galleries
from local.azure.compute.vm import VM_TYPE, VirtualMachine, new_vm
from local.azure.compute.vm_validation import validate_vm
from local.azure.identity.directory import Principal, seeded_guid
from local.azure.identity.user_assigned import assigned_identity
from local.azure.network.interfaces import Interfaces
from local.azure.vm.runner import VmRunner

_SHUTDOWN_SHARE = 1 / 3
"""The share of a deletion's time after which the VM loses power."""

_ONLY_AUTHORIZED = (
    "runCommand", "start", "restart", "powerOff", "deallocate", "reimage", "redeploy"
)  # fmt: skip
"""Actions on a VM whose permission is checked, and which the simulator then refuses."""


class VirtualMachines:
    """Microsoft.Compute/virtualMachines."""

    def __init__(
        self,
        cloud: Cloud,
        operations: Operations,
        interfaces: Interfaces,
        disks: Disks,
        galleries: Galleries,
        runner: VmRunner,
    ) -> None:
        self._cloud, self._operations, self._galleries = cloud, operations, galleries
        self._interfaces, self._disks, self._runner = interfaces, disks, runner
        self.evictor = Evictor(cloud, runner, self._remove)
        self._incarnations: dict[str, int] = {}

    def routes(self) -> list[Route]:
        return [
            Route("PUT", VM_TYPE, self._put),
            Route("PATCH", VM_TYPE, self._patch),
            Route("GET", VM_TYPE, self._get),
            Route("DELETE", VM_TYPE, self._delete),
            Route("GET", VM_TYPE, self._list, collection=True),
            Route("GET", f"{VM_TYPE}/instanceView", self._instance_view, collection=True),
            *(
                Route("POST", f"{VM_TYPE}/{action}", self._refuse, collection=True)
                for action in _ONLY_AUTHORIZED
            ),
        ]

    # Create

    async def _put(self, call: Call) -> Reply:
        body = validate(call.request.body, VIRTUAL_MACHINE)
        image_version = validate_vm(call.target.name, body, self._galleries.find)
        await self._cloud.wait("vm.put", call.target.name)
        existing = self._find(call)
        check_conditions(call.request.headers, existing)
        if existing is not None:
            return await self._update(call, existing, body)
        self._cloud.allocator.admit(body)
        nic_ids = [nic["id"] for nic in body["properties"]["networkProfile"]["networkInterfaces"]]
        nics = self._interfaces.claim(nic_ids, call.target.path, body["location"])
        vm = new_vm(call.target, body, image_version)
        self._disks.check_free(vm.target, [disk["name"] for disk in vm.disks() if disk.get("name")])
        self._assign_identity(vm, body.get("identity"))
        for at, nic in enumerate(nics):
            self._interfaces.attach(nic, vm.id, primary=at == 0)
        vm.interfaces = nics
        self._cloud.store.add(vm)
        reply = self._boot(call, vm, 201)
        self._create_disks(vm)
        return reply

    def _assign_identity(self, vm: VirtualMachine, requested: Json | None) -> None:
        """Assign a new identity, as Azure does for each incarnation of a VM, with ids from the seed."""
        kind = str((requested or {}).get("type") or "None")
        if requested is None or kind.lower() == "none":
            return
        identity: Json = {"type": kind}
        if requested.get("userAssignedIdentities"):
            vm.identities = {
                id_: assigned_identity(self._cloud, id_, vm.id)
                for id_ in requested["userAssignedIdentities"]
            }
            identity["userAssignedIdentities"] = {
                id_: {"principalId": one.object_id, "clientId": one.client_id}
                for id_, one in vm.identities.items()
            }
        if "systemassigned" in kind.lower():
            vm.principal = self._new_principal(vm)
            identity |= {
                "principalId": vm.principal.object_id,
                "tenantId": self._cloud.identity.tenant_id,
            }
        vm.body["identity"] = identity

    def _new_principal(self, vm: VirtualMachine) -> Principal:
        number = self._incarnations[vm.target.key] = self._incarnations.get(vm.target.key, 0) + 1
        now, seed = self._cloud.clock.now(), self._cloud.options.seed
        draw = self._cloud.latencies.draw
        principal = Principal(
            object_id=seeded_guid(seed, f"{vm.target.key}/{number}/principal"),
            client_id=seeded_guid(seed, f"{vm.target.key}/{number}/client"),
            vm_id=vm.id,
            replicated_at=now + draw("identity.replication", vm.name),
            replicated_untyped_at=now + draw("identity.replication.untyped", vm.name),
        )
        self._cloud.directory.add(principal)
        return principal

    def _create_disks(self, vm: VirtualMachine) -> None:
        """Called after the 201 is rendered, since that does not contain disk ids yet (recorded)."""
        for index, disk in enumerate(vm.disks(), start=1):
            if disk.get("diffDiskSettings"):
                continue
            id_ = self._disks.create(vm, disk, index)
            disk["name"] = id_.rpartition("/")[2]
            disk["managedDisk"] = {**disk["managedDisk"], "id": id_}
            vm.disk_ids.append((id_, disk["deleteOption"].lower() == "delete"))

    def _boot(self, call: Call, vm: VirtualMachine, status: int) -> Reply:
        """Start the boot, and return the response."""
        vm.state, vm.failure = "Creating", None

        async def finish() -> None:
            self._cloud.allocator.allocate(vm)
            outbound = any(self._interfaces.has_outbound(nic) for nic in vm.interfaces)
            await self._runner.start(vm, outbound=outbound, stopped=lambda: _mark_stopped(vm))
            vm.state, vm.power = "Succeeded", "running"
            vm.touch()
            self.evictor.schedule(vm)

        def failed(error: ArmError) -> None:
            self._cloud.allocator.release(vm)
            vm.state, vm.failure = "Failed", error
            for nic in vm.interfaces:
                self._interfaces.reserve(nic, vm.id)

        vm.operation = self._operations.start(
            call,
            vm.location,
            VM_PUT,
            work=partial(self._cloud.wait, "vm.boot", vm.name),
            finish=finish,
            failed=failed,
        )
        return self._reply(call, vm, status)

    def _reply(self, call: Call, vm: VirtualMachine, status: int) -> Reply:
        assert vm.operation is not None
        # A copy, since the disks get their ids before the response is sent.
        body = copy.deepcopy(vm.render())
        return Reply(status, body, self._operations.headers(vm.operation, call))

    async def _update(self, call: Call, vm: VirtualMachine, body: Json) -> Reply:
        """Handle a repeated PUT, which must not change immutable properties."""
        if vm.state == "Deleting":
            raise marked_for_deletion("createOrUpdate", vm.name)
        vm.update(body)
        if vm.principal is None:
            self._assign_identity(vm, body.get("identity"))
        if vm.state == "Failed":
            return self._boot(call, vm, 200)
        if vm.state == "Succeeded":
            vm.operation = self._operations.completed(call, vm.location, VM_PUT)
        return self._reply(call, vm, 200)

    async def _patch(self, call: Call) -> Reply:
        """Replace all tags, and change mutable properties."""
        body = validate(call.request.body, VIRTUAL_MACHINE_UPDATE)
        await self._cloud.wait("vm.update", call.target.name)
        vm = self._existing(call)
        check_conditions(call.request.headers, vm)
        if vm.state == "Deleting":
            raise marked_for_deletion("update", vm.name)
        vm.update({"location": vm.location, "properties": {}, **body})
        if vm.state == "Succeeded":
            vm.operation = self._operations.completed(call, vm.location, VM_PUT)
        return self._reply(call, vm, 200)

    async def _refuse(self, call: Call) -> Reply:
        action = call.target.path.rpartition("/")[2]
        raise ArmError(501, "NotImplemented", f"The simulator does not support {action}.")

    # Delete

    async def _delete(self, call: Call) -> Reply:
        forced = call.request.query.get("forceDeletion", "").lower() == "true"
        await self._cloud.wait("delete", call.target.name)
        vm = self._find(call)
        if vm is None:
            return Reply(204)
        if vm.state != "Deleting":
            self._begin_deletion(call, vm, forced=forced)
        assert vm.operation is not None
        return Reply(202, None, self._operations.headers(vm.operation, call, location=True))

    def _begin_deletion(self, call: Call, vm: VirtualMachine, *, forced: bool) -> None:
        if vm.operation is not None:
            vm.operation.preempt()
        before, vm.state = vm.state, "Deleting"
        kind = "vm.delete.forced" if forced else "vm.delete"
        seconds = self._cloud.latencies.draw(kind, vm.name)

        async def work() -> None:
            await self._cloud.clock.sleep(seconds * _SHUTDOWN_SHARE)
            await self._runner.stop(vm)
            await self._cloud.clock.sleep(seconds * (1 - _SHUTDOWN_SHARE))

        def failed(error: ArmError) -> None:
            vm.state = "Failed" if before == "Creating" else before
            vm.power = vm.power and "stopped"

        vm.operation = self._operations.start(
            call, vm.location, VM_DELETE, work=work, finish=partial(self._remove, vm), failed=failed
        )

    def _remove(self, vm: VirtualMachine) -> None:
        """Delete the VM; delete or detach its interfaces and disks. Its role assignments remain."""
        references = vm.properties["networkProfile"]["networkInterfaces"]
        for nic, reference in zip(vm.interfaces, references, strict=True):
            option = (reference.get("properties") or {}).get("deleteOption") or "Detach"
            if option.lower() == "delete":
                self._interfaces.delete(nic)
            else:
                self._interfaces.detach(nic)
        for id_, delete in vm.disk_ids:
            self._disks.release(id_, delete=delete)
        if vm.principal is not None:
            self._cloud.directory.remove(vm.principal.object_id)
        self._cloud.allocator.release(vm)
        self._cloud.store.remove(vm)

    # Read

    async def _get(self, call: Call) -> Reply:
        vm = self._existing(call)
        expand = call.request.query.get("$expand", "")
        if expand.lower() not in ("", "instanceview", "userdata"):
            raise invalid_parameter("$expand", f"The value '{expand}' of $expand is not supported.")
        return Reply(200, vm.render(expand), {"ETag": vm.etag})

    async def _instance_view(self, call: Call) -> Reply:
        vm = self._cloud.store.owner(call.target)
        assert isinstance(vm, VirtualMachine)
        return Reply(200, vm.instance_view())

    async def _list(self, call: Call) -> Reply:
        """Only the subscription's list supports statusOnly. $expand is ignored, as in Azure."""
        query = call.request.query
        status_only = query.get("statusOnly", "").lower() == "true" and call.target.group is None

        def render(resource: Resource) -> Json:
            assert isinstance(resource, VirtualMachine)
            return resource.render_status() if status_only else resource.render()

        return self._cloud.page(call, self._cloud.store.list_collection(call.target), render)

    def _find(self, call: Call) -> VirtualMachine | None:
        found = self._cloud.store.find(call.target.path)
        return found if isinstance(found, VirtualMachine) else None

    def _existing(self, call: Call) -> VirtualMachine:
        found = self._cloud.store.get(call.target)
        assert isinstance(found, VirtualMachine)
        return found


def _mark_stopped(vm: VirtualMachine) -> None:
    """The VM has shut itself down. It is stopped, and still billed."""
    if vm.state != "Deleting":
        vm.power = "stopped"
