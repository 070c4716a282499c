"""An experiment for a fleet: what Powerlift's `Benchmark.run` makes, with a script that comes with us.

Powerlift 0.1.12 as it is published lacks the script that `Benchmark.run` gives to the VMs.
"""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import json
import logging
import random
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeVar

from powerlift_fleet import source
from powerlift_fleet.api.errors import ConfigurationError, FleetError

if TYPE_CHECKING:
    from powerlift.bench import Benchmark
    from powerlift.bench.experiment import Task
    from powerlift.bench.store import Store
    from powerlift.executors.base import Executor

T = TypeVar("T")

NAME_LENGTH = 256
"""Characters of a method's name in Powerlift's tables."""

EASY, OF_THEM_FIRST = 0.25, 0.25
"""The easiest quarter of the trials, of which a quarter goes first. Powerlift's numbers."""

_log = logging.getLogger("powerlift_fleet")


@dataclass(frozen=True)
class Run:
    """An experiment that has been handed to an executor."""

    experiment_id: int
    executor: Executor
    """Powerlift's, with `join` and `cancel`."""
    benchmark: Benchmark
    """Powerlift's, with `status()` and `results()` as data frames."""


def run_experiment(
    store: Store,
    name: str,
    trial_run_fn: Callable[[Any], object],
    trial_gen_fn: Callable[[Task], Iterable[str | tuple[str, Mapping[str, Any]]]],
    executor: Executor,
    *,
    timeout: float | None = None,
    n_replicates: int = 1,
    description: str | None = None,
    memory_limit: str | int | None = None,
    seed: int = 0,
) -> Run:
    """Make an experiment with its trials, and submit it. In the place of `Benchmark(...).run(...)`.

    `trial_run_fn` gets a trial, on a VM that sees the text of this function alone: what it needs is
    imported or defined inside. `trial_gen_fn` gets each task of the store and names its methods, or
    (method, meta). `timeout` is the seconds of a trial, `memory_limit` its bytes ("8G"; with all
    that it has started); None: no limit. The order of the trials is a function of `seed`.

    Raises ConfigurationError before anything is made, and what `executor.submit` raises: then the
    experiment is there, and can be submitted again by its number.
    """
    trial_fn = text_of(trial_run_fn)
    if not n_replicates >= 1:
        raise ConfigurationError("n_replicates must be 1 or more.")
    rng = random.Random(seed)  # noqa: S311 (an order is no secret)
    planned = arrange(store.get_tasks(), trial_gen_fn, n_replicates, rng)
    if not planned:
        raise ConfigurationError(
            "There are no trials: the store has no task, or trial_gen_fn names no method for any."
        )
    _refuse_taken(store, name)
    from powerlift.bench import Benchmark

    experiment_id = int(
        store.create_experiment(
            name,
            description or f"Experiment: {name}",
            getattr(executor, "_shell_install", None) or "",
            getattr(executor, "_pip_install", None) or "",
            source("" if memory_limit is None else str(memory_limit)),
            trial_fn,
            _wheels(getattr(executor, "_wheel_filepaths", None) or []),
        )
    )
    store.create_trials([{"experiment_id": experiment_id, **trial} for trial in planned])
    try:
        executor.submit(experiment_id, timeout=timeout)
    except FleetError:
        _log.warning(
            "Experiment %d (%s) and its %d trials are in the database, and no fleet runs them: "
            "executor.submit(%d) asks for one.",
            *(experiment_id, name, len(planned), experiment_id),
        )
        raise
    return Run(experiment_id, executor, Benchmark(store, name, description))


def arrange(
    tasks: Sequence[Task],
    trial_gen_fn: Callable[[Task], Iterable[str | tuple[str, Mapping[str, Any]]]],
    n_replicates: int,
    rng: random.Random,
) -> list[dict[str, Any]]:
    """All trials in the order in which VMs take them: the hardest first, so that no long one begins
    when the others end; but some easy ones before, which show early that everything works.

    Powerlift's order, with its dice replaced by `rng`. Raises ConfigurationError.
    """
    trials: list[dict[str, Any]] = []
    for task in sorted(tasks, key=_hardness, reverse=True):
        of_task = [
            {"task_id": task.id, "method": method, "replicate_num": number, "meta": meta}
            for method, meta in map(_method, trial_gen_fn(task))
            for number in range(n_replicates)
        ]
        rng.shuffle(of_task)
        trials += of_task
    easy = int(len(trials) * EASY)
    hard = len(trials) - easy
    first = sorted(rng.sample(range(hard, len(trials)), int(easy * OF_THEM_FIRST)), reverse=True)
    taken = set(first)
    rest = (trial for place, trial in enumerate(trials) if place not in taken)
    return [*(trials[place] for place in first), *rest]


def text_of(function: Callable[[Any], object]) -> str:
    """A trial function's source text, which is all that travels to the VMs.

    Raises ConfigurationError where that cannot run there: a lambda, a closure, a name from outside.
    """
    name = getattr(function, "__name__", repr(function))
    try:
        text = inspect.getsource(function)
        module = ast.parse(textwrap.dedent(text))
    except (OSError, TypeError, SyntaxError):
        module, text = ast.Module([], []), ""
    if name not in [node.name for node in module.body if isinstance(node, ast.FunctionDef)]:
        raise ConfigurationError(
            f"The text of {name} cannot be found. A VM runs the text of a trial function: write it "
            "with def, in a file or a notebook's cell."
        )
    # This module's annotations are not evaluated, and compile() hands that on; the VMs' runner too.
    code = compile(module, name, "exec")
    outside = sorted({*_names(code, "LOAD_NAME"), *_globals(code)} - {name, *dir(builtins)})
    if outside:
        raise ConfigurationError(
            f"{name} uses names from outside: {', '.join(outside)}. A VM sees the text of the "
            "function alone: import or define them inside."
        )
    return text


def _globals(code: CodeType) -> Iterator[str]:
    yield from _names(code, "LOAD_GLOBAL")
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _globals(inner)


def _names(code: CodeType, operation: str) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname == operation:
            yield str(step.argval)


def _hardness(task: Task) -> float:
    return float((1 if task.n_classes < 3 else task.n_classes) * task.n_features * task.n_samples)


def _method(generated: str | tuple[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    method, meta = generated if isinstance(generated, tuple) else (generated, {})
    if not isinstance(method, str) or not 0 < len(method) <= NAME_LENGTH:
        raise ConfigurationError(
            f"A method must be text of 1 to {NAME_LENGTH} characters, or (text, meta); "
            f"trial_gen_fn named {method!r:.80}."
        )
    try:
        json.dumps(meta)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The meta of method {method!r} is no JSON: {error}.") from None
    return method, dict(meta)


def _refuse_taken(store: Store, name: str) -> None:
    """Powerlift would try a name that is taken for a minute, and then tell of a constraint."""
    taken = None
    store.reset()
    while store.do:
        with store:
            taken = store.get_experiment(name)
    if taken is not None:
        raise ConfigurationError(
            f"There is an experiment {name!r} already, number {taken}. Choose another name; or let "
            f"executor.submit({taken}) run what is left of it."
        )


def _wheels(paths: Iterable[str]) -> list[Any]:
    from powerlift.db import schema

    try:
        return [
            schema.Wheel(name=Path(path).name, embedded=Path(path).read_bytes()) for path in paths
        ]
    except OSError as error:
        raise ConfigurationError(f"A wheel cannot be read: {error}.") from None
