"""The VM's access to Azure (instance metadata, scheduled events, database tokens, its own deletion), and
the check of the experiment's code.

The startup script embeds this file and runs it with the system's Python (3.8 on Ubuntu 20.04 or newer):
standard library only, no imports from the app. Tokens leave the process in a password file only.

    agent.py describe                 print hardware and image as JSON
    agent.py refused_cpu ALLOWED...   print the CPU's model if no pattern allows it
    agent.py wait_for_event VM_NAME   exit when Azure announces the end of the VM; print the event
    agent.py approve_event EVENT_ID   let Azure proceed before the event's time
    agent.py write_password FILE IDENTITY ARM
    agent.py delete ARM SUBSCRIPTION GROUP VM_NAME
    agent.py check_script SCRIPT TRIAL_FUNCTION   print why no trial can run; with the trials' Python
"""

from __future__ import annotations

import ast
import json
import os
import platform
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any
from urllib import error, parse, request

METADATA = (
    os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://169.254.169.254") + "/metadata"
)
EVENTS = METADATA + "/scheduledevents?api-version=2020-07-01"
EVENTS_TIMEOUT = 150
"""Seconds; the first request enables the service, which takes up to two minutes."""

MESSAGE_LIMIT = 500
"""Characters of an error's message."""

DATABASE = "https://ossrdbms-aad.database."
"""With the cloud's domain: the audience of tokens that PostgreSQL on Azure takes as passwords."""
OTHER_CLOUDS = ("usgovcloudapi.net", "chinacloudapi.cn")

TERMINAL_EVENTS = ("Preempt", "Terminate", "Redeploy", "Reboot")
"""Events after which the VM is deleted, or reboots without the script, which cloud-init runs only at the
first boot. The other kind, `Freeze`, is a pause of seconds."""

DIRECT = request.build_opener(
    request.ProxyHandler({})
)  # the metadata service must not go through a proxy


def describe() -> None:
    """Print the VM's hardware and image, which affect its results; unknown values are null."""
    try:
        compute = request_metadata(METADATA + "/instance/compute?api-version=2023-11-15", 5)
    except (OSError, ValueError):
        compute = {}
    image, version = image_of(compute)
    facts = {
        "vm_size": compute.get("vmSize"),
        "location": compute.get("location"),
        "zone": compute.get("zone"),
        "priority": compute.get("priority") or ("Regular" if compute else None),
        "image": image,
        "image_version": version,
        "cpu_model": cpu_model(),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
    }
    print(json.dumps({name: value if value != "" else None for name, value in facts.items()}))


def image_of(compute: dict[str, Any]) -> tuple[str | None, str | None]:
    """The VM's image, as publisher:offer:sku or the ID of a gallery's image; and its exact version."""
    urn = [str(compute.get(part) or "") for part in ("publisher", "offer", "sku")]
    reference = (compute.get("storageProfile") or {}).get("imageReference") or {}
    members = ("id", "sharedGalleryImageId", "communityGalleryImageId")
    ids = [str(reference[name]) for name in members if reference.get(name)]
    exact = reference.get("exactVersion") or compute.get("version")
    if any(urn) or not ids:
        return ":".join(urn) if any(urn) else None, exact
    at = ids[0].lower().find("/versions/")
    return (ids[0], exact) if at < 0 else (ids[0][:at], exact or ids[0][at:].split("/")[2])


def cpu_model() -> str | None:
    """The CPU's model name; on ARM, which has none, its implementer and part numbers."""
    wanted = ("model name", "CPU implementer", "CPU part")
    found: dict[str, str] = {}
    with open(os.environ.get("POWERLIFT_CPUINFO", "/proc/cpuinfo")) as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() in wanted:
                found.setdefault(name.strip(), value.strip())
    return found.get("model name") or " ".join(found.values()) or None


def refused_cpu(*allowed: str) -> None:
    """Print the CPU's model unless one of the patterns is part of it, in any case; * is any text."""
    model = cpu_model() or "unknown"
    if not any(_contains(model.lower(), one.lower()) for one in allowed):
        print(model)


def _contains(text: str, pattern: str) -> bool:
    # Python 3.8's fnmatch takes exponential time for many *.
    for part in pattern.split("*"):
        at = text.find(part)
        if at < 0:
            return False
        text = text[at + len(part) :]
    return True


def wait_for_event(machine: str) -> None:
    """Return and print the event's ID when Azure announces an event that ends the VM."""
    while True:
        try:
            events = request_metadata(EVENTS, EVENTS_TIMEOUT)["Events"]
        except (OSError, ValueError, KeyError):
            events = []
        for event in events:
            named = [name.lower() for name in event.get("Resources") or []]
            if event.get("EventType") in TERMINAL_EVENTS and machine.lower() in named:
                print(event["EventId"], event["EventType"])
                return
        time.sleep(1)


