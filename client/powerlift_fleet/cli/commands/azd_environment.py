"""What `azd up` leaves: the deployment's outputs in the azd environment, and the app's key in Azure."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import takewhile
from pathlib import Path

from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.api.wire import is_loopback

_LINE = re.compile(r'^(\w+)=(?:"(.*)"|(.*))$', re.MULTILINE)
_URL = re.compile(r"https?://(?P<host>[\w.-]+)(?::\d+)?(?:/[\w./-]*)?", re.ASCII)
"""Strict, so that no other parser finds a different host in it."""
_HOSTS = "[defaultHostName, hostNames, properties.defaultHostName, properties.hostNames][]"
"""Versions of az differ in where a Flex Consumption app has them."""
_TIMEOUT = 120
_AGAIN = "Nothing was stored. Run this in the folder of azure.yaml after azd up, or pass --url."


class ToolFailed(Exception):
    """A program is not on PATH, or failed; the message says which one and why."""


def outputs(file: str | None) -> dict[str, str]:
    """The azd environment's variables, with FLEET_URL: of `file` (.azure/NAME/.env), else of azd.

    Raises ConfigurationError.
    """
    try:
        text = Path(file).read_text("utf-8") if file else _run("azd", "env", "get-values")
    except (OSError, UnicodeDecodeError, ToolFailed) as error:
        raise ConfigurationError(f"No app URL: {error}. {_AGAIN}") from None
    values = {
        name: re.sub(r"\\(.)", r"\1", quoted) or plain
        for name, quoted, plain in _LINE.findall(text)
    }
    if not values.get("FLEET_URL"):
        raise ConfigurationError(f"The azd environment contains no FLEET_URL. {_AGAIN}")
    return values


def host_key(values: dict[str, str]) -> str:
    """The app's default host key, which permits every function, from Azure.

    Raises ToolFailed, and ConfigurationError if FLEET_URL is not of this app.
    """
    app = {
        "--resource-group": values.get("FLEET_APP_GROUP", ""),
        "--name": values.get("FLEET_APP_NAME", ""),
        "--subscription": values.get("AZURE_SUBSCRIPTION_ID", ""),
    }
    chosen = [part for option, value in app.items() if value for part in (option, value)]
    hosts = _run("az", "functionapp", "show", *chosen, "--query", _HOSTS, "--output", "tsv").split()
    if not hosts:
        raise ToolFailed("az returned no host of the app")
    _require_own_url(values["FLEET_URL"], hosts)
    query = ("--query", "functionKeys.default", "--output", "tsv")
    key = _run("az", "functionapp", "keys", "list", *chosen, *query).strip()
    if not key:
        raise ToolFailed("az returned no key")
    return key


def _require_own_url(url: str, hosts: list[str]) -> None:
    """The environment may be part of somebody else's repository, made to obtain the key.

    Raises ConfigurationError.
    """
    found = _URL.fullmatch(url)
    host = found["host"].lower() if found else ""
    if host not in {one.lower() for one in hosts}:
        raise ConfigurationError(
            f"FLEET_URL of the azd environment is {url}, but the app that it names has only the hosts "
            f"{', '.join(hosts)}. Its key was not requested, and nothing was stored. Correct the "
            "environment, or pass --url and --key-file."
        )
    if not url.startswith("https:") and not is_loopback(host):
        raise ConfigurationError(
            f"FLEET_URL of the azd environment is {url}: the app's key is not sent over plain http. "
            "Nothing was stored. Use https."
        )


def _run(program: str, *arguments: str) -> str:
    """A program's output. Without stdin, it cannot prompt."""
    path = shutil.which(program)
    if path is None:
        raise ToolFailed(f"{program} is not on PATH")
    try:
        done = subprocess.run(  # noqa: S603 (the program that PATH names)
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolFailed(f"{program} did not finish within {_TIMEOUT} s") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:500] or f"exit code {done.returncode}"
        named = takewhile(lambda one: not one.startswith("-"), arguments)
        raise ToolFailed(f"{program} {' '.join(named)} failed: {said}")
    return done.stdout
