"""azd's hooks. `az` and `azd` are scripts that record their arguments: no simulator has a key vault."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from fleet.model.webhooks import secret_key
from tests.harness import Api, experiment
from tests.infra.compiled import INFRA

RECORDER = """#!/bin/sh
printf '%s %s\\n' "${0##*/}" "$*" >> "$CALLS"
case "$*" in
  *fail-me*) exit 1 ;;
  *'--method get'*) cat "$NAMES" ;;
  *'--method put'*)
    for last; do case $last in @*) cat "${last#@}"; echo ;; esac; done >> "$BODIES" ;;
  *functionKeys*) echo "$FLEET_KEY" ;;
  'account show'*) echo user ;;
  *) echo somebody ;;
esac
"""


class Shell:
    """A folder in which the hooks run."""

    def __init__(self, folder: Path) -> None:
        self.calls, self.bodies, self.names = (
            folder / name for name in ("calls", "bodies", "names")
        )
        for file in (self.calls, self.bodies, self.names):
            file.touch()
        for name in ("az", "azd"):
            (folder / name).write_text(RECORDER)
            (folder / name).chmod(0o700)
        self.environment = {
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "TMPDIR": str(folder),
            "CALLS": str(self.calls),
            "BODIES": str(self.bodies),
            "NAMES": str(self.names),
            "AZURE_SUBSCRIPTION_ID": "s",
            "FLEET_VAULT_ID": "/subscriptions/s/vault",
            "FLEET_APP_GROUP": "g",
            "FLEET_APP_NAME": "a",
        }

    def run(
        self, hook: str, *arguments: str, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(INFRA / "hooks" / hook), *arguments],
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


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_keys_are_created_in_the_form_that_the_app_reads(shell: Shell):
    assert shell.run("secrets.sh").returncode == 0
    sealing, webhook = shell.written()
    Fernet(sealing)
    assert secret_key(webhook)
    assert "configreferences/appsettings/refresh" in shell.calls.read_text()


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
    assert {path.name for path in tmp_path.iterdir()} == {"az", "azd", "calls", "bodies", "names"}


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


def test_a_removal_says_what_still_runs(shell: Shell):
    done = shell.run("before-down.sh", FLEET_VM_GROUP="vms", FLEET_ROLE_SUFFIX="n-x")
    assert "These VMs still run" in done.stdout
    assert "azd env set FLEET_REMOVED_ROLES n-x" in shell.calls.read_text()


def smoke_test(shell: Shell, api: Api, **environment: str) -> subprocess.CompletedProcess[str]:
    experiment(api.stack)
    app = {
        "FLEET_URL": api.stack.url,
        "FLEET_KEY": api.stack.key,
        "FLEET_VM_REGIONS": "eastus,westus",
    }
    return shell.run("smoke-test.sh", **{**app, **environment})


def test_the_smoke_test_plans_a_vm(shell: Shell, api: Api):
    done = smoke_test(shell, api)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Planned: one VM in eastus" in done.stdout
    assert api.stack.key not in shell.calls.read_text()


def test_the_smoke_test_reports_a_fault(shell: Shell, api: Api):
    done = smoke_test(shell, api, FLEET_VM_REGIONS="nowhere")
    assert done.returncode == 1
    assert "did not answer" in done.stderr or "nowhere" in done.stderr


def test_the_smoke_test_reports_a_wrong_key(shell: Shell, api: Api):
    done = smoke_test(shell, api, FLEET_KEY="wrong")
    assert (done.returncode, "did not answer a plan" in done.stderr) == (1, True)
