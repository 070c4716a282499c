"""Creates and submits an experiment as Powerlift's `Benchmark.run` does, with this package's runner.

The published Powerlift 0.1.12 lacks the script that `Benchmark.run` sends to the VMs.
"""

from __future__ import annotations

import inspect
import json
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from powerlift_fleet.api import html
from powerlift_fleet.api.errors import ConfigurationError, FleetError
from powerlift_fleet.benchmark import arguments, export
from powerlift_fleet.benchmark.results import experiment_id, in_store, trial_results, trial_status
from powerlift_fleet.benchmark.trial_source import source_of

if TYPE_CHECKING:
    from pandas import DataFrame
    from powerlift.bench import Benchmark
    from powerlift.bench.experiment import Task
    from powerlift.bench.store import Store
    from powerlift.executors.base import Executor

T = TypeVar("T")

MAX_NAME_LENGTH = 256
"""Of an experiment and of a method: the columns' width in Powerlift's tables."""

EASY_SHARE, FIRST_SHARE = 0.25, 0.25
"""Powerlift's numbers: a quarter of the easiest quarter runs first."""

_log = logging.getLogger("powerlift_fleet")


@dataclass(frozen=True)
class Run:
    """A submitted experiment."""

    experiment_id: int
    executor: Executor
    """Has `join` and `cancel`."""
    benchmark: Benchmark
    """Powerlift's. For data frames use `status` and `results` below, which are right with pandas 3."""
    store: Store

    def status(self) -> DataFrame:
        """The trials, with `status` and `errmsg` of each: see `trial_status`."""
        return trial_status(self.store, self.benchmark.name)

    def results(self) -> DataFrame:
        """The measures: see `trial_results`."""
        return trial_results(self.store, self.benchmark.name)

    def export(self, file: str | Path) -> None:
        """Write the results with their provenance to a .csv, .json or .parquet file, as the command
        `powerlift-fleet results` does. Raises ConfigurationError, and as `FleetClient.request_of`.
        """
        describe = getattr(self.executor, "provenance", None)
        if describe is None:
            raise ConfigurationError(
                "Only the results of an AzureVMFleet have a provenance to export."
            )
        path, name = Path(file), self.benchmark.name
        format_ = export.format_of(None, path)
        frame = in_store(self.store, name, export.export_frame)
        fleets = frame["fleet"].dropna().unique()
        export.write_file(path, format_, frame, describe(fleets, name))

    def _repr_html_(self) -> str:
        """For notebooks: the experiment, and the executor's fleets if it shows them."""
        named = [html.bold(self.benchmark.name), f"experiment {self.experiment_id}"]
        fleets = getattr(self.executor, "_repr_html_", str)()
        return html.table([named]) + fleets


def run_experiment(
    store: Store,
    name: str,
    trial_run_fn: Callable[[Any], object],
    trial_gen_fn: Callable[[Task], Iterable[str | tuple[str, Mapping[str, Any]]]],
    executor: Executor,
    *,
    timeout: float | str | None = None,
    n_replicates: int = 1,
    description: str | None = None,
    memory_limit: str | int | None = None,
    seed: int = 0,
    fleet_name: str | None = None,
) -> Run:
    """Create an experiment with its trials, and submit it. Replaces `Benchmark(...).run(...)`.

    Only the source of `trial_run_fn` is sent to the VMs: import and define what it needs inside.
    `trial_gen_fn` receives each task of the store and returns methods, or (method, meta) pairs.
    `timeout`: seconds per trial, or "30m"; `memory_limit`: bytes ("8G") of a trial with its child
    processes; None: no limit. `seed` determines the order of the trials. `fleet_name` can be used in
    place of the fleet's ID.

    Raises ConfigurationError, RequestRefused or FleetCannotStart before anything is created: an
    AzureVMFleet has the app check and plan the request first. After an error of `executor.submit` the
    experiment exists and can be submitted again by its ID.
    """
    trial_fn, memory = source_of(trial_run_fn), arguments.memory_or_empty(memory_limit)
    timeout = arguments.duration_or_none("timeout", timeout)
    n_replicates = arguments.count("n_replicates", n_replicates, 1)
    rng = random.Random(seed)  # noqa: S311 (not for secrets)
    planned = ordered_trials(store.get_tasks(), trial_gen_fn, n_replicates, rng)
    if not planned:
        raise ConfigurationError(
            "There are no trials: the store has no tasks, or trial_gen_fn returns no methods."
        )
    _check_name_is_free(store, name)
    wheels = _wheels(getattr(executor, "_wheel_filepaths", None) or [])
    named = {} if fleet_name is None else {"name": fleet_name}
    options: dict[str, Any] = dict(named)
    if check := getattr(executor, "check", None):
        check(len(planned), timeout, **named)
        if "plan" in inspect.signature(executor.submit).parameters:  # a subclass may lack it
            options["plan"] = False
    from powerlift.bench import Benchmark

    described = description or f"Experiment: {name}"
    sources = runner_script(memory), trial_fn
    experiment = _create(store, name, described, sources, executor, wheels, planned)
    try:
        executor.submit(experiment, timeout=timeout, **options)
    except FleetError:
        _log.warning(
            "Experiment %d (%s) with %d trials is in the database, but no fleet was submitted. After "
            "correcting what the error names, submit it with submit(%d) of a new executor.",
            *(experiment, name, len(planned), experiment),
        )
        raise
    return Run(experiment, executor, Benchmark(store, name, description), store)


