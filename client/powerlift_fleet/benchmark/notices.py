"""Warnings about a request, for what its author may not expect and the app cannot know."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

MAX_LIFETIME = 7 * 24 * 3600.0
"""Seconds; the app's default."""

MAX_UNDEAD = 1000
"""The app's limit."""

_log = logging.getLogger("powerlift_fleet")


def warn_of(
    request: Mapping[str, Any], pip_install: str | None, wheels: Sequence[str] | None
) -> None:
    """Log the warnings for a fleet that is about to be submitted."""
    for warning in (*_of_powerlift(pip_install or "", wheels or ()), *_of_limits(request)):
        _log.warning("%s", warning)


def powerlift_version(pip_install: str | None, wheels: Sequence[str] | None) -> str | None:
    """The author's Powerlift, as in a request; None if it is not installed.

    A build from source has the version of the last release. It gets a local version, unless VMs get it
    too, so that the plan sees the difference.
    """
    powerlift = installed_powerlift()
    if powerlift is None:
        return None
    if _source_of(powerlift) is None or _vms_get_it(pip_install or "", wheels or ()):
        return powerlift.version
    return f"{powerlift.version}{'.' if '+' in powerlift.version else '+'}source"


def _of_powerlift(pip_install: str, wheels: Sequence[str]) -> Iterator[str]:
    powerlift = installed_powerlift()
    if powerlift is None or _vms_get_it(pip_install, wheels):
        return
    source = _source_of(powerlift)
    if source is not None:
        yield (
            f"Your Powerlift {powerlift.version} was installed from {source}; the VMs install a release "
            "from the package index. They may differ, for example in the type of y in task.data(). "
            "Pass your build in wheel_filepaths, or name it in pip_install."
        )


def installed_powerlift() -> Distribution | None:
    try:
        return distribution("powerlift")
    except PackageNotFoundError:
        return None


def _source_of(powerlift: Distribution) -> str | None:
    """The URL of a build from source, without credentials; None for a package of an index (PEP 610)."""
    source = powerlift.read_text("direct_url.json")
    url = None if source is None else str(json.loads(source).get("url"))
    return url and re.sub("//[^/@]*@", "//***@", url)


def _vms_get_it(pip_install: str, wheels: Sequence[str]) -> bool:
    names = [pip_install, *(Path(one).name for one in wheels)]
    return any("powerlift" in name.lower() for name in names)


def _of_limits(request: Mapping[str, Any]) -> Iterator[str]:
    if request.get("max_undead", 0) > MAX_UNDEAD:
        yield f"max_undead is limited to {MAX_UNDEAD:,}: the app uses this number."
    timeout, lifetime = request.get("timeout"), request.get("max_lifetime", MAX_LIFETIME)
    if timeout is not None and timeout > lifetime:
        yield (
            f"The timeout of a trial ({timeout:g} s) exceeds the fleet's max_lifetime ({lifetime:g} s), "
            "at which its VMs are deleted. Reduce timeout, or pass a longer max_lifetime."
        )
