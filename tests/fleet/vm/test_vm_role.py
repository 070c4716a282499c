"""The permissions of the database role for VMs in docs/operating.md."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from powerlift_fleet import runner_script

from fleet.store import trials
from fleet.store.schema import BENCHMARK, migrate
from tests.fleet.vm.scripts import LOGS, ONE_TRIAL_SCRIPT

PAGE = Path(__file__).parents[3] / "docs" / "operating.md"


@pytest.fixture(scope="module")
def uri(benchmark_database) -> Iterator[str]:
    """The URI of the role that the page creates."""
    [statements] = re.findall(r"```sql\n(CREATE ROLE.+?)```", PAGE.read_text(), re.DOTALL)
    benchmark_database.sql(statements)
    yield f"postgresql+psycopg2://powerlift_vm:...@{benchmark_database.uri.split('@')[1]}"
    benchmark_database.sql("DROP OWNED BY powerlift_vm; DROP ROLE powerlift_vm")


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(runner_script(), id="ours"),
        pytest.param(ONE_TRIAL_SCRIPT, id="one-trial", marks=pytest.mark.long),
    ],
)
def test_vm_role_completes_an_experiment(vm, benchmark_database, startup, uri, script):
    wheels = {"a-1-py3-none-any.whl": b""}
    experiment = benchmark_database.experiment(script, trials=1, trial_fn=LOGS, wheels=wheels)

    code = vm.run(startup(experiment, uri=uri))

    ends = [(row["runner_id"], row["errmsg"]) for row in benchmark_database.trials(experiment)]
    runner = benchmark_database.runner(experiment)
    assert (code, ends, runner["outcome"]) == (0, [(-2, None)], "no more work"), vm.log
    assert "failed" not in vm.log


def test_the_app_requeues_a_lost_trial_with_vm_role(benchmark_database, uri):
    experiment = benchmark_database.experiment("", trials=1)
    benchmark_database.sql(
        "UPDATE trial SET runner_id = 7, start_time = now() WHERE experiment_id = %s", experiment
    )

    version = migrate(uri, BENCHMARK)
    released = trials.release(uri, experiment, [7], {7: "lost"})

    count = trials.count(uri, experiment)
    assert (version, released.runners, count and count["ready"]) == (BENCHMARK.latest, [7], 1)


def test_vm_role_may_write_each_of_the_apps_tables(benchmark_database, uri):
    tables = benchmark_database.sql(
        "SELECT tablename FROM pg_tables WHERE tablename LIKE 'powerlift_fleet_%%'"
        " AND NOT has_table_privilege('powerlift_vm', tablename, 'DELETE') ORDER BY 1"
    )
    assert tables == [("powerlift_fleet_lock",), ("powerlift_fleet_schema",)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE experiment SET script = 'import evil'",
        "UPDATE experiment SET pip_install = 'evil'",
        "INSERT INTO wheel SELECT id, 'evil-1-py3-none-any.whl', '' FROM experiment",
        "UPDATE wheel SET embedded = ''",
        "INSERT INTO experiment (name, script, trial_fn) VALUES ('evil', '', '')",
        "UPDATE task SET x = ''",
        "UPDATE trial SET meta = '{}'",
        "INSERT INTO trial (experiment_id, task_id, method, meta, replicate_num)"
        " SELECT id, 1, '', '', 0 FROM experiment",
        "UPDATE powerlift_fleet_lock SET requirements = 'evil==1'",
        "DELETE FROM powerlift_fleet_lock",
        "CREATE TABLE evil ()",
        "ALTER TABLE experiment DISABLE TRIGGER ALL",
    ],
)
def test_vm_role_cannot_change_what_other_vms_run(benchmark_database, uri, statement):
    database = psycopg2.connect(uri.replace("+psycopg2", ""))
    try:
        with database.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)
    finally:
        database.close()


HOOKS = PAGE.parents[1] / "infra" / "hooks"
ENTRA = """CREATE FUNCTION pgaadauth_create_principal(name text, is_admin boolean, is_mfa boolean)
RETURNS text LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('CREATE ROLE %%I', name); RETURN name; END $$"""
"""What Azure's function does for a role, as far as grants depend on it."""
PRIVILEGES = """
SELECT table_name, column_name, privilege_type
FROM information_schema.column_privileges WHERE grantee = %s
UNION SELECT table_name, NULL, privilege_type
FROM information_schema.table_privileges WHERE grantee = %s
UNION SELECT object_name, NULL, privilege_type
FROM information_schema.usage_privileges WHERE grantee = %s
ORDER BY 1, 2, 3"""


@pytest.fixture
def deployed(benchmark_database) -> Iterator[tuple[str, str]]:
    """The roles of app and VMs, as the deployment's hook creates them, and grants once tables exist."""
    app, vms = "powerlift-fleet-x", "powerlift-vms-x"
    sql = benchmark_database.sql
    ours = [
        name
        for (name,) in sql(
            "SELECT tablename FROM pg_tables WHERE tablename LIKE 'powerlift_fleet_%%'"
        )
    ]
    run_hook(benchmark_database, "principals.sql", app, vms, before=ENTRA)
    for table in ours:
        sql(f'ALTER TABLE {table} OWNER TO "{app}"')
    for _ in range(2):
        run_hook(benchmark_database, "grants.sql", app, vms)
    run_hook(benchmark_database, "principals.sql", app, vms)
    yield app, vms
    sql(f'REASSIGN OWNED BY "{app}" TO CURRENT_USER')
    for role in (app, vms):
        sql(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')
    sql("DROP FUNCTION pgaadauth_create_principal")


def run_hook(database, script: str, app: str, vms: str, before: str = "") -> None:
    if before:
        database.sql(before)
    psql = [str(database.postgres.bin / "psql"), "--quiet", "--no-psqlrc", database.uri]
    psql += ["--set", "ON_ERROR_STOP=1", "--set", f"app={app}", "--set", f"vms={vms}"]
    subprocess.run([*psql, "--file", str(HOOKS / script)], check=True)


def test_the_deployments_hook_grants_vms_the_same(benchmark_database, uri, deployed):
    app, vms = deployed
    documented, granted = (
        benchmark_database.sql(PRIVILEGES, role, role, role) for role in ("powerlift_vm", vms)
    )
    assert granted == documented
    assert benchmark_database.sql("SELECT has_schema_privilege(%s, 'public', 'CREATE')", app) == [
        (True,)
    ]
