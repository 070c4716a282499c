"""Health of the deployment: anonymous requests get the result, requests with a key each check."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from azure.core.exceptions import ResourceNotFoundError
from azure.identity.aio import DefaultAzureCredential

from fleet import telemetry
from fleet.api import policy
from fleet.api.responses.app import (
    CheckName,
    Condition,
    Health,
    HealthCheck,
    HealthDetails,
    PolicySetting,
)
from fleet.azure import credentials
from fleet.azure.error_classifier import describe
from fleet.model import failure_policy
from fleet.model.failure import DescribedError
from fleet.secrets import Seal
from fleet.settings import Settings, SettingsError, schedule_faults, unresolved_references
from fleet.store import schema
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import OWN
from triggers import durable_client, sealed_fleets
from triggers.http import query_cache
from triggers.http.problems import READ, json_response, with_problems
from triggers.queue import CONNECTION, QUEUE

bp = df.Blueprint()

TIMEOUT = 10.0
"""Seconds for all checks together, which run concurrently."""
MAX_AGE = 15
"""Seconds for which anonymous requests share one run, so that they do not cost a database login each."""


@bp.route(route="health", methods=READ, auth_level=func.AuthLevel.ANONYMOUS)
@bp.durable_client_input(client_name="client")
@with_problems
async def health(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """200 if every check passed within the last MAX_AGE seconds, else 503, without the reason."""
    checks = await query_cache.share("health", MAX_AGE, lambda: run_checks(client))
    body: Health = {"status": _condition(checks)}
    if body["status"] == "ok":
        return json_response(200, body)
    return json_response(503, body, {"Retry-After": str(MAX_AGE)})


@bp.route(route="health/details", methods=READ)
@bp.durable_client_input(client_name="client")
@with_problems
async def get_health_details(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """200 with the result of each check, also of those that failed."""
    checks = await run_checks(client)
    body: HealthDetails = {"status": _condition(checks), "checks": checks, "policy": _policy()}
    return json_response(200, body)


def _policy() -> list[PolicySetting]:
    try:
        return policy.summary(Settings.read())
    except SettingsError:
        return []  # the check of the settings has failed


def _condition(checks: list[HealthCheck]) -> Condition:
    ok = all(one["status"] in ("ok", "skipped") for one in checks)
    return "ok" if ok else "unavailable"


class Skipped(Exception):
    """The check does not apply to these settings."""


class Failed(Exception):
    """The text says what is wrong, without the value of a setting."""


async def _settings(client: Any) -> str:
    unresolved = unresolved_references()
    if unresolved:
        raise SettingsError(unresolved)
    Settings.read()
    if faults := schedule_faults():
        raise SettingsError(faults)
    return "The settings are valid."


async def _sealing_key(client: Any) -> str:
    settings = _valid_settings()
    seal = Seal(settings.sealing_keys)
    try:
        async with asyncio.timeout(TIMEOUT / 2):
            fleets = await sealed_fleets.undecryptable(client, settings, seal)
    except (
        DatabaseUnreachable,
        schema.SchemaTooNew,
        durable_client.TaskHubUnavailable,
        TimeoutError,
    ):
        return "The keys are valid. The running fleets could not be read: see the other checks."
    if fleets:
        raise Failed(
            f"FLEET_SEALING_KEY does not decrypt the secrets of running fleets ({', '.join(fleets)}), "
            "which cannot manage their VMs. Append the key that encrypted them after the new one."
        )
    return "The keys are valid, and decrypt the secrets of the running fleets."


async def _database(client: Any) -> str:
    uri = _valid_settings().database_uri
    found = await query_cache.run(OWN, "health", schema.version, uri, schema.APP)
    text = f"The database responds; its tables have version {found} of {schema.APP.latest}."
    return text if found == schema.APP.latest else f"{text} The next fleet updates them."


async def _task_hub(client: Any) -> str:
    await durable_client.find(client, "health")
    return "The task hub responds."


async def _queue(client: Any) -> str:
    async with AsyncExitStack() as stack:
        queue = await _queue_client(stack)
        try:
            await queue.get_queue_properties()
        except ResourceNotFoundError:
            text = "The queue (FLEET_QUEUE) does not exist. Create it: the Functions host does not."
            raise Failed(text) from None
    return "The queue exists."


async def _queue_client(stack: AsyncExitStack) -> Any:
    """A client for the app's queue, by a connection string or, as the host does it, by an identity."""
    from azure.storage.queue.aio import QueueClient  # 0.2 s of CPU, which only this check needs

    setting, environment = CONNECTION, os.environ
    if connection := environment.get(setting):
        try:
            queue = QueueClient.from_connection_string(connection, QUEUE, retry_total=0)
        except ValueError:  # its text may contain the key
            raise Failed(f"{setting} is not a connection string.") from None
        return await stack.enter_async_context(queue)
    account = environment.get(f"{setting}__accountName")
    default = account and f"https://{account}.queue.core.windows.net"
    url = environment.get(f"{setting}__queueServiceUri") or default
    if not url:
        raise Failed(f"{setting} is not set, nor {setting}__accountName.")
    identity = environment.get(f"{setting}__clientId")
    credential = DefaultAzureCredential(managed_identity_client_id=identity)
    await stack.enter_async_context(credential)
    return await stack.enter_async_context(
        QueueClient(url, QUEUE, credential=credential, retry_total=0)
    )


