"""The request's fields as options, and the request that options and a file are together."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from powerlift_fleet.api.errors import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])

FILE_ONLY = frozenset({"azure_json", "fallbacks", "uri"})
"""Fields without an option: what is no scalar, and what no process list may show."""

SHORT = {"experiment_id": "--experiment", "n_instances": "--vms"}
"""Fields whose option is better known by another name."""

_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def _seconds(value: str) -> float:
    """A length of time: seconds, or a number with s, m, h or d."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|)", value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is no length of time: 300, 90s, 30m, 12h or 7d.")
    return float(match[1]) * _UNITS[match[2]]


def _pair(value: str) -> tuple[str, str]:
    key, equals, text = value.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"{value!r} is not of the form KEY=VALUE.")
    return key, text


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _field(field: str, text: str, *more: str, **options: Any) -> Callable[[F], F]:
    """An option for a field. It is named as the field is; `more` are its short names."""
    name = f"--{field.replace('_', '-')}"
    if options.pop("switch", False):
        name = f"{name}/--no-{name[2:]}"
        options["default"] = None
    return click.option(field, *more, name, help=text, **options)


OPTIONS: tuple[Callable[[Any], Any], ...] = (
    _field("experiment_id", "Powerlift's experiment to run trials of.", "--experiment", type=int),
    _field("n_instances", "How many VMs.", "-n", "--vms", type=int),
    _field("vm_size", "Default: Standard_B16s_v2."),
    _field("location", "Azure region; default: the resource group's."),
    _field("zones", "Deal VMs to these evenly.", type=_listed, metavar="1,2,3"),
    _field("priority", "Regular or Spot.", metavar="NAME"),
    _field("max_price", "Spot: US dollars an hour at most.", type=float),
    _field("timeout", "Per trial; default: no limit.", type=_seconds, metavar="SECONDS"),
    _field("max_lifetime", "Until all VMs are deleted, done or not; default: 7d.", type=_seconds,
           metavar="SECONDS"),
    _field("min_instances", "With fewer VMs the fleet fails; default: 1.", type=int),
    _field("max_undead", "VMs that may lack their role at once; default: 20.", type=int),
    _field("delete_on_complete", "VMs delete themselves at the end (the default).", switch=True),
    _field("batch_id", "The idempotency key: one batch is one fleet.", type=int),
    _field("tags", "On every resource; repeat it for more.", "--tag", type=_pair, multiple=True,
           metavar="KEY=VALUE"),
    _field("resource_uris", "ARM id at which VMs get Contributor; repeat it for more.",
           "--resource-uri", multiple=True, metavar="ID"),
    _field("image_publisher", "Default: canonical."),
    _field("image_offer", "Default: ubuntu-24_04-lts."),
    _field("image_sku", "Default: server."),
    _field("image_version", "Default: latest."),
    _field("disk_type", "Of the OS disk; default: Standard_LRS."),
    _field("ephemeral_os_disk", "An OS disk on the VM's host.", switch=True),
    _field("outbound", "default, or existing: subnet_id has a way out.", metavar="NAME"),
    _field("subnet_id", "A subnet of yours.", metavar="ID"),
    _field("ssh_public_key", "For the VMs' user azureuser.", metavar="KEY"),
    _field("client_principal_id", "Who else gets the role on each VM.", metavar="ID"),
    _field("client_principal_type", "User, Group or ServicePrincipal.", metavar="NAME"),
)  # fmt: skip


def request_options(command: F) -> F:
    """Give a command the options of a request, as the keyword arguments that `document` takes."""
    source = click.option(
        "--file", "file", metavar="FILE", type=click.Path(allow_dash=True),
        help="The request as JSON, or - for standard input: for azure_json, fallbacks, uri, or all "
        "of it. Options override it.",
    )  # fmt: skip
    secret = click.option(
        "--uri-from-env", is_flag=True,
        help="Send POWERLIFT_DB_URI as uri. Secrets are no options: everybody on a machine sees "
        "those. Without it the app's own database is used.",
    )  # fmt: skip
    for option in reversed((*OPTIONS, source, secret)):
        command = option(command)
    return command


def document(
    file: str | None, uri_from_env: bool, env: Mapping[str, str] = os.environ, **given: Any
) -> dict[str, Any]:
    """The request. What can be wrong with its fields is the app's to say. Raises ConfigurationError."""
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
    """Whole numbers without a fraction, lists for tuples: as one would write them in JSON."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return list(value) if isinstance(value, tuple) else value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _read(file: str) -> dict[str, Any]:
    """The request in a file. No message repeats what is in it: it may be a secret."""
    try:
        with click.open_file(file, encoding="utf-8") as source:
            read = json.load(source)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigurationError(f"{file} is no JSON ({where}): {error.msg}.") from None
    if not isinstance(read, dict):
        raise ConfigurationError(f"{file} holds no JSON object, as a request is one.")
    return read
