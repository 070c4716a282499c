"""What `azd up` leaves: the deployment's outputs in the azd environment, and the app's key in Azure."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from powerlift_fleet.api.errors import ConfigurationError

_LINE = re.compile(r'^(\w+)=(?:"(.*)"|(.*))$', re.MULTILINE)
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
    """The app's default host key, which opens every function, from Azure. Raises ToolFailed."""
    app = {
        "--resource-group": values.get("FLEET_APP_GROUP", ""),
        "--name": values.get("FLEET_APP_NAME", ""),
        "--subscription": values.get("AZURE_SUBSCRIPTION_ID", ""),
    }
    chosen = [part for option, value in app.items() if value for part in (option, value)]
    query = ("--query", "functionKeys.default", "--output", "tsv")
    key = _run("az", "functionapp", "keys", "list", *chosen, *query).strip()
    if not key:
        raise ToolFailed("az returned no key")
    return key


def _run(program: str, *arguments: str) -> str:
    """A program's output. It asks nothing, since it has no input."""
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
        raise ToolFailed(f"{program} {' '.join(arguments[:3])} failed: {said}")
    return done.stdout
