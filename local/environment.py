"""The environment variables of the stand-ins and of the simulated VMs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

_APP_PREFIXES = ("AZURE_", "POWERLIFT_", "FLEET_", "AzureWebJobs")
"""Prefixes of variables that the app reads. The caller's are dropped, so that a stack can never create
or delete VMs in a developer's real Azure account."""

_PACKAGE_INDEX = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT",
    "PIP_TRUSTED_HOST", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT", "PIP_CONSTRAINT", "PIP_CONFIG_FILE",
    "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS",
    "UV_NO_INDEX", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT",
    "UV_CONSTRAINT", "UV_CONFIG_FILE", "UV_OFFLINE", "NETRC",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip
"""The variables with which pip and uv on a VM reach the caller's package index. An explicit list, since
others (PIP_TARGET, UV_PYTHON) would change where packages are installed."""

_CREDENTIALS = re.compile(
    r"(?P<scheme>https?://)(?P<user>[^/@:\s]+):(?P<password>[^/@\s]*)@(?P<host>[^/:\s]+)"
)

_UV = """\
#!/bin/sh
# Use the package index; if it is unreachable, use the cache: at once without a default route, since uv
# would repeat each request.
has_route() {{
    grep -qs '^[^\t]*\t00000000\t' /proc/net/route && return
    grep -s '^0\\{{32\\}} 00 ' /proc/net/ipv6_route | grep -qv ' lo$'
}}
has_route || {{ {uv} --offline "$@" 2>/dev/null && exit; }}
{uv} "$@" && exit
status=$?
{uv} --offline "$@" >/dev/null 2>&1 || exit $status
echo "Installed from the cache instead." >&2
"""


def base_environment() -> dict[str, str]:
    """The caller's environment without the app's variables, and without a proxy for loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_APP_PREFIXES)}
    direct = kept.get("NO_PROXY") or kept.get("no_proxy")
    direct = ",".join(filter(None, [direct, "127.0.0.1,localhost"]))
    return {**kept, "NO_PROXY": direct, "no_proxy": direct, "PYTHONUNBUFFERED": "1"}


def vm_environment(cache: Path, netrc: Path) -> dict[str, str]:
    """The additional variables of a simulated VM: package index, shared cache, one thread per process.

    They are passed to the simulator as arguments, which any user can list. Therefore credentials in
    index URLs are moved to the file `netrc`, which pip and uv read; proxies with credentials are not
    supported. Numerical libraries get one thread each, since all VMs share this machine's cores.
    """
    outer = base_environment()
    index = {name: outer[name] for name in _PACKAGE_INDEX if name in outer}
    return {
        **_without_credentials(index, netrc),
        "UV_CACHE_DIR": str(cache / "uv"),
        "UV_LINK_MODE": "hardlink",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def vm_tools(directory: Path) -> Path:
    """Put uv into `directory`, for the PATH of the VMs. They must not see the rest of our .venv."""
    directory.mkdir(exist_ok=True)
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is not None:
        (directory / "uv").unlink(missing_ok=True)  # a VM of an earlier start may be executing it
        (directory / "uv").write_text(_UV.format(uv=shlex.quote(uv)))
        (directory / "uv").chmod(0o755)
    return directory


def _without_credentials(variables: Mapping[str, str], netrc: Path) -> dict[str, str]:
    entries: dict[str, str] = {}

    def move(url: re.Match[str]) -> str:
        user, password = unquote(url["user"]), unquote(url["password"])
        entries[url["host"]] = f"machine {url['host']} login {user} password {password}\n"
        return f"{url['scheme']}{url['host']}"

    cleaned = {name: _CREDENTIALS.sub(move, value) for name, value in variables.items()}
    if not entries:
        return cleaned
    known = Path(variables["NETRC"]) if "NETRC" in variables else Path.home() / ".netrc"
    netrc.touch(mode=0o600)
    netrc.write_text("".join(entries.values()) + (known.read_text() if known.exists() else ""))
    return {**cleaned, "NETRC": str(netrc)}
