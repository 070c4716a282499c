"""Logs, trials, retries and clones against the app, as scripts call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest
from powerlift_fleet.benchmark.export import format_of, write_file
from sqlalchemy import make_url

from local.stack import Stack
from tests.client.cli import served
from tests.client.cli.conftest import SIZE, Command, environment, private
from tests.client.cli.test_commands import process
from tests.harness import Api

RUNNING, FOLLOWED = 7021, 7022


@pytest.mark.parametrize("vm", ["0", f"powerlift-vm-{RUNNING}-0000"])
def test_the_console_of_a_vm_is_printed(fleet_command: Command, running_fleet: str, vm: str):
    done = fleet_command("logs", running_fleet, vm)
    assert (done.exit_code, "systemd" in done.stdout, "#" in done.stdout) == (0, True, False)
    assert f"# powerlift-vm-{RUNNING}-0000 is still running" in done.stderr


def test_the_last_lines_of_a_console_are_printed(fleet_command: Command, running_fleet: str):
    whole = fleet_command("logs", running_fleet, 0).stdout.splitlines()
    assert fleet_command("logs", running_fleet, 0, "--tail", 2).stdout.splitlines() == whole[-2:]
    shown = fleet_command.json("logs", running_fleet, 0, "--tail", 1)
    assert shown["log"].splitlines()[1:] == whole[-1:]


def test_the_lines_of_all_vms_begin_with_their_vm(fleet_command: Command, running_fleet: str):
    one = fleet_command("logs", running_fleet, 1, "--tail", 1).stdout
    every = fleet_command("logs", running_fleet, "--all", "--tail", 1).stdout.splitlines()
    assert ([line[:3] for line in every], f"{every[1]}\n") == (["0: ", "1: "], f"1: {one}")
    documents = fleet_command("logs", running_fleet, "--all", "--tail", 1, "--json").stdout
    assert [json.loads(line)["machine"] for line in documents.splitlines()] == [0, 1]


@pytest.mark.parametrize("argv", [(), ("0", "--all")])
def test_logs_are_of_one_vm_or_of_all(
    fleet_command: Command, running_fleet: str, argv: tuple[str, ...]
):
    done = fleet_command("logs", running_fleet, *argv)
    assert (done.exit_code, "--all" in done.stderr) == (2, True)


@pytest.mark.long
@pytest.mark.parametrize(
    ("batch", "restart"),
    [(FOLLOWED, False), pytest.param(FOLLOWED + 1, True, marks=pytest.mark.long)],
)
def test_logs_are_followed_to_the_end_of_the_fleet_through_a_restart(
    fleet_command: Command, api: Api, stack: Stack, number: int, batch: int, restart: bool
):
    fleet = api.start(experiment_id=number, n_instances=1, batch_id=batch)
    api.wait(fleet, "run")
    argv = ("logs", fleet, "--all", "--follow", "--interval", "0.2")
    following = process(fleet_command, *argv)
    assert following.stdout is not None
    first = following.stdout.readline()
    if restart:
        stack.kill_host()
        stack.start_host()
    console = fleet_command("logs", fleet, 0).stdout.splitlines()
    lines = [first, *(following.stdout.readline() for _ in console[1:])]
    api.end(fleet)
    rest, _ = following.communicate(timeout=60)
    assert [line.rstrip() for line in lines] == [f"0: {line}".rstrip() for line in console]
    assert (following.returncode, rest) == (0, "")


def test_the_trials_of_a_fleet_are_listed(fleet_command: Command, running_fleet: str):
    done = fleet_command("trials", running_fleet, "--state", "ready", "--limit", 3)
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 4)
    assert "Showing 3; there are more" in done.stderr
    assert (
        fleet_command("trials", running_fleet, "--state", "failed").stdout == "No failed trials.\n"
    )
    shown = fleet_command.json("trials", running_fleet)
    assert (shown["id"], len(shown["trials"])) == (running_fleet, 20)


def test_a_running_fleet_is_not_retried(fleet_command: Command, running_fleet: str):
    done = fleet_command("retry", running_fleet)
    assert (done.exit_code, done.stdout, "has not ended" in done.stderr) == (3, "", True)


def test_a_clone_is_planned_shown_and_submitted(
    fleet_command: Command, api: Api, running_fleet: str
):
    argv = ("clone", running_fleet, "--vms", 1, "--tag", "team=ml")
    tried = fleet_command(*argv, "--dry-run")
    assert (tried.exit_code, "This fleet can start." in tried.stdout) == (0, True)
    done = fleet_command(*argv)
    fleet = done.stdout.strip()
    api.end(fleet)
    shown = [line.strip() for line in done.stderr.splitlines()]
    for line in ("n_instances: 2 -> 1", f"vm_size: {SIZE}", 'tags: (none) -> {"team": "ml"}'):
        assert line in shown
    assert (done.exit_code, "This fleet can start." in shown, fleet != running_fleet) == (
        0,
        True,
        True,
    )


def test_a_fleet_is_cloned_from_its_exported_results(
    fleet_command: Command, api: Api, stack: Stack, running_fleet: str, tmp_path: Path
):
    """Any of the formats has the same request, and no secret of the app."""
    old = api.get(f"{running_fleet}/request").json()
    for name in ("r.csv", "r.parquet", "r.json"):
        file = tmp_path / name
        argv = ("results", running_fleet, "--output", file)
        exported = fleet_command(*argv, POWERLIFT_DB_URI=stack.db_uri)
        assert (exported.exit_code, "of 20 trials" in exported.stderr) == (0, True), exported.output
        tried = fleet_command("clone", "--from", file, "--dry-run")
        assert (tried.exit_code, f"vm_size: {SIZE}" in tried.stderr) == (0, True), tried.output
    done = fleet_command("clone", "--from", tmp_path / "r.json", running_fleet)
    new = api.get(f"{done.stdout.strip()}/request").json()
    api.end(done.stdout.strip())
    assert (new["request"], new["id"] == old["id"]) == (old["request"], False)
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    password = stack.db_uri.partition("@")[0].rpartition("/")[2]  # with the user
    assert [one for one in (password, stack.key) if one.encode() in written] == []


REQUEST = {"experiment_id": 12, "n_instances": 10}


def export_of(folder: Path, **entry: object) -> Path:
    whole = {"id": "fleet-8", "request": REQUEST, "secrets": [], **entry}
    return private(
        folder / "r.json", json.dumps({"format": 1, "fleet": whole["id"], "fleets": [whole]})
    )


@pytest.mark.parametrize(
    ("added", "named"),
    [
        ({"uri": "postgresql://evil"}, "uri"),
        ({"notify_url": "https://evil.example"}, "notify_url"),
        ({"azure_json": {"client_secret": "s3cret"}}, "client_secret"),
    ],
)
def test_a_file_whose_request_has_secrets_is_refused(
    friendly: Command, tmp_path: Path, added: dict[str, object], named: str
):
    """They would be shown as ***, and sent."""
    file = export_of(tmp_path, request={**REQUEST, **added})
    done = friendly("clone", "--from", file)
    assert (done.exit_code, f"has {named}." in done.stderr) == (2, True), done.output
    assert ("evil" in done.output, "s3cret" in done.output) == (False, False)


def test_a_file_names_no_new_fleet_and_its_request_is_shown_in_full(
    friendly: Command, tmp_path: Path
):
    end = "x" * 1000 + "the end"
    long = {
        "resource_uris": [end], "tags": {"a": end}, "fallbacks": [{"location": end}],
        "azure_json": {"resource_group": end}, "shell_install": end, "pip_install": end,
    }  # fmt: skip
    file = export_of(tmp_path, request={**REQUEST, **long, "name": "nightly", "batch_id": 7})
    done = friendly("clone", "--from", file, "--dry-run")
    assert (done.exit_code, done.stderr.count("the end")) == (0, len(long)), done.output
    assert [one for one in ("name:", "batch_id:") if f"  {one}" in done.stderr] == []


@pytest.mark.parametrize("name", ["R.CSV", "R.PARQUET", "R.JSON"])
def test_the_name_of_an_export_may_be_in_capitals(friendly: Command, tmp_path: Path, name: str):
    fleet = {"id": "fleet-8", "request": REQUEST, "secrets": []}
    frame = pandas.DataFrame({"trial_id": [1], "task": ["iris"]})
    provenance = {"format": 1, "fleet": "fleet-8", "fleets": [fleet]}
    write_file(tmp_path / name, format_of(None, tmp_path / name), frame, provenance)
    done = friendly("clone", "--from", tmp_path / name, "--dry-run")
    assert (done.exit_code, "n_instances: 10" in done.stderr) == (0, True), done.output


@pytest.mark.parametrize(
    "entry",
    [{"secrets": 5}, {"name": {}}, {"number": [1]}, {"id": {}}, {"request": []}, {"secrets": [5, {}]},
     {"request": {"timeout": float("nan")}}, {"request": {"pip_install": "\ud800"}},
     {"request": json.loads("[" * 900 + "]" * 900)}, {"request": {"azure_json": 5, "tags": "x"}}],
    ids=lambda one: repr(one)[:40],
)  # fmt: skip
def test_a_strange_export_is_an_error_and_no_traceback(
    friendly: Command, tmp_path: Path, entry: dict[str, object]
):
    done = friendly("clone", "--from", export_of(tmp_path, **entry), "--dry-run")
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert (
        done.exit_code == 0
        or done.stderr.startswith("Error: The file")
        or "Cannot read" in done.stderr
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [("r.json", "[" * 200_000), ("r.csv", "["), ("r.parquet", "PAR1"), ("r.json", "9" * 9_000),
     ("r.parquet", "PAR1" + "x" * 100 + "PAR1"), ("r.json", '{"format": 1, "fleets": [[]]}')],
    ids=["deep", "csv", "short", "digits", "parquet", "list"],
)  # fmt: skip
def test_a_broken_file_is_an_error_and_no_traceback(
    friendly: Command, tmp_path: Path, name: str, text: str
):
    side = private(tmp_path / name, text).with_suffix(".provenance.json")
    side.write_text(text)
    done = friendly("clone", "--from", tmp_path / name)
    assert (done.exit_code, name.split(".")[0] in done.stderr) == (2, True), done.output


def test_an_export_names_the_grant_and_the_app_that_answers(
    benchmark_database: Any, home: Path, tmp_path: Path
):
    number = benchmark_database.experiment("", trials=1)
    grants = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"
    revoked = "REVOKE ALL ON powerlift_fleet_trial FROM reader"
    benchmark_database.sql(f"CREATE ROLE reader LOGIN PASSWORD 'secret'; {grants}; {revoked}")
    uri = make_url(benchmark_database.store.uri).set(username="reader", password="secret")
    found = {
        "id": "fleet-8",
        "request": {"experiment_id": number},
        "secrets": [],
        "app_version": "9",
    }
    try:
        with served.served({"GET /fleets/fleet-8/request": found}) as url:
            command = Command(environment(home, FLEET_URL=url, FLEET_KEY="k"))
            text = uri.render_as_string(hide_password=False)
            argv = ("results", "fleet-8", "--output", tmp_path / "r.json")
            done = command(*argv, POWERLIFT_DB_URI=text)
    finally:
        benchmark_database.sql("DROP OWNED BY reader; DROP ROLE reader")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("GRANT SELECT ON powerlift_fleet_trial TO reader;") == 1
    document = json.loads((tmp_path / "r.json").read_text())["provenance"]
    assert (document["versions"]["app_at_export"], "app" in document["versions"]) == ("9", False)


@pytest.mark.parametrize("argv", [("results", "latest"), ("clone",)])
def test_what_an_export_and_a_clone_need_is_named(fleet_command: Command, argv: tuple[str, ...]):
    done = fleet_command(*argv)
    needed = {"results": "POWERLIFT_DB_URI", "clone": "--from"}[argv[0]]
    assert (done.exit_code, needed in done.stderr) == (2, True)


def test_a_clone_whose_plan_has_faults_is_not_submitted(fleet_command: Command, running_fleet: str):
    done = fleet_command("clone", running_fleet, "--experiment", 2**31 - 1)
    assert (done.exit_code, "This fleet cannot start." in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, "Set POWERLIFT_DB_URI and pass --uri-from-env"),
        ({"POWERLIFT_DB_URI": "postgresql://h/d"}, "POWERLIFT_DB_URI is set: pass --uri-from-env"),
    ],
)
def test_a_clone_names_what_its_database_needs(
    friendly: Command, tmp_path: Path, env: dict[str, str], said: str
):
    file = export_of(tmp_path, secrets=["/uri"])
    done = friendly("clone", "--from", file, "--dry-run", **env)
    assert (done.exit_code, f"fleet-8 has its own database. {said}" in done.stderr) == (2, True)
    given = friendly("clone", "--from", file, "--dry-run", "--uri-from-env", **env)
    assert (given.exit_code == 0) == bool(env), given.output


@pytest.mark.long
def test_a_clone_needs_the_secrets_of_the_request(
    fleet_command: Command, api: Api, stack: Stack, tmp_path: Path
):
    fleet = api.start(experiment_id=2**31 - 1, n_instances=1, uri=stack.db_uri)
    missing = fleet_command("clone", fleet, "--dry-run")
    given = fleet_command(
        "clone", fleet, "--dry-run", "--uri-from-env", POWERLIFT_DB_URI=stack.db_uri
    )
    without = private(tmp_path / "request.json", '{"uri": null}')
    removed = fleet_command("clone", fleet, "--dry-run", "--file", without)
    assert (missing.exit_code, "--uri-from-env" in missing.stderr) == (2, True)
    assert (given.exit_code, "uri: (none) -> ***" in given.stderr) == (1, True)
    assert (removed.exit_code, stack.db_uri in given.output) == (1, False)
