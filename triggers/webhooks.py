"""Sends the notifications of fleets to their webhooks, on a schedule: no fleet waits for one."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from typing import Any

import aiohttp
import azure.durable_functions as df
import azure.functions as func

from fleet import telemetry
from fleet.model import names
from fleet.model.webhooks import host_of, signature_headers
from fleet.secrets import Seal, SealBroken
from fleet.settings import Settings
from fleet.store import webhooks
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import ACTIVITIES
from fleet.store.webhooks import Notification

bp = df.Blueprint()

# Not as %FLEET_WEBHOOK_SCHEDULE% in the binding, which cannot have a default.
SCHEDULE = os.environ.get("FLEET_WEBHOOK_SCHEDULE") or "*/20 * * * * *"

TIMEOUT = 10.0
"""Seconds until a webhook must have answered."""
GONE = 410
LONGEST_TEXT = 1024
"""Characters of a text in a notification."""


class NotSent(Exception):
    """A webhook did not accept a notification. Its text has neither the URL, which may be secret, nor
    the answer's body. `is_final`: it never will.
    """

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final


@bp.timer_trigger(arg_name="timer", schedule=SCHEDULE, use_monitor=False)
async def notify(timer: func.TimerRequest) -> None:
    """Send the notifications that are due. Raises SettingsError."""
    settings = Settings.read()
    with telemetry.activity("notify", {}):
        try:
            due = await ACTIVITIES.run(webhooks.take, settings.database_uri, settings.owner)
            if due:
                async with aiohttp.ClientSession(trust_env=True) as session:
                    await asyncio.gather(*(_deliver(session, settings, one) for one in due))
        except DatabaseUnreachable as error:
            # Those already taken are sent again after their lease.
            extra = {"event": "webhook.postponed"}
            telemetry.LOG.warning("Notifications wait for the database: %s", error, extra=extra)


async def _deliver(
    session: aiohttp.ClientSession, settings: Settings, notification: Notification
) -> None:
    """Try once. Raises DatabaseUnreachable."""
    uri = settings.database_uri
    try:
        await _post(session, settings, notification)
    except NotSent as error:
        if error.is_final:
            _log("webhook.abandoned", notification, "was refused for ever", error)
            return await ACTIVITIES.run(webhooks.abandon, uri, notification)
        if notification.tries < webhooks.MAX_TRIES:
            _log("webhook.postponed", notification, "is sent later", error)
            return await ACTIVITIES.run(webhooks.postpone, uri, notification)
        _log("webhook.abandoned", notification, "was not sent", error)
    await ACTIVITIES.run(webhooks.complete, uri, notification)


async def _post(
    session: aiohttp.ClientSession, settings: Settings, notification: Notification
) -> None:
    """Raises NotSent. Follows no redirect, because the policy allows hosts."""
    url, now = _url(settings, notification), datetime.now(UTC)
    try:
        content = json.dumps(document(notification, now), allow_nan=False).encode()
    except (AttributeError, ValueError):  # any role that may write the table may have written it
        raise NotSent("The fleet's row in the database is invalid.") from None
    identity = f"{names.instance_id(notification.batch_id)}.{notification.event}"
    signed = signature_headers(identity, int(now.timestamp()), content, settings.webhook_keys)
    headers = {"Content-Type": "application/json", "User-Agent": "powerlift-fleet", **signed}
    timeout = aiohttp.ClientTimeout(TIMEOUT)
    try:
        async with session.post(
            url, data=content, headers=headers, allow_redirects=False, timeout=timeout
        ) as answer:
            status = answer.status
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        raise NotSent(f"The webhook is unreachable ({type(error).__name__}).") from None
    if not 200 <= status < 300:
        raise NotSent(f"The webhook answered HTTP {status}.", is_final=status == GONE)


def document(notification: Notification, now: datetime) -> dict[str, Any]:
    """The body of a request. The numbers are those of `GET /api/fleets`."""
    reason = notification.reason
    return {
        "type": notification.event,
        "timestamp": now.isoformat(),
        "data": {
            "id": names.instance_id(notification.batch_id),
            "number": notification.number,
            "name": notification.name,
            "experiment_id": notification.experiment_id,
            "experiment_name": notification.experiment_name,
            "phase": notification.phase,
            "reason": reason
            and {
                name: str(reason.get(name, ""))[:LONGEST_TEXT]
                for name in ("code", "message", "advice")
            },
            "machines": notification.machines,
            "trials": notification.trials,
            "cost": notification.cost,
            "submitted_at": notification.submitted_at.isoformat(),
            "ended_at": notification.ended_at and notification.ended_at.isoformat(),
        },
    }


def _url(settings: Settings, notification: Notification) -> str:
    """The URL of the fleet's webhook, if the deployment still allows it. Raises NotSent."""
    if not settings.webhook_keys:
        raise NotSent("FLEET_WEBHOOK_SECRET is not set.")
    seal = Seal(settings.sealing_keys)
    try:
        found = seal.decrypt(notification.sealed, settings.owner, notification.batch_id)
    except SealBroken as error:
        raise NotSent(str(error)) from None
    url = found["notify_url"]
    if not settings.policy.allows("FLEET_ALLOWED_WEBHOOKS", host_of(url) or ""):
        raise NotSent("FLEET_ALLOWED_WEBHOOKS no longer allows its host.", is_final=True)
    return url


def _log(event: str, notification: Notification, what: str, error: NotSent) -> None:
    extra = {"event": event, "fleet": names.instance_id(notification.batch_id)}
    text = "The notification %s %s: %s"
    telemetry.LOG.warning(text, notification.event, what, error, extra=extra)
