from __future__ import annotations

import netrc
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from local.environment import base_environment, vm_environment, vm_tools


def test_the_callers_azure_account_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", "/home/me/real.pem")

    assert "AZURE_CLIENT_CERTIFICATE_PATH" not in base_environment()


def test_loopback_bypasses_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "corp.example")

    assert base_environment()["NO_PROXY"] == "corp.example,127.0.0.1,localhost"


def test_a_vm_uses_the_callers_package_index(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mirror.example/simple")

    assert (
        vm_environment(tmp_path, tmp_path / "netrc")["UV_DEFAULT_INDEX"]
        == "https://mirror.example/simple"
    )


def test_a_vm_does_not_use_the_callers_install_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")

    assert "PIP_TARGET" not in vm_environment(tmp_path, tmp_path / "netrc")


def test_credentials_of_a_package_index_are_not_in_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:se%40cret@mirror.example:8443/simple")

    given = vm_environment(tmp_path, tmp_path / "netrc")

    assert given["PIP_INDEX_URL"] == "https://mirror.example:8443/simple"


def test_credentials_of_a_package_index_are_in_netrc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:se%40cret@mirror.example:8443/simple")

    given = vm_environment(tmp_path, tmp_path / "netrc")

    found = netrc.netrc(given["NETRC"]).authenticators("mirror.example")
    assert found is not None
    assert (found[0], found[2]) == ("me", "se@cret")


def install(
    directory: Path, package: str, *, prefix: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Install a package with uv, as a VM does."""
    uv = vm_tools(directory / "bin") / "uv"
    target = ["--target", str(directory / "packages"), "--python", sys.executable]
    return subprocess.run(
        [*prefix, uv, "pip", "install", *target, package],
        env={**os.environ, "UV_CACHE_DIR": str(directory / "cache"), **environment},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_without_a_network_a_vm_installs_from_the_cache_at_once(tmp_path: Path) -> None:
    unshare = shutil.which("unshare") or "false"
    if subprocess.run([unshare, "-rn", "true"]).returncode != 0:
        pytest.skip("this machine does not allow a network namespace")
    assert install(tmp_path, "six").returncode == 0
    shutil.rmtree(tmp_path / "packages")

    installed = install(tmp_path, "six", prefix=[unshare, "-rn"])

    assert (installed.returncode, "from the cache instead" in installed.stderr) == (0, False)


def test_without_an_index_a_vm_installs_from_the_cache(tmp_path: Path) -> None:
    assert install(tmp_path, "six").returncode == 0
    shutil.rmtree(tmp_path / "packages")

    # Nothing listens on this port.
    no_network = {"HTTPS_PROXY": "http://127.0.0.1:9", "UV_HTTP_RETRIES": "0"}
    installed = install(tmp_path, "six", **no_network)
    missing = install(tmp_path, "iniconfig", **no_network)

    assert (installed.returncode, (tmp_path / "packages" / "six.py").exists()) == (0, True)
    assert (missing.returncode, "Failed to fetch" in missing.stderr) == (2, True)
