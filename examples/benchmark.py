"""A benchmark on a fleet of Azure VMs: two methods on two of scikit-learn's data sets.

    pip install ./client powerlift 'setuptools<82' 'psycopg[binary]' scikit-learn
    export FLEET_URL=… FLEET_KEY=… POWERLIFT_DB_URI=postgresql://…
    python examples/benchmark.py

`make start` prints all three for simulated Azure on your own machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pandas as pd
from powerlift.bench.store import Store, SupervisedDataset
from powerlift.measures import class_stats, data_stats
from powerlift_fleet import AzureVMFleet, run_experiment
from sklearn import datasets


def data_sets() -> Iterator[SupervisedDataset]:
    """Powerlift can also retrieve OpenML suites: `powerlift.bench.retrieve_openml`."""
    for name, load in (("iris", datasets.load_iris), ("wine", datasets.load_wine)):
        x, y = load(return_X_y=True, as_frame=True)
        categorical = [False] * x.shape[1]
        meta = {
            "name": name,
            "problem": "multiclass",
            "origin": "scikit-learn",
            "categorical_mask": categorical,
            "feature_names": list(x.columns),
        }
        class_stats(y, meta)
        data_stats(x, categorical, meta)
        yield SupervisedDataset(x, pd.Series(y, dtype="int16"), meta)


def trial_gen(task: Any) -> list[tuple[str, dict[str, Any]]]:
    """The methods to try on a task of the store, which may have other tasks than this program's."""
    if task.name not in ("iris", "wine"):
        return []
    return [("forest", {"n_estimators": 50}), ("logistic", {})]


def trial_run(trial: Any) -> None:
    """One trial. Only the source of this function is sent to the VMs."""
    from time import perf_counter

    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    x, y = trial.task.data()
    split = train_test_split(x, y, stratify=y, random_state=trial.replicate_num)
    x_train, x_test, y_train, y_test = split
    if trial.method == "forest":
        model = RandomForestClassifier(**trial.meta, random_state=trial.replicate_num)
    else:
        model = LogisticRegression(max_iter=5000)
    begin = perf_counter()
    model.fit(x_train, y_train)
    trial.log("seconds", perf_counter() - begin)
    trial.log("accuracy", model.score(x_test, y_test))


def main() -> None:
    """Fill the store, run the experiment on two VMs, and print the results."""
    store = Store(os.environ["POWERLIFT_DB_URI"])
    for data_set in data_sets():
        store.create_task_with_data(data_set, exist_ok=True)

    executor = AzureVMFleet(
        store,
        n_instances=2,
        vm_size="Standard_D2s_v5",
        pip_install="scikit-learn",
    )
    name = f"example {datetime.now():%Y-%m-%d %H:%M:%S}"
    run = run_experiment(store, name, trial_run, trial_gen, executor, timeout=300, n_replicates=2)
    executor.join()

    results = run.results()
    means = results.pivot_table(index=["task", "method"], columns="name", values="num_val")
    print(means.round(3))


if __name__ == "__main__":
    main()
