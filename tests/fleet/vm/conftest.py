"""VMs with real installers, and with a `uv` that only says what it would do."""

from __future__ import annotations

import ensurepip
import sys
from pathlib import Path

import pytest

from tests.fleet.vm.packages import PACKAGES, make_index


@pytest.fixture
def index(tmp_path) -> Path:
    """A directory with the VM's own packages, as an index for uv and as links for pip."""
    for name in PACKAGES:
        make_index(tmp_path / "index", name, "2")
    return tmp_path / "index"


@pytest.fixture
def vm_with_uv(vm):
    """The image's uv is a real one, and pip needs no time to be installed."""
    (vm.root / "bin" / "uv").unlink()
    (vm.root / "bin" / "uv").symlink_to(Path(sys.executable).with_name("uv"))
    python = Path(getattr(sys, "_base_executable", sys.executable))
    [pip] = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
    vm.program(
        "python3",
        f"""[[ "$*" == "-m venv --clear venv" ]] || exec {python} "$@"
        {python} "$@" --without-pip && echo {pip} >"$(echo venv/lib/python3*/site-packages)/pip.pth"
        """,
    )
    vm.without_packages = True
    vm.env["POWERLIFT_INSTALL_TIMEOUT"] = "3600"  # an error that is retried fails the test
    return vm
