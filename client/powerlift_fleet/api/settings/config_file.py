"""The configuration file, with the URLs and keys of one or more apps."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from powerlift_fleet.api.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROFILE_KEYS = frozenset({"url", "key", "key_file"})

Profile = dict[str, str]


def config_file(env: Mapping[str, str] = os.environ) -> Path:
    """`config.toml` in `$XDG_CONFIG_HOME/powerlift-fleet`, else in `~/.config/powerlift-fleet`."""
    base = env.get("XDG_CONFIG_HOME", "")
    home = Path(base) if Path(base).is_absolute() else Path("~/.config").expanduser()
    return home / "powerlift-fleet" / "config.toml"


@dataclass
class Config:
    """Profiles with any of the PROFILE_KEYS. None is the name of the file's top level."""

    file: Path
    profiles: dict[str | None, Profile] = field(repr=False)

    @classmethod
    def read(cls, file: Path) -> Config:
        """An absent file has no profiles. Raises ConfigurationError."""
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(file, {None: {}})
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"Cannot read {file}: {reason(error)}.") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{file} is not TOML: {error}.") from None
        named = document.pop("profiles", {})
        if not isinstance(named, dict):
            raise ConfigurationError(f"{file}: a profile must be a table: [profiles.test].")
        return cls(file, {None: document, **named})

    def profile(self, name: str | None) -> Profile:
        """A profile's settings; `name` None: the top level's. Raises ConfigurationError."""
        if name not in self.profiles:
            if not self.file.exists():
                raise ConfigurationError(f"No profile {name!r}: {self.file} does not exist.")
            known = ", ".join(sorted(filter(None, self.profiles))) or "none"
            raise ConfigurationError(f"No profile {name!r} in {self.file}. Profiles: {known}.")
        return self._checked(self.profiles[name])

    def write(self) -> None:
        """Replace the file at once, readable by its owner only. Without profiles, delete it.

        Comments in the file are lost. Raises ConfigurationError; the file is then as it was.
        """
        file = self.file.resolve()  # of a link, its target is replaced
        content = "\n".join(
            _table(name, self._checked(profile))
            for name, profile in self.profiles.items()
            if profile
        )
        try:
            if not content:
                file.unlink(missing_ok=True)
                return
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, scratch = tempfile.mkstemp(dir=file.parent)  # mode 0600
            try:
                with open(descriptor, "w", encoding="utf-8") as opened:
                    opened.write(content)
                os.replace(scratch, file)
            except BaseException:
                os.unlink(scratch)
                raise
        except OSError as error:
            raise ConfigurationError(
                f"Cannot write {file}: {reason(error)}. Nothing was stored. Set FLEET_URL and FLEET_KEY "
                "instead."
            ) from None

    def _checked(self, profile: Any) -> Profile:
        if not isinstance(profile, dict) or not all(
            isinstance(one, str) for one in profile.values()
        ):
            raise ConfigurationError(
                f"{self.file}: url, key and key_file must be strings in quotes."
            )
        unknown = sorted(set(profile) - PROFILE_KEYS)
        if unknown:
            raise ConfigurationError(
                f"{self.file}: unknown setting {', '.join(unknown)}. "
                f"Settings: {', '.join(sorted(PROFILE_KEYS))}."
            )
        return profile


def reason(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) else "it is not UTF-8")


def _table(name: str | None, profile: Profile) -> str:
    """A table in TOML. A string in JSON without escapes beyond ASCII is one in TOML."""
    header = "" if name is None else f"[profiles.{_quoted(name)}]\n"
    return header + "".join(f"{key} = {_quoted(value)}\n" for key, value in profile.items())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
