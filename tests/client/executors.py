"""Executors without an app, and for a scripted one."""

from __future__ import annotations

from typing import Any

import httpx
from powerlift_fleet import AzureVMFleet, FleetClient

from tests.client.both import Script, ok
from tests.client.cli import served

SECRETS = ("cl13nt-s3cr3t", "d8-s3cr3t", "k3y-s3cr3t", "qu3u3-s3cr3t")
CAN_START = ok(**served.plan())


class NoStore:
    uri = f"postgresql://user:{SECRETS[1]}@host/db"


def unsent(**options: Any) -> AzureVMFleet:
    """An executor that sends nothing."""
    return AzureVMFleet(NoStore(), url="https://fleet.example", key=SECRETS[2], **options)


def scripted(app: Script, plan: httpx.Response = CAN_START, **options: Any) -> AzureVMFleet:
    """An executor for a scripted app, which answers with `plan` to the plan that precedes a fleet."""

    def answer(request: httpx.Request) -> httpx.Response:
        return plan if request.url.path.endswith("/plan") else app(request)

    client = FleetClient("https://fleet.example", "k", transport=httpx.MockTransport(answer))
    return AzureVMFleet(NoStore(), client=client, **options)
