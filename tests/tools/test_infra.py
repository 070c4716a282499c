"""The check of `infra/` without a compiler; with one, `make check-infra` is the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import infra


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BICEP", raising=False)
    monkeypatch.setattr(infra, "REPOSITORY", tmp_path / "repository")


@pytest.mark.usefixtures("without_compiler")
@pytest.mark.parametrize(("options", "status"), [([], 0), (["--strict"], 1)])
def test_a_missing_compiler_is_reported(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    status: int,
):
    monkeypatch.setattr("sys.argv", ["infra", *options])
    assert infra.main() == status
    assert "there is no bicep on PATH" in capsys.readouterr().err


@pytest.mark.usefixtures("without_compiler")
def test_the_compiler_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BICEP", "/opt/bicep")
    assert infra.find_compiler() == "/opt/bicep"


@pytest.mark.usefixtures("without_compiler")
def test_the_compiler_is_found_beside_the_repository(tmp_path: Path):
    beside = tmp_path / "shared" / "tools" / "bicep"
    beside.parent.mkdir(parents=True)
    beside.touch()
    assert infra.find_compiler() == str(beside)


COMPILER = """#!/bin/sh
case $1 in
  build) printf '{"metadata": {"_generator": {"version": "%s"}}}' "$VERSION" ;;
  snapshot) exit 1 ;;
esac
"""


@pytest.mark.parametrize(("version", "findings"), [("1", 3), ("2", 0)])
def test_only_the_same_compiler_compares(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, findings: int
):
    """A finding for the template, and one for each example."""
    committed, compiler = tmp_path / "main.json", tmp_path / "bicep"
    committed.write_text('{"metadata": {"_generator": {"version": "1"}}, "resources": []}')
    compiler.write_text(COMPILER)
    compiler.chmod(0o700)
    monkeypatch.setenv("VERSION", version)
    monkeypatch.setattr(infra, "TEMPLATE", committed)
    assert len(list(infra.compile_all(str(compiler), write=False))) == findings
