"""The script a VM runs at its first boot: the fragments in `startup/`, with `agent.py` and its values.

Standard library only; no I/O but reading the fragments, and the same text for the same values.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

CUSTOM_DATA_LIMIT = 65_535
"""Bytes, before base64: what Azure takes as a VM's custom data."""

NO_TIMEOUT = 1e9
"""Seconds, 31 years: how "no limit" is told to a trial runner. Powerlift's own calls
`float(os.environ["TIMEOUT"])`, so it can be neither absent nor "None", and gives the number to
`threading.Timer`, which takes 0 for "at once" and refuses "inf" (OverflowError in its thread)."""

STEADY = {
    "connect_timeout": "15",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""libpq's options that a URI gets where it does not say otherwise (seconds; the last: milliseconds).
Azure's NAT forgets a connection that is idle for 4 minutes without a word to either side: a trial that
computes for longer would wait for an answer for a quarter of an hour, and a VM with it."""

_FRAGMENTS = Path(__file__).with_name("startup")
_GUEST = Path(__file__).with_name("agent.py")
_MARK = "# VALUES OF THIS VM\n"
_DRIVERS = ("postgresql+psycopg", "postgresql+psycopg2")
"""SQLAlchemy dialects whose drivers the VM installs; any other is left to SQLAlchemy's default."""


class CustomDataTooLarge(ValueError):
    """The script is larger than Azure takes as custom data."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The VM's startup script would have {size} bytes; Azure takes {CUSTOM_DATA_LIMIT}."
        )


@dataclass(frozen=True, slots=True)
class Startup:
    """What one VM has to know. `uri` is left out of `repr`: it holds the database's password."""

    experiment_id: int
    runner_id: int
    uri: str = field(repr=False)
    """The Powerlift database, as SQLAlchemy or libpq write it."""
    timeout: float | None
    """Seconds that a trial may take; None for no limit."""
    delete_on_complete: bool
    subscription_id: str
    resource_group: str
    vm_name: str
    resource_manager_endpoint: str
    """Where the VM asks for its own deletion: https://management.azure.com, or another cloud's."""


def template() -> str:
    """The script without a VM's values: its fragments in the order of their names."""
    return "".join(part.read_text() for part in sorted(_FRAGMENTS.glob("*.sh")))


def render(startup: Startup) -> str:
    """The whole script, for bash.

    Raises ValueError for a URI that is no PostgreSQL URI; the message does not quote it.
    """
    before, mark, after = template().partition(_MARK)
    assert mark, f"{_FRAGMENTS.name}/ has lost the line where values go"
    return (
        before + "".join(f"readonly {name}={value}\n" for name, value in _values(startup)) + after
    )


def custom_data(script: str) -> str:
    """The script as a VM's `osProfile.customData`: base64. Raises CustomDataTooLarge."""
    data = script.encode()
    if len(data) > CUSTOM_DATA_LIMIT:
        raise CustomDataTooLarge(len(data))
    return base64.b64encode(data).decode()


def _values(startup: Startup) -> Iterable[tuple[str, str]]:
    """Names and values as bash words. What is secret, or has lines, is base64 of a file's content."""
    timeout = NO_TIMEOUT if startup.timeout is None else startup.timeout
    yield "EXPERIMENT_ID", str(int(startup.experiment_id))
    yield "RUNNER_ID", str(int(startup.runner_id))
    yield "TIMEOUT", str(float(timeout))
    yield "DELETE_ON_COMPLETE", "true" if startup.delete_on_complete else "false"
    yield "SUBSCRIPTION_ID", shlex.quote(startup.subscription_id)
    yield "RESOURCE_GROUP", shlex.quote(startup.resource_group)
    yield "VM_NAME", shlex.quote(startup.vm_name)
    yield "RESOURCE_MANAGER", shlex.quote(startup.resource_manager_endpoint.rstrip("/"))
    yield "DB_URL_BASE64", _base64(_sqlalchemy_uri(startup.uri))
    yield "PG_SERVICE_BASE64", _base64(_service_file(startup.uri))
    yield "PG_PASSWORD_BASE64", _base64(_password_file(startup.uri))
    yield "GUEST", shlex.quote(_GUEST.read_text(encoding="utf-8"))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _sqlalchemy_uri(uri: str) -> str:
    """The URI as SQLAlchemy takes it, with a driver that the VM has."""
    scheme, _, rest = uri.strip().partition("://")
    given = _libpq_options(uri)
    more = urlencode({name: value for name, value in STEADY.items() if name not in given})
    joint = "&" if "?" in rest else "?"
    return f"{scheme if scheme in _DRIVERS else 'postgresql'}://{rest}{joint}{more}".rstrip("?&")


def _service_file(uri: str) -> str:
    """All of the URI but its password as a libpq connection service, which psql reads from a file.

    psql takes a URI only as an argument, where every user of the machine can read it.
    """
    options = {**STEADY, **_libpq_options(uri)}
    options.pop("password", None)
    return "[powerlift]\n" + "".join(f"{key}={value}\n" for key, value in options.items())


def _password_file(uri: str) -> str:
    """The URI's password as a libpq password file, for whatever host; empty when it has none."""
    password = _libpq_options(uri).get("password")
    if password is None:
        return ""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"


def _libpq_options(uri: str) -> dict[str, str]:
    """The URI taken apart into libpq's keywords, percent-decoded; its query counts last."""
    try:
        parts = urlsplit(uri.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("The database's URI cannot be read: is its password encoded?") from None
    if parts.scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise ValueError("The database's URI must start with postgresql://.")
    named = {
        "host": host,
        "port": str(port) if port else None,
        "user": parts.username,
        "password": parts.password,
        "dbname": parts.path[1:],
    }
    options = {key: unquote(value) for key, value in named.items() if value}
    options.update(parse_qsl(parts.query))
    if any(character in value for value in options.values() for character in "\r\n\0"):
        raise ValueError("The database's URI holds a line break, which no PostgreSQL client takes.")
    return options
