"""Resetting the failed trials of an experiment, and the one fleet that may."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest

from fleet.store import claims, fleets, trial_reset
from fleet.store.heartbeats import RECENT, count_at_work
from fleet.store.trial_reset import ResetUnfinished, reset_failed
from fleet.store.trials import count
from tests.fleet.store.fleet_rows import end, sql, start, submission

OPEN = {"runner_id": -1, "start_time": None, "end_time": None, "errmsg": None}


@pytest.fixture
def number(benchmark_database: Any) -> int:
    """An experiment with 20 failed trials, 20 complete ones, and 20 that are ready."""
    number = int(benchmark_database.experiment("", trials=60))
    for change, offset in (("errmsg = 'no'", 0), ("errmsg = NULL", 20)):
        benchmark_database.sql(
            f"UPDATE trial SET runner_id = -2, start_time = now(), end_time = now(), {change}"
            " WHERE id IN (SELECT id FROM trial WHERE experiment_id = %s"
            " ORDER BY id LIMIT 20 OFFSET %s)",
            number, offset,
        )  # fmt: skip
    return number


def test_failed_trials_are_reset_and_no_others(benchmark_database: Any, number: int):
    before = benchmark_database.trials(number)
    reset = reset_failed(benchmark_database.uri, number)
    after = benchmark_database.trials(number)
    changed = [one for one, was in zip(after, before, strict=True) if one != was]
    assert (reset, len(changed)) == (20, 20)
    assert all({name: one[name] for name in OPEN} == OPEN for one in changed)


def test_concurrent_resets_reset_each_trial_once(benchmark_database: Any, number: int):
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: reset_failed(benchmark_database.uri, number), range(6)))
    assert (sum(found), sorted(found)[:5]) == (20, [0] * 5)


def test_what_a_failed_trial_has_left_is_deleted(benchmark_database: Any, number: int):
    trials = benchmark_database.trials(number)
    failed, complete = trials[0]["id"], trials[20]["id"]
    for trial in (failed, complete):
        benchmark_database.sql(
            "INSERT INTO measure_outcome (trial_id, name, seq_num, type, val)"
            " VALUES (%s, 'score', 0, 0, '1')", trial,
        )  # fmt: skip
        benchmark_database.sql(
            "INSERT INTO powerlift_fleet_loss (trial_id, runner_id, reason) VALUES (%s, 1, '')",
            trial,
        )
        benchmark_database.sql(
            "INSERT INTO powerlift_fleet_trial VALUES (%s, %s, 1)", trial, number
        )
    reset_failed(benchmark_database.uri, number)
    left = {
        table: [
            trial
            for (trial,) in benchmark_database.sql(
                f"SELECT trial_id FROM {table} WHERE trial_id IN (%s, %s)", failed, complete
            )
        ]
        for table in ("measure_outcome", "powerlift_fleet_loss", "powerlift_fleet_trial")
    }
    assert list(left.values()) == [[complete]] * 3


def measure(database: Any, number: int, each: int = 3) -> None:
    database.sql(
        "INSERT INTO measure_outcome (trial_id, name, seq_num, type, val)"
        " SELECT id, 'score', at, 0, '1' FROM trial, generate_series(1, %s) AS at"
        " WHERE experiment_id = %s RETURNING 1",
        each, number,
    )  # fmt: skip


def measured(database: Any, number: int) -> list[int]:
    """The trials with measures, in order; 0 to 19 have failed."""
    [(first,)] = database.sql("SELECT min(id) FROM trial WHERE experiment_id = %s", number)
    found = database.sql(
        "SELECT DISTINCT trial_id FROM measure_outcome JOIN trial ON trial.id = trial_id"
        " WHERE experiment_id = %s ORDER BY 1",
        number,
    )
    return [trial - first for (trial,) in found]


INDEXES = {
    "none": (False, "SELECT 1"),
    "whole": (True, "CREATE INDEX by_trial ON measure_outcome (trial_id)"),
    "partial": (False, "CREATE INDEX by_trial ON measure_outcome (trial_id) WHERE seq_num > 1"),
    "second": (False, "CREATE INDEX by_trial ON measure_outcome (seq_num, trial_id)"),
}
"""Powerlift omits the index, and an operator may create it. Whether it finds all measures of a trial."""


@pytest.fixture(params=INDEXES)
def indexed(request: pytest.FixtureRequest, benchmark_database: Any) -> Iterator[bool]:
    is_found, create = INDEXES[request.param]
    benchmark_database.sql("DROP INDEX IF EXISTS by_trial")
    benchmark_database.sql(create)
    benchmark_database.sql("DELETE FROM measure_outcome")  # of other tests, which a scan would read
    yield is_found
    benchmark_database.sql("DROP INDEX IF EXISTS by_trial")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction takes a second, and resets 7 trials or looks at 11 measures."""
    monkeypatch.setattr(trial_reset, "TRIALS_AT_ONCE", 7)
    monkeypatch.setattr(trial_reset, "MEASURES_AT_ONCE", 11)
    seconds = iter(range(1000))
    monkeypatch.setattr(trial_reset, "monotonic", lambda: next(seconds))


