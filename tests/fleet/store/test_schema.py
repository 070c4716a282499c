"""The app's tables in a real database: created, migrated, rejected, or absent."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
import requests

from fleet.model.records import stored
from fleet.store import fleets, heartbeats, schema, trials, vm_logs, vm_records
from fleet.store.database import DatabaseUnreachable
from fleet.store.schema import APP, BENCHMARK, SchemaTooNew, migrate, version
from local.stack import Stack
from tests.fleet.conftest import Benchmark
from tests.fleets import NOW, machine, order
from tests.harness import Api, eventually

_numbers = itertools.count()
FLEET = order(created_at=NOW.isoformat())
READ_ONLY = "?options=-cdefault_transaction_read_only%3Don"

RUNNER = """
    CREATE TABLE powerlift_fleet_runner (
        experiment_id integer, runner_id integer, vm_name text, vm_size text,
        location text, zone text, priority text, image text, image_version text,
        cpu_model text, cpus integer, memory_bytes bigint, kernel text,
        started_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz,
        outcome text, exit_code integer{more}, PRIMARY KEY (experiment_id, runner_id));
    INSERT INTO powerlift_fleet_runner (experiment_id, runner_id) VALUES (1, 2);
"""
TRIAL = """
    CREATE TABLE powerlift_fleet_trial (
        trial_id integer PRIMARY KEY, experiment_id integer, runner_id integer);
"""
LOSS = """
    CREATE TABLE powerlift_fleet_loss (
        trial_id integer, runner_id integer, reason text, lost_at timestamptz DEFAULT now(),
        PRIMARY KEY (trial_id, runner_id));
"""
MACHINE = """
    CREATE TABLE powerlift_fleet_machine (
        batch_id bigint, began timestamptz, ordinal integer, experiment_id integer,
        runner_id integer, record jsonb NOT NULL, noted_at timestamptz NOT NULL,
        PRIMARY KEY (batch_id, began, ordinal));
"""
OLDER = {
    "hardware": RUNNER.format(more="") + TRIAL,
    "losses": LOSS,
    "logs": RUNNER.format(more=", log text") + TRIAL + LOSS,
    "records": RUNNER.format(more=", log text") + TRIAL + LOSS + MACHINE,
    "heartbeats": RUNNER.format(more=", log text, seen_at timestamptz DEFAULT now()")
    + TRIAL
    + MACHINE,
    "heartbeats added": RUNNER.format(more=", log text, seen_at timestamptz") + MACHINE,
}
"""What earlier builds created, by what was new in each."""

SHAPE = """
    SELECT attrelid::regclass::text, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
           pg_get_expr(adbin, adrelid),
           (SELECT pg_get_constraintdef(oid) FROM pg_constraint
            WHERE conrelid = attrelid AND contype = 'p')
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid::regclass::text ~ '^powerlift_fleet_[a-z]+$' AND attnum > 0 AND NOT attisdropped
    ORDER BY 1, 2
"""
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def tables(database: Benchmark) -> set[str]:
    found = database.sql("SELECT tablename FROM pg_tables WHERE tablename ~ 'powerlift_fleet_'")
    return {name for (name,) in found}


def versions(database: Benchmark) -> list[tuple[Any, ...]]:
    return database.sql("SELECT tables, version FROM powerlift_fleet_schema ORDER BY 2")


def role(database: Benchmark) -> str:
    """A role with rights on Powerlift's tables alone; its URI."""
    name = f"role_{next(_numbers)}"
    database.sql(
        f"CREATE ROLE {name} LOGIN PASSWORD 'secret'; GRANT SELECT, INSERT, UPDATE, DELETE"
        f" ON experiment, trial, measure_outcome TO {name}"
    )
    return f"postgresql://{name}:secret@{database.uri.partition('@')[2]}"


def make_newer(database: Benchmark) -> None:
    """Change the database as a later build of the app would."""
    migrate(database.uri, BENCHMARK)
    database.sql(
        "INSERT INTO powerlift_fleet_schema (tables, version) VALUES ('benchmark', %s)",
        BENCHMARK.latest + 1,
    )


def test_an_unused_database_has_version_0(database: Benchmark):
    assert (version(database.uri, BENCHMARK), tables(database)) == (0, set())


