"""Executors without an app, and for a scripted one."""

from __future__ import annotations

from typing import Any

import httpx
from powerlift_fleet import AzureVMFleet, FleetClient

from tests.client.both import Script

SECRETS = ("cl13nt-s3cr3t", "d8-s3cr3t", "k3y-s3cr3t", "qu3u3-s3cr3t")


class NoStore:
    uri = f"postgresql://user:{SECRETS[1]}@host/db"


def unsent(**options: Any) -> AzureVMFleet:
    """An executor that sends nothing."""
    return AzureVMFleet(NoStore(), url="https://fleet.example", key=SECRETS[2], **options)


def scripted(app: Script, **options: Any) -> AzureVMFleet:
    """An executor for a scripted app."""
    client = FleetClient("https://fleet.example", "k", transport=httpx.MockTransport(app))
    return AzureVMFleet(NoStore(), client=client, **options)
