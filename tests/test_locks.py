"""The locks match the files that they are made from, without a package index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent
LOCKS = ["requirements", "requirements-dev"]
VMS = "fleet/vm/requirements"
CLIENT = "powerlift-fleet"
PIN = re.compile(
    r"^([a-z0-9.-]+)(?:\[\w+\])?==([^ ]+)(?: ; (.+?))? \\\n(?: {4}--hash=sha256:\w{64}.*\n)+", re.M
)


def locked(name: str) -> str:
    return (REPOSITORY / f"{name}.txt").read_text()


def pins(name: str) -> dict[str, str]:
    """The version of each package that a lock installs on this Python and platform."""
    found = PIN.findall(locked(name))
    return {
        package: version
        for package, version, marker in found
        if not marker or Marker(marker).evaluate()
    }


def inputs(name: str) -> Iterator[Requirement]:
    """The requirements of a .in file, with those of the file that it includes."""
    for line in (REPOSITORY / f"{name}.in").read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            yield from inputs(text.removeprefix("-r ").removesuffix(".in"))
        elif text:
            yield Requirement(text.replace("-e ./client", CLIENT))


class Closure:
    """All dependencies of requirements, by the metadata of the installed packages."""

    def __init__(self, pinned: dict[str, str]) -> None:
        self.pinned = pinned
        self.reached: set[tuple[str, str]] = set()
        self.unmet: list[str] = []

    def add(self, wanted: Requirement) -> None:
        name = canonicalize_name(wanted.name)
        if name != CLIENT and not wanted.specifier.contains(self.pinned.get(name, ""), True):
            self.unmet.append(f"{wanted}, locked: {self.pinned.get(name)}")
            return
        for extra in {"", *wanted.extras}:
            if (name, extra) in self.reached:
                continue
            self.reached.add((name, extra))
            for needed in map(Requirement, distribution(name).requires or []):
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    self.add(needed)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_contains_exactly_what_its_input_requires(name: str) -> None:
    closure = Closure(pins(name))
    for wanted in inputs(name):
        closure.add(wanted)
    superfluous = set(closure.pinned) - {package for package, _ in closure.reached}
    assert (closure.unmet, superfluous) == ([], set()), "run `make lock`, then `make test`"


def test_a_lock_pins_the_vms_own_tools() -> None:
    wanted = {one.name: one.specifier for one in inputs(VMS)}
    found = pins(VMS)
    assert found.keys() == wanted.keys(), "run `make lock`"
    assert [name for name in wanted if found[name] not in wanted[name]] == []


@pytest.mark.parametrize("name", [*LOCKS, VMS])
def test_every_package_of_a_lock_has_its_hashes(name: str) -> None:
    packages = re.findall(r"^[^ #\n].*", locked(name), re.M)
    assert len(PIN.findall(locked(name))) == len(packages)


@pytest.mark.parametrize("name", [*LOCKS, VMS])
def test_a_lock_names_no_index(name: str) -> None:
    """Packages come from the index that the machine is configured for."""
    assert "://" not in locked(name)


def test_development_uses_the_deployed_versions() -> None:
    deployed, development = (set(PIN.findall(locked(name))) for name in LOCKS)
    assert {(package, version) for package, version, _ in deployed} <= {
        (package, version) for package, version, _ in development
    }


def test_only_the_app_and_its_lock_are_uploaded() -> None:
    ignored = (REPOSITORY / ".funcignore").read_text().split()
    uploaded = {
        path.name
        for path in REPOSITORY.iterdir()
        if not any(fnmatch(path.name, pattern) for pattern in ignored)
    }
    rooms = {"activities", "fleet", "orchestrators", "triggers", "view"}
    assert uploaded == rooms | {"function_app.py", "host.json", "requirements.txt", "LICENSE"}
