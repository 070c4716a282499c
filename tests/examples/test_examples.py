"""The examples, as users run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from local.stack import REPOSITORY, Stack

EXAMPLES = REPOSITORY / "examples"
PATIENCE = 240
"""Seconds for both: four VMs install scikit-learn, and run eight trials each two."""

FRAME = re.compile(r"^(?:iris|wine)? +(?:forest|logistic) +[01]\.\d+ +\d+\.\d+$", re.MULTILINE)
DONE = re.compile(r"fleet-\d+ done; VMs 2/2 .*trials 8/8")


@dataclass(frozen=True)
class Ran:
    """The results of all three programs."""

    status: int
    printed: str
    progress: str
    shown: list[str]
    """The notebook's outputs, as plain text."""
    readme: subprocess.CompletedProcess[str]
    """The README's program."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Both at the same time on one stack, each with its own fleet."""
    state = tmp_path_factory.mktemp("examples")
    with Stack(state / "stack", time_scale=0.02) as stack:
        environment = environment_of(stack, state)
        script = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "benchmark.py")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            notebook = read_notebook()
            NotebookClient(notebook, timeout=PATIENCE).execute(env=environment)
            printed, progress = script.communicate(timeout=PATIENCE)
        finally:
            script.kill()
        # Last: it uses the tasks that the others have stored.
        (state / "readme.py").write_text(readme_program())
        readme = subprocess.run(
            [sys.executable, str(state / "readme.py")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    return Ran(script.returncode, printed, progress, outputs(notebook), readme)


def readme_program() -> str:
    """The README's Python, as printed."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.M | re.S
    )
    return str(blocks[0])


@pytest.mark.slow
def test_the_program_in_the_readme_prints_its_results(ran: Ran) -> None:
    done = ran.readme
    assert (done.returncode, {"iris", "wine"} - set(done.stdout.split())) == (0, set()), done


@pytest.mark.slow
def test_the_script_prints_what_the_trials_measured(ran: Ran) -> None:
    assert (ran.status, len(FRAME.findall(ran.printed))) == (0, 4), ran.printed + ran.progress


@pytest.mark.slow
def test_the_script_shows_progress(ran: Ran) -> None:
    assert DONE.search(ran.progress), ran.progress


@pytest.mark.slow
def test_the_notebook_shows_what_the_trials_measured(ran: Ran) -> None:
    assert len(FRAME.findall(ran.shown[-1])) == 4, ran.shown


@pytest.mark.slow
def test_the_notebook_shows_progress_in_one_output(ran: Ran) -> None:
    assert len(ran.shown) == 2
    assert DONE.search(ran.shown[0])


def test_the_notebook_is_kept_without_outputs() -> None:
    assert outputs(read_notebook()) == []


def environment_of(stack: Stack, state: Path) -> dict[str, str]:
    """The variables that `make start` prints, isolated from the user's configuration."""
    told = {"FLEET_URL": stack.url, "FLEET_KEY": stack.key, "POWERLIFT_DB_URI": stack.db_uri}
    own = {name: str(state / name) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR")}
    return {**os.environ, **told, **own}


def read_notebook() -> Any:
    return nbformat.read(EXAMPLES / "benchmark.ipynb", as_version=4)


def outputs(notebook: Any) -> list[str]:
    every = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [one["data"]["text/plain"] if "data" in one else str(one) for one in every]
