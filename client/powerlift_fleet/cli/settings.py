"""Where the app is, and its key: from options, the environment, or a small file with profiles."""

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

KNOWN = frozenset({"url", "key", "key_file"})
"""What a profile may say."""
_OTHERS = 0o077
"""The permissions of all but a file's owner."""


@dataclass(frozen=True)
class Settings:
    """One app. `warnings` are for the user's eyes."""

    url: str
    key: str = field(repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    url: str | None = None
    key_file: str | None = None
    profile: str | None = None


def config_file(env: Mapping[str, str] = os.environ) -> Path:
    """`config.toml` in `$XDG_CONFIG_HOME/powerlift-fleet`, else in `~/.config/powerlift-fleet`."""
    base = env.get("XDG_CONFIG_HOME", "")
    home = Path(base) if Path(base).is_absolute() else Path("~/.config").expanduser()
    return home / "powerlift-fleet" / "config.toml"


def read(asked: Asked, env: Mapping[str, str] = os.environ) -> Settings:
    """The settings: options, then a profile that is named, then the environment, then the file.

    A key in the file goes to the URL beside it and to no other. An app that asks for no key, as
    `func start` runs it, has `key = ""` there. Raises ConfigurationError.
    """
    named = asked.profile or env.get("FLEET_PROFILE") or None
    profile, warnings = _profile(config_file(env), named)
    by_env = env.get("FLEET_URL") or None
    url = asked.url or ((profile.get("url") or by_env) if named else (by_env or profile.get("url")))
    if not url:
        raise ConfigurationError(_absent("URL of an app", "--url", "FLEET_URL", "url", env))
    key, more = _key(asked, env, profile if url == profile.get("url") else {}, bool(named))
    if key is None:
        raise ConfigurationError(_absent("function key", "--key-file", "FLEET_KEY", "key", env))
    return Settings(url, key, (*warnings, *more, *_in_the_open(url, key)))


def _absent(what: str, option: str, variable: str, name: str, env: Mapping[str, str]) -> str:
    file = config_file(env)
    return f"There is no {what}: give {option}, or set {variable}, or put {name} into {file}."


def _in_the_open(url: str, key: str) -> list[str]:
    """A warning where everybody on the way to the app can read the key."""
    parts = urlsplit(url)
    if not key or parts.scheme != "http" or parts.hostname in ("127.0.0.1", "::1", "localhost"):
        return []
    return ["The key goes over http: who is on the way can read it. Use https."]


def _key(
    asked: Asked, env: Mapping[str, str], profile: Mapping[str, str], first: bool
) -> tuple[str | None, list[str]]:
    """The key, and what is to be said about where it was; `first`: profile before environment."""
    if asked.key_file:
        return _key_in(Path(asked.key_file), "--key-file")
    by_env = env.get("FLEET_KEY") or None
    has_key = not profile.keys().isdisjoint({"key", "key_file"})
    if by_env and not (first and has_key):
        return by_env, []
    if "key_file" in profile:
        return _key_in(Path(profile["key_file"]).expanduser(), "key_file")
    return profile.get("key"), []


def _key_in(file: Path, name: str) -> tuple[str, list[str]]:
    try:
        key = (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The key cannot be read from {file} ({name}): {_why(error)}."
        ) from None
    if not key:
        raise ConfigurationError(f"There is no key in {file} ({name}).")
    return key, _exposed(file, "the key in it")


def _profile(file: Path, name: str | None) -> tuple[dict[str, str], list[str]]:
    """One profile of the file (the unnamed one stands at its top), and warnings about the file."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if name:
            raise ConfigurationError(
                f"There is no profile {name!r}: {file} is not there."
            ) from None
        return {}, []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {_why(error)}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not TOML: {error}.") from None
    profiles = document.pop("profiles", {})
    if not isinstance(profiles, dict):
        raise ConfigurationError(f"{file}: profiles are tables, as [profiles.test].")
    if name and name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise ConfigurationError(f"There is no profile {name!r} in {file}; there is: {known}.")
    profile = _checked(profiles[name] if name else document, file)
    return profile, _exposed(file, "the key in it") if "key" in profile else []


def _checked(profile: Any, file: Path) -> dict[str, str]:
    if not isinstance(profile, dict) or not all(isinstance(one, str) for one in profile.values()):
        raise ConfigurationError(f"{file}: url, key and key_file are texts in quotes.")
    unknown = sorted(set(profile) - KNOWN)
    if unknown:
        raise ConfigurationError(
            f"{file}: there is no setting {', '.join(unknown)}; there are {', '.join(sorted(KNOWN))}."
        )
    return profile


def _exposed(file: Path, what: str) -> list[str]:
    """A warning where others than its owner can read a file. Windows has no such bits."""
    if os.name != "posix" or str(file) == "-":
        return []
    mode = file.stat().st_mode
    if not file.is_file() or not mode & _OTHERS:  # a pipe (`<(pass fleet)`) has nobody's eyes on it
        return []
    return [f"Others can read {file}, and {what}: chmod 600 {file}"]


def _why(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) else "it is not UTF-8")