@pytest.mark.usefixtures("clock")
def test_only_without_an_index_all_measures_are_read(
    benchmark_database: Any, number: int, indexed: bool
):
    """An index that lacks some, or does not begin with the trial, does not count."""
    measure(benchmark_database, number)
    try:
        reset_failed(benchmark_database.uri, number, seconds=16)
    except ResetUnfinished:
        assert not indexed
    else:
        assert indexed
        assert measured(benchmark_database, number) == list(range(20, 60))


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("indexed", ["none", "whole"], indirect=True)
@pytest.mark.parametrize("each", [3, 20])
def test_an_unfinished_reset_leaves_no_trial_with_old_measures_and_is_continued(
    benchmark_database: Any, number: int, indexed: bool, each: int
):
    measure(benchmark_database, number, each)
    said, left = [], 20
    for _ in range(60):
        try:
            reset_failed(benchmark_database.uri, number, seconds=5)
        except ResetUnfinished as error:
            said.append(str(error))
        trials = [one["errmsg"] for one in benchmark_database.trials(number)[:20]]
        left = trials.count("no")
        ready = {at for at, message in enumerate(trials) if message is None}
        assert ready & {*measured(benchmark_database, number)} == set()
        if not left:
            break
    assert (left, len(said) > 0) == (0, True)
    assert "No fleet was started. The next retry continues" in said[0]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("indexed", ["none"], indirect=True)
def test_a_trial_that_fails_after_an_unfinished_reset_leaves_no_measures(
    benchmark_database: Any, number: int, indexed: bool
):
    measure(benchmark_database, number)
    with pytest.raises(ResetUnfinished):
        reset_failed(benchmark_database.uri, number, seconds=18)
    measure(benchmark_database, number, 1)
    benchmark_database.sql(
        "UPDATE trial SET start_time = now(), end_time = now(), errmsg = 'no'"
        " WHERE experiment_id = %s", number,
    )  # fmt: skip
    assert reset_failed(benchmark_database.uri, number, seconds=100) == 60
    assert measured(benchmark_database, number) == []


@pytest.mark.parametrize("table", ["trial", "measure_outcome", "powerlift_fleet_loss"])
def test_a_reset_that_waits_for_a_lock_ends_in_its_time(
    benchmark_database: Any, number: int, table: str
):
    measure(benchmark_database, number)
    holder = psycopg2.connect(benchmark_database.uri)
    try:
        holder.cursor().execute(f"LOCK TABLE {table}")
        with pytest.raises(ResetUnfinished, match="in 1 s"):
            reset_failed(benchmark_database.uri, number, seconds=1)
    finally:
        holder.close()


def test_a_role_without_the_apps_tables_resets_trials(benchmark_database: Any, number: int):
    benchmark_database.sql("CREATE ROLE resetter LOGIN PASSWORD 'resetter'")
    benchmark_database.sql("GRANT SELECT, UPDATE, DELETE ON trial, measure_outcome TO resetter")
    address = benchmark_database.uri.partition("@")[2]
    assert reset_failed(f"postgresql://resetter:resetter@{address}", number) == 20


@pytest.mark.parametrize(
    ("ended", "seconds", "at_work"), [("NULL", 1, 1), ("NULL", RECENT + 60, 0), ("now()", 1, 0)]
)
def test_vms_with_a_recent_heartbeat_are_at_work(
    benchmark_database: Any, number: int, ended: str, seconds: int, at_work: int
):
    benchmark_database.sql(
        "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, ended_at, seen_at)"
        f" VALUES (%s, 1, {ended}, now() - %s * interval '1 s')",
        number, seconds,
    )  # fmt: skip
    assert count_at_work(benchmark_database.uri, number) == at_work
    counts = count(benchmark_database.uri, number)
    assert counts is not None
    assert counts["error"] == 20


def exclusive(batch_id: int, **more: Any) -> claims.Submission:
    return submission(batch_id, is_exclusive=True, **more)


def test_a_fleet_at_work_on_the_experiment_refuses_an_exclusive_one(uri: str):
    start(uri, 41)
    with pytest.raises(claims.ExperimentBusy, match="fleet-41 works on experiment 1"):
        claims.claim(uri, exclusive(42))
    assert sql(uri, "SELECT count(*) FROM powerlift_fleet") == [(1,)]


@pytest.mark.parametrize(
    "other", [{"experiment_id": 2}, {"databases": ["there"]}], ids=["experiment", "database"]
)
def test_a_fleet_elsewhere_does_not_count(uri: str, other: dict[str, Any]):
    start(uri, 43, **other)
    assert claims.claim(uri, exclusive(44)).number == 44


def test_a_fleet_that_has_ended_does_not_count(uri: str):
    start(uri, 45)
    end(uri, 45)
    assert claims.claim(uri, exclusive(46)).number == 46


def test_a_row_of_an_earlier_build_counts(uri: str):
    start(uri, 47)
    sql(uri, "UPDATE powerlift_fleet SET database_digest = NULL")
    with pytest.raises(claims.ExperimentBusy):
        claims.claim(uri, exclusive(48))


def test_the_other_fleets_of_an_experiment_are_those_that_work_on_it(uri: str):
    for batch_id, more in {
        61: {}, 62: {"name": "nightly"}, 63: {}, 64: {}, 65: {"databases": ["there"]},
        66: {"experiment_id": 2},
    }.items():  # fmt: skip
        start(uri, batch_id, **more)
    fleets.update(uri, 63, {"phase": "teardown"})
    end(uri, 64)
    assert claims.other_fleets(uri, 1, 61, ["new", "here"]) == ["fleet-62 (nightly)"]
    assert len(claims.other_fleets(uri, 1, 99, ["here"])) == 2


def test_of_concurrent_exclusive_claims_one_succeeds(uri: str):
    def claimed(batch_id: int) -> bool:
        try:
            claims.claim(uri, exclusive(batch_id))
        except claims.ExperimentBusy:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(claimed, range(51, 57))) == 1


def test_a_repeated_exclusive_claim_is_the_same_fleet(uri: str):
    first = claims.claim(uri, exclusive(49))
    assert claims.claim(uri, exclusive(49)) == first
