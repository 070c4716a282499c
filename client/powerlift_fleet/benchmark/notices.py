"""Warnings about a request, for what its author may not expect and the app cannot know."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

MAX_LIFETIME = 7 * 24 * 3600.0
"""Seconds; the app's default."""

_log = logging.getLogger("powerlift_fleet")


def warn_of(
    request: Mapping[str, Any], pip_install: str | None, wheels: Sequence[str] | None
) -> None:
    """Log the warnings for a fleet that is about to be submitted."""
    for warning in (*_of_powerlift(pip_install or "", wheels or ()), *_of_limits(request)):
        _log.warning("%s", warning)


def _of_powerlift(pip_install: str, wheels: Sequence[str]) -> Iterator[str]:
    """Builds from source have the number of an older release, so the version tells nothing."""
    names = [pip_install, *(Path(one).name for one in wheels)]
    if any("powerlift" in name.lower() for name in names):
        return
    try:
        powerlift = distribution("powerlift")
    except PackageNotFoundError:
        return
    source = powerlift.read_text("direct_url.json")  # PEP 610: absent for a package of an index
    if source is not None:
        url = re.sub("//[^/@]*@", "//***@", str(json.loads(source).get("url")))
        yield (
            f"Your Powerlift {powerlift.version} was installed from {url}; the VMs install a release "
            "from the package index. They may differ, for example in the type of y in task.data(). "
            "Pass your build in wheel_filepaths, or name it in pip_install."
        )


def _of_limits(request: Mapping[str, Any]) -> Iterator[str]:
    timeout, lifetime = request.get("timeout"), request.get("max_lifetime", MAX_LIFETIME)
    if timeout is not None and timeout > lifetime:
        yield (
            f"The timeout of a trial ({timeout:g} s) exceeds the fleet's max_lifetime ({lifetime:g} s), "
            "at which its VMs are deleted. Reduce timeout, or pass a longer max_lifetime."
        )
