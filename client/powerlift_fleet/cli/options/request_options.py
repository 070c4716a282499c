"""The options of a request; combines them with a request file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.api.wire import BATCH_IDS
from powerlift_fleet.benchmark.arguments import duration

F = TypeVar("F", bound=Callable[..., Any])

FILE_ONLY = frozenset(
    {"azure_json", "credential", "fallbacks", "notify_url", "powerlift_version", "uri"}
)
"""Fields without an option: structures, what no user types, and secrets, which a process list would
show."""

SHORT = {"experiment_id": "--experiment", "n_instances": "--vms"}
"""Fields with a shorter option."""


def seconds(value: str) -> float:
    """A duration, for an option."""
    try:
        return duration(value)
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from None


def _pair(value: str) -> tuple[str, str]:
    key, equals, text = value.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"{value!r} is not KEY=VALUE.")
    return key, text


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _field(field: str, text: str, *more: str, **options: Any) -> Callable[[F], F]:
    """An option with the field's name; `more` are its short names."""
    name = f"--{field.replace('_', '-')}"
    if options.pop("switch", False):
        name = f"{name}/--no-{name[2:]}"
        options["default"] = None
    return click.option(field, *more, name, help=text, **options)


OPTIONS: tuple[Callable[[Any], Any], ...] = (
    _field("experiment_id", "ID of the Powerlift experiment.", "--experiment", type=int),
    _field("n_instances", "Number of VMs.", "-n", "--vms", type=int),
    _field("vm_size", "Default: Standard_B16s_v2."),
    _field("location", "Azure region; default: the resource group's."),
    _field("zones", "Availability zones, used in turn.", type=_listed, metavar="1,2,3"),
    _field("priority", "Regular or Spot.", metavar="NAME"),
    _field("max_price", "Maximum Spot price, in US dollars an hour.", type=float),
    _field("timeout", "Per trial; default: none.", type=seconds, metavar="DURATION"),
    _field("max_lifetime", "When all VMs are deleted at the latest; default: 7d.", type=seconds,
           metavar="DURATION"),
    _field("max_cost", "US dollars that the fleet may cost; default: no limit.", type=float),
    _field("trial_order", "fifo (default), shuffled, or paired: a task's methods on one VM.",
           metavar="NAME"),
    _field("trial_seed", "What shuffled and paired are drawn from; default: the experiment's ID.",
           type=int),
    _field("cpu_models", "Processors that VMs may have: parts of their names.", type=_listed,
           metavar="NAME,NAME"),
    _field("min_instances", "The fleet fails with fewer VMs; default: 1.", type=int),
    _field("max_undead", "Maximum VMs without their role yet; default: 20.", type=int),
    _field("delete_on_complete", "VMs delete themselves after the last trial (default).", switch=True),
    _field("batch_id", "Idempotency key; default: random.", type=click.IntRange(0, BATCH_IDS - 1)),
    _field("name", "To use in place of the fleet's ID; unique among fleets that have not ended."),
    _field("tags", "Tag for every resource; repeatable.", "--tag", type=_pair, multiple=True,
           metavar="KEY=VALUE"),
    _field("resource_uris", "ARM ID on which VMs get Contributor; repeatable.",
           "--resource-uri", multiple=True, metavar="ID"),
    _field("requirements_lock", "File with the packages of every VM, from lock.",
           type=click.File(encoding="utf-8"), metavar="FILE"),
    _field("image_publisher", "Default: canonical."),
    _field("image_offer", "Default: ubuntu-24_04-lts."),
    _field("image_sku", "Default: server."),
    _field("image_version", "Default: latest."),
    _field("image_id", "An image of a Compute Gallery, instead of the four above.", metavar="ID"),
    _field("disk_type", "OS disk type; default: Standard_LRS."),
    _field("ephemeral_os_disk", "Put the OS disk on the VM's host.", switch=True),
    _field("outbound", "default, or existing: subnet_id has outbound access.", metavar="NAME"),
    _field("subnet_id", "An existing subnet.", metavar="ID"),
    _field("ssh_public_key", "SSH key for the user azureuser.", metavar="KEY"),
    _field("client_principal_id", "Another principal that gets the role on each VM.", metavar="ID"),
    _field("client_principal_type", "User, Group or ServicePrincipal.", metavar="NAME"),
)  # fmt: skip


def request_options(command: F) -> F:
    """Add the options of a request to a command, as keyword arguments for `document`."""
    source = click.option(
        "--file", "file", metavar="FILE", type=click.Path(allow_dash=True),
        help="JSON file with the request, or - for stdin; needed for azure_json, fallbacks, "
        "notify_url and uri. Options override it.",
    )  # fmt: skip
    secret = click.option(
        "--uri-from-env", is_flag=True,
        help="Send POWERLIFT_DB_URI as uri; default: the app's own database. Secrets have no option, "
        "since other users could see it.",
    )  # fmt: skip
    for option in reversed((*OPTIONS, source, secret)):
        command = option(command)
    return command


def document(
    file: str | None, uri_from_env: bool, env: Mapping[str, str] = os.environ, **given: Any
) -> dict[str, Any]:
    """The request, which the app validates. Raises ConfigurationError."""
    request = _read(file) if file else {}
    if uri_from_env:
        if not env.get("POWERLIFT_DB_URI"):
            raise ConfigurationError("--uri-from-env: POWERLIFT_DB_URI is not set.")
        request["uri"] = env["POWERLIFT_DB_URI"]
    given["tags"] = {**_mapping(request.get("tags")), **dict(given.get("tags") or ())}
    return request | {
        name: _plain(value) for name, value in given.items() if value not in (None, (), {})
    }


def _plain(value: Any) -> Any:
    if hasattr(value, "read"):
        return _text(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return list(value) if isinstance(value, tuple) else value


def _text(file: Any) -> str:
    try:
        text: str = file.read()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file.name} is not UTF-8.") from None
    return text


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _read(file: str) -> dict[str, Any]:
    """No message quotes the file, which may contain a secret."""
    try:
        with click.open_file(file, encoding="utf-8") as source:
            read = json.load(source)
    except OSError as error:
        raise ConfigurationError(f"Cannot read {file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigurationError(f"{file} is not JSON ({where}): {error.msg}.") from None
    if not isinstance(read, dict):
        raise ConfigurationError(f"{file} must contain a JSON object.")
    return read
