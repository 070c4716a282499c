"""Packages without content, an index of them, and what a VM has installed."""

from __future__ import annotations

import zipfile
from pathlib import Path

PACKAGES = ("powerlift", "setuptools", "psycopg2_binary", "psycopg")
"""What a VM installs beside an experiment's own."""


def installed(vm) -> set[str]:
    """The names and versions of the packages in the VM's virtual environment."""
    return {file.stem for file in (vm.home / "venv").rglob("*.dist-info")}


def lock_of(database, startup) -> str:
    """The lock of a VM's fleet in the database."""
    statement = "SELECT requirements FROM powerlift_fleet_lock WHERE key = %s"
    [(text,)] = database.sql(statement, startup.lock_key)
    return str(text)


def make_index(directory: Path, name: str, version: str, requires: str = "") -> None:
    """Add a package to an index in a directory (PEP 503)."""
    page = directory / name.replace("_", "-") / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    wheel = make_wheel(page.parent, name, version, requires)
    with page.open("a") as links:
        links.write(f'<a href="{wheel}">{wheel}</a>')


def make_wheel(directory: Path, name: str, version: str, requires: str = "") -> str:
    """A package without content; returns its file name."""
    file, info = f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(directory / file, "w") as wheel:
        extra = "Provides-Extra: binary\n" if name == "psycopg" else ""
        wheel.writestr(f"{info}/METADATA", metadata + extra)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return file