def test_migrations_are_applied_once(database: Benchmark):
    migrate(database.uri, BENCHMARK)
    migrate(database.uri, BENCHMARK)
    assert versions(database) == [("benchmark", one) for one in range(1, BENCHMARK.latest + 1)]


@pytest.mark.parametrize("older", OLDER.values(), ids=OLDER)
def test_tables_of_every_earlier_build_are_migrated(
    database: Benchmark, benchmark_database: Benchmark, older: str
):
    database.sql(older)
    migrate(database.uri, BENCHMARK)
    assert database.sql(SHAPE) == benchmark_database.sql(SHAPE)


def test_records_of_an_earlier_build_are_kept(database: Benchmark):
    database.sql(OLDER["records"])
    vm_records.write(database.uri, FLEET, [stored(machine(0))], NOW.isoformat())
    migrate(database.uri, BENCHMARK)
    assert vm_records.read(database.uri, FLEET).machines == {0: stored(machine(0))}


def test_a_vm_recorded_before_heartbeats_existed_counts_as_never_seen(database: Benchmark):
    """A VM that was seen once and then stopped sending heartbeats would be deleted as silent."""
    database.sql(OLDER["logs"])
    migrate(database.uri, BENCHMARK)
    database.sql("INSERT INTO powerlift_fleet_runner (experiment_id, runner_id) VALUES (1, 3)")
    seen = "SELECT runner_id, seen_at IS NOT NULL FROM powerlift_fleet_runner ORDER BY 1"
    assert database.sql(seen) == [(2, False), (3, True)]


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("commits", [False, True])
def test_concurrent_migrations_wait_for_each_other(
    database: Benchmark, exists: bool, commits: bool
):
    if exists:
        database.sql(schema.VERSIONS.read_text())
    with ThreadPoolExecutor(4) as pool, psycopg2.connect(database.uri) as first:
        first.cursor().execute(schema.VERSIONS.read_text() + schema._LOCK)
        others = [pool.submit(migrate, database.uri, BENCHMARK) for _ in range(4)]
        eventually(lambda: database.sql(WAITING) == [(4,)] or None)
        first.commit() if commits else first.rollback()
        assert [one.result(30) for one in others] == [BENCHMARK.latest] * 4
    assert versions(database) == [("benchmark", one) for one in range(1, BENCHMARK.latest + 1)]


def test_a_role_without_write_access_cannot_block_migrations(database: Benchmark):
    with psycopg2.connect(role(database)) as other:
        other.cursor().execute("SELECT pg_advisory_lock(hashtext('powerlift_fleet'))")
        other.commit()
        assert migrate(database.uri, BENCHMARK) == BENCHMARK.latest


@pytest.mark.parametrize("look", [version, migrate])
@pytest.mark.parametrize("options", ["", READ_ONLY])
def test_a_schema_of_a_newer_build_is_rejected(database: Benchmark, look: Any, options: str):
    make_newer(database)
    with pytest.raises(
        SchemaTooNew, match=f"has version {BENCHMARK.latest + 1} .* requires {BENCHMARK.latest}"
    ) as raised:
        look(database.uri + options, BENCHMARK)
    assert (raised.value.failure["action"], "newer build" in raised.value.advice) == (
        "fail_fleet",
        True,
    )


def test_a_read_only_database_is_unchanged(database: Benchmark):
    migrate(database.uri + READ_ONLY, BENCHMARK)
    assert tables(database) == set()


def test_without_create_permission_fleets_run_without_tables(database: Benchmark):
    uri, number = role(database), database.experiment("", trials=1)
    fleet = {**FLEET, "experiment_id": number}
    database.sql("UPDATE trial SET runner_id = 9, start_time = now()")

    migrate(uri, BENCHMARK)

    assert tables(database) == set()
    assert vm_records.write(uri, fleet, [stored(machine(0))], NOW.isoformat()) is None
    assert vm_records.read(uri, fleet) == vm_records.StoredVms({}, {})
    assert vm_records.conflicting_batch(uri, fleet) is None
    assert heartbeats.find_idle(uri, fleet) == heartbeats.IdleVms([], [])
    assert heartbeats.record_ends(uri, fleet, {0: "It went."}) == {}
    vm_logs.store_logs(uri, number, [vm_logs.EndedVm(9, "vm", "evicted", None)])
    assert vm_logs.find_log(uri, number, 9) is None
    assert trials.release(uri, number, [9], {9: "evicted"}).runners == [9]


