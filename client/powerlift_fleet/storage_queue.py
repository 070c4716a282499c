"""Submits a fleet through the app's storage queue, for code that cannot reach the app over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from powerlift_fleet.api import wire
from powerlift_fleet.api.errors import (
    ConfigurationError,
    FleetUnreachable,
    NotFound,
    OutcomeUnknown,
    RequestRefused,
    Unauthorized,
)
from powerlift_fleet.api.flows import new_batch_id
from powerlift_fleet.api.responses import QueuedSubmission

if TYPE_CHECKING:
    from powerlift_fleet.api.client import FleetClient

DEFAULT_QUEUE = "powerlift-fleets"

MAX_MESSAGE_BYTES = 48 * 1024
"""64 KiB after base64."""

_SCOPE = "https://storage.azure.com/.default"
READ_TIMEOUT = 120.0
"""Seconds within which the app reads a queue message."""

_INVALID = (
    "Invalid storage queue. Pass the queue's URL (https://account.queue.core.windows.net/"
    "powerlift-fleets), with a SAS (?sv=...) or without, or the account's connection string."
)
_NETWORK = "Otherwise check the account's network rules."
_DENIED = {
    "key": "Check the account's key.",
    "sas": "Use a SAS of this queue that permits adding messages (sp=a) and is still valid.",
    "identity": "The identity needs the role Storage Queue Data Message Sender at the queue.",
}
"""What to do after a 401 or 403, by the way of authentication."""


class QueueNotFound(NotFound):
    advice = (
        "Pass the app's queue (its setting FLEET_QUEUE), or create it: az storage queue create."
    )


class QueueAccessDenied(Unauthorized):
    advice = f"{_NETWORK} No fleet was started."


@dataclass(frozen=True)
class QueueAddress:
    """A queue, and how the sender is authenticated. `repr` omits the key and the SAS."""

    name: str
    url: str = ""
    """Of the account; empty with a connection string."""
    connection_string: str = field(default="", repr=False)
    sas: str = field(default="", repr=False)

    @property
    def authentication(self) -> str:
        """A key of _DENIED."""
        return "key" if self.connection_string else "sas" if self.sas else "identity"


def submit_by_queue(
    storage: str, request: Mapping[str, Any], queue: str | None = None, *, credential: Any = None
) -> QueuedSubmission:
    """Put a request on the app's queue.

    A request without `batch_id` gets one. If the app refuses the request, its log has the reason
    under this message's ID, and the queue `<queue>-poison` has a copy.

    Args:
        storage: The queue's URL, `https://account.queue.core.windows.net/powerlift-fleets`, with a SAS
            that permits adding messages (`?...sp=a...`), or without one, for Entra ID. Or the storage
            account's connection string.
        request: The request.
        queue: The queue's name; default: the one in the URL, else powerlift-fleets.
        credential: An azure-identity credential, for a URL without a SAS; default:
            DefaultAzureCredential.

    Needs azure-storage-queue (the extra `queue`), and azure-identity (the extra `identity`) for the
    default credential. Raises ConfigurationError, RequestRefused (too long), Unauthorized, NotFound
    (no such queue), FleetUnreachable.
    """
    address = read_address(storage, queue)
    batch_id = request.get("batch_id")
    if batch_id is None:
        batch_id = new_batch_id()
    text = wire.to_json({**request, "batch_id": batch_id})
    if len(text.encode()) > MAX_MESSAGE_BYTES:
        detail = f"A queue message has at most {MAX_MESSAGE_BYTES} bytes. Submit it over HTTP."
        raise RequestRefused(400, "The request is too long for a queue message", detail)
    try:
        message = _send(address, credential, text)
    except OutcomeUnknown as error:
        error.batch_id = batch_id
        raise
    fleet = f"fleet-{batch_id}"
    raw = {"id": fleet, "batch_id": batch_id, "message_id": message}
    return QueuedSubmission(raw=raw, id=fleet, batch_id=batch_id, message_id=message)


def not_read(fleet: str, queue: str, seconds: float) -> NotFound:
    """The error for a fleet that the app does not know, `seconds` after it was submitted by queue."""
    detail = (
        f"{fleet} was put on the queue {queue}; {seconds:.0f} s later the app does not know it. It has "
        f"not read the message yet, or it refused the request: then its log has the reason, and "
        f"the queue {queue}-poison has a copy. `powerlift-fleet plan` checks a request over HTTP."
    )
    return NotFound(404, "The app does not know the fleet", detail)


def wait_until_read(client: FleetClient, fleet: str, queue: str) -> None:
    """Wait until the app knows a fleet. Raises NotFound after READ_TIMEOUT."""
    try:
        next(client.watch(fleet, appears_within=READ_TIMEOUT))
    except NotFound:
        raise not_read(fleet, queue, READ_TIMEOUT) from None


def read_address(storage: str, queue: str | None = None) -> QueueAddress:
    """The queue that `storage` and `queue` name. Raises ConfigurationError, without a secret."""
    storage = storage.strip()
    if not storage.lower().startswith(("https://", "http://")):
        return QueueAddress(queue or DEFAULT_QUEUE, connection_string=storage)
    try:
        parts = urlsplit(storage)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(_INVALID) from None
    if parts.scheme == "http" and not wire.is_loopback(host):
        raise ConfigurationError("The storage queue's URL must start with https://.")
    path = parts.path.strip("/").split("/")
    # An emulator's URL begins with the account: http://127.0.0.1:10001/devstoreaccount1/powerlift-fleets
    # Not that of its other kind: http://devstoreaccount1.queue.localhost:10001/powerlift-fleets
    is_emulator = wire.is_loopback(host) and not (host or "").endswith(".localhost")
    account = path[:is_emulator]
    named = path[len(account) :]
    if len(named) > 1 or not host:
        raise ConfigurationError(_INVALID)
    url = "/".join([f"{parts.scheme}://{parts.netloc}", *account])
    return QueueAddress(queue or "".join(named) or DEFAULT_QUEUE, url, sas=parts.query)


def _client(address: QueueAddress, credential: Any) -> Any:
    """Raises ConfigurationError; ClientAuthenticationError without a token for an identity."""
    try:
        from azure.core.credentials import AzureSasCredential
        from azure.storage.queue import QueueClient, TextBase64EncodePolicy

        if address.authentication == "identity":
            if credential is None:
                from azure.identity import DefaultAzureCredential

                credential = DefaultAzureCredential()
            # First: the queue client retries a failure for a minute and a half.
            credential.get_token(_SCOPE)
    except ImportError as error:
        package = "azure-identity" if "identity" in str(error) else "azure-storage-queue"
        raise ConfigurationError(_needs(package)) from None
    policy = TextBase64EncodePolicy()
    try:
        if address.connection_string:
            return QueueClient.from_connection_string(
                address.connection_string, address.name, message_encode_policy=policy
            )
        if address.sas:
            credential = AzureSasCredential(address.sas)
        return QueueClient(address.url, address.name, credential, message_encode_policy=policy)
    except ValueError:  # its text may contain the account's key
        raise ConfigurationError(_INVALID) from None


def _needs(package: str) -> str:
    return f"This way of queue submission needs {package}: pip install {package}."


def _send(address: QueueAddress, credential: Any, text: str) -> str:
    """The message's ID."""
    try:
        from azure.core import exceptions as azure
    except ImportError:
        raise ConfigurationError(_needs("azure-storage-queue")) from None
    try:
        with _client(address, credential) as client:
            return str(client.send_message(text).id)
    except azure.ResourceNotFoundError:
        detail = f"The storage account has no queue {address.name!r}."
        raise QueueNotFound(404, "Queue not found", detail) from None
    except azure.ClientAuthenticationError as error:
        # Without a status nothing was sent: a malformed key, or no token for the identity.
        raise _denied(address, error.status_code or 401) from None
    except azure.HttpResponseError as error:
        if error.status_code == 403:
            raise _denied(address, 403) from None
        raise _unreachable(f"status {error.status_code}") from None
    except azure.AzureError as error:
        raise _unreachable(type(error).__name__) from None


def _denied(address: QueueAddress, status: int) -> QueueAccessDenied:
    title = "The storage account denied access"
    detail = _DENIED[address.authentication]
    if address.authentication == "identity" and status == 401:
        title = "No token for the storage account"
        detail = "Sign in (az login), or pass a credential or a URL with a SAS."
    return QueueAccessDenied(status, title, " ".join([*_sas_faults(address.sas), detail]))


def _sas_faults(sas: str) -> list[str]:
    """What is wrong with a SAS, as far as its parameters show. Without its signature."""
    fields = {name: values[0] for name, values in parse_qs(sas).items()}
    faults = []
    if "sp" in fields and "a" not in fields["sp"]:
        faults.append("The SAS does not permit adding messages.")
    try:
        expiry = datetime.fromisoformat(fields["se"].replace("Z", "+00:00"))
    except (KeyError, ValueError):
        return faults
    if expiry.replace(tzinfo=expiry.tzinfo or timezone.utc) < datetime.now(timezone.utc):
        faults.append(f"The SAS expired at {fields['se']}.")
    return faults


def _unreachable(reason: str) -> FleetUnreachable:
    return FleetUnreachable(f"The storage queue did not accept the message: {reason}.")
