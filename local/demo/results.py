"""The results of the trials, from Powerlift's store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from powerlift.bench.store import Store
from rich.table import Table

from local.demo.experiment import METHODS, NAME

_CAPTION = "score: accuracy, or R² for diabetes"


def trials_by_status(store: Store, name: str = NAME) -> Mapping[str, int]:
    """The number of trials by Powerlift's status: READY, RUNNING, COMPLETE, ERROR."""
    return Counter(store.get_status(name)["status"])


def errors(store: Store, name: str = NAME) -> list[str]:
    """The distinct errors of trials: the last line of each traceback."""
    messages = store.get_status(name)["errmsg"].dropna()
    return sorted({str(text).strip().splitlines()[-1] for text in messages if str(text).strip()})


def table(store: Store, name: str = NAME) -> Table:
    """The mean score and time to fit of each method on each task, over its replicates."""
    measured = store.get_results(name)
    cells = measured.groupby(["task", "method", "name"])["num_val"].agg(["mean", "size"])
    shown = Table(title="Mean score, replicates, time to fit", caption=_CAPTION)
    shown.add_column("task")
    for method in METHODS:
        shown.add_column(method, justify="right")
    for task in sorted(set(measured["task"])):
        row = []
        for method in METHODS:
            if (task, method, "score") not in cells.index:
                row.append("-")
                continue
            score, n = cells.loc[(task, method, "score")]
            seconds = cells.loc[(task, method, "fit_seconds"), "mean"]
            row.append(f"{score:.3f}  n={int(n)}  {seconds * 1000:4.0f} ms")
        shown.add_row(task, *row)
    return shown
