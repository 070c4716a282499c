"""Storing the app's URL and key in the configuration file, and removing them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from powerlift_fleet.api.errors import ConfigurationError, FleetError
from powerlift_fleet.api.settings import sources
from powerlift_fleet.api.settings.config_file import Config, config_file
from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.commands import azd_environment
from powerlift_fleet.cli.formatting import clean
from powerlift_fleet.cli.session import Session, connected, say, warn


@click.command()
@click.option(
    "--from-azd-env",
    "azd_file",
    metavar="FILE",
    help="The azd environment's file (.azure/NAME/.env), instead of the output of azd.",
)
@connected
def login(session: Session, azd_file: str | None) -> int:
    """Store the app's URL and key for this command and the Python client.

    Without --url, reads the URL from the azd environment in this folder, and the app's default key,
    which permits every function, with az. The key is only sent to a host of this app. With --url, reads
    the key from --key-file, else asks for it. Checks both with a request, and stores them in the
    configuration file, which only you can read; with --profile, under that name. Comments in the file
    are lost.

    \b
    Example:
      powerlift-fleet login
      powerlift-fleet login --from-azd-env .azure/fleets/.env --profile fleets
      powerlift-fleet login --url https://my-fleet.azurewebsites.net --key-file team-a.key
    """
    if session.options.url is not None and azd_file:
        raise click.UsageError("Pass either --url or --from-azd-env.")
    config = Config.read(config_file())
    url, key = _url_and_key(session, azd_file)
    # FLEET_PROFILE may name the profile that this command is about to create.
    env = {name: value for name, value in os.environ.items() if name != "FLEET_PROFILE"}
    app = sources.read(sources.Options(url, key=key), env)
    warn(app.warnings)
    _check(app, session.retry_timeout)
    name = sources.profile_name(session.options)
    config.profiles[name] = {"url": app.url, "key": app.key}
    config.write()
    if session.as_json:
        session.print_json({"url": app.url, "profile": name, "file": str(config.file)})
    say(f"The key works. URL and key of {clean(app.url)} are stored in {config.file}.")
    _warn_of_environment(name)
    return exit_codes.OK


@click.command()
@click.option(
    "--profile",
    metavar="NAME",
    help="Profile of the configuration file; default: FLEET_PROFILE, or its top level.",
)
def logout(profile: str | None) -> int:
    """Remove the app's URL and key from the configuration file.

    The key itself stays valid: the app's operator can revoke it. Comments in the file are lost.

    \b
    Example:
      powerlift-fleet logout
    """
    config = Config.read(config_file())
    name = sources.profile_name(sources.Options(profile=profile))
    removed = config.profiles.pop(name, None)
    if not removed:
        say(f"Nothing to remove: {config.file} has no URL and key{_of(name)}.")
        return exit_codes.OK
    config.write()
    say(
        f"Removed URL and key{_of(name)} from {config.file}. The key stays valid until it is revoked."
    )
    if key_file := removed.get("key_file"):
        say(f"The key is still in {key_file}.")
    _warn_of_environment(name)
    return exit_codes.OK


def _of(name: str | None) -> str:
    return f" of profile {name!r}" if name else ""


def _url_and_key(session: Session, azd_file: str | None) -> tuple[str, str]:
    """Raises ConfigurationError, also without a terminal to ask for the key, and for another app's."""
    url, values = session.options.url, dict[str, str]()
    if url is None:
        values = azd_environment.outputs(azd_file)
        url = values["FLEET_URL"]
    if file := session.options.key_file:
        key, warnings = sources.secret_in(Path(file), "--key-file")
        warn(warnings)
        return url, key
    reason = ""
    if values:
        try:
            return url, azd_environment.host_key(values)
        except azd_environment.ToolFailed as error:
            reason = f"{error}. "
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"No function key: {reason}Nothing was stored. Pass --key-file (- for stdin)."
        )
    if reason:
        say(f"Cannot get the key: {clean(reason)}")
    return url, click.prompt("Function key", hide_input=True, err=True)


def _check(app: sources.Settings, retry_timeout: float) -> None:
    """Raises an error of the client unless the key permits what every role may: list fleets."""
    from powerlift_fleet.api.client import FleetClient  # httpx takes longer than all of --help

    try:
        with FleetClient(app.url, app.key, retry_timeout=retry_timeout) as client:
            client.fleets(limit=1)
    except FleetError:
        say("Nothing was stored.")
        raise


def _warn_of_environment(name: str | None) -> None:
    """A profile takes precedence over the environment, the file's top level does not."""
    if found := [one for one in ("FLEET_URL", "FLEET_KEY") if os.environ.get(one) and not name]:
        verb = "takes" if len(found) == 1 else "take"
        say(
            f"Warning: {' and '.join(found)} of the environment {verb} precedence: unset "
            f"{' '.join(found)}"
        )
