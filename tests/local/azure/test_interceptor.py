"""The interceptor: how to make an operation fail, and what a failed VM leaves behind."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from local.azure.arm.errors import ArmError
from local.azure.cloud import Checkpoint
from local.azure.options import Options
from local.azure.simulator import AzureSimulator
from tests.local.azure.driver import Driver

Send = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]

ALLOCATION_FAILED = ArmError(
    409, "AllocationFailed", "Allocation failed. We do not have sufficient capacity in this region."
)


async def _reject(checkpoint: Checkpoint, stage: str) -> None:
    call = checkpoint.call
    if (checkpoint.stage, call.request.method, call.target.name) == (stage, "PUT", "vm"):
        raise ALLOCATION_FAILED


async def _with_vm(
    state: Path, stage: str, scenario: Callable[[Send, str, int], Awaitable[Any]]
) -> Any:
    """Run a scenario after the PUT of the VM `vm`, which fails at `stage`."""
    options = Options(state=state, time_scale=0.005, machines="none")
    async with AzureSimulator(options, intercept=lambda c: _reject(c, stage)) as simulator:
        ready = simulator.ready()
        driver = Driver(ready, state)
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ready["ca_bundle"]))
        async with aiohttp.ClientSession(ready["arm"], connector=connector) as session:
            token = await asyncio.to_thread(driver.token)
            headers = {"Authorization": f"Bearer {token}"}

            async def send(method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
                url = f"{path}?api-version=2026-04-01"
                async with session.request(method, url, json=body, headers=headers) as answer:
                    return answer.status, await answer.json() if answer.content_length else {}

            nic = await asyncio.to_thread(driver.make_nic)
            path = driver.vm_path("vm")
            status, _ = await send("PUT", path, driver.vm_body(nic))
            return await scenario(send, path, status)


async def _settled(send: Send, path: str) -> dict[str, Any]:
    for _ in range(400):
        _, vm = await send("GET", path)
        if vm["properties"]["provisioningState"] in ("Succeeded", "Failed"):
            return vm
        await asyncio.sleep(0.02)
    raise AssertionError("the VM did not settle")


def test_rejected_immediately(tmp_path: Path) -> None:
    async def scenario(send: Send, path: str, status: int) -> Any:
        return status, (await send("GET", path))[0]

    assert asyncio.run(_with_vm(tmp_path, "accepted", scenario)) == (409, 404)


def test_failed_vm_remains_with_its_error(tmp_path: Path) -> None:
    async def scenario(send: Send, path: str, status: int) -> Any:
        await _settled(send, path)
        _, view = await send("GET", f"{path}/instanceView")
        return view["statuses"][0]["code"]

    code = asyncio.run(_with_vm(tmp_path, "finishing", scenario))

    assert code == "ProvisioningState/failed/AllocationFailed"


def test_failed_vm_keeps_its_interface(tmp_path: Path) -> None:
    async def scenario(send: Send, path: str, status: int) -> Any:
        vm = await _settled(send, path)
        nic = vm["properties"]["networkProfile"]["networkInterfaces"][0]["id"]
        return (await send("DELETE", nic))[1]["error"]["code"]

    code = asyncio.run(_with_vm(tmp_path, "finishing", scenario))

    assert code == "NicReservedForAnotherVm"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_other_requests_pass(tmp_path: Path, method: str) -> None:
    async def scenario(send: Send, path: str, status: int) -> Any:
        return (await send(method, path))[0]

    assert asyncio.run(_with_vm(tmp_path, "finishing", scenario)) in (200, 202)
