"""The permissions of the database role for VMs in docs/operating.md."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from powerlift_fleet import runner_script

from fleet.store import schema, trials
from fleet.store.schema import BENCHMARK, migrate
from local.postgres import DATABASE
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
APP, VMS, ADMINISTRATOR, AUTHOR = "powerlift-fleet-x", "powerlift-vms-x", "admin@x", "author@x"
ENTRA = """CREATE FUNCTION pgaadauth_create_principal(name text, is_admin boolean, is_mfa boolean)
RETURNS text LANGUAGE plpgsql SECURITY {security} AS $$ BEGIN
EXECUTE format('CREATE ROLE %%I LOGIN PASSWORD %%L', name, 'x'); RETURN name; END $$"""
"""What Azure's function does for a role. In whose name is not documented: if in a superuser's (DEFINER),
an administrator of PostgreSQL 16 or newer may not act for the role."""
POWERLIFT = ("experiment", "wheel", "task", "trial", "measure_outcome")
PRIVILEGES = """
SELECT table_name, column_name, privilege_type
FROM information_schema.column_privileges WHERE grantee = %s
UNION SELECT table_name, NULL, privilege_type
FROM information_schema.table_privileges WHERE grantee = %s
UNION SELECT object_name, NULL, privilege_type
FROM information_schema.usage_privileges WHERE grantee = %s
ORDER BY 1, 2, 3"""


END_SESSIONS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = ANY (%s)"""


