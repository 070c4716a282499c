"""The wheel, in a separate environment."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from local.stack import CACHE, REPOSITORY

UV = str(Path(sys.executable).with_name("uv"))
CLIENT = REPOSITORY / "client"

HEAVY = ("httpx", "rich", "powerlift", "pandas", "numpy", "azure", "click", "asyncio", "ssl")
"""What `import powerlift_fleet` must not load."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("wheel")
    uv("build", "--quiet", "--wheel", "--out-dir", str(into), str(CLIENT))
    (built,) = into.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Python environment with the package, its extra and their dependencies, and nothing else."""
    venv = tmp_path_factory.mktemp("clean")
    python = venv / "bin" / "python"
    uv("venv", "--quiet", "--python", sys.executable, "--clear", str(venv))
    uv("pip", "install", "--quiet", "--python", str(python), f"{wheel}[queue]")
    return python


def uv(*arguments: str) -> str:
    environment = {**os.environ, "UV_CACHE_DIR": str(CACHE / "uv")}
    done = subprocess.run(
        [UV, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(python: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-I", *options, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_string(archive.read(name).decode())


def test_the_wheel_contains_every_source_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(CLIENT))
        for path in (CLIENT / "powerlift_fleet").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == there


def test_the_metadata_are_complete_for_pypi(wheel: Path) -> None:
    found = metadata(wheel)
    assert (found["Name"], found["Requires-Python"], found["License-Expression"]) == (
        "powerlift-fleet", ">=3.10", "MIT",
    )  # fmt: skip
    assert str(found.get_payload()).startswith("# powerlift-fleet\n")


def test_the_package_has_its_version(wheel: Path, python: Path) -> None:
    done = run(python, "import powerlift_fleet; print(powerlift_fleet.__version__)")
    assert done.stdout.strip() == metadata(wheel)["Version"]


def test_the_command_is_installed(wheel: Path, python: Path) -> None:
    command = [str(python.with_name("powerlift-fleet")), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert metadata(wheel)["Version"] in done.stdout, done.stderr


def test_importing_the_package_is_enough_for_its_errors(python: Path) -> None:
    done = run(
        python, "import powerlift_fleet; print(powerlift_fleet.api.errors.NotFound.__name__)"
    )
    assert done.stdout.strip() == "NotFound", done.stderr


def test_importing_the_package_loads_only_the_standard_library(python: Path) -> None:
    code = f"import sys, powerlift_fleet; print([m for m in {HEAVY} if m in sys.modules])"
    done = run(python, code)
    print(f"import powerlift_fleet: {import_time(python):.0f} ms", file=sys.stderr)
    assert done.stdout.strip() == "[]", done.stderr


def import_time(python: Path) -> float:
    """Milliseconds, by `python -X importtime`. Not asserted, because they depend on the machine."""
    found = run(python, "import powerlift_fleet", "-X", "importtime").stderr
    return int(re.findall(r"\| +(\d+) \| powerlift_fleet$", found, re.MULTILINE)[0]) / 1000


def test_the_package_does_not_depend_on_powerlift_or_management_sdks(python: Path) -> None:
    listed = json.loads(uv("pip", "list", "--python", str(python), "--format", "json"))
    names = {one["name"] for one in listed}
    azure = {name for name in names if name.startswith("azure")}
    assert azure == {"azure-core", "azure-storage-queue"}
    assert names & {"powerlift", "pandas", "numpy", "sqlalchemy"} == set()


def test_only_the_executor_requires_powerlift(python: Path) -> None:
    code = """
import powerlift_fleet
without = []
for name in powerlift_fleet.__all__:
    try:
        getattr(powerlift_fleet, name)
    except ImportError as error:
        without.append((name, "needs Powerlift" in str(error)))
print(without)
"""
    assert run(python, code).stdout.strip() == "[('AzureVMFleet', True)]"


def test_the_package_contains_the_runner(python: Path) -> None:
    code = "import powerlift_fleet; print('def main' in powerlift_fleet.runner_script('8G'))"
    assert run(python, code).stdout.strip() == "True"


def test_the_client_and_the_queue_work(python: Path) -> None:
    code = """
from powerlift_fleet import FleetClient, FleetUnreachable, ConfigurationError, submit_by_queue
try:
    FleetClient("http://127.0.0.1:9", "k", retry_timeout=0).fleets()
except FleetUnreachable:
    print("unreachable")
try:
    submit_by_queue("none", {})
except ConfigurationError as error:
    print("connection string" in str(error))
"""
    assert run(python, code).stdout.split() == ["unreachable", "True"]


def test_the_package_is_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert "powerlift_fleet/py.typed" in archive.namelist()
