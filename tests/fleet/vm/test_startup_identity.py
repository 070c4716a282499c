"""startup.sh where the database's URI has no password: a token of the VM's identity is the password."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from powerlift_fleet import runner_script

IDENTITY = (
    "/subscriptions/sub/resourceGroups/group/providers/Microsoft.ManagedIdentity"
    "/userAssignedIdentities/vms"
)
TOKENS = [letter * 2000 for letter in "ab"]
"""As long as Azure's."""
HELD = """
def trial(trial):
    import os, pathlib, time
    root = pathlib.Path(os.environ["ROOT"])
    (root / "environment").write_text(str(os.environ))
    while not (root / "go").exists():
        time.sleep(0.02)
"""


@pytest.mark.long
def test_vm_logs_in_to_the_database_without_a_password(vm, benchmark_database, startup):
    """Also in a run that takes longer than the lifetime of a token."""
    role = "vms@tenant"
    benchmark_database.sql(f"CREATE ROLE \"{role}\" SUPERUSER LOGIN PASSWORD '{TOKENS[0]}'")
    place = benchmark_database.uri.split("@")[1]
    experiment = benchmark_database.experiment(runner_script(), trials=1, trial_fn=HELD)
    vm.azure.database_token = TOKENS[0]
    vm.env["POWERLIFT_HEARTBEAT_INTERVAL"] = "0.2"
    identity = {"id": IDENTITY, "database_user": role}

    uri = f"postgresql+psycopg2://somebody@{place}"
    vm.start(startup(experiment, uri=uri, database_identity=identity))
    vm.until(lambda: (vm.root / "environment").exists())
    benchmark_database.sql(f"ALTER ROLE \"{role}\" PASSWORD '{TOKENS[1]}'")
    vm.azure.database_token = TOKENS[1]
    vm.until(lambda: TOKENS[1] in (vm.home / "pgpass").read_text())
    (vm.root / "go").touch()
    code = vm.wait()

    [trial] = benchmark_database.trials(experiment)
    assert (code, trial["runner_id"], trial["errmsg"]) == (0, -2, None), vm.log
    assert not any(token in (vm.root / "environment").read_text() + vm.log for token in TOKENS)
    sent = [
        parse_qs(urlsplit(path).query) for method, path, _ in vm.azure.requests if method == "GET"
    ]
    database, deletion = sent[0], sent[-1]
    assert database["resource"] == ["https://ossrdbms-aad.database.windows.net"]
    assert (database["msi_res_id"], "msi_res_id" in deletion) == ([IDENTITY], False)
    assert len(vm.azure.deletes) == 1, vm.log


def test_an_identity_without_a_token_is_reported(vm, benchmark_database, startup):
    vm.env |= {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9"}
    vm.env |= {"POWERLIFT_DATABASE_TIMEOUT": "0", "POWERLIFT_DELETE_TIMEOUT": "0"}
    identity = {"id": IDENTITY, "database_user": "vms"}
    uri = f"postgresql://{benchmark_database.uri.split('@')[1]}"

    vm.run(startup(1, uri=uri, database_identity=identity))

    assert f"Azure issued no database token for the identity {IDENTITY}" in vm.log
