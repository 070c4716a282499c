"""The app's URL and key: from options, the environment, or a configuration file with profiles."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from powerlift_fleet.api.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROFILE_KEYS = frozenset({"url", "key", "key_file"})
_GROUP_AND_OTHERS = 0o077


@dataclass(frozen=True)
class Settings:
    """One app; the user sees `warnings`."""

    url: str
    key: str = field(repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """Those of the command line."""

    url: str | None = None
    key_file: str | None = None
    profile: str | None = None


def config_file(env: Mapping[str, str] = os.environ) -> Path:
    """`config.toml` in `$XDG_CONFIG_HOME/powerlift-fleet`, else in `~/.config/powerlift-fleet`."""
    base = env.get("XDG_CONFIG_HOME", "")
    home = Path(base) if Path(base).is_absolute() else Path("~/.config").expanduser()
    return home / "powerlift-fleet" / "config.toml"


def read(options: Options, env: Mapping[str, str] = os.environ) -> Settings:
    """In order of precedence: options, a named profile, the environment, the file's default profile.

    A key in the file is only sent to the URL of the same profile. An app without keys, as under `func
    start`, has `key = ""`. Raises ConfigurationError.
    """
    named = options.profile or env.get("FLEET_PROFILE") or None
    profile, warnings = _profile(config_file(env), named)
    by_env = env.get("FLEET_URL") or None
    url = options.url or (
        (profile.get("url") or by_env) if named else (by_env or profile.get("url"))
    )
    if not url:
        raise ConfigurationError(_missing("app URL", "--url", "FLEET_URL", "url", env))
    key, more = _key(options, env, profile if url == profile.get("url") else {}, bool(named))
    if key is None:
        raise ConfigurationError(_missing("function key", "--key-file", "FLEET_KEY", "key", env))
    return Settings(url, key, (*warnings, *more, *_plain_text_warning(url, key)))


def queue(file: str | None, env: Mapping[str, str] = os.environ) -> tuple[str, list[str]]:
    """The storage queue of --by-queue, and warnings. Raises ConfigurationError."""
    if file:
        return _secret_in(Path(file), "--queue-file")
    if not (storage := env.get("FLEET_QUEUE_URL", "").strip()):
        raise ConfigurationError("No storage queue. Pass --queue-file, or set FLEET_QUEUE_URL.")
    return storage, []


def _missing(what: str, option: str, variable: str, name: str, env: Mapping[str, str]) -> str:
    file = config_file(env)
    return f"No {what}. Pass {option}, set {variable}, or add {name} to {file}."


def _plain_text_warning(url: str, key: str) -> list[str]:
    parts = urlsplit(url)
    if not key or parts.scheme != "http" or parts.hostname in ("127.0.0.1", "::1", "localhost"):
        return []
    return ["The key is sent over plain http. Use https."]


def _key(
    options: Options, env: Mapping[str, str], profile: Mapping[str, str], profile_first: bool
) -> tuple[str | None, list[str]]:
    """The key and warnings; `profile_first`: the profile takes precedence over the environment."""
    if options.key_file:
        return _secret_in(Path(options.key_file), "--key-file")
    by_env = env.get("FLEET_KEY") or None
    has_key = not profile.keys().isdisjoint({"key", "key_file"})
    if by_env and not (profile_first and has_key):
        return by_env, []
    if "key_file" in profile:
        return _secret_in(Path(profile["key_file"]).expanduser(), "key_file")
    return profile.get("key"), []


def _secret_in(file: Path, name: str) -> tuple[str, list[str]]:
    try:
        text = (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Cannot read {file} ({name}): {_reason(error)}.") from None
    if not text:
        raise ConfigurationError(f"{file} ({name}) is empty.")
    return text, _permission_warning(file)


def _profile(file: Path, name: str | None) -> tuple[dict[str, str], list[str]]:
    """A profile of the file (without a name: its top level), and warnings."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if name:
            raise ConfigurationError(f"No profile {name!r}: {file} does not exist.") from None
        return {}, []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Cannot read {file}: {_reason(error)}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not TOML: {error}.") from None
    profiles = document.pop("profiles", {})
    if not isinstance(profiles, dict):
        raise ConfigurationError(f"{file}: a profile must be a table: [profiles.test].")
    if name and name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise ConfigurationError(f"No profile {name!r} in {file}. Profiles: {known}.")
    profile = _checked(profiles[name] if name else document, file)
    return profile, _permission_warning(file) if "key" in profile else []


def _checked(profile: Any, file: Path) -> dict[str, str]:
    if not isinstance(profile, dict) or not all(isinstance(one, str) for one in profile.values()):
        raise ConfigurationError(f"{file}: url, key and key_file must be strings in quotes.")
    unknown = sorted(set(profile) - PROFILE_KEYS)
    if unknown:
        raise ConfigurationError(
            f"{file}: unknown setting {', '.join(unknown)}. Settings: {', '.join(sorted(PROFILE_KEYS))}."
        )
    return profile


def _permission_warning(file: Path) -> list[str]:
    """Warn about a secret file that other users can read. Windows has no such permission bits."""
    if os.name != "posix" or str(file) == "-":
        return []
    mode = file.stat().st_mode
    if (
        not file.is_file() or not mode & _GROUP_AND_OTHERS
    ):  # a pipe, as in `<(pass fleet)`, is private
        return []
    return [f"Other users can read the secret in {file}: chmod 600 {file}"]


def _reason(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) else "it is not UTF-8")
