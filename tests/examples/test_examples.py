"""The examples, as users run them."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from powerlift_fleet.benchmark.provenance import read_provenance

from local.stack import REPOSITORY, Stack
from tests.trials import packages_at_hand

EXAMPLES = REPOSITORY / "examples"
TIMEOUT = 240
"""Seconds for a program: it has two VMs, which install scikit-learn."""

FRAME = re.compile(r"^(?:iris|wine)? +(?:forest|logistic) +[01]\.\d+ +\d+\.\d+$", re.MULTILINE)
DONE = re.compile(r"fleet-\d+ done; VMs 2/2 .*trials (\d+)/\1\b")

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Site:
    """The stack on which the examples run."""

    stack: Stack
    state: Path

    def run(self, program: Path) -> Done:
        return subprocess.run(
            [sys.executable, str(program)],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            cwd=self.state,
        )

    def environment(self) -> dict[str, str]:
        """The variables that `make start` prints, isolated from the user's configuration."""
        stack = self.stack
        connection = {
            "FLEET_URL": stack.url,
            "FLEET_KEY": stack.key,
            "POWERLIFT_DB_URI": stack.db_uri,
        }
        own = {name: str(self.state / name) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR")}
        return {**os.environ, **connection, **own}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    state = tmp_path_factory.mktemp("examples")
    with (
        packages_at_hand(state / "packages", "scikit-learn"),
        Stack(state / "stack", time_scale=0.02) as stack,
    ):
        yield Site(stack, state)


@pytest.fixture(scope="module")
def shown(site: Site) -> list[str]:
    """The notebook's outputs, as plain text."""
    notebook = read_notebook()
    NotebookClient(notebook, timeout=TIMEOUT).execute(env=site.environment())
    return outputs(notebook)


@pytest.fixture(scope="module")
def script(site: Site) -> Done:
    return site.run(EXAMPLES / "benchmark.py")


@pytest.fixture(scope="module")
def compared(site: Site) -> Done:
    return site.run(EXAMPLES / "compare.py")


@pytest.mark.long
def test_the_script_prints_what_the_trials_measured(script: Done) -> None:
    assert (script.returncode, len(FRAME.findall(script.stdout))) == (0, 4), script


@pytest.mark.long
def test_the_script_shows_progress(script: Done) -> None:
    assert DONE.search(script.stderr), script


@pytest.mark.long
def test_the_comparison_draws_the_differences_of_its_fleet(site: Site, compared: Done) -> None:
    assert compared.returncode == 0, compared
    assert "pairs on one VM: 10;" in titles(site.state / "compare.svg")
    assert read_provenance(site.state / "compare.csv")["fleets"][0]["request"]["vm_size"]


EXPORTED = """task,replicate_num,method,status,name,num_val,vm_name
iris,0,forest,COMPLETE,seconds,0.9,vm-1
iris,0,extra trees,COMPLETE,seconds,1.1,vm-1
iris,0,forest,COMPLETE,accuracy,0.5,vm-1
iris,1,forest,COMPLETE,seconds,9,vm-1
iris,1,extra trees,COMPLETE,seconds,1,vm-2
wine,0,forest,COMPLETE,seconds,3,vm-2
wine,0,extra trees,ERROR,seconds,1,vm-2
"""
"""A pair, one that two VMs ran, and one of which a trial failed."""


def test_the_comparison_is_of_pairs_that_one_vm_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export is enough: without a fleet."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "argv", ["compare.py", "mine.csv"])
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text(EXPORTED)
    runpy.run_path(str(EXAMPLES / "compare.py"), run_name="__main__")
    assert "pairs on one VM: 1; median +20.0 %" in titles(Path("compare.svg"))


@pytest.mark.parametrize(
    "rows",
    [
        "",
        "iris,0,forest,COMPLETE,seconds,0.9,\niris,0,extra trees,COMPLETE,seconds,1.1,\n",
        "iris,0,forest,COMPLETE,seconds,0.9,vm-1\niris,0,extra trees,ERROR,seconds,1.1,vm-1\n",
        "iris,0,forest,COMPLETE,seconds,0.9,vm-1\niris,0,extra trees,COMPLETE,seconds,1.1,vm-2\n",
    ],
    ids=["no trial", "no VM", "one method", "two VMs"],
)
def test_a_comparison_without_pairs_ends_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "argv", ["compare.py", "mine.csv"])
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text(EXPORTED.splitlines(keepends=True)[0] + rows)
    with pytest.raises(SystemExit, match=r"^no pairs: no VM has"):
        runpy.run_path(str(EXAMPLES / "compare.py"), run_name="__main__")


def titles(file: Path) -> str:
    """The texts of a drawing, which Matplotlib adds as comments to their outlines."""
    return "\n".join(re.findall(r"<!-- (.*) -->", file.read_text()))


@pytest.mark.long
def test_the_notebook_shows_what_the_trials_measured(shown: list[str]) -> None:
    assert len(FRAME.findall(shown[-1])) == 4, shown


@pytest.mark.long
def test_the_notebook_shows_progress_in_one_output(shown: list[str]) -> None:
    assert len(shown) == 2
    assert DONE.search(shown[0])


@pytest.mark.parametrize("program", ["benchmark.py", "compare.py"])
def test_a_program_runs_its_own_data_sets_only(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """The store of `make start` has other tasks."""
    monkeypatch.syspath_prepend(EXAMPLES)
    trial_gen = runpy.run_path(str(EXAMPLES / program))["trial_gen"]
    tasks = [SimpleNamespace(name=name) for name in ("iris", "wine", "breast_cancer", "diabetes")]
    assert [task.name for task in tasks if trial_gen(task)] == ["iris", "wine"]


def test_the_notebook_runs_the_trials_of_the_script() -> None:
    notebook = "\n".join(cell.source for cell in read_notebook().cells if cell.cell_type == "code")
    script = (EXAMPLES / "benchmark.py").read_text()
    assert statements(notebook, "trial_gen") == statements(script, "trial_gen")
    assert statements(notebook, "trial_run") == statements(script, "trial_run")


def statements(program: str, function: str) -> list[str]:
    """What a function does, without its description."""
    found = [
        node
        for node in ast.parse(program).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    body = found[0].body[1:] if ast.get_docstring(found[0]) else found[0].body
    return [ast.unparse(statement) for statement in body]


def test_the_notebook_is_kept_without_outputs() -> None:
    assert outputs(read_notebook()) == []


def read_notebook() -> Any:
    return nbformat.read(EXAMPLES / "benchmark.ipynb", as_version=4)


def outputs(notebook: Any) -> list[str]:
    every = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [one["data"]["text/plain"] if "data" in one else str(one) for one in every]
