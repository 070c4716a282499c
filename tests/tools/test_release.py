"""The preparation of a release, on a copy of its files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tools.release import REPOSITORY, NotReady, current, is_past, notes, prepare

CHANGELOG = """\
# Changelog

## [Unreleased]

### Added
- A page.

## [0.1.0] - 2026-01-31

### Added
- The app.
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for file in (
        "pyproject.toml",
        "client/powerlift_fleet/_version.py",
        "fleet/api/openapi/document.py",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / file, tmp_path / file)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def test_the_version_is_the_same_everywhere() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", current())


def test_a_release_sets_its_version_and_dates_the_changelog(repository: Path) -> None:
    prepare("0.2.0", repository)

    assert (current(repository), notes(repository)) == ("0.2.0", "### Added\n- A page.")
    changelog = (repository / "CHANGELOG.md").read_text()
    assert re.search(
        r"## \[Unreleased\]\n\n## \[0\.2\.0\] - \d{4}-\d\d-\d\d\n\n### Added", changelog
    )


def test_inconsistent_versions_are_reported(repository: Path) -> None:
    (repository / "client/powerlift_fleet/_version.py").write_text('__version__ = "9.9.9"\n')

    with pytest.raises(NotReady, match=r"_version\.py: 9\.9\.9"):
        current(repository)


def test_a_release_needs_changes(repository: Path) -> None:
    prepare("0.2.0", repository)

    with pytest.raises(NotReady, match="nothing under Unreleased"):
        prepare("0.3.0", repository)


def test_a_version_has_three_numbers(repository: Path) -> None:
    with pytest.raises(NotReady, match=r"MAJOR\.MINOR\.PATCH"):
        prepare("v0.2", repository)


def test_a_version_is_past_once_the_app_changes_after_its_release(repository: Path) -> None:
    changelog = repository / "CHANGELOG.md"
    prepare("0.2.0", repository)
    at_release = is_past(repository)
    text = changelog.read_text().replace("[Unreleased]\n", "[Unreleased]\n\n### Fixed\n- A typo.\n")
    changelog.write_text(text)

    assert (at_release, is_past(repository)) == (False, True)


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    releases = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert releases[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", one) for one in releases[1:])
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
