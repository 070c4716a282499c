"""What a VM does not install, because its image has it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import fleet.vm
from tests.fleet.vm.packages import PACKAGES, installed
from tests.fleet.vm.scripts import DONE

FRAGMENT = Path(fleet.vm.__file__).parent / "startup" / "70-install.sh"
UV = str(Path(sys.executable).with_name("uv"))
STATUS = r"""printf 'installed\n%.0s' "${@:4}";"""


@pytest.fixture
def prepared(vm_with_uv, index, benchmark_database, startup) -> tuple[Any, Any]:
    """A VM without an index, whose uv has the packages of the lock in its cache; and its values."""
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(index))
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    vm_with_uv.env["UV_DEFAULT_INDEX"] = f"http://127.0.0.1:{server.server_port}"
    lines = []
    for wheel in sorted(index.rglob("*.whl")):
        name = wheel.name.split("-")[0].replace("_", "-")
        lines.append(f"{name}==2 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    lock = vm_with_uv.root / "requirements.lock"
    lock.write_text("".join(lines))
    environment = {**os.environ, **vm_with_uv.env, "HOME": str(vm_with_uv.root)}
    environment.pop("UV_CACHE_DIR", None)
    prepare = [UV, "pip", "install", "-q", "--require-hashes", "--no-deps", "-r", str(lock)]
    subprocess.run([*prepare, "--target", str(index / "unused")], env=environment, check=True)
    server.shutdown()
    server.server_close()
    experiment = benchmark_database.experiment(DONE)
    values = startup(experiment, lock_digest=hashlib.sha256(lock.read_bytes()).hexdigest())
    statement = "INSERT INTO powerlift_fleet_lock (key, digest, requirements) VALUES (%s, %s, %s)"
    benchmark_database.sql(statement, values.lock_key, values.lock_digest, lock.read_text())
    return vm_with_uv, values


def test_packages_in_the_images_cache_need_no_index(prepared: tuple[Any, Any]):
    vm, values = prepared
    code = vm.run(values)
    assert (code, "all packages were in uv's cache" in vm.log) == (0, True), vm.log
    assert {one.rpartition("-")[0] for one in installed(vm)} == set(PACKAGES), vm.log


@pytest.mark.long
def test_apt_is_not_asked_for_what_the_image_has(vm, benchmark_database, startup):
    vm.program("dpkg-query", STATUS)
    code = vm.run(startup(benchmark_database.experiment(DONE, shell_install="libgomp1 g++")))
    assert (code, vm.calls("apt-get")) == (0, []), vm.log


@pytest.mark.parametrize(
    ("packages", "status", "expected"),
    [
        ("libgomp1 g++", STATUS, True),
        ("libgomp1 g++", f"{STATUS} exit 1", False),
        ("libgomp1 g++", "echo installed; echo config-files", False),
        ("--no-install-recommends g++", STATUS, False),
        ("g++ -t noble-backports", STATUS, False),
    ],
)
def test_packages_are_installed_if_dpkg_says_so_of_all(
    tmp_path: Path, packages: str, status: str, expected: bool
):
    script = (
        f"say() {{ :; }}; dpkg-query() {{ ( {status} ); }}; . {FRAGMENT}; are_installed {packages}"
    )
    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, check=False)
    assert (result.returncode == 0) == expected
