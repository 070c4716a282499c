"""What the client makes of Powerlift's tables, with the pandas that is installed."""

from __future__ import annotations

import pandas
import powerlift_fleet as fleets
import pytest
from powerlift.bench import Benchmark
from powerlift_fleet import runner, trial_results, trial_status
from powerlift_fleet.benchmark import results
from powerlift_fleet.benchmark.export import read_database
from sqlalchemy import make_url

from fleet.store import trial_list

TABLES = ("powerlift_fleet_trial", "powerlift_fleet_runner")
AUTHOR = '"au-thor"'
NAME = "four states, two tasks of one name"


@pytest.fixture(scope="module")
def store(benchmark_database):
    """With an experiment whose trials are in each state, and a measure that was written twice."""
    trials = benchmark_database.experiment("", trials=4)
    benchmark_database.sql("UPDATE experiment SET name = %s WHERE id = %s", NAME, trials)
    [(other,)] = benchmark_database.sql(
        "INSERT INTO task (name, problem, origin, n_samples, n_features, n_classes,"
        " max_unique_continuous, max_categories, total_categories, percent_categorical,"
        " percent_special_values, meta, x, y)"
        " SELECT name, problem, 'elsewhere', 1, 1, 2, 1, 1, 1, 0, 0, '{}', '', '' FROM task"
        " WHERE id = %s RETURNING id",
        benchmark_database.task,
    )
    for number, changes in enumerate(
        (
            "start_time = now(), end_time = now(), errmsg = 'Traceback'",
            "start_time = now(), end_time = now()",
            "start_time = now()",
            f"task_id = {other}, replicate_num = 1, start_time = now(), end_time = now()",
        )
    ):
        benchmark_database.sql(
            f"UPDATE trial SET {changes} WHERE experiment_id = %s AND id = (SELECT min(id) + %s"
            " FROM trial WHERE experiment_id = %s)",
            *(trials, number, trials),
        )
    benchmark_database.sql(
        "INSERT INTO measure_outcome (trial_id, name, type, seq_num, val)"
        " SELECT id, m.name, m.type, 0, m.val FROM trial, (VALUES ('score', 0, 'nan'),"
        " ('score', 0, 'nan'), ('label', 1, 'x'), ('setting', 2, '{\"a\": 1}')) AS m (name, type, val)"
        " WHERE experiment_id = %s AND replicate_num = 1",
        trials,
    )
    return benchmark_database.store


def test_status_is_that_of_each_trial(store):
    frame = trial_status(store, NAME)
    by_trial = frame.sort_values("trial_id")
    assert list(by_trial["status"]) == ["ERROR", "COMPLETE", "RUNNING", "COMPLETE"]
    assert list(by_trial["errmsg"]) == ["Traceback", None, None, None]


def test_results_have_each_measure_once_for_each_task(store):
    frame = trial_results(store, NAME)
    named = list(zip(frame["origin"], frame["name"], frame["type"], strict=True))
    measures = [("label", "STR"), ("score", "NUMBER"), ("setting", "JSON")]
    assert sorted(named) == sorted((o, *m) for o in ("elsewhere", "test") for m in measures)


def test_results_have_the_value_in_the_column_of_its_type(store):
    frame = trial_results(store, NAME)
    first = frame[frame["origin"] == "test"].set_index("name")
    score, label, setting = (first.loc[name] for name in ("score", "label", "setting"))
    assert (label["str_val"], label["json_val"], setting["json_val"]) == ("x", None, '{"a": 1}')
    assert (pandas.isna(score["num_val"]), score["str_val"]) == (True, None)


def test_columns_are_powerlifts_and_more(store):
    ours, theirs = (trial_status(store, NAME), trial_results(store, NAME)), Benchmark(store, NAME)
    lost = [
        set(old) - set(new)
        for old, new in zip((theirs.status(), theirs.results()), ours, strict=True)
    ]
    assert lost == [set(), set()]


def test_an_experiment_without_measures_or_trials_gives_empty_frames(store, benchmark_database):
    number = benchmark_database.experiment("")
    [(name,)] = benchmark_database.sql("SELECT name FROM experiment WHERE id = %s", number)
    frames = [trial_status(store, name), trial_results(store, name)]
    assert [(len(frame), {"task", "method"} <= set(frame)) for frame in frames] == [(0, True)] * 2


def test_an_unknown_experiment_is_named(store):
    with pytest.raises(fleets.ConfigurationError, match="no experiment 'nothing'"):
        trial_status(store, "nothing")


