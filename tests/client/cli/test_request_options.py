"""How options and a file are combined into a request."""

from __future__ import annotations

from pathlib import Path

import pytest
from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.cli.main import cli
from powerlift_fleet.cli.options.request_options import FILE_ONLY, document

from fleet.api.request import FleetRequest
from tests.client.cli.conftest import Command

PASSWORD = "s3cr3t-value"


def options(command: str) -> set[str]:
    return {str(param.name) for param in cli.commands[command].params}


@pytest.mark.parametrize("command", ["submit", "plan"])
def test_every_scalar_field_has_an_option(command: str):
    assert set(FleetRequest.model_fields) - options(command) == FILE_ONLY


def test_no_option_accepts_a_secret():
    names = {name for command in cli.commands for name in options(command)}
    assert names.isdisjoint({"key", "uri", "client_secret", "azure_json"})


def test_options_override_the_file(tmp_path: Path):
    file = tmp_path / "request.json"
    file.write_text('{"experiment_id": 1, "n_instances": 2, "tags": {"a": "1", "b": "2"}}')
    made = document(str(file), False, n_instances=3, tags=(("b", "3"),), timeout=None, zones=None)
    assert made == {"experiment_id": 1, "n_instances": 3, "tags": {"a": "1", "b": "3"}}


def test_durations_lists_and_tags_are_parsed():
    argv = ["--max-lifetime", "2W", "--timeout", "1.5", "--zones", "1,3", "--tag", "a=b=c"]
    context = cli.commands["submit"].make_context("submit", argv)
    names = ("max_lifetime", "timeout", "zones", "tags")
    assert [context.params[name] for name in names] == [1209600, 1.5, ["1", "3"], (("a", "b=c"),)]


def test_a_lock_of_packages_is_read_from_its_file(tmp_path: Path):
    file = tmp_path / "requirements.lock"
    file.write_text("lib==1\n")
    context = cli.commands["submit"].make_context("submit", ["--requirements-lock", str(file)])
    lock = context.params["requirements_lock"]
    assert document(None, False, requirements_lock=lock) == {"requirements_lock": "lib==1\n"}


@pytest.mark.parametrize(
    ("option", "value"), [("--timeout", "soon"), ("--tag", "nothing"), ("--vms", "many")]
)
def test_an_invalid_option_is_a_usage_error(bare: Command, option: str, value: str):
    done = bare("submit", option, value)
    assert (done.exit_code, value in done.stderr, done.stdout) == (2, True, "")


def test_the_database_uri_comes_from_the_environment_on_request_only():
    env = {"POWERLIFT_DB_URI": "postgresql://u:p@h/d"}
    assert document(None, False, env) == {}
    assert document(None, True, env) == {"uri": "postgresql://u:p@h/d"}


def test_a_missing_database_uri_is_an_error():
    with pytest.raises(ConfigurationError, match="POWERLIFT_DB_URI is not set"):
        document(None, True, {})


@pytest.mark.parametrize(
    "text", [f'{{"uri": "{PASSWORD}", }}', f'["{PASSWORD}"]', f'"{PASSWORD}', f"\xff{PASSWORD}"]
)
def test_errors_do_not_quote_an_invalid_file(tmp_path: Path, text: str):
    file = tmp_path / "request.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError) as refused:
        document(str(file), False)
    assert (str(file) in str(refused.value), PASSWORD in str(refused.value)) == (True, False)