def _create(
    store: Store,
    name: str,
    description: str,
    sources: tuple[str, str],
    executor: Executor,
    wheels: Sequence[Any],
    trials: Iterable[Mapping[str, Any]],
) -> int:
    """Store an experiment with its trials. `sources`: of the runner and of the trial function."""
    experiment = int(
        store.create_experiment(
            name,
            description,
            getattr(executor, "_shell_install", None) or "",
            getattr(executor, "_pip_install", None) or "",
            *sources,
            wheels,
        )
    )
    store.create_trials([{"experiment_id": experiment, **trial} for trial in trials])
    return experiment


def ordered_trials(
    tasks: Sequence[Task],
    trial_gen_fn: Callable[[Task], Iterable[str | tuple[str, Mapping[str, Any]]]],
    n_replicates: int,
    rng: random.Random,
) -> list[dict[str, Any]]:
    """All trials, in the order in which VMs run them. Raises ConfigurationError.

    Powerlift's order: the hardest first, so that no long trial starts last; some easy ones before them,
    so that errors show early.
    """
    trials: list[dict[str, Any]] = []
    for task in sorted(tasks, key=_hardness, reverse=True):
        of_task = [
            {"task_id": task.id, "method": method, "replicate_num": number, "meta": meta}
            for method, meta in map(_method, _generated(trial_gen_fn(task)))
            for number in range(n_replicates)
        ]
        rng.shuffle(of_task)
        trials += of_task
    easy = int(len(trials) * EASY_SHARE)
    hard = len(trials) - easy
    first = sorted(rng.sample(range(hard, len(trials)), int(easy * FIRST_SHARE)), reverse=True)
    rest = (trial for index, trial in enumerate(trials) if index not in set(first))
    return [*(trials[index] for index in first), *rest]


def runner_script(memory_limit: str = "") -> str:
    """The trial runner's source, for `Store.create_experiment(script=...)`.

    `memory_limit`: bytes of a trial and its child processes, or "8G"; empty: no limit.
    """
    source = Path(__file__).with_name("runner.py").read_text(encoding="utf-8")
    return source.replace('MEMORY_LIMIT = ""\n', f"MEMORY_LIMIT = {memory_limit!r}\n", 1)


def _hardness(task: Task) -> float:
    return float((1 if task.n_classes < 3 else task.n_classes) * task.n_features * task.n_samples)


def _generated(found: Any) -> Iterable[Any]:
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise ConfigurationError(
            "trial_gen_fn must return a list of methods, or of (method, meta) pairs; it returned "
            f"{found!r:.80}."
        )
    return found


def _method(generated: Any) -> tuple[str, dict[str, Any]]:
    is_pair = isinstance(generated, tuple) and len(generated) == 2
    method, meta = generated if is_pair else (generated, {})
    if not isinstance(method, str) or not 0 < len(method) <= MAX_NAME_LENGTH:
        raise ConfigurationError(
            f"A method must be a str of 1 to {MAX_NAME_LENGTH} characters, or (str, meta); "
            f"trial_gen_fn returned {method!r:.80}."
        )
    if not isinstance(meta, Mapping):
        raise ConfigurationError(
            f"The meta of method {method!r:.80} must be a dict, and not {meta!r:.80}."
        )
    try:
        json.dumps(meta)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The meta of method {method!r} is not JSON: {error}.") from None
    return method, dict(meta)


def _check_name_is_free(store: Store, name: str) -> None:
    """Powerlift would retry an invalid name for a minute, then report a database error."""
    if not name.strip() or len(name) > MAX_NAME_LENGTH:
        raise ConfigurationError(
            f"The name of an experiment must have 1 to {MAX_NAME_LENGTH} characters, not all blank; "
            f"this one has {len(name)}."
        )
    existing = experiment_id(store, name)
    if existing is not None:
        raise ConfigurationError(
            f"Experiment {name!r} already exists, with ID {existing}. Choose another name, or run its "
            f"remaining trials with executor.submit({existing}): its VMs run the function and the "
            "packages that were stored with it, even if yours have changed since."
        )


def _wheels(paths: Iterable[str]) -> list[Any]:
    from powerlift.db import schema

    try:
        return [
            schema.Wheel(name=Path(path).name, embedded=Path(path).read_bytes()) for path in paths
        ]
    except OSError as error:
        raise ConfigurationError(f"A wheel cannot be read: {error}.") from None
