"""startup.sh with real databases: URIs, passwords, roles, and certificates."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from powerlift_fleet import runner_script

from tests.fleet.vm.scripts import DONE, LOGS


@pytest.mark.long
def test_psql_accepts_sqlalchemys_uris(vm, benchmark_database, startup):
    """psql treats Powerlift's URI as a database name, and its VM retries for 25 hours."""
    uri = benchmark_database.uri.replace("postgresql://", "postgresql+psycopg://")

    code = vm.run(startup(benchmark_database.experiment(DONE), uri=uri))

    assert (code, len(vm.azure.deletes)) == (0, 1), vm.log


@pytest.mark.long
def test_a_role_without_create_permission_runs_trials(vm, benchmark_database, startup):
    benchmark_database.sql("CREATE ROLE restricted LOGIN PASSWORD 'restricted'")
    for what in (
        "TABLE experiment, trial, task, wheel, measure_outcome",
        "ALL SEQUENCES IN SCHEMA public",
    ):
        rights = "SELECT, UPDATE" if "SEQ" in what else "SELECT, INSERT, UPDATE, DELETE"
        benchmark_database.sql(f"GRANT {rights} ON {what} TO restricted")
    place = benchmark_database.uri.split("@")[1]
    experiment = benchmark_database.experiment(runner_script(), trials=2, trial_fn=LOGS)

    code = vm.run(startup(experiment, uri=f"postgresql+psycopg2://restricted:restricted@{place}"))

    ends = [(row["runner_id"], row["errmsg"]) for row in benchmark_database.trials(experiment)]
    assert (code, ends) == (0, [(-2, None)] * 2), vm.log


@pytest.mark.long
def test_the_script_waits_for_a_late_database(vm, benchmark_database, startup):
    benchmark_database.sql("CREATE ROLE late SUPERUSER NOLOGIN PASSWORD 'late'")
    uri = benchmark_database.uri.replace(
        benchmark_database.uri.split("@")[0], "postgresql://late:late"
    )
    experiment = benchmark_database.experiment(DONE)

    vm.start(startup(experiment, uri=uri))
    vm.wait_for_log("read_experiment failed")
    benchmark_database.sql("ALTER ROLE late LOGIN")

    assert vm.wait() == 0, vm.log


@pytest.mark.long
def test_any_password_is_accepted(vm, benchmark_database, startup):
    password = "p$$a$HOME \"q\" 'r' \\s `id` 100% :@/?# "
    benchmark_database.sql("CREATE ROLE odd SUPERUSER LOGIN PASSWORD %s", password)
    place = benchmark_database.uri.split("@")[1]
    uri = f"postgresql+psycopg2://odd:{quote(password, safe='$')}@{place}"
    experiment = benchmark_database.experiment(runner_script(), trials=1)

    vm.run(startup(experiment, uri=uri))

    assert benchmark_database.trials(experiment)[0]["runner_id"] == -2, vm.log


def test_the_password_is_not_exposed(vm, benchmark_database, startup):
    benchmark_database.sql("CREATE ROLE shy SUPERUSER LOGIN PASSWORD 'hidden-treasure'")
    place = benchmark_database.uri.split("@")[1]
    look = 'ps axww >>"$ROOT/seen"; env >>"$ROOT/seen"'
    vm.program("uv", look)
    vm.program("psql", f'{look}; exec {vm.psql}/psql "$@"')
    script = "import os, subprocess\nsubprocess.run('ps axww >>$ROOT/seen', shell=True)"
    experiment = benchmark_database.experiment(script, trials=1)

    vm.run(startup(experiment, uri=f"postgresql://shy:hidden-treasure@{place}"))

    assert "hidden-treasure" not in (vm.root / "seen").read_text() + vm.log


@pytest.mark.long
def test_trials_verify_the_database_with_the_deployments_root_certificates(
    vm, benchmark_database, startup
):
    script = "import os, pathlib\nprint(pathlib.Path(os.environ['PGSSLROOTCERT']).read_text())"
    vm.run(startup(benchmark_database.experiment(script), root_certificates="PEM of our own CA"))
    assert "PEM of our own CA" in vm.log
