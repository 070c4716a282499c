"""Lint, formatting, types and shell scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.vm.render import template

REPOSITORY = Path(__file__).resolve().parent.parent
TYPED = ["fleet", "activities", "orchestrators", "triggers", "local", "tools", "docs"]
NOT_OURS = {".venv", ".local", ".git"}
FRAGMENTS = REPOSITORY / "fleet" / "vm" / "startup"
"""Of one script, which is checked as a whole."""


def test_the_code_is_free_of_lint() -> None:
    assert_clean(sys.executable, "-m", "ruff", "check", "--quiet", ".")


def test_the_code_is_formatted() -> None:
    assert_clean(sys.executable, "-m", "ruff", "format", "--check", "--quiet", ".")


def test_the_types_agree() -> None:
    assert_clean(sys.executable, "-m", "mypy", *TYPED)


def test_the_client_suits_the_oldest_python_that_it_takes() -> None:
    assert_clean(sys.executable, "-m", "mypy", "--python-version", "3.10", "client", "examples")


def test_the_shell_scripts_are_free_of_lint() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    assert_clean(str(shellcheck), "--external-sources", *map(str, shell_scripts(REPOSITORY)))


def test_the_startup_script_is_free_of_lint(tmp_path: Path) -> None:
    script = tmp_path / "startup.sh"
    script.write_text(template())
    assert_clean(str(Path(sys.executable).with_name("shellcheck")), str(script))


def test_imports_run_downwards() -> None:
    assert_clean(str(Path(sys.executable).with_name("lint-imports")), "--no-logo")


def assert_clean(*argv: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((".", "client"))}
    done = subprocess.run(argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


def shell_scripts(directory: Path) -> Iterator[Path]:
    """Every file that a shell runs: by its suffix, or by its first line."""
    for path in sorted(directory.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if path.name not in NOT_OURS and path != FRAGMENTS:
                yield from shell_scripts(path)
        elif path.suffix == ".sh" or (not path.suffix and _is_run_by_a_shell(path)):
            yield path


def _is_run_by_a_shell(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(80).strip()
    return first.startswith(b"#!") and first.endswith((b"/sh", b"/bash", b" sh", b" bash"))
