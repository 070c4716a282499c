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


def test_templates_of_two_compilers_are_compared_without_their_versions():
    one, other = (
        {"metadata": {"_generator": {"version": version}}, "resources": [{"metadata": {}}]}
        for version in ("1", "2")
    )
    assert infra.without_generator(one) == infra.without_generator(other)
    assert infra.without_generator(one) != infra.without_generator({**other, "resources": []})
