"""`login` and `logout`. `azd` and `az` are scripts: no simulator has their environments or host keys."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from powerlift_fleet import FleetClient
from powerlift_fleet.cli import exit_codes

from local.stack import Stack
from tests.client.cli.conftest import Command, private
from tests.client.cli.served import served
from tests.client.cli.test_examples import examples
from tests.client.cli.test_terminal import TIMEOUT, terminal, wait_for_screen

KEY = "key-of-team-a"


class Machine:
    """A home directory, and a PATH with `azd` and `az`."""

    def __init__(self, folder: Path, bare: Command) -> None:
        self.folder, self.tools = folder, folder / "tools"
        self.tools.mkdir()
        self.file = folder / "powerlift-fleet" / "config.toml"
        self.command = Command({**bare.env, "PATH": str(self.tools)})

    def program(self, name: str, body: str) -> None:
        """Create a program that records its arguments in `calls`."""
        file = self.tools / name
        record = f'PATH=/usr/bin:/bin\necho "{name} $*" >> {self.folder}/calls'
        file.write_text(f"#!/bin/sh\n{record}\n{body}\n")
        file.chmod(0o700)

    def azd(self, url: str) -> None:
        values = (f'FLEET_URL="{url}"', 'FLEET_APP_NAME="a\\$b"', 'FLEET_APP_GROUP="g"')
        self.program(
            "azd", f"cat << 'EOF'\n{os.linesep.join(values)}\nAZURE_SUBSCRIPTION_ID=s\nEOF"
        )

    def az(self, key: str, *hosts: str) -> None:
        answers = f"show) printf '%s\\n' {' '.join(hosts)};; *) echo {key};;"
        self.program("az", f'case "$2" in {answers} esac')

    def stored(self) -> str:
        return self.file.read_text() if self.file.exists() else ""

    def calls(self) -> str:
        file = self.folder / "calls"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def machine(tmp_path: Path, bare: Command) -> Machine:
    return Machine(tmp_path, bare)


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    """The URL of an app that accepts any key."""
    with served({"GET /fleets": {"fleets": []}}) as url:
        yield url


def test_after_azd_up_one_command_suffices(
    machine: Machine, stack: Stack, monkeypatch: pytest.MonkeyPatch
):
    machine.azd(stack.url)
    machine.az(stack.key, "127.0.0.1")
    done = machine.command("login")
    assert (done.exit_code, machine.command("list").exit_code) == (0, 0), done.stderr
    asked = "az functionapp keys list --resource-group g --name a$b --subscription s --query"
    assert asked in machine.calls()
    assert stack.key not in done.output + machine.calls()
    assert machine.file.stat().st_mode & 0o777 == 0o600
    for name in ("FLEET_URL", "FLEET_KEY", "FLEET_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(machine.folder))
    with FleetClient() as client:
        assert client.url == f"{stack.url}/api"
        client.fleets(limit=1)


def test_a_wrong_key_is_not_stored(machine: Machine, stack: Stack):
    done = machine.command("login", "--url", stack.url, "--key-file", "-", stdin="wrong")
    assert (done.exit_code, machine.stored()) == (exit_codes.UNAUTHORISED, "")
    assert ("Nothing was stored." in done.stderr, "wrong" in done.output) == (True, False)


def test_the_key_can_come_from_a_pipe_and_the_url_from_a_file(machine: Machine, app: str):
    file = private(machine.folder / ".env", f'AZURE_ENV_NAME="fleets"\nFLEET_URL="{app}"\n')
    done = machine.command("login", "--from-azd-env", file, "--key-file", "-", stdin=f"{KEY}\n")
    assert (done.exit_code, machine.calls()) == (0, ""), done.stderr
    assert machine.stored() == f'url = "{app}"\nkey = "{KEY}"\n'


def test_profiles_are_stored_beside_each_other(machine: Machine, app: str):
    kept = '[profiles."a\\"b"]\nurl = "https://b.example"\nkey_file = "~/key"\n'
    private(machine.file, f"# comment\n{kept}")
    for profile in ("team", None):
        options = ["--profile", profile] if profile else []
        machine.command(*options, "login", "--url", app, "--key-file", "-", stdin=KEY)
    values = f'url = "{app}"\nkey = "{KEY}"\n'
    assert machine.stored() == f'{values}\n{kept}\n[profiles."team"]\n{values}'


def test_logout_removes_one_profile_and_then_the_file(machine: Machine):
    private(machine.file, f'url = "https://a"\nkey_file = "/k"\n[profiles.x]\nkey = "{KEY}"\n')
    first = machine.command("logout", "--profile", "x")
    assert KEY not in machine.stored()
    second = machine.command("logout")
    assert (first.exit_code, second.exit_code, machine.file.exists()) == (0, 0, False)
    assert "The key is still in /k." in second.stderr
    assert "Nothing to remove" in machine.command("logout").stderr


def test_json_names_what_was_stored_without_the_key(machine: Machine, app: str):
    shown = machine.command.json("login", "--url", app, "--key-file", "-", stdin=KEY)
    assert shown == {"url": app, "profile": None, "file": str(machine.file)}


def test_an_environment_that_takes_precedence_causes_a_warning(machine: Machine, app: str):
    options = ("login", "--url", app, "--key-file", "-")
    done = machine.command(*options, stdin=KEY, FLEET_KEY="other")
    named = machine.command("--profile", "x", *options, stdin=KEY, FLEET_KEY="other")
    both = machine.command(*options, stdin=KEY, FLEET_KEY="other", FLEET_URL=app)
    assert "FLEET_KEY of the environment takes precedence: unset FLEET_KEY\n" in done.stderr
    assert "FLEET_URL and FLEET_KEY of the environment take precedence" in both.stderr
    assert (done.exit_code, "precedence" in named.stderr) == (0, False)


def test_without_az_the_key_is_typed_unseen(machine: Machine, app: str):
    machine.azd(app)
    with terminal(machine.command, "login") as window:
        wait_for_screen(window, lambda text: "Function key:" in text)
        window.type(f"{KEY}\n")
        code = window.wait(TIMEOUT)
        assert (code, "az is not on PATH" in window.text, KEY in window.text) == (0, True, False)
    assert KEY in machine.stored()


AZD_FAILS = "echo 'ERROR: no project exists' >&2; exit 1"
AZ_FAILS = "echo 'Please run az login' >&2; exit 1"
LOCAL = "echo FLEET_URL=http://localhost"
NO_KEY = '[ "$2" = show ] && echo localhost; true'
KEYS_FAIL = f'[ "$2" = show ] && echo localhost && exit; {AZ_FAILS}'


@pytest.mark.parametrize(
    ("azd", "az", "options", "reported"),
    [
        (None, None, (), "No app URL: azd is not on PATH. Nothing was stored. Run this in"),
        (AZD_FAILS, None, (), "azd env get-values failed: ERROR: no project exists. Nothing was"),
        ("echo AZURE_LOCATION=x", None, (), "The azd environment contains no FLEET_URL. Nothing"),
        ("echo FLEET_URL=http://h", None, (), "No function key: az is not on PATH. Nothing was"),
        ("echo FLEET_URL=http://h", AZ_FAILS, (), "show failed: Please run az login. Nothing"),
        (
            "echo FLEET_URL=http://h",
            "true",
            (),
            "az returned no host of the app. Nothing was stored.",
        ),
        (LOCAL, KEYS_FAIL, (), "keys list failed: Please run az login. Nothing"),
        (LOCAL, NO_KEY, (), "az returned no key. Nothing was stored. Pass"),
        (None, None, ("--url", "http://h"), "No function key: Nothing was stored. Pass --key-file"),
        (None, None, ("--from-azd-env", "/no/.env"), "No such file or directory"),
        (None, None, ("--url", "http://h", "--from-azd-env", "f"), "Pass either --url or"),
        (None, None, ("--url", "h", "--key-file", "-"), "must start with https://"),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_stored(
    machine: Machine, azd: str | None, az: str | None, options: tuple[str, ...], reported: str
):
    for name, body in {"azd": azd, "az": az}.items():
        if body:
            machine.program(name, body)
    done = machine.command("login", *options, stdin=KEY)
    assert (done.exit_code, machine.stored()) == (exit_codes.USAGE, "")
    assert reported in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "https://fleets.example.evil.example",
        "https://fleets.example@evil.example",
        "https://fleets.example:x@evil.example",
        r"https://evil.example\@fleets.example",
        "https://evil.example?@fleets.example",
        "https://evil.example#fleets.example",
        "http://fleets.example",
        "ftp://fleets.example",
    ],
)
@pytest.mark.parametrize("option", [(), ("--from-azd-env", ".env")])
def test_the_key_of_an_app_is_not_asked_for_another_url(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, url: str, option: tuple[str, ...]
):
    """A repository's environment may name the user's app, and the URL of somebody else."""
    text = f"FLEET_URL={url}\nFLEET_APP_NAME=victim\nFLEET_APP_GROUP=g\n"
    private(machine.folder / ".env", text)
    monkeypatch.chdir(machine.folder)
    machine.program("azd", f"cat << 'EOF'\n{text}EOF")
    machine.az(KEY, "fleets.example", "own.example")
    done = machine.command("login", *option)
    assert (done.exit_code, machine.stored(), KEY in done.output) == (exit_codes.USAGE, "", False)
    assert ("az functionapp show" in machine.calls(), "keys list" in machine.calls()) == (
        True,
        False,
    )
    assert f"FLEET_URL of the azd environment is {url}" in done.stderr


def test_a_profile_of_the_environment_is_created(machine: Machine, app: str):
    argv = ("login", "--url", app, "--key-file", "-")
    done = machine.command(*argv, stdin=KEY, FLEET_PROFILE="new")
    assert (done.exit_code, machine.command("list", FLEET_PROFILE="new").exit_code) == (0, 0), done
    assert '[profiles."new"]' in machine.stored()


def test_a_file_that_cannot_be_written_is_reported(machine: Machine, app: str):
    machine.file.parent.mkdir()
    machine.file.symlink_to("/proc/powerlift-fleet/config.toml")
    done = machine.command("login", "--url", app, "--key-file", "-", stdin=KEY)
    assert (done.exit_code, KEY in done.output) == (exit_codes.USAGE, False)
    assert "Nothing was stored. Set FLEET_URL and FLEET_KEY instead." in done.stderr


def test_the_examples_work_as_printed(machine: Machine, app: str, monkeypatch: pytest.MonkeyPatch):
    machine.azd(app)
    machine.az(KEY, "127.0.0.1")
    private(machine.folder / ".azure" / "fleets" / ".env", f"FLEET_URL={app}")
    private(machine.folder / "team-a.key", KEY)
    monkeypatch.chdir(machine.folder)
    lines = [*examples("login"), *examples("logout")]
    for line in lines:
        _, *argv = shlex.split(line.replace("https://my-fleet.azurewebsites.net", app))
        done = machine.command(*argv)
        assert done.exit_code == 0, done.stderr
    assert len(lines) == 4
