"""The simulator's options, and its command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.azure.faults.plan import InvalidPlan, Plan, load

GROUP, LOCATION = "powerlift", "eastus"
"""The resource group that exists from the start, and its region."""

ROLE_ASSIGNMENT_LIMIT = 4000
"""Azure's own limit, fixed per subscription (learn.microsoft.com, RBAC troubleshoot-limits)."""


@dataclass(frozen=True)
class Options:
    """Options of the simulated cloud. Times are simulated seconds unless stated otherwise."""

    state: Path
    """Directory for the identity, certificates, wire log and VMs."""
    port: int = 0
    """TCP port on 127.0.0.1; 0 picks a free one."""
    time_scale: float = 1.0
    """Wall seconds per simulated second: 0.01 makes a 70 s boot take 0.7 s."""
    seed: int = 0
    """The same seed gives the same ids and the same latencies for the same names."""
    machines: str = "process"
    """`process` runs each VM's custom data as a process; `none` runs nothing inside the VMs."""
    machine_path: Sequence[Path] = ()
    """Directories on every VM's PATH, after the stand-in commands and before the system's."""
    machine_env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of every VM."""
    role_assignment_limit: int = ROLE_ASSIGNMENT_LIMIT
    """Role assignments that the subscription may have, at all scopes."""
    page_size: int = 50
    """Items per page of a list."""
    fault_plan: Plan = field(default_factory=Plan)
    """The faults to inject (docs/fault-injection.md)."""


def parse(argv: Sequence[str] | None = None) -> Options:
    """Parse the command line. Exits with a usage message if it is invalid."""
    parser = argparse.ArgumentParser(
        prog="python -m local.azure",
        description="Simulates Azure Resource Manager, Entra ID and VMs on this machine.",
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--state", type=Path, required=True, help="directory for ready.json, wire.jsonl, vms/")
    add("--port", type=int, help="0, the default, picks a free port")
    add("--time-scale", type=_positive, help="wall seconds per simulated second")
    add("--seed", type=int, help="seed of ids and latencies")
    add("--machines", choices=("process", "none"), help="what runs inside VMs")
    add(
        "--machine-path",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="directory to add to every VM's PATH",
    )
    add(
        "--machine-env",
        type=_pair,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="environment variable of every VM",
    )
    add(
        "--role-assignment-limit",
        type=int,
        metavar="N",
        help="role assignments that the subscription may have; Azure allows the default, 4,000",
    )
    add("--page-size", type=int, help="items per page of a list")
    add("--faults", type=_plan, dest="fault_plan", metavar="FILE", help="fault plan (JSON)")
    values = vars(parser.parse_args(argv))
    values["machine_env"] = dict(values["machine_env"])
    values["machine_path"] = tuple(path.resolve() for path in values["machine_path"])
    values["state"] = values["state"].resolve()
    return Options(**values)


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not greater than 0")
    return value


def _plan(file: str) -> Plan:
    try:
        return load(Path(file))
    except InvalidPlan as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value
