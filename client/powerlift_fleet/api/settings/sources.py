"""The app's URL and key: from options, the environment, or a configuration file with profiles."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.api.settings.config_file import Config, config_file, reason
from powerlift_fleet.api.wire import is_loopback

_GROUP_AND_OTHERS = 0o077


@dataclass(frozen=True)
class Settings:
    """One app; the user sees `warnings`."""

    url: str
    key: str = field(repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """Those of the command line, or the arguments of a client, which have other names."""

    url: str | None = None
    key_file: str | None = None
    profile: str | None = None
    key: str | None = field(default=None, repr=False, kw_only=True)
    names: tuple[str, str] = field(default=("--url", "--key-file"), kw_only=True)
    """Of URL and key, for messages."""


def read(options: Options, env: Mapping[str, str] = os.environ) -> Settings:
    """In order of precedence: options, a named profile, the environment, the file's default profile.

    A key in the file is only sent to the URL of the same profile. An app without keys, as under `func
    start`, has `key = ""`. Raises ConfigurationError.
    """
    named = profile_name(options, env)
    file = config_file(env)
    profile = Config.read(file).profile(named)
    warnings = _permission_warning(file) if "key" in profile else []
    by_env, by_file = env.get("FLEET_URL", "").strip(), profile.get("url", "")
    url = (by_file or by_env) if named else (by_env or by_file)
    if options.url is not None:
        url = options.url.strip()
    if not url:
        raise ConfigurationError(_missing("app URL", options.names[0], "FLEET_URL", "url", env))
    key, more = _key(options, env, profile if url == profile.get("url") else {}, bool(named))
    if key is None:
        raise ConfigurationError(
            _missing("function key", options.names[1], "FLEET_KEY", "key", env)
        )
    return Settings(url, key, (*warnings, *more, *_plain_text_warning(url, key)))


def profile_name(options: Options, env: Mapping[str, str] = os.environ) -> str | None:
    """The profile that options or environment name; None: the file's top level."""
    return options.profile or env.get("FLEET_PROFILE") or None


def is_known(env: Mapping[str, str] = os.environ) -> bool:
    """Whether environment or file have an app's URL and key."""
    try:
        read(Options(), env)
    except ConfigurationError:
        return False
    return True


def queue(file: str | None, env: Mapping[str, str] = os.environ) -> tuple[str, list[str]]:
    """The storage queue of --by-queue, and warnings. Raises ConfigurationError."""
    if file:
        return secret_in(Path(file), "--queue-file")
    if not (storage := env.get("FLEET_QUEUE_URL", "").strip()):
        raise ConfigurationError("No storage queue. Pass --queue-file, or set FLEET_QUEUE_URL.")
    return storage, []


def _missing(what: str, option: str, variable: str, name: str, env: Mapping[str, str]) -> str:
    others = f"pass {option}, set {variable}, or add {name} to {config_file(env)}"
    return f"No {what}. Run powerlift-fleet login, {others}."


def _plain_text_warning(url: str, key: str) -> list[str]:
    parts = urlsplit(url)
    if not key or parts.scheme != "http" or is_loopback(parts.hostname):
        return []
    return ["The key is sent over plain http. Use https."]


def _key(
    options: Options, env: Mapping[str, str], profile: Mapping[str, str], profile_first: bool
) -> tuple[str | None, list[str]]:
    """The key and warnings; `profile_first`: the profile takes precedence over the environment."""
    if options.key is not None:
        return options.key, []
    if options.key_file:
        return secret_in(Path(options.key_file), "--key-file")
    by_env = env.get("FLEET_KEY", "").strip() or None
    has_key = not profile.keys().isdisjoint({"key", "key_file"})
    if by_env and not (profile_first and has_key):
        return by_env, []
    if "key_file" in profile:
        return secret_in(Path(profile["key_file"]).expanduser(), "key_file")
    return profile.get("key"), []


def secret_in(file: Path, name: str) -> tuple[str, list[str]]:
    """The secret in a file, or `-` for stdin, and warnings. Raises ConfigurationError."""
    try:
        text = (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Cannot read {file} ({name}): {reason(error)}.") from None
    if not text:
        raise ConfigurationError(f"{file} ({name}) is empty.")
    return text, _permission_warning(file)


def _permission_warning(file: Path) -> list[str]:
    """Warn about a secret file that other users can read. Windows has no such permission bits."""
    if os.name != "posix" or str(file) == "-":
        return []
    mode = file.stat().st_mode
    # A pipe, as in `<(pass fleet)`, is private.
    if not file.is_file() or not mode & _GROUP_AND_OTHERS:
        return []
    return [f"Other users can read the secret in {file}: chmod 600 {file}"]