def test_tables_of_another_role_are_unchanged(database: Benchmark):
    """Missing tables are not created either: a migration is atomic."""
    database.sql(OLDER["hardware"])
    uri = role(database)
    database.sql("GRANT CREATE ON SCHEMA public TO PUBLIC")
    before = database.sql(SHAPE)
    migrate(uri, BENCHMARK)
    assert database.sql(SHAPE) == before


def test_a_role_uses_tables_that_it_does_not_own(database: Benchmark):
    migrate(database.uri, BENCHMARK)
    uri = role(database)
    database.sql("GRANT SELECT, INSERT, UPDATE ON powerlift_fleet_machine TO PUBLIC")
    migrate(uri, BENCHMARK)
    assert vm_records.write(uri, FLEET, [stored(machine(0))], NOW.isoformat()) == {}


def plan(stack: Stack, request: Any) -> Any:
    headers = {"x-functions-key": stack.key}
    return requests.post(f"{stack.url}/api/plan", json=request, headers=headers, timeout=60).json()


def request(database: Benchmark) -> dict[str, Any]:
    number = database.experiment("print()", trials=1)
    return {"experiment_id": number, "n_instances": 1, "uri": database.uri}


def test_a_plan_creates_no_table_and_a_fleet_does(stack: Stack, api: Api, database: Benchmark):
    document = request(database)
    assert plan(stack, document)["ok"]
    assert tables(database) == set()
    fleet_id = api.start(**document)
    api.wait(fleet_id, "create", "boot", "provisioned", "run")
    api.end(fleet_id)
    assert versions(database) == [("benchmark", one) for one in range(1, BENCHMARK.latest + 1)]


@pytest.fixture
def first_app_version(database: Benchmark) -> Benchmark:
    """A database with version 1 of `powerlift_fleet` and one fleet."""
    database.sql(schema.VERSIONS.read_text() + APP.migrations[0].read_text())
    database.sql("INSERT INTO powerlift_fleet_schema (tables, version) VALUES ('app', 1)")
    database.sql(
        "INSERT INTO powerlift_fleet (owner, deadline, batch_id, number, caller, fingerprint,"
        " experiment_id, n_instances, account, started_at)"
        " VALUES ('us', now(), 7, 7, 'key-1', 'f', 1, 1, 'a', now())"
    )
    return database


def test_the_submitter_survives_the_migration(first_app_version: Benchmark):
    [row] = fleets.page(first_app_version.uri, fleets.Filter(submitted_by="key-1"))
    assert (row.batch_id, row.submitted_by) == (7, "key-1")


def test_a_failed_migration_of_the_apps_table_is_reported_with_its_reason(
    first_app_version: Benchmark,
):
    uri = role(first_app_version)
    name = uri.partition("//")[2].partition(":")[0]
    first_app_version.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    with pytest.raises(
        DatabaseUnreachable, match=f"has version 1, .* requires version {APP.latest}"
    ):
        fleets.page(uri, fleets.Filter())


def test_a_newer_database_is_a_fault_of_the_plan_and_fails_the_fleet(
    stack: Stack, api: Api, database: Benchmark
):
    make_newer(database)
    document = request(database)
    (check,) = [one for one in plan(stack, document)["checks"] if one["name"] == "schema"]
    ended = api.wait(api.start(**document))
    assert (check["status"], ended["phase"], ended["reason"]["code"]) == (
        "fault",
        "failed",
        "SchemaTooNew",
    )


def test_nothing_is_granted_without_the_table_of_versions(database: Benchmark):
    """As after a partial restore."""
    database.sql(RUNNER.format(more=""))
    database.sql("CREATE ROLE partial_vms")
    try:
        schema.grant(database.uri, "partial_vms")
        granted = "SELECT has_table_privilege('partial_vms', 'powerlift_fleet_runner', 'SELECT')"
        assert database.sql(granted) == [(False,)]
    finally:
        database.sql("DROP ROLE partial_vms")