def test_trials_have_what_they_used_and_where_they_ran(store, benchmark_database):
    """Not where the app's rows are those of a trial that had this ID before, or of an earlier run."""
    [(number,)] = benchmark_database.sql("SELECT id FROM experiment WHERE name = %s", NAME)
    benchmark_database.sql(
        "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, cpu_model, vm_size, lock_digest,"
        " cpus, memory_bytes) VALUES (%s, 7, 'EPYC 7763', 'Standard_D2as_v5', 'abc', 2, -1)",
        number,
    )
    benchmark_database.sql(
        "INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id, wall_seconds,"
        " max_rss_bytes, measured_at) SELECT id, experiment_id, 7, 2.5, 1000, now() - CASE WHEN"
        " replicate_num = 1 THEN interval '0' ELSE interval '1 day' END FROM trial"
        " WHERE experiment_id = %s",
        number,
    )
    status = trial_status(store, NAME).sort_values("trial_id")
    results = trial_results(store, NAME)
    known = [None if pandas.isna(one) else float(one) for one in status["wall_seconds"]]
    assert known == [None, 2.5, None, 2.5]
    assert list(status["cpu_model"].fillna("-")) == ["EPYC 7763", "EPYC 7763", "-", "EPYC 7763"]
    assert set(results["max_rss_bytes"]) == {1000}
    assert list(status["cpus"].fillna(0)) == [2, 2, 0, 2]
    assert status["memory_bytes"].isna().all()
    assert set(results["lock_digest"]) == {"abc"}


@pytest.mark.parametrize("seconds", ["1e308", "Infinity", "1000000001", "-1", "NaN"])
def test_usage_that_no_trial_can_have_is_unknown(store, benchmark_database, seconds):
    number = benchmark_database.experiment("", trials=1)
    [(name,)] = benchmark_database.sql("SELECT name FROM experiment WHERE id = %s", number)
    benchmark_database.sql(
        "INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id, wall_seconds,"
        " user_seconds, max_rss_bytes, measured_at) SELECT id, experiment_id, 7, %s, 1e9, %s, now()"
        " FROM trial WHERE experiment_id = %s",
        *(seconds, 2**50 + 1, number),
    )
    [trial] = trial_status(store, name).to_dict("records")
    unknown = [pandas.isna(trial[column]) for column in ("wall_seconds", "max_rss_bytes")]
    assert (unknown, trial["user_seconds"]) == ([True, True], 1e9)


def test_the_bounds_of_usage_are_the_apps():
    assert (results.MOST_SECONDS, results.MOST_BYTES) == (
        trial_list.MOST_SECONDS,
        trial_list.MOST_BYTES,
    )


def test_the_columns_of_usage_are_those_that_the_runner_writes():
    assert results.USAGE == runner.USAGE


def test_a_database_without_the_apps_tables_has_the_same_columns(benchmark_database, store):
    whole = trial_results(store, NAME)
    for table in TABLES:
        benchmark_database.sql(f"ALTER TABLE {table} RENAME TO {table}_away")
    try:
        bare = trial_results(store, NAME)
    finally:
        for table in TABLES:
            benchmark_database.sql(f"ALTER TABLE {table}_away RENAME TO {table}")
    assert (list(bare), len(bare)) == (list(whole), len(whole))
    assert bare["wall_seconds"].isna().all()


@pytest.mark.parametrize("hidden", [TABLES[:1], TABLES[1:], TABLES])
def test_tables_that_the_authors_role_may_not_read_are_named(benchmark_database, store, hidden):
    """Without a word, it would look as if the VMs had reported nothing."""
    grants = [f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {AUTHOR}"]
    grants += [f"REVOKE ALL ON {table} FROM {AUTHOR}" for table in hidden]
    benchmark_database.sql(f"CREATE ROLE {AUTHOR} LOGIN PASSWORD 'secret'; {'; '.join(grants)}")
    url = make_url(store.uri).set(username="au-thor", password="secret")
    [(number,)] = benchmark_database.sql("SELECT id FROM experiment WHERE name = %s", NAME)
    try:
        with pytest.warns(UserWarning, match="GRANT") as caught:
            read_database(url.render_as_string(hide_password=False), number)
    finally:
        benchmark_database.sql(f"DROP OWNED BY {AUTHOR}; DROP ROLE {AUTHOR}")
    said = {str(one.message) for one in caught if one.category is UserWarning}
    assert [f"GRANT SELECT ON {', '.join(sorted(hidden))} TO {AUTHOR};" in one for one in said] == [
        True
    ]
