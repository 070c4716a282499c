"""azd's hooks. `az`, `azd` and `psql` are scripts that record their arguments: no simulator has a vault,
nor Entra logins to PostgreSQL. The SQL of the hooks is tested in tests/fleet/vm/test_vm_role.py."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from fleet.model.webhooks import secret_key
from tests.client.cli.served import served
from tests.client.cli.terminal import Terminal
from tests.client.cli.test_terminal import TIMEOUT, wait_for_screen
from tests.harness import Api, experiment
from tests.infra.compiled import INFRA

RECORDER = """#!/bin/sh
printf '%s %s\\n' "${0##*/}" "$*" >> "$CALLS"
[ "${0##*/}" != psql ] || env | grep ^PG | sort >> "$CALLS"
case "$*" in
  *"${FAIL:-fail-me}"*) echo 'psql: error: timeout' >&2; exit 1 ;;
  *'--method get'*) cat "$NAMES" ;;
  *'--method put'*)
    for last; do case $last in @*) cat "${last#@}"; echo ;; esac; done >> "$BODIES" ;;
  'vm list'*) printf %s "$VMS" ;;
  *functionKeys*) echo "$FLEET_KEY" ;;
  --version) echo "psql (PostgreSQL) $PSQL (Debian $PSQL-1)" ;;
  *oss-rdbms*) echo a-token ;;
  'account show'*) echo user ;;
  *) echo somebody ;;
