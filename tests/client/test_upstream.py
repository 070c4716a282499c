"""A Powerlift that has `run/`: its own `Benchmark.run`, on our executor and VMs, with its own runner.

`make test-upstream WHEEL=...` names a wheel built from upstream's source, which no package index has.
Without one, the published wheel gets a runner of the same contract: that shows that these tests work,
and not that upstream's code does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from local.demo.experiment import add_tasks, open_store
from local.environment import vm_environment
from local.stack import CACHE, REPOSITORY, Stack

pytestmark = pytest.mark.long

WHEEL = os.environ.get("POWERLIFT_WHEEL", "")
RUNNER = "powerlift/run/__main__.py"
UPSTREAM = REPOSITORY / "tests" / "fleet" / "vm" / "one_trial.py"
PATIENCE = 900
"""Seconds for 18 trials on 2 VMs, which install the wheel's dependencies."""

PROGRAM = """
import importlib.util, inspect, json, os
from powerlift.bench import Benchmark, Store
from powerlift_fleet import AzureVMFleet, trial_results, trial_status

def trial(trial):
    import numpy as np
    from sklearn.dummy import DummyClassifier
    global trials_of_this_process
    try:
        trials_of_this_process += 1
    except NameError:
        trials_of_this_process = 1
    x, y = trial.task.data()
    y = np.asarray(y)  # a Series or an array
    trial.log("score", DummyClassifier(strategy=trial.method).fit(x, y).score(x, y))
    trial.log("setting", {"process": trials_of_this_process})

def methods(task):
    return ["prior", "uniform", "stratified"] if task.name in ("iris", "wine") else []

store = Store(os.environ["POWERLIFT_DB_URI"])
executor = AzureVMFleet(
    store, n_instances=2, pip_install="scikit-learn", wheel_filepaths=[os.environ["WHEEL"]]
)
benchmark = Benchmark(store, name="upstream")
benchmark.run(trial, methods, timeout=300, n_replicates=3, executor=executor)
executor.join()
theirs = []
if importlib.util.find_spec("powerlift.executors.azure_vm"):
    from powerlift.executors.azure_vm import AzureVMInstance
    theirs = list(inspect.signature(AzureVMInstance).parameters)
status, results = trial_status(store, "upstream"), trial_results(store, "upstream")
print(json.dumps({
    "theirs": theirs,
    "ours": list(inspect.signature(AzureVMFleet).parameters),
    "status": [[row.status, row.errmsg] for row in status.itertuples()],
    "measures": results.groupby("name").size().to_dict(),
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel under test; it has a runner."""
    if WHEEL:
        with zipfile.ZipFile(WHEEL) as given:
            assert RUNNER in given.namelist(), f"{WHEEL} has no {RUNNER}: build one from source."
        return Path(WHEEL).resolve()
    published = distribution("powerlift")
    path = tmp_path_factory.mktemp("wheel") / f"powerlift-{published.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        for file in published.files or []:
            of_installer = file.name in ("RECORD", "INSTALLER", "REQUESTED")
            if file.parts[0].startswith("powerlift") and file.suffix != ".pyc" and not of_installer:
                made.write(str(file.locate()), str(file))
        made.writestr(f"powerlift-{published.version}.dist-info/RECORD", "")
        made.write(UPSTREAM, RUNNER)
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an author who has the wheel and our client."""
    directory = tmp_path_factory.mktemp("author")
    environment = {**os.environ, **vm_environment(CACHE, directory / "netrc")}
    uv, interpreter = (
        Path(sys.executable).with_name("uv"),
        str(directory / "venv" / "bin" / "python"),
    )
    packages = [str(wheel), str(REPOSITORY / "client"), "psycopg2-binary", "setuptools<82"]
    for command in (
        ["venv", "-q", "--python", sys.executable, str(directory / "venv")],
        ["pip", "install", "-q", "--python", interpreter, *packages],
    ):
        subprocess.run([uv, *command], env=environment, check=True, timeout=PATIENCE)
    return interpreter


@pytest.fixture(scope="module")
def ran(wheel: Path, python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """What the program prints, and the script that the experiment has then."""
    directory = tmp_path_factory.mktemp("upstream")
    program = directory / "program.py"
    program.write_text(PROGRAM)
    with Stack(directory / "stack", time_scale=0.02) as stack:
        store = open_store(stack.db_uri)
        add_tasks(store)
        uri = stack.db_uri.replace("postgresql://", "postgresql+psycopg2://", 1)
        environment = {**os.environ, "WHEEL": str(wheel), "POWERLIFT_DB_URI": uri}
        environment |= {"FLEET_URL": stack.url, "FLEET_KEY": stack.key}
        done = subprocess.run(
            [python, str(program)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        store.reset()
        while store.do:
            with store:
                script = store.find_experiment_by_id(1).script
        yield {**json.loads(done.stdout.splitlines()[-1]), "script": script}


def test_all_its_trials_are_complete(ran: Any) -> None:
    assert ran["status"] == [["COMPLETE", None]] * 18


def test_each_trial_has_its_measures(ran: Any) -> None:
    assert ran["measures"] == {"score": 18, "setting": 18}


def test_the_vms_ran_the_wheels_own_runner(ran: Any, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert ran["script"] == archive.read(RUNNER).decode()


def test_the_executor_has_the_arguments_of_the_wheels(ran: Any) -> None:
    if not ran["theirs"]:
        pytest.skip("The wheel has no AzureVMInstance.")
    assert ran["ours"][: len(ran["theirs"])] == ran["theirs"]
