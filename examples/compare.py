"""The time of two methods, compared in pairs: each pair ran on the same VM, one after the other.

pip install ./client powerlift 'setuptools<82' 'psycopg[binary]' scikit-learn matplotlib
python examples/compare.py              # runs a fleet, with the settings of benchmark.py
python examples/compare.py compare.csv  # reads `powerlift-fleet results … -o compare.csv`
"""

from __future__ import annotations

import os
import sys
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from benchmark import data_sets
from powerlift.bench.store import Store
from powerlift_fleet import AzureVMFleet, run_experiment

METHODS = ("extra trees", "forest")


def trial_gen(task: Any) -> list[str]:
    """The methods to compare on a task of the store."""
    return list(METHODS) if task.name in ("iris", "wine") else []


def trial_run(trial: Any) -> None:
    """One trial. Only the source of this function is sent to the VMs."""
    from time import perf_counter

    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    kinds = {"forest": RandomForestClassifier, "extra trees": ExtraTreesClassifier}
    model = kinds[trial.method](n_estimators=50, n_jobs=1, random_state=trial.replicate_num)
    x, y = trial.task.data()
    model.fit(x, y)  # loads what is loaded once
    begin = perf_counter()
    model.fit(x, y)
    trial.log("seconds", perf_counter() - begin)


def run_fleet(file: str) -> None:
    store = Store(os.environ["POWERLIFT_DB_URI"])
    for data_set in data_sets():
        store.create_task_with_data(data_set, exist_ok=True)
    executor = AzureVMFleet(store, n_instances=2, vm_size="Standard_D2s_v5",
                            pip_install="scikit-learn", trial_order="paired")  # fmt: skip
    name = f"comparison {pd.Timestamp.now()}"
    run = run_experiment(store, name, trial_run, trial_gen, executor, n_replicates=5)
    executor.join()
    run.export(file)


def differences(results: pd.DataFrame) -> pd.Series:
    """The difference of the methods' seconds, in percent of their mean, of pairs on one VM."""
    seconds = results[(results["name"] == "seconds") & (results["status"] == "COMPLETE")]
    pairs = seconds.pivot_table("num_val", ["task", "replicate_num", "vm_name"], "method")
    pairs = pairs.reindex(columns=list(METHODS)).dropna()
    if pairs.empty:
        sys.exit(f"no pairs: no VM has complete trials of both {METHODS[0]} and {METHODS[1]}.")
    return 100 * (pairs[METHODS[0]] - pairs[METHODS[1]]) / pairs[list(METHODS)].mean(axis=1)


def draw(found: pd.Series, file: str) -> None:
    """A dot for each pair: left of the line, the first method was faster."""
    by_task = found.groupby("task")
    _, axes = plt.subplots(figsize=(7, 1.5 + 0.5 * by_task.ngroups), layout="constrained")
    for place, (_, values) in enumerate(by_task):
        axes.plot(values, [place] * len(values), "o", alpha=0.6)
        axes.plot(values.median(), place, "k|", markersize=20)
    axes.axvline(0, color="grey")
    axes.set(yticks=range(by_task.ngroups), yticklabels=list(by_task.groups), ymargin=0.3)
    axes.set_xlabel(f"time of {METHODS[0]} minus time of {METHODS[1]}, % of their mean")
    axes.set_title(f"pairs on one VM: {len(found)}; median {found.median():+.1f} %")
    plt.savefig(file)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        run_fleet("compare.csv")
    draw(differences(pd.read_csv([*sys.argv, "compare.csv"][1])), "compare.svg")
