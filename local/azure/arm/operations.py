"""Long-running operations: their work, their status, and the polling headers.

Headers, bodies and Retry-After hints match recorded traffic (azure-sdk-for-python, compute tests).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import ArmError, gateway
from local.azure.arm.resources import Json, Target
from local.azure.clock import timestamp
from local.azure.cloud import Checkpoint, Cloud
from local.azure.faults.azure_errors import azure_error

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryHints:
    """The Retry-After hints of a kind of operation, in seconds; None sends no header."""

    response: int | None
    first_poll: int | None
    later_polls: int | None


NETWORK_PUT = RetryHints(3, 10, 10)
NIC_PUT = RetryHints(None, None, None)
NETWORK_DELETE = RetryHints(10, 10, 10)  # not recorded
VM_PUT = RetryHints(10, 50, None)
VM_DELETE = RetryHints(10, 30, 30)
DISK_DELETE = RetryHints(10, 10, 10)  # not recorded


@dataclass
class Operation:
    """One long-running operation."""

    namespace: str
    location: str
    owner: str
    hints: RetryHints
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: str = field(default_factory=timestamp)
    ended: str | None = None
    status: str = "InProgress"
    error: ArmError | None = None
    polls: int = 0
    task: asyncio.Task[None] | None = None

    def end(self, status: str, error: ArmError | None = None) -> None:
        """Set the final status. Later calls have no effect."""
        if self.ended is None:
            self.status, self.error, self.ended = status, error, timestamp()

    def preempt(self) -> None:
        """Cancel the work because a newer operation has started on the resource."""
        if self.task is not None:
            self.task.cancel()
        self.end("Failed", azure_error("OperationPreempted"))

    def body(self) -> Json:
        """The response to a status request. Compute returns more members than Network."""
        body: Json = {"status": self.status}
        if self.namespace == "Microsoft.Compute":
            ended = {"endTime": self.ended} if self.ended else {}
            body = {"startTime": self.started, **ended, **body, "name": self.id}
        if self.error is not None:
            body["error"] = self.error.error()
        return body


class Operations:
    """All operations, and the routes on which clients poll them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._operations: dict[str, Operation] = {}
        self.succeeded: Callable[[Target], None] = lambda _: None
        """Called with the target of each operation that has succeeded."""

    def routes(self) -> list[Route]:
        return [
            Route("GET", f"{namespace}/locations/{leaf}", handler, open=True)
            for namespace in ("Microsoft.Compute", "Microsoft.Network")
            for leaf, handler in (("operations", self._status), ("operationResults", self._result))
        ]

    def completed(self, call: Call, location: str, hints: RetryHints) -> Operation:
        """An operation that had succeeded by the time of the response."""
        operation = self._new(call, location, hints)
        operation.end("Succeeded")
        return operation

    def start(
        self,
        call: Call,
        location: str,
        hints: RetryHints,
        *,
        work: Callable[[], Awaitable[None]],
        finish: Callable[[], Awaitable[None] | None],
        failed: Callable[[ArmError], None] | None = None,
    ) -> Operation:
        """Start an operation: await `work`, run the interceptor, then `finish`.

        An ArmError in any of these calls `failed` and ends the operation as Failed.
        """
        operation = self._new(call, location, hints)

        async def run() -> None:
            try:
                await work()
                await self._cloud.intercept(Checkpoint("finishing", call))
                if (finishing := finish()) is not None:
                    await finishing
            except ArmError as error:
                fail(error)
            except Exception:
                logger.exception("The operation on %s failed", call.target.path)
                fail(ArmError(500, "InternalServerError", "The simulator failed. See its log."))
            else:
                operation.end("Succeeded")
                self.succeeded(call.target)

        def fail(error: ArmError) -> None:
            if failed is not None:
                failed(error)
            operation.end("Failed", error)

        operation.task = asyncio.create_task(run())
        return operation

    def start_delete(
        self,
        call: Call,
        location: str,
        hints: RetryHints,
        latency: str,
        delete: Callable[[], None],
        failed: Callable[[ArmError], None] | None = None,
    ) -> Reply:
        """Respond to a DELETE with 202, and start the operation that calls `delete`."""
        work = partial(self._cloud.wait, latency, call.target.name)
        operation = self.start(call, location, hints, work=work, finish=delete, failed=failed)
        return Reply(202, None, self.headers(operation, call, location=True))

    def headers(
        self, operation: Operation, call: Call, *, location: bool = False
    ) -> dict[str, str]:
        """The headers of the response that starts `operation`; `location` for a DELETE."""
        compute = operation.namespace == "Microsoft.Compute"
        root = (
            f"{call.request.base}{self._cloud.subscription_scope}/providers/{operation.namespace}"
            f"/locations/{operation.location}"
        )
        version = f"api-version={call.request.query['api-version']}"
        extra = f"p={operation.owner}&" if compute else ""
        headers = {
            "Azure-AsyncNotification": "Enabled",
            "Azure-AsyncOperation": f"{root}/operations/{operation.id}?{extra}{version}",
        }
        if location:
            leaf = "operations" if compute else "operationResults"
            monitor = f"{extra}monitor=true&" if compute else ""
            headers["Location"] = f"{root}/{leaf}/{operation.id}?{monitor}{version}"
        return headers | self._retry_after(operation.hints.response)

    async def stop(self) -> None:
        tasks = [o.task for o in self._operations.values() if o.task and not o.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _new(self, call: Call, location: str, hints: RetryHints) -> Operation:
        namespace = call.target.type.partition("/")[0]
        canonical = "Microsoft.Compute" if "compute" in namespace.lower() else "Microsoft.Network"
        operation = Operation(canonical, location, call.principal.object_id, hints)
        self._operations[operation.id] = operation
        return operation

    def _retry_after(self, seconds: int | None) -> dict[str, str]:
        return {} if seconds is None else {"Retry-After": self._cloud.clock.retry_after(seconds)}

    def _find(self, call: Call) -> Operation:
        operation = self._operations.get(call.target.name.lower())
        if operation is None or operation.owner != call.principal.object_id:
            raise gateway(404, "NotFound", f"The entity '{call.target.name}' was not found.")
        return operation

    async def _status(self, call: Call) -> Reply:
        operation = self._find(call)
        if call.request.query.get("monitor") == "true":
            return await self._result(call)
        headers = {}
        if operation.ended is None:
            hints = operation.hints
            headers = self._retry_after(hints.later_polls if operation.polls else hints.first_poll)
        operation.polls += 1
        return Reply(200, operation.body(), headers)

    async def _result(self, call: Call) -> Reply:
        operation = self._find(call)
        if operation.ended is None:
            return Reply(202, None, self._retry_after(operation.hints.later_polls))
        if operation.error is not None:
            raise operation.error
        return Reply(200 if operation.namespace == "Microsoft.Compute" else 204)
