"""Running a past fleet again: its failed trials, or a changed request."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from powerlift_fleet.api.errors import (
    AppUnavailable,
    ConfigurationError,
    FleetPurged,
    FleetUnreachable,
)
from powerlift_fleet.api.json_reader import read
from powerlift_fleet.api.responses import FleetsRequest, FleetStatus, Submission
from powerlift_fleet.benchmark.provenance import fleet_in, read_provenance
from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.commands.submit import WAIT, before_start, report, submit_request
from powerlift_fleet.cli.describe import handle
from powerlift_fleet.cli.formatting import clean, count
from powerlift_fleet.cli.options import request_options
from powerlift_fleet.cli.options.fleet_argument import FLEET, OPTIONAL_FLEET
from powerlift_fleet.cli.session import Session, connected, say, screens, show
from powerlift_fleet.cli.watch import INTERVAL

if TYPE_CHECKING:
    from powerlift_fleet.api.client import FleetClient

_MERGED = ("azure_json", "tags")
"""Fields whose members are changed one by one."""
_OWN = ("name", "batch_id")
"""Fields that no other fleet may have."""
_SHORT = 200
"""Characters of a lock, of thousands of lines. All else is shown in full: it decides what VMs run."""
_SECRETS = {
    "/uri": "its own database. {set_uri} --uri-from-env, or pass a --file with uri; with null there, "
    "VMs use the app's database",
    "/azure_json/client_secret": "an application's client_secret. Pass a --file with azure_json and its "
    "client_secret",
}


@click.command()
@FLEET
@WAIT
@INTERVAL
@connected
def retry(session: Session, fleet: str, wait: bool, interval: float) -> int:
    """Run the failed trials of an ended fleet again, and print the new fleet's short ID.

    Resets the experiment's failed trials, and starts a fleet with the same request. A fleet is retried
    once: repeated, the command prints the same new fleet. Trials that have not run yet run too.

    \b
    Example:
      powerlift-fleet retry fleet-7
      powerlift-fleet retry fleet-7 --wait
    """
    with session.client() as client:
        current: FleetStatus | None = None
        try:
            with before_start():
                current = client.status(fleet)
        except FleetPurged:  # its row may suffice
            say(f"{clean(fleet)} was purged; its request was kept.")
        try:
            accepted = client.retry(current.id if current else fleet)
        except (KeyboardInterrupt, FleetUnreachable, AppUnavailable):
            say("It is safe to repeat the command: a fleet is retried once.")
            raise
    old = handle(current) if current else clean(fleet)
    return report(session, accepted, _retried(old, accepted), wait, interval)


def _retried(old: str, accepted: Submission) -> str:
    if accepted.created:
        return f"Runs {count(accepted.trials or 0, 'failed trial')} of {old} again."
    new = clean(accepted.handle)
    return (
        f"{old} was already retried; nothing was reset. To run again what failed since: "
        f"powerlift-fleet retry {new}"
    )


@click.command()
@OPTIONAL_FLEET
@click.option("--from", "source", metavar="FILE", type=click.Path(exists=True, path_type=Path),
              help="Take the request from an export of results, and not from the app.")  # fmt: skip
@request_options.request_options
@click.option("--dry-run", is_flag=True, help="Show the request and its plan; start nothing.")
@WAIT
@INTERVAL
@connected
def clone(
    session: Session,
    fleet: str | None,
    source: Path | None,
    dry_run: bool,
    wait: bool,
    interval: float,
    **fields: Any,
) -> int:
    """Start a fleet like another one, changed by options, and print its short ID.

    With --from, FLEET is the full ID of one of the fleets in the file, by default the exported one.
    Takes the options of submit. Shows the request and its plan on stderr, and starts nothing if the plan
    has faults (exit code 1). Secrets are not copied: pass them in a --file, or --uri-from-env, which a
    fleet from Python needs. Neither are name and batch_id. A null in the --file removes a field.

    \b
    Example:
      powerlift-fleet clone fleet-7 --vms 4 --uri-from-env --dry-run
      powerlift-fleet clone fleet-7 --timeout 600 --uri-from-env
    """
    changes = request_options.document(**fields)
    with before_start(), session.client() as client:
        old = _request_of(client, fleet, source)
        request = changed(old.request, changes)
        _require_secrets(old, changes)
        for line in _differences(old.request, request):
            say(line)
        plan = client.plan(request)
    if dry_run or not plan.ok:
        session.print_result(plan.raw, lambda out: screens().plan_screen(plan, out))
        return exit_codes.OK if plan.ok else exit_codes.FAILED
    show(lambda out: screens().plan_screen(plan, out), err=True)
    accepted = submit_request(session, request)
    return report(session, accepted, f"Accepted, like {clean(old.label, 120)}.", wait, interval)


def _request_of(client: FleetClient, fleet: str | None, source: Path | None) -> FleetsRequest:
    """The request of a fleet, from the app or an export. Raises ConfigurationError."""
    if source is not None:
        entry = fleet_in(read_provenance(source), fleet)
        request = {key: value for key, value in entry["request"].items() if key not in _OWN}
        _refuse_secrets(request, source)
        found = {"id": entry["id"], "request": request, "secrets": entry.get("secrets", [])}
        return read(FleetsRequest, found)
    if fleet is None:
        raise ConfigurationError("Name the fleet, or pass --from with a file of its results.")
    return client.request_of(fleet)


def _refuse_secrets(request: Mapping[str, Any], source: Path) -> None:
    """They would be submitted unseen. Raises ConfigurationError."""
    azure = request.get("azure_json")
    values = {name: request.get(name) for name in ("uri", "notify_url")}
    values["client_secret"] = azure.get("client_secret") if isinstance(azure, Mapping) else None
    found = [name for name, value in values.items() if value is not None]
    if found:
        raise ConfigurationError(
            f"The request in {source} has {', '.join(found)}. An export never has these: somebody has "
            "added them. Nothing was started. Remove them from the file, and pass your own in a --file."
        )


def changed(request: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The request with the changes, of which a null removes a field."""
    merged = {
        name: {**request[name], **value}
        for name, value in changes.items()
        if name in _MERGED and isinstance(request.get(name), dict) and isinstance(value, dict)
    }
    found = {**request, **changes, **merged}
    return {name: value for name, value in found.items() if value is not None}