def approve_event(event_id: str) -> None:
    """Let Azure proceed before the event's time."""
    request_metadata(EVENTS, 5, {"StartRequests": [{"EventId": event_id}]})


def write_password(file: str, identity: str, manager: str) -> None:
    """Write a libpq password file with a database token of a user-assigned identity (an ARM ID)."""
    domain = next((one for one in OTHER_CLOUDS if manager.endswith(one)), "windows.net")
    token = access_token(DATABASE + domain, msi_res_id=identity)
    new = file + ".new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as target:
        target.write(f"*:*:*:*:{token}\n")
    os.replace(new, file)  # a client reads the old file or the new one


def access_token(resource: str, **identity: str) -> str:
    """A token for `resource`: of the system-assigned identity, unless another one is named."""
    query = parse.urlencode({"api-version": "2018-02-01", "resource": resource, **identity})
    answer = request_metadata(METADATA + "/identity/oauth2/token?" + query, 30)
    return str(answer["access_token"])


def delete(manager: str, *names: str) -> None:
    """Start the VM's deletion. Succeeds if the VM does not exist."""
    subscription, group, machine = map(parse.quote, names)
    token = access_token(manager)
    call = request.Request(  # noqa: S310 (HTTPS, to the configured endpoint)
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


def check_script(script: str, function: str) -> None:
    """Print why an experiment's code cannot run, if that is certain before it runs.

    `function` is the file of the trial function, which is checked if the script reads it.
    """
    parts = [("the experiment's script", script)]
    with open(script, encoding="utf-8") as source:
        if "get_trial_fn" in source.read():
            parts.append(("the trial function", function))
    for name, file in parts:
        fault = fault_of(name, file)
        if fault:
            print(fault)
            return


def fault_of(name: str, file: str) -> str | None:
    """Why the code in a file, or the first function in it, cannot run; None if nothing is known."""
    with open(file, encoding="utf-8") as source:
        text = source.read()
    try:
        body = ast.parse(textwrap.dedent(text)).body
    except SyntaxError as problem:
        where = f"line {problem.lineno}: {(problem.text or '').strip()}"
        return f"{name} is not valid Python {platform.python_version()}: {problem.msg}, {where}"
    if name == "the trial function":
        functions = [one for one in body if isinstance(one, ast.FunctionDef)]
        if not functions:
            return f"{name} defines no function"
        body = [*body[: body.index(functions[0])], *functions[0].body]
    for package in first_imports(body):
        if find_spec(package) is None:
            return f"{name} imports {package}, which is not installed: No module named '{package}'"
    return None


def first_imports(body: list[ast.stmt]) -> Iterator[str]:
    """The packages that code imports before it does anything else, which might install them."""
    for step in body:
        if isinstance(step, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in step.names)
        elif isinstance(step, ast.ImportFrom) and step.module and not step.level:
            yield step.module.partition(".")[0]
        elif not isinstance(step, ast.Global) and not is_text(step):
            return


def is_text(step: ast.stmt) -> bool:
    """Whether a statement is a docstring."""
    return isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant)


def request_metadata(url: str, timeout: float, body: Any = None) -> Any:
    """The metadata service's response, decoded. Raises OSError, ValueError."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Metadata": "true", "Content-Type": "application/json"}
    call = request.Request(url, data, headers)  # noqa: S310 (the service supports only plain HTTP)
    with DIRECT.open(call, timeout=timeout) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def main(command: str, *arguments: str) -> None:
    commands: dict[str, Callable[..., None]]
    known = (
        describe,
        refused_cpu,
        wait_for_event,
        approve_event,
        write_password,
        delete,
        check_script,
    )
    commands = {one.__name__: one for one in known}
    try:
        commands[command](*arguments)
    except error.HTTPError as answer:
        sys.exit(f"{answer.url.partition('?')[0]}: {answer.code} {message_of(answer.read())}")
    except (OSError, ValueError, KeyError) as problem:
        sys.exit(f"no response from Azure: {problem!r}")


def message_of(body: bytes) -> str:
    """The message of ARM's or the metadata service's error, else the body, in one line."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
        error = found["error"]
        code, told = error, found.get("error_description")
        if isinstance(error, dict):
            code, told = error["code"], error["message"]
        text = f"{code}: {told}" if told else str(code or text)
    except (ValueError, KeyError, TypeError):
        pass  # such as the page of a gateway
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"


if __name__ == "__main__":
    main(*sys.argv[1:])