esac
"""


class Shell:
    """A folder in which the hooks run. `program`: what `sh` is on some systems."""

    def __init__(self, folder: Path, program: str = "sh") -> None:
        self.program = program
        self.calls, self.bodies, self.names = (
            folder / name for name in ("calls", "bodies", "names")
        )
        for file in (self.calls, self.bodies, self.names):
            file.touch()
        for name in ("az", "azd", "psql"):
            (folder / name).write_text(RECORDER)
            (folder / name).chmod(0o700)
        self.environment = {
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "TMPDIR": str(folder),
            "CALLS": str(self.calls),
            "BODIES": str(self.bodies),
            "NAMES": str(self.names),
            "PSQL": "16.3",
            "VMS": "",
            "AZURE_SUBSCRIPTION_ID": "s",
            "FLEET_VAULT_ID": "/subscriptions/s/vault",
            "FLEET_APP_GROUP": "g",
            "FLEET_APP_NAME": "a",
        }

    def run(
        self, hook: str, *arguments: str, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, str(INFRA / "hooks" / hook), *arguments],
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
        )

    def written(self) -> list[str]:
        """The values of the secrets that were written."""
        return [
            json.loads(line)["properties"]["value"] for line in self.bodies.read_text().splitlines()
        ]


@pytest.fixture(params=["sh", "bash"])
def shell(tmp_path: Path, request: pytest.FixtureRequest) -> Shell:
    return Shell(tmp_path, request.param)


def test_keys_are_created_in_the_form_that_the_app_reads(shell: Shell):
    assert shell.run("secrets.sh").returncode == 0
    sealing, webhook = shell.written()
    Fernet(sealing)
    assert secret_key(webhook)
    assert "configreferences/appsettings/refresh" in shell.calls.read_text()


@pytest.mark.parametrize("hook", ["secrets.sh", "database.sh", "smoke-test.sh"])
def test_a_hook_without_a_deployment_names_the_missing_step(shell: Shell, hook: str):
    absent = {"FLEET_VAULT_ID": "", "FLEET_APP_GROUP": ""}
    done = shell.run(hook, **absent)
    assert (done.returncode != 0, shell.calls.read_text()) == (True, "")
    assert "Run azd provision first." in done.stderr


def test_an_existing_secret_is_kept(shell: Shell):
    shell.names.write_text("sealing-key\nwebhook-secret\n")
    done = shell.run("secrets.sh")
    assert (done.returncode, shell.written()) == (0, [])
    assert "refresh" not in shell.calls.read_text()


def test_no_secret_is_written_if_the_existing_ones_are_unknown(shell: Shell):
    done = shell.run("secrets.sh", FLEET_VAULT_ID="/fail-me")
    assert (done.returncode != 0, shell.written()) == (True, [])


def test_no_secret_is_an_argument_or_is_left_behind(shell: Shell, tmp_path: Path):
    uri = 'postgresql://u:p"a\\ss@h/d'
    shell.run("secrets.sh", "database-uri", stdin=uri)
    assert shell.written() == [uri]
    assert "ss@h" not in shell.calls.read_text()
    files = {"az", "azd", "psql", "calls", "bodies", "names"}
    assert {path.name for path in tmp_path.iterdir()} == files


def test_an_empty_secret_is_refused(shell: Shell):
    done = shell.run("secrets.sh", "database-uri")
    assert (done.returncode, shell.written()) == (1, [])


def test_answers_are_kept_and_not_asked_for_again(shell: Shell):
    assert shell.run("ask.sh", FLEET_VM_REGIONS="westus", FLEET_OPERATOR_ADDRESS="").returncode == 0
    calls = shell.calls.read_text()
    assert "azd env set FLEET_DATABASE new" in calls
    assert "azd env set AZURE_PRINCIPAL_TYPE User" in calls
    assert "FLEET_VM_REGIONS" not in calls
    assert "FLEET_OPERATOR_ADDRESS" not in calls


@pytest.mark.parametrize(
    ("environment", "stops"),
    [
        ({"PSQL": "15.18"}, True),
        ({"PSQL": "15.18", "FLEET_VAULT_ID": "provisioned before"}, False),
        ({"PSQL": "15.18", "FLEET_NETWORK_ISOLATION": "true"}, False),
        ({"PSQL": "15.18", "FLEET_DATABASE": "existing"}, False),
        ({"PSQL": "18"}, False),
    ],
)
def test_a_missing_psql_stops_the_first_deployment_before_it_creates_anything(
    shell: Shell, environment: dict[str, str], stops: bool
):
    done = shell.run("ask.sh", **{"FLEET_VAULT_ID": "", **environment})
    assert (done.returncode, "Nothing was created" in done.stderr) == (stops, stops)


def test_an_existing_database_is_asked_for(shell: Shell):
    shell.run("ask.sh", FLEET_DATABASE="existing")
    assert "azd env set FLEET_DATABASE_URI_FILE" in shell.calls.read_text()


URI = "postgresql://u:p@h/d"


def test_the_uri_of_an_existing_database_comes_from_its_file(shell: Shell, tmp_path: Path):
    file = tmp_path / "uri"
    file.write_text(f"{URI}\n")
    existing = {"FLEET_DATABASE": "existing", "FLEET_DATABASE_URI_FILE": str(file)}
    done = shell.run("secrets.sh", **existing)
    assert (done.returncode, shell.written()[2:]) == (0, [URI])
    assert URI not in done.stdout + done.stderr + shell.calls.read_text()


@pytest.mark.parametrize("file", ["", "/no/such/file"])
def test_without_a_terminal_the_missing_uri_is_reported(shell: Shell, file: str):
    done = shell.run("secrets.sh", FLEET_DATABASE="existing", FLEET_DATABASE_URI_FILE=file)
    assert (done.returncode, len(shell.written())) == (0, 2)
    assert "azd env set FLEET_DATABASE_URI_FILE FILE && azd hooks run postprov" in done.stdout


@pytest.mark.parametrize(("typed", "written"), [(URI, [URI]), ("", [])])
def test_the_uri_of_an_existing_database_is_typed_unseen(
    shell: Shell, typed: str, written: list[str]
):
    """The terminal echoes nothing while it is typed."""
    env = {**os.environ, **shell.environment, "FLEET_DATABASE": "existing"}
    hook = [shutil.which(shell.program) or "", str(INFRA / "hooks" / "secrets.sh")]
    run = f"import os; os.execv({hook[0]!r}, {hook!r})"
    with Terminal("-c", run, env=env) as window:
        wait_for_screen(window, lambda text: "it is not shown" in text)
        window.type(f"{typed}\n")
        assert (window.wait(TIMEOUT), URI in window.text) == (0, False)
    assert shell.written()[2:] == written
    assert ("secret database-uri is missing" in window.text) == (not typed)


ROLES = {
    "FLEET_DATABASE_HOST": "db.example",
    "FLEET_OPERATOR_NAME": "anna@example.org",
    "FLEET_APP_IDENTITY": "app-x",
    "FLEET_VM_IDENTITY_NAME": "vms-x",
    "FLEET_VM_GROUP": "rg-x-vms",
}
ISOLATED = {"FLEET_NETWORK_ISOLATION": "true"}


@pytest.mark.parametrize("inside", [{}, {**ISOLATED, "FLEET_INSIDE_NETWORK": "1"}])
def test_the_roles_are_created_with_a_token_that_is_no_argument(
    shell: Shell, inside: dict[str, str]
):
    done = shell.run("database.sh", **ROLES, **inside)
    assert (done.returncode, "Created: database roles app-x and vms-x" in done.stdout) == (0, True)
    scripts = re.findall(
        r"^psql .+--dbname (\w+) .+/(\w+\.sql).+ app=app-x", shell.calls.read_text(), re.M
    )
    assert scripts == [("postgres", "principals.sql"), ("powerlift", "grants.sql")]
    calls = shell.calls.read_text().splitlines()
    assert {"PGHOST=db.example", "PGPASSWORD=a-token", "PGSSLMODE=verify-full"} <= set(calls)
    assert not [line for line in calls if "a-token" in line and line.startswith("psql")]


@pytest.mark.parametrize(
    ("environment", "code", "reported"),
    [
        ({"FLEET_DATABASE_HOST": ""}, 0, "are yours to create"),
        ({"PSQL": "15.1"}, 0, "psql 16 or newer is not installed. Nothing was changed"),
        (
            {"FAIL": "principals.sql"},
            1,
            "azd env set FLEET_OPERATOR_ADDRESS YOUR-IPV4-ADDRESS && azd up",
        ),
        ({"FAIL": "grants.sql"}, 1, "psql failed at grants.sql"),
    ],
)
def test_roles_that_cannot_be_created_are_reported_with_the_step(
    shell: Shell, environment: dict[str, str], code: int, reported: str
):
    done = shell.run("database.sh", **{**ROLES, **environment})
    assert (done.returncode, reported in done.stdout + done.stderr) == (code, True)
    assert "Created" not in done.stdout


def test_the_command_for_a_private_database_works_as_printed(shell: Shell):
    """It needs none of azd's variables."""
    printed = shell.run("database.sh", **ROLES, **ISOLATED).stdout
    assert "psql" not in shell.calls.read_text()
    [command] = re.findall(r"^  (FLEET_INSIDE.+?database.sh)", printed, re.M | re.S)
    bare = {name: shell.environment[name] for name in ("PATH", "CALLS", "PSQL")}
    done = subprocess.run(
        [shell.program, "-c", command], env=bare, cwd=INFRA.parent, capture_output=True, text=True
    )
    assert (done.returncode, "Created: database roles" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("vms", "reported"), [("vm-0\nvm-1\n", "These VMs still run"), ("", "No VM runs.")]
)
def test_a_removal_says_what_still_runs(shell: Shell, vms: str, reported: str):
    done = shell.run("before-down.sh", FLEET_VM_GROUP="g", FLEET_ROLE_SUFFIX="n-x", VMS=vms)
    assert (reported in done.stdout, vms in done.stdout) == (True, True)
    assert "the database with all results" in done.stdout
    assert "azd env set FLEET_REMOVED_ROLES n-x" in shell.calls.read_text()


