"""The order in which VMs take trials, in a real database."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import psycopg2
import pytest
from powerlift_fleet import runner_script

from fleet.model.names import AWAITS_REGULAR
from fleet.store.trials import release
from fleet.vm.render import script_digest
from tests.fleet.vm.claims import claim_statement
from tests.fleet.vm.scripts import LOGS

METHODS, REPLICATES = "abcd", 6
END = "UPDATE trial SET end_time = now(), runner_id = -2 WHERE id = %s"
Made = tuple[int, dict[int, tuple[str, int]]]


@pytest.fixture
def made(benchmark_database: Any) -> Made:
    """An experiment, and the method and replicate of each of its trials."""
    return trials_of(benchmark_database, benchmark_database.experiment(""))


def trials_of(database: Any, experiment: int) -> Made:
    planned = [(method, number) for method in METHODS for number in range(REPLICATES)]
    database.store.create_trials(
        [
            {
                "experiment_id": experiment, "task_id": database.task, "method": method,
                "meta": {}, "replicate_num": number,
            }
            for method, number in planned
        ]
    )  # fmt: skip
    rows = database.sql(
        "SELECT id, method, replicate_num FROM trial WHERE experiment_id = %s", experiment
    )
    return experiment, {trial: (method, number) for trial, method, number in rows}


def ids(rows: list[tuple[Any, ...]]) -> list[int]:
    return [row[0] for row in rows]


def taken(database: Any, statement: str, count: int | None = None) -> list[int]:
    """The trials that a VM takes, ending each, until none is left, or `count`."""
    trials: list[int] = []
    while (count is None or len(trials) < count) and (claimed := ids(database.sql(statement))):
        trials += claimed
        database.sql(END, claimed[0])
    return trials


def drawn(seed: int) -> Callable[[int], str]:
    """The place of a trial in the order of a seed."""
    return lambda trial: hashlib.md5(f"{seed} {trial}".encode()).hexdigest()


def paired(made: Made, seed: int) -> list[int]:
    """Replicates in the order of their first trials, the methods of each in the order of the seed."""
    groups = [
        sorted((trial for trial, (_, of) in made[1].items() if of == number), key=drawn(seed))
        for number in range(REPLICATES)
    ]
    return [trial for group in sorted(groups, key=min) for trial in group]


def replicates(made: Made, trials: list[int]) -> list[int]:
    """The replicates of trials, where consecutive trials of one count once."""
    return [number for number, _ in groupby(made[1][trial][1] for trial in trials)]


def test_fifo_is_the_order_of_powerlift(benchmark_database: Any, made: Made):
    assert taken(benchmark_database, claim_statement(made[0], 7, "fifo")) == sorted(made[1])


def test_shuffled_is_drawn_from_the_seed(benchmark_database: Any, made: Made):
    statement = claim_statement(made[0], 7, "shuffled", seed=5)
    assert taken(benchmark_database, statement) == sorted(made[1], key=drawn(5))


@pytest.mark.parametrize("seed", [5, 6])
def test_paired_runs_the_methods_of_a_replicate_one_after_the_other(
    benchmark_database: Any, made: Made, seed: int
):
    statement = claim_statement(made[0], 7, "paired", seed=seed)
    assert taken(benchmark_database, statement) == paired(made, seed)


def test_vms_that_claim_at_once_never_share_a_replicate(benchmark_database: Any, made: Made):
    def work(runner: int) -> list[int]:
        chance, trials = random.Random(runner), []
        statement = claim_statement(made[0], runner, "paired")
        with psycopg2.connect(benchmark_database.uri) as database, database.cursor() as cursor:
            while True:
                cursor.execute(statement)
                claimed = ids(cursor.fetchall())
                database.commit()
                if not claimed:
                    return trials
                trials += claimed
                cursor.execute("SELECT pg_sleep(%s)", (chance.random() / 200,))
                cursor.execute(END, claimed)
                database.commit()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(7, 11)))
    assert sorted(trial for trials in found for trial in trials) == sorted(made[1])
    shared = [number for trials in found for number in replicates(made, trials)]
    assert sorted(shared) == list(range(REPLICATES))


def test_after_a_loss_the_rest_of_a_group_moves_to_one_vm(benchmark_database: Any, made: Made):
    lost = taken(benchmark_database, claim_statement(made[0], 7, "paired"), 1)
    [held] = ids(benchmark_database.sql(claim_statement(made[0], 7, "paired")))
    other = taken(benchmark_database, claim_statement(made[0], 8, "paired"))

    release(benchmark_database.uri, made[0], [7], {7: "evicted"})

    rest = taken(benchmark_database, claim_statement(made[0], 9, "paired"))
    assert (len(other), len(rest), held in rest) == (20, 3, True)
    assert replicates(made, rest) == replicates(made, lost)


@pytest.mark.parametrize(("is_spot", "expected"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("order", ["fifo", "shuffled", "paired"])
def test_a_spot_vm_leaves_a_trial_that_has_lost_two_vms(
    benchmark_database: Any, made: Made, order: str, is_spot: bool, expected: int
):
    [waits, *rest] = sorted(made[1])
    benchmark_database.sql("UPDATE trial SET runner_id = %s WHERE id = %s", AWAITS_REGULAR, waits)
    for trial in rest:
        benchmark_database.sql(END, trial)
    statement = claim_statement(made[0], 7, order, is_spot=is_spot)
    assert len(taken(benchmark_database, statement)) == expected


@pytest.mark.parametrize("order", ["fifo", "shuffled", "paired"])
def test_a_regular_vm_takes_trials_that_wait_for_it_before_others(
    benchmark_database: Any, made: Made, order: str
):
    """After its own, if it holds one."""
    held, *_, last = sorted(made[1])
    waiting = {trial for trial in made[1] if made[1][trial][1] == made[1][last][1]}
    benchmark_database.sql(
        "UPDATE trial SET runner_id = %s WHERE id = ANY(%s)", AWAITS_REGULAR, list(waiting)
    )
    benchmark_database.sql("UPDATE trial SET runner_id = 7 WHERE id = %s", held)

    trials = taken(benchmark_database, claim_statement(made[0], 7, order), len(waiting) + 1)

    assert (trials[0], set(trials[1:])) == (held, waiting)


def test_shuffled_sorts_only_the_leading_trials(benchmark_database: Any, made: Made):
    """It takes the next one even if other VMs have locked all of those."""
    benchmark_database.sql(
        "INSERT INTO trial (experiment_id, task_id, method, meta, replicate_num, runner_id)"
        " SELECT experiment_id, task_id, method, meta, number, -1 FROM trial,"
        " generate_series(100, 400) AS number WHERE trial.id = %s",
        min(made[1]),
    )
    trials = ids(benchmark_database.sql("SELECT id FROM trial WHERE experiment_id = %s", made[0]))
    drawing = sorted(trials, key=drawn(1))
    statement = claim_statement(made[0], 7, "shuffled")
    with psycopg2.connect(benchmark_database.uri) as database, database.cursor() as cursor:
        cursor.execute("EXPLAIN ANALYZE " + statement)
        plan = "\n".join(line for (line,) in cursor.fetchall())
        database.rollback()
        cursor.execute("SELECT FROM trial WHERE id = ANY(%s) FOR UPDATE", (drawing[:100],))
        claimed = ids(benchmark_database.sql(statement))
    assert claimed == [drawing[100]]
    assert ("top-N heapsort" in plan, "never executed" in plan) == (True, True), plan


@pytest.mark.long
def test_a_vm_runs_trials_in_the_order_of_the_request(
    vm: Any, benchmark_database: Any, startup: Callable[..., Any]
):
    made = trials_of(
        benchmark_database, benchmark_database.experiment(runner_script(), trial_fn=LOGS)
    )
    vm.run(startup(made[0], trial_order="paired", trial_seed=3))

    ran = ids(
        benchmark_database.sql(
            "SELECT id FROM trial WHERE experiment_id = %s AND errmsg IS NULL ORDER BY end_time",
            made[0],
        )
    )
    row = benchmark_database.runner(made[0])
    assert ran == paired(made, 3), vm.log
    assert (row["trial_order"], row["trial_seed"]) == ("paired", 3)
    assert row["script_digest"] == script_digest()
    assert row["memory_available"] > 2**20


GROUPS = 2_000


@pytest.fixture(scope="module")
def many(benchmark_database: Any) -> int:
    """An experiment with many groups of one trial each, of which the first three quarters have ended."""
    experiment = int(benchmark_database.experiment(""))
    benchmark_database.sql(
        "INSERT INTO trial (experiment_id, task_id, method, meta, replicate_num, runner_id)"
        " SELECT %s, %s, 'm', '{}', number, -1 FROM generate_series(1, %s) AS number RETURNING id",
        experiment,
        benchmark_database.task,
        GROUPS,
    )
    database = psycopg2.connect(benchmark_database.uri)
    database.autocommit = True
    database.cursor().execute("VACUUM ANALYZE trial")  # the planner believes it from now on
    database.close()
    benchmark_database.sql(
        "UPDATE trial SET end_time = now(), runner_id = -2"
        " WHERE experiment_id = %s AND replicate_num <= %s",
        experiment,
        GROUPS * 3 // 4,
    )
    return experiment


@pytest.mark.parametrize("is_spot", [True, False])
@pytest.mark.parametrize("order", ["fifo", "paired"])
def test_a_claim_reads_few_of_many_trials(
    benchmark_database: Any, many: int, order: str, is_spot: bool
):
    """Neither those that have ended nor the other ready ones, each of which would be a block or more."""
    statement = claim_statement(many, 7, order, is_spot=is_spot)
    with psycopg2.connect(benchmark_database.uri) as database, database.cursor() as cursor:
        for _ in range(2):  # the first one cleans up what the updates have left in the index
            cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement)
            [plan] = cursor.fetchone()[0]
            database.rollback()
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < GROUPS / 20
