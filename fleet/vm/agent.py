"""What a VM asks of Azure: what it runs on, whether it must go, and its own deletion.

`startup.sh` carries this text and runs it with the system's Python, whatever version that is (3.8
for Ubuntu 20.04): standard library only, and nothing of this app. Tokens stay inside the process.

    agent.py describe                   the hardware, as JSON
    agent.py watch VM_NAME              ends when Azure says that the VM has to go; prints the event
    agent.py approve EVENT_ID           it may go now
    agent.py delete ARM SUBSCRIPTION GROUP VM_NAME
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib import error, parse, request

METADATA = (
    os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://169.254.169.254") + "/metadata"
)
EVENTS = METADATA + "/scheduledevents?api-version=2020-07-01"
EVENTS_PATIENCE = 150
"""Seconds: the first question turns the service on, which takes up to two minutes."""

LEAVING = ("Preempt", "Terminate", "Redeploy", "Reboot")
"""Events after which the machine is gone, or is there without our script: cloud-init runs it only at
the first boot. `Freeze`, the other kind, is a pause of seconds."""

DIRECT = request.build_opener(request.ProxyHandler({}))  # the metadata service is on this host


def describe() -> None:
    """Print what tells this VM's results from another's; what is not known is null."""
    try:
        compute = ask(METADATA + "/instance/compute?api-version=2021-02-01", 5)
    except (OSError, ValueError):
        compute = {}
    image = [str(compute.get(part) or "") for part in ("publisher", "offer", "sku")]
    facts = {
        "vm_size": compute.get("vmSize"),
        "location": compute.get("location"),
        "zone": compute.get("zone"),
        "priority": compute.get("priority") or ("Regular" if compute else None),
        "image": ":".join(image) if any(image) else None,
        "image_version": compute.get("version"),
        "cpu_model": cpu_model(),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
    }
    print(json.dumps({name: value if value != "" else None for name, value in facts.items()}))


def cpu_model() -> str | None:
    """The name that the processor gives itself; on ARM it gives none, but numbers of maker and part."""
    wanted = ("model name", "CPU implementer", "CPU part")
    found: dict[str, str] = {}
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() in wanted:
                found.setdefault(name.strip(), value.strip())
    return found.get("model name") or " ".join(found.values()) or None


def watch(machine: str) -> None:
    """Return, and print the event's id, once Azure announces that the VM has to go."""
    while True:
        try:
            events = ask(EVENTS, EVENTS_PATIENCE)["Events"]
        except (OSError, ValueError, KeyError):
            events = []
        for event in events:
            named = [name.lower() for name in event.get("Resources") or []]
            if event.get("EventType") in LEAVING and machine.lower() in named:
                print(event["EventId"], event["EventType"])
                return
        time.sleep(1)


def approve(event_id: str) -> None:
    """Tell Azure that it need not wait until the event's time."""
    ask(EVENTS, 5, {"StartRequests": [{"EventId": event_id}]})


def delete(manager: str, *names: str) -> None:
    """Have Azure delete the VM. A VM that it no longer knows is as good as deleted."""
    subscription, group, machine = map(parse.quote, names)
    query = parse.urlencode({"api-version": "2018-02-01", "resource": manager})
    token = ask(METADATA + "/identity/oauth2/token?" + query, 30)["access_token"]
    call = request.Request(  # noqa: S310 (HTTPS, to where the app was told that Azure is)
        f"{manager}/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute"
        f"/virtualMachines/{machine}?api-version=2024-11-01&forceDeletion=true",
        headers={"Authorization": "Bearer " + token},
        method="DELETE",
    )
    try:
        request.urlopen(call, timeout=30).close()  # noqa: S310
    except error.HTTPError as answer:
        if answer.code != 404:
            raise


def ask(url: str, patience: float, body: Any = None) -> Any:
    """The metadata service's answer, decoded. Raises OSError, ValueError."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Metadata": "true", "Content-Type": "application/json"}
    call = request.Request(url, data, headers)  # noqa: S310 (plain HTTP, as this service speaks)
    with DIRECT.open(call, timeout=patience) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def main(command: str, *arguments: str) -> None:
    commands: dict[str, Callable[..., None]]
    commands = {"describe": describe, "watch": watch, "approve": approve, "delete": delete}
    try:
        commands[command](*arguments)
    except error.HTTPError as answer:
        sys.exit(f"{answer.url.partition('?')[0]}: {answer.code} {answer.read(500)!r}")
    except (OSError, ValueError, KeyError) as problem:
        sys.exit(f"no answer from Azure: {problem!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