async def _azure(client: Any) -> str:
    account = credentials.own_account(_valid_settings())
    if account is None:
        raise Skipped(
            "AZURE_SUBSCRIPTION_ID or AZURE_RESOURCE_GROUP is not set: each request must name its own."
        )
    await account.resource_group()
    return "The app's identity gets a token, and may read the resource group."


def _valid_settings() -> Settings:
    try:
        return Settings.read()
    except SettingsError:
        raise Skipped("The settings are invalid: see the check settings.") from None


@dataclass(frozen=True, slots=True)
class Check:
    """`run` returns a sentence, or raises; `hint` says what to check on a timeout."""

    name: CheckName
    run: Callable[[Any], Awaitable[str]]
    hint: str


_AZURE_HINT = (
    "Check the app's managed identity, AZURE_RESOURCE_MANAGER_ENDPOINT and AZURE_AUTHORITY_HOST."
)
CHECKS = (
    Check("settings", _settings, "Restart the app."),
    Check("sealing_key", _sealing_key, "Correct FLEET_SEALING_KEY."),
    Check("database", _database, "Check POWERLIFT_DB_URI, and the server and its firewall."),
    Check(
        "task_hub",
        _task_hub,
        "Check AzureWebJobsStorage, and that its storage account is reachable.",
    ),
    Check("queue", _queue, f"Check {CONNECTION}, and that its account is reachable."),
    Check("azure", _azure, _AZURE_HINT),
)


async def run_checks(client: Any) -> list[HealthCheck]:
    """Run CHECKS concurrently, for at most TIMEOUT seconds. Returns the results in their order."""
    runs = [asyncio.ensure_future(_result_of(check, client)) for check in CHECKS]
    _, late = await asyncio.wait(runs, timeout=TIMEOUT)
    for run in late:
        run.cancel()
    results = [
        _timed_out(check) if run in late else run.result()
        for check, run in zip(CHECKS, runs, strict=True)
    ]
    for one in results:
        if one["status"] in ("failed", "timeout"):
            extra = {"event": "health.failed"}
            telemetry.LOG.warning("Check %s: %s", one["name"], one["detail"], extra=extra)
    return results


def _timed_out(check: Check) -> HealthCheck:
    detail = f"No response within {TIMEOUT:.0f} s. {check.hint}"
    return {"name": check.name, "status": "timeout", "detail": detail}


async def _result_of(check: Check, client: Any) -> HealthCheck:
    try:
        return {"name": check.name, "status": "ok", "detail": await check.run(client)}
    except Skipped as reason:
        return {"name": check.name, "status": "skipped", "detail": str(reason)}
    except Exception as error:
        return {"name": check.name, "status": "failed", "detail": _explain(error, check.hint)}


def _explain(error: Exception, hint: str) -> str:
    """What is wrong and what to do, without the values that Azure's messages repeat."""
    if isinstance(error, Failed | SettingsError | durable_client.TaskHubUnavailable):
        return str(error)
    if isinstance(error, DescribedError):
        return f"{error} {hint}"
    failure = describe(error)
    if failure["code"] == type(error).__name__:
        return f"Unexpected error. The app's log has it with the ID {telemetry.unexpected(error)}."
    return f"{failure['code']}: {hint if failure_policy.of(failure).retried else failure['advice']}"
