"""Prepares a release: sets the version in all files, and dates its section of the changelog.

python -m tools.release 0.2.0    prepares version 0.2.0
python -m tools.release --check  prints the version; fails if the files disagree
python -m tools.release --notes  prints the changelog's section of the version
"""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
_VERSION = re.compile(r'^((?:__version__|VERSION|version) = )"([^"]+)"$', re.MULTILINE)
_UNRELEASED = "## [Unreleased]\n"


class NotReady(Exception):
    """The release cannot be prepared. The message says why."""


def prepare(version: str, repository: Path = REPOSITORY) -> None:
    """Set the version, and turn the Unreleased section of CHANGELOG.md into this version's."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise NotReady(f"{version!r} is not MAJOR.MINOR.PATCH.")
    changelog = repository / "CHANGELOG.md"
    if not _section(changelog.read_text(), "Unreleased"):
        raise NotReady("CHANGELOG.md has nothing under Unreleased.")
    for file in _files(repository):
        file.write_text(_VERSION.sub(rf'\g<1>"{version}"', file.read_text(), count=1))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    dated = f"{_UNRELEASED}\n## [{version}] - {today}\n"
    changelog.write_text(changelog.read_text().replace(_UNRELEASED, dated, 1))


def current(repository: Path = REPOSITORY) -> str:
    """The project's version. Raises NotReady if the files disagree."""
    found: dict[Path, str] = {
        file: _VERSION.findall(file.read_text())[0][1] for file in _files(repository)
    }
    if len(set(found.values())) > 1:
        lines = [f"{file.relative_to(repository)}: {one}" for file, one in found.items()]
        raise NotReady("The files disagree about the version.\n" + "\n".join(lines))
    return next(iter(found.values()))


def notes(repository: Path = REPOSITORY) -> str:
    """The changelog's section of the current version."""
    version = current(repository)
    text = _section((repository / "CHANGELOG.md").read_text(), version)
    if not text:
        raise NotReady(f"CHANGELOG.md has no section for {version}.")
    return text


def is_past(repository: Path = REPOSITORY) -> bool:
    """Whether the current version was released, and the app has changed since."""
    changelog = (repository / "CHANGELOG.md").read_text()
    return bool(_section(changelog, current(repository)) and _section(changelog, "Unreleased"))


def _files(repository: Path) -> list[Path]:
    """The files that contain the version: project, client package, OpenAPI description."""
    return [
        repository / "pyproject.toml",
        repository / "client" / "powerlift_fleet" / "_version.py",
        repository / "fleet" / "api" / "openapi" / "document.py",
    ]


def _section(changelog: str, title: str) -> str:
    found = re.search(
        rf"^## \[{re.escape(title)}\].*\n([^\0]*?)(?=^## |\Z)", changelog, re.MULTILINE
    )
    return found[1].strip() if found else ""


def main() -> int:
    """Returns the exit status: 1 if the release cannot be prepared, 2 for an invalid command line."""
    try:
        match sys.argv[1:]:
            case ["--check"]:
                print(current())
            case ["--notes"]:
                print(notes())
            case [version] if not version.startswith("-"):
                prepare(version)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except NotReady as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