def _require_secrets(old: FleetsRequest, changes: Mapping[str, Any]) -> None:
    """Raises ConfigurationError for a secret that the changes neither set nor remove."""
    fleet = clean(old.label, 120)
    is_set = os.environ.get("POWERLIFT_DB_URI")
    set_uri = "POWERLIFT_DB_URI is set: pass" if is_set else "Set POWERLIFT_DB_URI and pass"
    for pointer, what in _SECRETS.items():
        if pointer in old.secrets and not _is_given(pointer, changes):
            raise ConfigurationError(
                f"{fleet} has {what.format(set_uri=set_uri)}. The app returns no secrets. Nothing was "
                "started."
            )
    if "/notify_url" in old.secrets and not _is_given("/notify_url", changes):
        say(f"Warning: {fleet} had a notify_url, which is not copied; pass it in a --file.")


def _is_given(pointer: str, changes: Mapping[str, Any]) -> bool:
    """Whether the changes have a value, or null, for a field or what contains it."""
    value: Any = changes
    for part in pointer[1:].split("/"):
        if not isinstance(value, Mapping):
            return True
        if part not in value:
            return False
        value = value[part]
    return True


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Lines that show the request without its secrets, and what has changed."""
    for name in dict.fromkeys((*old, *new)):
        before, after = (_shown(name, request.get(name)) for request in (old, new))
        text = after if before == after else f"{before} -> {after}"
        yield f"  {clean(name, 40)}: {text}"


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "(none)"
    if name in ("uri", "notify_url"):
        return "***"
    if isinstance(value, dict) and "client_secret" in value:
        value = {**value, "client_secret": "***"}
    most = _SHORT if name == "requirements_lock" else None
    return clean(value if isinstance(value, str) else json.dumps(value), most)
