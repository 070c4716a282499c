"""`python -m local.queues`: creates the app's queues, which the Functions host does not.

With `--sas`, also prints the queue's URL with a SAS that may only add messages, for a sender.

Reads `local.settings.json` and the environment, like the host. Existing queues are not changed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.queue import QueueSasPermissions, QueueServiceClient, generate_queue_sas

from local.functions.settings import SettingsError, load_values
from local.functions.storage import Account, find_account

QUEUE = "powerlift-fleets"
"""The app's queue, unless FLEET_QUEUE is set."""

CONNECTIONS = ("FLEET_QUEUE_CONNECTION", "AzureWebJobsStorage")
"""The app uses the first that is set."""

SAS_DAYS = 7

_SETTINGS = Path("local.settings.json")


def make_queues(account: Account, name: str) -> tuple[str, str]:
    """Create the queue `name` and its poison queue if they do not exist. Returns their names.

    Raises ValueError for an invalid connection string, or AzureError.
    """
    names = (name, f"{name}-poison")
    with _service(account) as service:
        for each in names:
            with suppress(ResourceExistsError):
                service.create_queue(each)
    return names


def sender_url(account: Account, name: str) -> str:
    """The URL of the queue `name` with a SAS for SAS_DAYS that may only add messages: a secret.

    Raises SettingsError without the account's key, which signs it.
    """
    with _service(account) as service:
        key = getattr(service.credential, "account_key", None)
        if key is None:
            raise SettingsError("--sas requires a connection string with the account's key.")
        expiry = datetime.now(UTC) + timedelta(days=SAS_DAYS)
        may_add = QueueSasPermissions(add=True)
        token = generate_queue_sas(str(service.account_name), name, key, may_add, expiry)
        return f"{service.get_queue_client(name).url}?{token}"


def _service(account: Account) -> QueueServiceClient:
    if not account.url:
        return QueueServiceClient.from_connection_string(account.connection_string, retry_total=1)
    from azure import identity

    return QueueServiceClient(account.url, account.credential(identity), retry_total=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns 0 if both queues exist, otherwise 1."""
    parser = argparse.ArgumentParser(
        prog="python -m local.queues", description="Creates the app's queues."
    )
    sas = (
        f"print the queue's URL with a SAS of {SAS_DAYS} days that may only add messages (a secret)"
    )
    parser.add_argument("--sas", action="store_true", help=sas)
    wants_sas = parser.parse_args(arguments).sas
    connection = CONNECTIONS[-1]
    try:
        load_values(_SETTINGS)
        found = {name: find_account(name, os.environ) for name in CONNECTIONS}
        connection = next((name for name in CONNECTIONS if found[name]), connection)
        account = found[connection]
        if account is None:
            raise SettingsError(
                f"neither {' nor '.join(CONNECTIONS)} is set, in {_SETTINGS} or the environment."
            )
        made = make_queues(account, os.environ.get("FLEET_QUEUE") or QUEUE)
        text = f"The queues {' and '.join(made)} exist."
        text = sender_url(account, made[0]) if wants_sas else text
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
    except ValueError:  # its text may contain the account's key
        print(f"error: {connection} is not a connection string", file=sys.stderr)
    except AzureError as error:
        print(f"error: the storage account: {str(error).splitlines()[0]}", file=sys.stderr)
    else:
        print(text)
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
