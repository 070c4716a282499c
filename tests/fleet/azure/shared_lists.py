"""A process whose callers share LISTs of VMs. Prints how old the LISTs are that they got.

aiohttp reads SSL_CERT_FILE when it is imported, so this cannot run in the process of the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from azure.core.exceptions import ClientAuthenticationError

from fleet.azure.client import Azure
from fleet.azure.credentials import connect
from fleet.azure.vm_lists import VmList, list_vms
from fleet.settings import Settings

ACCOUNT = json.loads(sys.argv[1])
SECRET = ACCOUNT.pop("client_secret")


async def at_once(connection: Azure, *max_ages: float) -> int:
    """How many LISTs so many concurrent callers get."""
    return len({found.began for found in await together(connection, *max_ages)})


async def together(connection: Azure, *max_ages: float) -> list[VmList]:
    return await asyncio.gather(*(list_vms(connection, age) for age in max_ages))


async def observe() -> dict[str, object]:
    settings = Settings.read()
    connection = connect(ACCOUNT, settings, SECRET)
    await list_vms(connection, 0)
    seen: dict[str, object] = {"concurrent": await at_once(connection, 0, 60, 60, 60)}
    [first] = await together(connection, 60)
    [second] = await together(connection, first.age / 2)
    seen["later"] = second.began > first.began
    running = asyncio.create_task(list_vms(connection, 0))
    await asyncio.sleep(0.001)  # it has begun, and cannot have ended
    seen["unfinished"] = (await list_vms(connection, 0)).began > (await running).began
    cancelled = asyncio.create_task(list_vms(connection, 0))
    other = asyncio.create_task(list_vms(connection, 60))
    await asyncio.sleep(0)
    cancelled.cancel()
    seen["survives"] = (await other).size >= 0
    wrong = connect(ACCOUNT, settings, "wrong")
    failures = [await failure(wrong), await failure(wrong)]
    seen["failures"] = [type(one).__name__ for one in failures]
    seen["repeated"] = failures[0] is not failures[1]
    return seen


async def failure(connection: Azure) -> Exception | None:
    try:
        await list_vms(connection, 60)
    except ClientAuthenticationError as error:
        return error
    return None


if __name__ == "__main__":
    os.environ.setdefault("AZURE_LOG_LEVEL", "error")
    print(json.dumps(asyncio.run(observe())))
