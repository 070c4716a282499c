"""`python -m local.queues`: creates the app's queues, which the Functions host does not.

Reads `local.settings.json` and the environment, like the host. Existing queues are not changed.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.queue import QueueServiceClient

from local.functions.settings import SettingsError, load_values
from local.functions.storage import Account, find_account

QUEUE = "powerlift-fleets"
"""The app's queue, unless FLEET_QUEUE is set."""

CONNECTIONS = ("FLEET_QUEUE_CONNECTION", "AzureWebJobsStorage")
"""The app uses the first that is set."""

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


def _service(account: Account) -> QueueServiceClient:
    if not account.url:
        return QueueServiceClient.from_connection_string(account.connection_string, retry_total=1)
    from azure import identity

    return QueueServiceClient(account.url, account.credential(identity), retry_total=1)


def main() -> int:
    """Run the command line. Returns 0 if both queues exist, otherwise 1."""
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
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
    except ValueError:  # its text may contain the account's key
        print(f"error: {connection} is not a connection string", file=sys.stderr)
    except AzureError as error:
        print(f"error: the storage account: {str(error).splitlines()[0]}", file=sys.stderr)
    else:
        print(f"The queues {' and '.join(made)} exist.")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