@dataclass(frozen=True)
class Deployed:
    """A database as in Azure: its administrator is no superuser. An author owns Powerlift's tables."""

    database: Any

    def uri(self, role: str) -> str:
        return f"postgresql://{quote(role)}:x@{self.database.uri.split('@')[1]}"

    def hook(self, script: str) -> str:
        """Run a script as the administrator. Returns what psql says."""
        psql = [str(self.database.postgres.bin / "psql"), "--quiet", "--no-psqlrc"]
        psql += [self.uri(ADMINISTRATOR), "--set", "ON_ERROR_STOP=1"]
        psql += ["--set", f"app={APP}", "--set", f"vms={VMS}", "--file", str(HOOKS / script)]
        done = subprocess.run(psql, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def privileges(self, role: str) -> list[tuple[Any, ...]]:
        return list(self.database.sql(PRIVILEGES, role, role, role))


def as_role(uri: str, statements: str) -> None:
    database = psycopg2.connect(uri)
    with database, database.cursor() as cursor:
        cursor.execute(statements or "SELECT")
    database.close()


@pytest.fixture(params=["INVOKER", "DEFINER"])
def deployed(benchmark_database, request) -> Iterator[Deployed]:
    """As the hooks leave it, with tables of the app, which it does not grant yet."""
    sql, found = benchmark_database.sql, Deployed(benchmark_database)
    tables = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'powerlift_fleet_%%'"
    ours = [name for (name,) in sql(tables)]
    sql(ENTRA.format(security=request.param))
    sql(f"CREATE ROLE \"{ADMINISTRATOR}\" LOGIN CREATEROLE PASSWORD 'x'")
    sql(f'ALTER DATABASE {DATABASE} OWNER TO "{ADMINISTRATOR}"')
    found.hook("principals.sql")
    as_role(
        found.uri(ADMINISTRATOR), f"SELECT pgaadauth_create_principal('{AUTHOR}', false, false)"
    )
    owners = {**dict.fromkeys(ours, APP), **dict.fromkeys(POWERLIFT, AUTHOR)}
    for table, owner in owners.items():
        sql(f'ALTER TABLE {table} OWNER TO "{owner}"')
    yield found
    sql(END_SESSIONS, [APP, VMS, ADMINISTRATOR, AUTHOR])  # which know their role by its number
    for role in (ADMINISTRATOR, APP, AUTHOR, VMS):
        sql(f'REASSIGN OWNED BY "{role}" TO CURRENT_USER; DROP OWNED BY "{role}" CASCADE')
    for role in (APP, AUTHOR, VMS, ADMINISTRATOR):
        sql(f'DROP ROLE "{role}"')
    sql("DROP FUNCTION pgaadauth_create_principal")


def test_hook_and_app_grant_vms_what_the_page_says(benchmark_database, uri, deployed, request):
    schema.grant(deployed.uri(APP), VMS)
    refused = re.findall(r"Not granted: .+? run: (.+;)", deployed.hook("grants.sql"))
    as_role(deployed.uri(AUTHOR), "; ".join(refused))
    assert deployed.privileges(VMS) == deployed.privileges("powerlift_vm")
    assert bool(refused) == ("DEFINER" in request.node.name)
    create = "SELECT has_schema_privilege(%s, 'public', 'CREATE')"
    assert benchmark_database.sql(create, APP) == [(True,)]


def test_hook_creates_the_index_that_the_app_may_not(benchmark_database, deployed, request):
    """Or says who may."""
    exists = "SELECT to_regclass('powerlift_fleet_group') IS NOT NULL"
    benchmark_database.sql("DROP INDEX powerlift_fleet_group")
    said = deployed.hook("grants.sql")
    [(created,)] = benchmark_database.sql(exists)
    [refused] = re.findall(r"run: (CREATE INDEX .+;)", said) or [None]
    if refused:
        benchmark_database.sql(refused)
    assert benchmark_database.sql(exists) == [(True,)]
    assert (created, refused is None) == (("INVOKER" in request.node.name),) * 2


def test_hook_does_not_wait_for_a_table_in_use(benchmark_database, deployed, request):
    """Each trial of a VM would wait behind it."""
    benchmark_database.sql("DROP INDEX powerlift_fleet_group")
    holder = psycopg2.connect(benchmark_database.uri)
    try:
        holder.cursor().execute("LOCK TABLE trial IN ROW EXCLUSIVE MODE")
        said = deployed.hook("grants.sql")
    finally:
        holder.close()
    benchmark_database.sql(
        "CREATE INDEX IF NOT EXISTS powerlift_fleet_group"
        " ON trial (experiment_id, task_id, replicate_num)"
    )
    assert ("the table is in use" in said) == ("INVOKER" in request.node.name)
    assert "run: CREATE INDEX" in said


def test_hook_and_app_may_grant_again_and_keep_no_membership(benchmark_database, deployed):
    said = [deployed.hook(script) for script in ("grants.sql", "grants.sql", "principals.sql")]
    for _ in range(2):
        schema.grant(deployed.uri(APP), VMS)
    assert said[0] == said[1]
    usage = "SELECT pg_has_role(%s, %s, 'USAGE')"
    assert benchmark_database.sql(usage, ADMINISTRATOR, AUTHOR) == [(False,)]


def test_authors_may_read_what_exports_contain(benchmark_database, deployed):
    granted = [
        ("powerlift_fleet_runner", None, "SELECT"), ("powerlift_fleet_trial", None, "SELECT")
    ]  # fmt: skip
    before = deployed.privileges(AUTHOR)
    schema.grant(deployed.uri(APP), "")
    added = set(deployed.privileges(AUTHOR)) - set(before)
    assert sorted(one for one in added if one[1] is None) == granted


def test_authors_share_powerlifts_tables_as_the_page_says(benchmark_database, deployed):
    page = (PAGE.parent / "deploying.md").read_text()
    group, author, session = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    other = "author@example.org"
    try:
        as_role(deployed.uri(ADMINISTRATOR), f"{group}; {author}")
        as_role(deployed.uri(other), session)
        as_role(deployed.uri(other), "CREATE TABLE ours ()")
        owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'ours'"
        assert benchmark_database.sql(owner) == [("authors",)]
    finally:
        benchmark_database.sql(
            f'DROP OWNED BY authors CASCADE; DROP ROLE authors; DROP ROLE "{other}"'
        )


@pytest.mark.parametrize("role", ["nobody-x", VMS])
def test_nothing_is_granted_by_another_role_or_to_none(benchmark_database, deployed, role):
    before = deployed.privileges(VMS)
    schema.grant(deployed.uri(AUTHOR if role == VMS else APP), role)
    assert deployed.privileges(VMS) == before
