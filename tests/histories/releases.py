"""The code of recorded releases, to host it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parent
VERSIONS = sorted(
    (path.parent.name for path in FOLDER.glob("*/app.zip")),
    key=lambda version: [int(part) for part in version.split(".")],
)


def unpack_last(folder: Path) -> Path:
    """Unpack the app of the last recorded release into `folder`. Returns `folder`."""
    with zipfile.ZipFile(FOLDER / VERSIONS[-1] / "app.zip") as archive:
        archive.extractall(folder)
    return folder


def orchestrator_version(app: Path) -> str:
    """The version that the app in a folder gives to new instances."""
    host = json.loads((app / "host.json").read_text())
    return str(host["extensions"]["durableTask"]["defaultVersion"])
