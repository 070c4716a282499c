"""Renders a VM's startup script from the fragments in `startup/`, `agent.py`, `packages.py` and the VM's
values.

Deterministic: equal values give equal scripts.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from urllib.parse import quote, urlencode

from fleet.model.database_uri import ADDRESS, libpq_options
from fleet.model.order_parts import VmIdentity

CUSTOM_DATA_LIMIT = 65_535
"""Azure's limit in bytes, before base64."""

NO_TIMEOUT = 1e9
"""Seconds (31 years) that represent "no limit" in the environment variable TIMEOUT. Powerlift's runner
requires a number, and its `threading.Timer` fires immediately for 0 and raises OverflowError for inf."""

OVERDUE_GRACE = (600, 3600)
"""Seconds after a trial's timeout, at least and at most, in which the experiment's script may end the
trial; a tenth of the timeout. Then the VM ends the script, which would keep it from other trials."""

HEARTBEAT_SECONDS = 60
"""Between a VM's heartbeats, in fleets of up to 1,200 VMs."""
HEARTBEATS_PER_SECOND = 20
"""Limit for a fleet: each heartbeat is a login with TLS, which costs the server some 10 ms of CPU. A
connection that stays open would cost one of its `max_connections` for each VM."""

KEEPALIVE = {
    "connect_timeout": "15",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""Default libpq options of the URI, in seconds (the last in milliseconds). Azure's NAT silently drops
connections that are idle for 4 minutes; without keepalives a long trial then blocks for 15 minutes."""

CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
"""Ubuntu's CA certificates, by path: `sslrootcert=system` requires libpq 16, Ubuntu 22.04 has 14, and
the OpenSSL inside the drivers' wheels looks for them in another place."""

_FRAGMENTS = Path(__file__).with_name("startup")
_AGENT = Path(__file__).with_name("agent.py")
_LOCKER = Path(__file__).with_name("packages.py")
_LOCK = Path(__file__).with_name("requirements.txt")
_MARK = "# VALUES OF THIS VM\n"
_COMMENT_LINES = re.compile(r"^ *#(?!!).*\n", re.MULTILINE)
_INDENT = re.compile(r"^(?: {4})+", re.MULTILINE)
_DOCSTRINGS = re.compile(r'^ *"""[^"]*"""\n', re.MULTILINE)
_DRIVERS = ("postgresql+psycopg", "postgresql+psycopg2")
"""SQLAlchemy dialects whose drivers the VM installs. Any other becomes plain `postgresql`."""


class CustomDataTooLarge(ValueError):
    """The script exceeds Azure's limit for custom data."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The VM's startup script has {size} bytes; Azure's limit is {CUSTOM_DATA_LIMIT}."
        )


@dataclass(frozen=True, slots=True)
class Startup:
    """The values of one VM's script. `repr` omits `uri`, which contains the database password."""

    experiment_id: int
    runner_id: int
    uri: str = field(repr=False)
    """The Powerlift database, as a SQLAlchemy or libpq URI."""
    fleet_size: int
    """VMs of the fleet, which share the database."""
    timeout: float | None
    """Seconds per trial; None for no limit."""
    delete_on_complete: bool
    subscription_id: str
    resource_group: str
    vm_name: str
    lock_key: str
    """The key of the fleet's lock of packages: `requirements_lock.lock_key`."""
    resource_manager_endpoint: str
    """The ARM endpoint for the VM's own deletion: https://management.azure.com, or another cloud's."""
    database_identity: VmIdentity | None = None
    """With which the VM logs in to the database; requires a `uri` without a password."""
    lock_digest: str = ""
    """SHA-256 of the lock, if the request has one."""
    root_certificates: str = ""
    """PEM, to verify the database's certificate with; empty for those of the image."""
    is_spot: bool = False
    """Whether Azure may evict the VM: then it takes no trial that has lost two VMs."""
    trial_order: str = "fifo"
    """`fifo`, `shuffled` or `paired`: in which order the VM takes trials."""
    trial_seed: int = 0
    """What the order is drawn from."""
    cpu_models: Sequence[str] = ()
    """The processors that the VM may have, as parts of their names; empty: any."""


def template() -> str:
    """The script without a VM's values: the fragments in order of their names."""
    return "".join(part.read_text() for part in sorted(_FRAGMENTS.glob("*.sh")))


def script_digest() -> str:
    """SHA-256 of what all VMs get from this build: the script, its programs and the tools' versions."""
    programs = (program.read_text(encoding="utf-8") for program in (_AGENT, _LOCKER))
    parts = (template(), *programs, _pinned_tools())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def render(startup: Startup) -> str:
    """The complete bash script. Raises ValueError, without quoting it, for an invalid PostgreSQL URI.

    Without comment lines, docstrings and most of the indentation, which would take a third of the custom
    data.
    """
    before, mark, after = template().partition(_MARK)
    assert mark, f"{_FRAGMENTS.name}/ lacks the marker line for values"  # noqa: S101 (tests render it)
    values = "".join(f"readonly {name}={value}\n" for name, value in _values(startup))
    return _compact(_COMMENT_LINES.sub("", before) + values + _COMMENT_LINES.sub("", after))


def heartbeat_interval(fleet_size: int) -> int:
    """Seconds between two heartbeats of a VM."""
    return max(HEARTBEAT_SECONDS, ceil(fleet_size / HEARTBEATS_PER_SECOND))


def overdue_after(timeout: float) -> int:
    """Seconds from a trial's start until the VM ends the experiment's script."""
    shortest, longest = OVERDUE_GRACE
    return ceil(min(timeout + min(max(timeout / 10, shortest), longest), NO_TIMEOUT))


def custom_data(script: str) -> str:
    """The script as a VM's `osProfile.customData`: base64. Raises CustomDataTooLarge."""
    data = script.encode()
    if len(data) > CUSTOM_DATA_LIMIT:
        raise CustomDataTooLarge(len(data))
    return base64.b64encode(data).decode()


def _values(startup: Startup) -> Iterable[tuple[str, str]]:
    """Names and values as bash words. Secrets and file contents are base64."""
    timeout = NO_TIMEOUT if startup.timeout is None else startup.timeout
    yield "EXPERIMENT_ID", str(int(startup.experiment_id))
    yield "RUNNER_ID", str(int(startup.runner_id))
    yield "TIMEOUT", str(float(timeout))
    yield "OVERDUE_SECONDS", str(overdue_after(timeout))
    yield "HEARTBEAT_SECONDS", str(heartbeat_interval(startup.fleet_size))
    yield "DELETE_ON_COMPLETE", "true" if startup.delete_on_complete else "false"
    yield "SUBSCRIPTION_ID", shlex.quote(startup.subscription_id)
    yield "RESOURCE_GROUP", shlex.quote(startup.resource_group)
    yield "VM_NAME", shlex.quote(startup.vm_name)
    yield "IS_SPOT", "true" if startup.is_spot else "false"
    yield "TRIAL_ORDER", shlex.quote(startup.trial_order)
    yield "TRIAL_SEED", str(int(startup.trial_seed))
    yield "SCRIPT_DIGEST", script_digest()
    yield "CPU_MODELS", shlex.quote("\n".join(startup.cpu_models))
    yield "RESOURCE_MANAGER", shlex.quote(startup.resource_manager_endpoint.rstrip("/"))
    identity = startup.database_identity
    yield "DATABASE_IDENTITY", shlex.quote(identity["id"] if identity else "")
    root_cert = "" if startup.root_certificates else CA_FILE
    options = {**KEEPALIVE, **libpq_options(startup.uri, root_cert)}
    # Not in URI and file, which libpq 14 would refuse: it ignores the environment variable.
    yield "REQUIRE_AUTH", shlex.quote(options.pop("require_auth", ""))
    if identity:
        options["user"] = identity["database_user"]
    dialect = startup.uri.partition("://")[0]
    yield "DB_URL_BASE64", _base64(_sqlalchemy_uri(dialect, options))
    password = options.pop("password", None)
    yield "PG_SERVICE_BASE64", _base64(_service_file(options))
    yield "PG_PASSWORD_BASE64", _base64(_password_file(password))
    yield "ROOT_CERTIFICATES_BASE64", _base64(startup.root_certificates)
    yield "LOCK_KEY", shlex.quote(startup.lock_key)
    yield "LOCK_DIGEST", shlex.quote(startup.lock_digest)
    yield "TOOLS", shlex.quote(_pinned_tools())
    for name, program in (("AGENT", _AGENT), ("LOCKER", _LOCKER)):
        yield name, shlex.quote(_DOCSTRINGS.sub("", program.read_text(encoding="utf-8")))


def pinned_version(package: str) -> str:
    """The version of a package in the lock of what every VM installs."""
    found = re.search(
        rf"^{re.escape(package)}==(\S+)", _LOCK.read_text(encoding="utf-8"), re.MULTILINE
    )
    return found[1] if found else ""


def _pinned_tools() -> str:
    """The lock as one requirement per line, without the hashes of the compiled drivers.

    These have 200 wheels, whose hashes would take a third of the custom data.
    """
    text = _LOCK.read_text(encoding="utf-8").replace(" \\\n    ", " ")
    pins = re.findall(r"^[a-z].*$", text, re.MULTILINE)
    return "".join(f"{pin.partition(' --hash')[0] if '-binary=' in pin else pin}\n" for pin in pins)


def _compact(text: str) -> str:
    """One space for each level of indentation: bash, SQL and Python do not care."""
    return _INDENT.sub(lambda found: " " * (len(found[0]) // 4), text)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _sqlalchemy_uri(dialect: str, options: Mapping[str, str]) -> str:
    """The URI of libpq keywords, for SQLAlchemy with a driver that the VM installs, and for libpq.

    Made of the keywords that the policy has checked, not of the request's text: parsers disagree about
    the host of a URI with an unencoded @ or / in other parts.
    """
    query = {name: value for name, value in options.items() if name not in ADDRESS}
    part = {name: quote(options.get(name, ""), safe="") for name in ("user", "password")}
    login = part["user"] + (f":{part['password']}" if part["password"] else "")
    host, port = options["host"], options.get("port")
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    if host.startswith("/"):  # a socket's directory, which SQLAlchemy takes only from the query
        place, query["host"] = "", host
        query |= {"port": port} if port else {}
    address = (
        (f"{login}@" if login else "")
        + place
        + (f"/{options['dbname']}" if "dbname" in options else "")
    )
    dialect = dialect if dialect in _DRIVERS else "postgresql"
    return f"{dialect}://{address}?{urlencode(query, quote_via=quote)}"


def _service_file(options: Mapping[str, str]) -> str:
    """A libpq service file: psql accepts a URI only as an argument, which every user can read."""
    return "[powerlift]\n" + "".join(f"{key}={value}\n" for key, value in options.items())


def _password_file(password: str | None) -> str:
    """A libpq password file; empty without a password."""
    if password is None:
        return ""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"
