"""What of the caller's environment reaches the stand-ins, and what reaches a simulated VM."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

_OURS = ("AZURE_", "POWERLIFT_", "FLEET_", "AzureWebJobs")
"""Prefixes of variables that the app reads. Those of the caller are dropped: a developer's real
Azure account must never meet a stack that creates and deletes VMs at will."""

_PACKAGE_INDEX = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT",
    "PIP_TRUSTED_HOST", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT", "PIP_CONSTRAINT", "PIP_CONFIG_FILE",
    "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS",
    "UV_NO_INDEX", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT",
    "UV_CONSTRAINT", "UV_CONFIG_FILE", "UV_OFFLINE", "NETRC",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip
"""What pip and uv on a VM need of the caller to reach a package index. Named one by one, since
others of their variables (PIP_TARGET, UV_PYTHON) would send packages to another place."""

_LOGIN = re.compile(
    r"(?P<scheme>https?://)(?P<user>[^/@:\s]+):(?P<password>[^/@\s]*)@(?P<host>[^/:\s]+)"
)

_UV = """\
#!/bin/sh
# The package index first; where it cannot be reached, what the cache has.
{uv} "$@" && exit
status=$?
{uv} --offline "$@" >/dev/null 2>&1 || exit $status
echo "Installed from the cache of this machine instead." >&2
"""


def outer_environment() -> dict[str, str]:
    """The caller's environment without what the app reads, and with loopback off any proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    direct = kept.get("NO_PROXY") or kept.get("no_proxy")
    direct = ",".join(filter(None, [direct, "127.0.0.1,localhost"]))
    return {**kept, "NO_PROXY": direct, "no_proxy": direct, "PYTHONUNBUFFERED": "1"}


def machine_environment(cache: Path, netrc: Path) -> dict[str, str]:
    """What a simulated VM has beyond a plain one: the way to a package index, and a shared cache.

    It reaches the simulator as arguments, which anyone on this machine can list; so the logins in
    index URLs are moved into the file `netrc`, which pip and uv read (a proxy that wants a login is
    out of reach). One thread per process for
    numerical libraries, since all VMs share this machine's cores.
    """
    outer = outer_environment()
    index = {name: outer[name] for name in _PACKAGE_INDEX if name in outer}
    return {
        **_without_logins(index, netrc),
        "UV_CACHE_DIR": str(cache / "uv"),
        "UV_LINK_MODE": "hardlink",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def machine_tools(directory: Path) -> Path:
    """The directory, for the PATH of the VMs, with uv alone: the rest of our .venv is not theirs."""
    directory.mkdir(exist_ok=True)
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is not None:
        (directory / "uv").unlink(missing_ok=True)  # a VM of an earlier start may be reading it
        (directory / "uv").write_text(_UV.format(uv=shlex.quote(uv)))
        (directory / "uv").chmod(0o755)
    return directory


def _without_logins(variables: Mapping[str, str], netrc: Path) -> dict[str, str]:
    entries: dict[str, str] = {}

    def move(login: re.Match[str]) -> str:
        user, password = unquote(login["user"]), unquote(login["password"])
        entries[login["host"]] = f"machine {login['host']} login {user} password {password}\n"
        return f"{login['scheme']}{login['host']}"

    cleaned = {name: _LOGIN.sub(move, value) for name, value in variables.items()}
    if not entries:
        return cleaned
    known = Path(variables["NETRC"]) if "NETRC" in variables else Path.home() / ".netrc"
    netrc.touch(mode=0o600)
    netrc.write_text("".join(entries.values()) + (known.read_text() if known.exists() else ""))
    return {**cleaned, "NETRC": str(netrc)}
