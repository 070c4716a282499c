from __future__ import annotations

import netrc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.environment import machine_environment, machine_tools, outer_environment


def test_the_callers_azure_account_stays_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", "/home/me/real.pem")

    assert "AZURE_CLIENT_CERTIFICATE_PATH" not in outer_environment()


def test_loopback_goes_past_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "corp.example")

    assert outer_environment()["NO_PROXY"] == "corp.example,127.0.0.1,localhost"


def test_a_vm_knows_the_callers_package_index(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mirror.example/simple")

    assert (
        machine_environment(tmp_path, tmp_path / "netrc")["UV_DEFAULT_INDEX"]
        == "https://mirror.example/simple"
    )


def test_a_vm_does_not_install_where_the_caller_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")

    assert "PIP_TARGET" not in machine_environment(tmp_path, tmp_path / "netrc")


def test_a_login_of_a_package_index_is_not_among_what_is_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:se%40cret@mirror.example:8443/simple")

    given = machine_environment(tmp_path, tmp_path / "netrc")

    assert given["PIP_INDEX_URL"] == "https://mirror.example:8443/simple"


def test_a_login_of_a_package_index_is_where_pip_and_uv_find_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:se%40cret@mirror.example:8443/simple")

    given = machine_environment(tmp_path, tmp_path / "netrc")

    found = netrc.netrc(given["NETRC"]).authenticators("mirror.example")
    assert found is not None
    assert (found[0], found[2]) == ("me", "se@cret")


def install(directory: Path, package: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a VM does: uv on its PATH installs a package."""
    uv = machine_tools(directory / "bin") / "uv"
    target = ["--target", str(directory / "packages"), "--python", sys.executable]
    return subprocess.run(
        [uv, "pip", "install", *target, package],
        env={**os.environ, "UV_CACHE_DIR": str(directory / "cache"), **environment},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_without_an_index_a_vm_installs_what_the_cache_has(tmp_path: Path) -> None:
    assert install(tmp_path, "six").returncode == 0
    shutil.rmtree(tmp_path / "packages")

    # Nothing listens on this port.
    no_network = {"HTTPS_PROXY": "http://127.0.0.1:9", "UV_HTTP_RETRIES": "0"}
    installed = install(tmp_path, "six", **no_network)
    missing = install(tmp_path, "iniconfig", **no_network)

    assert (installed.returncode, (tmp_path / "packages" / "six.py").exists()) == (0, True)
    assert (missing.returncode, "Failed to fetch" in missing.stderr) == (2, True)
