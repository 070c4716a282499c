"""Runs the failed trials of an ended fleet again, as a new fleet with its request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet.api.instance_status import order_in
from fleet.api.request import derived_batch_id
from fleet.model import names
from fleet.model.records import Trials
from fleet.secrets import Seal
from fleet.settings import Settings
from fleet.store import claims, fleets, heartbeats, trial_reset, trials
from fleet.store.executors import OWN, QUERIES
from triggers import saved_requests, submission
from triggers.durable_client import find
from triggers.saved_requests import SavedRequest
from triggers.submitters import Submitter

_UNCHANGED = "Nothing was changed."


class RetryRefused(Exception):
    """The fleet has no failed trials that may be reset now."""


class SecretsPurged(Exception):
    """The fleet's secrets were deleted with its history."""


@dataclass(frozen=True, slots=True)
class Retried:
    """The new fleet. `trials`: how many this call has reset."""

    accepted: submission.Accepted
    trials: int


async def retry(client: Any, row: fleets.Row, submitter: Submitter) -> Retried:
    """Reset the failed trials of a fleet's experiment, and start a fleet with the same request.

    A fleet is retried once: a repeated call returns the same new fleet, and changes nothing. Raises
    RetryRefused, RequestNotSaved, SecretsPurged, ExperimentBusy, and as `submission.submit`.
    """
    settings = Settings.read()
    seal = Seal(settings.sealing_keys)
    # Keyed, so that nobody can claim the batch ID before. With the oldest key, which changes last.
    digest = seal.fingerprints(["retry", settings.owner, row.batch_id])[-1]
    batch_id = derived_batch_id(digest)
    was_begun = await OWN.run(claims.exists, settings.database_uri, batch_id)
    if row.ended_at is None:
        raise RetryRefused(
            f"fleet-{row.number} has not ended (phase {row.phase}). {_UNCHANGED} Wait until it has, or "
            "cancel it."
        )
    saved = await saved_requests.read(row, settings, seal)
    document = await _with_secrets(client, row, saved, submitter.digests(seal), seal)
    # Not the row's experiment, which whoever may write the table may change.
    uri, experiment = document.get("uri") or settings.database_uri, int(document["experiment_id"])
    if not was_begun:
        await _check_trials(uri, experiment, row.number)
    reset = 0

    async def reset_trials() -> None:
        nonlocal reset
        reset = await QUERIES.run(trial_reset.reset_failed, uri, experiment)

    request = {**document, "batch_id": str(batch_id)}
    accepted = await submission.submit(client, request, submitter, None, reset_trials)
    return Retried(accepted, reset)


async def _check_trials(uri: str, experiment: int, number: int) -> None:
    """Raises RetryRefused if no trial has failed, or VMs of another fleet are at work."""
    found, at_work = await asyncio.gather(
        QUERIES.run(trials.count, uri, experiment),
        QUERIES.run(heartbeats.count_at_work, uri, experiment),
    )
    if found is None:
        raise RetryRefused(f"Experiment {experiment} does not exist any more. {_UNCHANGED}")
    if at_work:
        raise RetryRefused(
            f"VMs that have worked on experiment {experiment} within the last "
            f"{heartbeats.RECENT // 60} minutes: {at_work}. {_UNCHANGED} Wait until their fleet has "
            "ended."
        )
    if not found["error"]:
        raise RetryRefused(_nothing_failed(experiment, number, found))


def _nothing_failed(experiment: int, number: int, found: Trials) -> str:
    left = found["ready"] + found["running"]
    counts = f"{found['complete']:,} of {found['total']:,} are complete, {left:,} have not ended"
    text = f"No trial of experiment {experiment} has failed: {counts}. {_UNCHANGED}"
    clone = f"To run what is left: powerlift-fleet clone fleet-{number}."
    return f"{text} {clone}" if left else text


async def _with_secrets(
    client: Any, row: fleets.Row, saved: SavedRequest, submitters: Any, seal: Seal
) -> dict[str, Any]:
    """The request with the fleet's secrets, which the app uses again for their submitter only.

    Webhooks are not kept: their URL is deleted after the last notification.
    """
    needed = [pointer for pointer in saved.secrets if pointer != "/notify_url"]
    if not needed:
        return saved.document
    if row.submitted_by not in submitters:
        raise RetryRefused(
            f"fleet-{row.number} has secrets in its request ({', '.join(needed)}), which the app uses "
            f"again for their submitter only ({row.submitted_by}). {_UNCHANGED} Retry it with its key, "
            f"or run another fleet with your own: powerlift-fleet clone fleet-{row.number}."
        )
    instance = await find(client, names.instance_id(row.batch_id))
    if instance is None:
        raise SecretsPurged(
            f"The secrets of fleet-{row.number} ({', '.join(needed)}) were deleted with its history "
            f"(FLEET_RETENTION_DAYS). {_UNCHANGED} Run another fleet with them: powerlift-fleet clone "
            f"fleet-{row.number}."
        )
    order = order_in(instance["input"])
    secrets = seal.decrypt(order["sealed"], order["owner"], order["batch_id"])
    return _merged(saved.document, secrets)


def _merged(document: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    merged = dict(document)
    if "uri" in secrets:
        merged["uri"] = secrets["uri"]
    if "client_secret" in secrets:
        account = document.get("azure_json") or {}
        merged["azure_json"] = {**account, "client_secret": secrets["client_secret"]}
    return merged
