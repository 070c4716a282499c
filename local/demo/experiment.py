"""The demo's experiment: scikit-learn's bundled data sets, two methods, in a Powerlift database."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from powerlift.bench.store import Store, SupervisedDataset
from powerlift.measures import class_stats, data_stats, regression_stats
from powerlift_fleet import runner_script

from local.demo.trial import run_trial

NAME = "demo"
METHODS = ("linear", "forest")
_LOADERS = {
    "breast_cancer": "binary",
    "diabetes": "regression",
    "iris": "multiclass",
    "wine": "multiclass",
}


class Cell(NamedTuple):
    """A planned trial: a task, a method, and the number of the replicate."""

    task: int
    method: str
    replicate: int


def plan(tasks: Sequence[int], methods: Sequence[str], trials: int) -> list[Cell]:
    """Exactly `trials` cells, spread evenly: every (task, method) once, then again, and so on.

    `tasks` and `methods` must not be empty.
    """
    cells = list(product(tasks, methods))
    return [Cell(*cells[n % len(cells)], n // len(cells)) for n in range(trials)]


def open_store(uri: str) -> Store:
    """Powerlift's store at a postgresql:// URI. Creates the tables.

    The driver is explicit because SQLAlchemy 2.1 defaults to psycopg 3.
    """
    return Store(uri.replace("postgresql://", "postgresql+psycopg2://", 1), wait_secs=1.0)


def add_tasks(store: Store) -> None:
    """Add scikit-learn's bundled data sets to the store, unless they exist."""
    for dataset in _datasets():
        store.create_task_with_data(dataset, exist_ok=True)


def create(store: Store, trials: int = 24, name: str = NAME) -> int:
    """Add the data sets, the experiment and its trials to the store. Returns the experiment's id."""
    add_tasks(store)
    experiment_id = int(
        store.create_experiment(
            name,
            "scikit-learn's bundled data sets, a linear model and a forest",
            shell_install="",
            pip_install="scikit-learn",
            script=runner_script(),
            trial_fn=inspect.getsource(run_trial),
            wheels=[],
        )
    )
    cells = plan([task.id for task in store.get_tasks()], METHODS, trials)
    store.create_trials(
        [
            {
                "experiment_id": experiment_id,
                "task_id": cell.task,
                "method": cell.method,
                "replicate_num": cell.replicate,
                "meta": {},
            }
            for cell in cells
        ]
    )
    return experiment_id


def _datasets() -> Iterator[SupervisedDataset]:
    from sklearn import (
        datasets,  # here, since it takes two seconds and most commands do not need it
    )

    for name, problem in _LOADERS.items():
        bunch: Any = getattr(datasets, f"load_{name}")()
        features = [str(feature) for feature in bunch.feature_names]
        x = pd.DataFrame(np.asarray(bunch.data, dtype=np.float64), columns=features)
        y = pd.Series(bunch.target, dtype=np.float64 if problem == "regression" else np.int16)
        categorical = [False] * len(features)
        meta: dict[str, Any] = {
            "name": name,
            "problem": problem,
            "origin": "scikit-learn",
            "categorical_mask": categorical,
            "feature_names": features,
        }
        (regression_stats if problem == "regression" else class_stats)(y, meta)
        data_stats(x, categorical, meta)
        yield SupervisedDataset(x, y, meta)