def test_a_removal_deletes_the_roles_and_their_assignments(shell: Shell):
    """They are in no resource group. The recorder's answer to each list is `somebody`."""
    assert shell.run("after-down.sh", FLEET_REMOVED_ROLES="n-x").returncode == 0
    changes = [one for one in shell.calls.read_text().splitlines() if " delete " in one]
    assert changes == [
        "az role assignment delete --ids somebody",
        "az role definition delete --name somebody",
    ]
    assert "'(n-x)'" in shell.calls.read_text()


@pytest.mark.parametrize("hook", ["before-down.sh", "after-down.sh"])
def test_nothing_is_removed_of_what_was_never_deployed(shell: Shell, hook: str):
    assert (shell.run(hook).returncode, shell.calls.read_text()) == (0, "")


@pytest.fixture
def one_shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def smoke_test(shell: Shell, api: Api, **environment: str) -> subprocess.CompletedProcess[str]:
    experiment(api.stack)
    app = {
        "FLEET_URL": api.stack.url,
        "FLEET_KEY": api.stack.key,
        "FLEET_VM_REGIONS": "eastus,westus",
    }
    return shell.run("smoke-test.sh", **{**app, **environment})


def test_the_smoke_test_plans_a_vm(one_shell: Shell, api: Api):
    done = smoke_test(one_shell, api)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Planned: one VM in eastus" in done.stdout
    assert api.stack.key not in one_shell.calls.read_text()


