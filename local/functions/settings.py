"""Settings from host.json, local.settings.json and the environment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

DEV_ACCOUNT = "devstoreaccount1"
# The well-known key of the development account:
# https://learn.microsoft.com/azure/storage/common/storage-use-azurite
DEV_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_CORES = os.cpu_count() or 1


class SettingsError(Exception):
    """A setting is missing or invalid. The message names it."""


@dataclass(frozen=True)
class QueueSettings:
    """host.json `extensions.queues`. Times in seconds; defaults as in Storage.Queues 5.x.

    `message_visibility` is not in host.json: it is the visibility timeout of a message in flight, which
    the extension renews at half time.
    """

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: float = 0.0
    max_polling_interval: float = 60.0
    base64: bool = True
    message_visibility: float = 600.0


@dataclass(frozen=True)
class DurableSettings:
    """host.json `extensions.durableTask`. Limits default to ten per core, as in Azure.

    Times in seconds. The visibility timeouts apply to messages and activities in flight.
    """

    hub_name: str = "TestHubName"
    max_activities: int = 10 * _CORES
    max_orchestrators: int = 10 * _CORES
    replace_running: bool = False
    message_visibility: float = 300.0
    activity_visibility: float = 300.0
    max_polling_interval: float = 30.0
    default_version: str | None = None
    version_match: str = "CurrentOrOlder"
    version_failure: str = "Reject"


@dataclass(frozen=True)
class HostSettings:
    """host.json. `function_timeout` is in seconds, None for no limit."""

    route_prefix: str = "api"
    function_timeout: float | None = 1800.0
    queues: QueueSettings = field(default_factory=QueueSettings)
    durable: DurableSettings = field(default_factory=DurableSettings)


def development_storage(
    queue_port: int = 10001, account: str = DEV_ACCOUNT, key: str = DEV_KEY
) -> str:
    """The connection string of the queue service of a local Azurite."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};"
        f"QueueEndpoint=http://127.0.0.1:{queue_port}/{account};"
    )


def load_values(path: Path) -> None:
    """Add the `Values` of a local.settings.json to the environment. Existing variables take precedence.

    Ignores a missing file. Raises SettingsError for an unreadable one.
    """
    if path.is_file():
        for name, value in _read(path).get("Values", {}).items():
            os.environ.setdefault(name, str(value))


def load_host_settings(path: Path, environment: Mapping[str, str]) -> HostSettings:
    """Load host.json from `path`. Raises SettingsError if it is missing or invalid."""
    if not path.is_file():
        raise SettingsError(
            f"{path} is missing: --host-root must be the directory of a Functions app"
        )
    content = _resolve_all(_overridden(_read(path), environment), environment)
    extensions = content.get("extensions", {})
    try:
        return HostSettings(
            route_prefix=extensions.get("http", {}).get("routePrefix", "api").strip("/"),
            function_timeout=_timeout(content.get("functionTimeout")),
            queues=_queue_settings(extensions.get("queues", {})),
            durable=_durable_settings(extensions.get("durableTask", {})),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path} is invalid: {error}") from error


