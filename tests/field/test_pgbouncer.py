"""PgBouncer in transaction mode, with fewer connections than clients: psycopg#280, psycopg#1151."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from powerlift_fleet import runner_script

from fleet.store import claims, schema
from fleet.store.database import DatabaseUnreachable, connected
from tests.field.pgbouncer import POOL_SIZE
from tests.fleet.store.fleet_rows import sql, start
from tests.fleet.vm import one_trial

TRIAL = """
def trial(trial):
    for n in range(8):
        trial.log("n", n)
"""
"""psycopg 3 prepares a statement at its sixth execution, and the server connection keeps it."""
MEASURES = """
    SELECT count(*) FROM measure_outcome JOIN trial t ON t.id = trial_id WHERE experiment_id = %s
"""


@pytest.mark.long
def test_a_vm_runs_its_trials(vm: Any, benchmark_database: Any, startup: Any, pooled: str):
    """SQLAlchemy takes psycopg 3 for this URI."""
    number = benchmark_database.experiment(runner_script(), trials=3, trial_fn=TRIAL)
    code = vm.run(startup(number, uri=pooled))
    measures = benchmark_database.sql(MEASURES, number)
    assert (code, measures, "already exists" in vm.log) == (0, [(24,)], False), vm.log


@pytest.fixture(scope="module")
def app(pooled: str) -> str:
    """The app's own tables, which it creates by PgBouncer."""
    assert schema.migrate(pooled, schema.APP) == schema.APP.latest
    return pooled


def test_more_submissions_than_connections_get_a_fleet_each(app: str):
    with ThreadPoolExecutor(4 * POOL_SIZE) as threads:
        made = list(threads.map(lambda n: start(app, 10**9 + n), range(4 * POOL_SIZE)))
    assert len({claim.number for claim in made}) == 4 * POOL_SIZE


def test_a_lease_is_exclusive_and_ends_with_its_transaction(app: str):
    start(app, 900_000)
    with claims.leased(app, 900_000) as lease:
        assert lease is not None
        with pytest.raises(claims.LeaseHeld), claims.leased(app, 900_000):
            pass
    with claims.leased(app, 900_000) as lease:
        assert lease is not None


def test_a_statement_has_a_timeout(app: str):
    with (
        pytest.raises(DatabaseUnreachable, match="57014"),
        connected(app, statement=0.1) as database,
        database.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_sleep(30)")


def test_no_other_client_gets_the_timeouts_of_a_transaction(app: str):
    with connected(app):
        pass
    assert sql(app, "SHOW statement_timeout") == [("0",)]


@pytest.mark.long
def test_a_script_of_one_trial_a_process_runs_with_psycopg2(
    vm: Any, benchmark_database: Any, startup: Any, pooled: str
):
    """As docs/operating.md advises for scripts that are not ours."""
    script = Path(one_trial.__file__).read_text()
    number = benchmark_database.experiment(script, trials=3, trial_fn=TRIAL)
    code = vm.run(startup(number, uri=pooled.replace("://", "+psycopg2://")))
    measures = benchmark_database.sql(MEASURES, number)
    assert (code, measures, "already exists" in vm.log) == (0, [(24,)], False), vm.log
