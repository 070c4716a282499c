"""A process that uses more accounts than the app keeps clients for. Prints its observations.

aiohttp reads SSL_CERT_FILE when it is imported, so this cannot run in the process of the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys

from azure.core.exceptions import HttpResponseError

from fleet.azure.client import Azure
from fleet.azure.credentials import MAX_CONNECTIONS, connect
from fleet.model.order_parts import Account
from fleet.settings import Settings

TIMEOUT = 3.0  # below the 15 s after which aiohttp closes idle sockets by itself
SETTINGS = Settings.read()
ACCOUNT = json.loads(sys.argv[1])
SECRET = ACCOUNT.pop("client_secret")


def connected(group: str) -> Azure:
    account: Account = {**ACCOUNT, "resource_group": group}
    return connect(account, SETTINGS, SECRET)


def sockets() -> int:
    """The open sockets of this process."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    return count


async def use(prefix: str, count: int) -> None:
    """Make a request with each of `count` new accounts, whose resource groups do not exist."""
    for number in range(count):
        with contextlib.suppress(HttpResponseError):
            await connected(f"{prefix}-{number}").resource_group()


async def main() -> None:
    unclosed: list[str] = []  # aiohttp reports each session that is collected as garbage while open
    asyncio.get_running_loop().set_exception_handler(
        lambda _, seen: unclosed.append(seen["message"])
    )
    before = sockets()
    await use("kept", MAX_CONNECTIONS)
    full = sockets() - before
    await use("evicts", 8)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            while sockets() - before > full:  # noqa: ASYNC110 - sockets signal nothing
                await asyncio.sleep(0.01)
    after = sockets() - before

    group = ACCOUNT["resource_group"]
    connection = connected(group)
    running = asyncio.create_task(connection.resource_group())
    await use("evicts again", MAX_CONNECTIONS)
    evicted = connected(group) is not connection
    answers = [(await running)["name"], (await connection.resource_group())["name"]]
    sizes = {"full": full, "after": after}
    print(json.dumps({**sizes, "unclosed": unclosed, "evicted": evicted, "answers": answers}))


asyncio.run(main())