def resolve(text: str, environment: Mapping[str, str]) -> str:
    """`text` with each %NAME% replaced by that setting. Raises SettingsError for a missing one."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in environment:
            raise SettingsError(
                f"'%{name}%' does not resolve to a value: set {name} in the environment "
                "or among the Values of local.settings.json"
            )
        return environment[name]

    return re.sub(r"%([^%\s]+)%", value, text)


def parse_timespan(text: str) -> timedelta:
    """A .NET TimeSpan, `[d.]hh:mm:ss[.fff]`. Raises ValueError for anything else."""
    match = re.fullmatch(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)", text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a time span like 00:05:00")
    return timedelta(
        days=int(match[1] or 0), hours=int(match[2]), minutes=int(match[3]), seconds=float(match[4])
    )


def _overridden(content: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """host.json with its overrides: settings named `AzureFunctionsJobHost__` plus a path with `__`."""
    for name, value in environment.items():
        prefix, *path = name.split("__")
        if prefix.lower() != "azurefunctionsjobhost" or not path:
            continue
        part = content
        for member in path[:-1]:
            part = part.setdefault(member, {})
        part[path[-1]] = value
    return content


def _timeout(text: str | None) -> float | None:
    if text is None:
        return HostSettings.function_timeout
    return None if text in ("-1", "-00:00:01") else parse_timespan(text).total_seconds()


def _queue_settings(content: Mapping[str, Any]) -> QueueSettings:
    batch = int(content.get("batchSize", QueueSettings.batch_size))
    if not 1 <= batch <= 32:
        raise ValueError(f"queues.batchSize is {batch}, must be 1 to 32")
    encoding = content.get("messageEncoding", "base64")
    if encoding not in ("base64", "none"):
        raise ValueError(f"queues.messageEncoding is '{encoding}', must be base64 or none")
    return QueueSettings(
        batch_size=batch,
        new_batch_threshold=int(content.get("newBatchThreshold", batch // 2)),
        max_dequeue_count=int(content.get("maxDequeueCount", QueueSettings.max_dequeue_count)),
        visibility_timeout=_seconds(content, "visibilityTimeout", QueueSettings.visibility_timeout),
        max_polling_interval=_seconds(
            content, "maxPollingInterval", QueueSettings.max_polling_interval
        ),
        base64=encoding == "base64",
    )


def _durable_settings(content: Mapping[str, Any]) -> DurableSettings:
    override = _choice(
        content, "overridableExistingInstanceStates", ("NonRunningStates", "AnyState")
    )
    storage = content.get("storageProvider", {})
    limits = {
        key: int(content.get(name, 10 * _CORES))
        for key, name in (
            ("max_activities", "maxConcurrentActivityFunctions"),
            ("max_orchestrators", "maxConcurrentOrchestratorFunctions"),
        )
    }
    if min(limits.values()) < 1:
        raise ValueError("durableTask.maxConcurrent...Functions must be at least 1")
    return DurableSettings(
        hub_name=content.get("hubName", DurableSettings.hub_name),
        replace_running=override == "AnyState",
        message_visibility=_visibility(storage, "controlQueueVisibilityTimeout"),
        activity_visibility=_visibility(storage, "workItemQueueVisibilityTimeout"),
        max_polling_interval=_seconds(
            storage, "maxQueuePollingInterval", DurableSettings.max_polling_interval
        ),
        default_version=content.get("defaultVersion"),
        version_match=_choice(
            content, "versionMatchStrategy", ("CurrentOrOlder", "Strict", "None")
        ),
        version_failure=_choice(content, "versionFailureStrategy", ("Reject", "Fail")),
        **limits,
    )


def _choice(content: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    """The value of `name`, case-insensitive; defaults to the first of `known`."""
    value = str(content.get(name, known[0]))
    for one in known:
        if one.lower() == value.lower():
            return one
    raise ValueError(f"durableTask.{name} is '{value}', must be one of {', '.join(known)}")


def _visibility(content: Mapping[str, Any], name: str) -> float:
    """A visibility timeout. The extension validates only the control queue's, with this message; here
    the work item queue's has the same bounds."""
    seconds = _seconds(content, name, DurableSettings.message_visibility)
    if not 60 <= seconds <= 3600:
        raise ValueError(f"{name[0].upper()}{name[1:]} must be between 1 and 60 minutes.")
    return seconds


def _seconds(content: Mapping[str, Any], name: str, default: float) -> float:
    return parse_timespan(content[name]).total_seconds() if name in content else default


def _resolve_all(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return resolve(value, environment)
    if isinstance(value, dict):
        return {key: _resolve_all(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve_all(item, environment) for item in value]
    return value


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must contain a JSON object")
    return content