@pytest.mark.parametrize(
    ("environment", "reported"),
    [
        ({"FLEET_VM_REGIONS": "nowhere"}, "nowhere"),
        ({"FLEET_KEY": "wrong"}, "did not answer a plan"),
    ],
)
def test_the_smoke_test_reports_a_fault_and_a_wrong_key(
    one_shell: Shell, api: Api, environment: dict[str, str], reported: str
):
    done = smoke_test(one_shell, api, **environment)
    assert done.returncode == 1
    assert "did not answer" in done.stderr or reported in done.stderr


def details(**failed: str) -> dict[str, Any]:
    names = ("settings", "sealing_key", "database", "task_hub", "queue", "azure")
    checks = [
        {
            "name": name,
            "status": "failed" if name in failed else "ok",
            "detail": failed.get(name, "-"),
        }
        for name in names
    ]
    return {"status": "unavailable", "checks": checks, "policy": []}


@pytest.mark.parametrize(
    ("environment", "failed", "step"),
    [
        ({}, {"database": "No."}, "azd hooks run postprovision"),
        ({}, {"sealing_key": "No."}, "azd hooks run postprovision"),
        (
            {"FLEET_DATABASE": "existing"},
            {"settings": "No."},
            "FLEET_DATABASE_URI_FILE FILE && azd",
        ),
        (ISOLATED, {"database": "No."}, "FLEET_INSIDE_NETWORK=1 FLEET_DATABASE_HOST='db.example'"),
        (ISOLATED, {"settings": "No."}, "azd hooks run postprovision"),
        ({}, {"azure": "No."}, None),
    ],
)
def test_the_smoke_test_of_an_unhealthy_app_names_the_missing_step(
    shell: Shell, environment: dict[str, str], failed: dict[str, str], step: str | None
):
    with served({"GET /health/details": details(**failed)}) as url:
        app = {"FLEET_URL": url, "FLEET_KEY": "k", "FLEET_SMOKE_TEST_ATTEMPTS": "1"}
        done = shell.run("smoke-test.sh", **app, **ROLES, **environment)
    [name] = failed
    assert (done.returncode, f"  {name}: No." in done.stderr) == (1, True)
    assert step in done.stderr if step else "missing step" not in done.stderr


def test_the_smoke_test_of_an_app_that_does_not_answer_names_its_log(shell: Shell):
    app = {"FLEET_URL": "http://127.0.0.1:9", "FLEET_KEY": "k", "FLEET_SMOKE_TEST_ATTEMPTS": "1"}
    done = shell.run("smoke-test.sh", **app)
    assert (done.returncode, "Read the log of a in Application" in done.stderr) == (1, True)
