"""Settings, and the errors for apps that cannot be hosted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from azure import identity

from local.functions.indexing import IndexingError, index
from local.functions.settings import (
    SettingsError,
    load_host_settings,
    load_values,
    resolve,
)
from local.functions.storage import Account, find_account

ROOT = Path(__file__).parents[3]
APPS = Path(__file__).parent / "apps"


def _host(folder: Path, host_root: Path) -> tuple[int, str]:
    """Run the command line. Returns its exit status and stderr."""
    done = subprocess.run(
        [
            sys.executable, "-m", "local.functions", "--state", str(folder / "state"),
            "--host-root", str(host_root), "--port", "0",
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def _app(folder: Path, code: str, host_json: dict[str, Any] | None = None) -> Path:
    folder = folder / "app"
    folder.mkdir()
    (folder / "host.json").write_text(json.dumps(host_json or {"version": "2.0"}))
    (folder / "function_app.py").write_text(code)
    return folder


def test_an_app_that_does_not_import(tmp_path: Path) -> None:
    status, text = _host(tmp_path, _app(tmp_path, "import json\nimport no_such_module\n"))

    assert status == 1
    assert text == (
        "error: function_app.py does not import: ModuleNotFoundError: "
        "No module named 'no_such_module' (function_app.py, line 2)\n"
    )


def test_an_unresolved_name_in_a_binding(tmp_path: Path) -> None:
    status, text = _host(tmp_path, APPS / "triggers")

    assert (status, text.splitlines()) == (
        1,
        [
            "error: function 'tick': '%TIMER_SCHEDULE%' does not resolve to a value: "
            "set TIMER_SCHEDULE in the environment or among the Values of local.settings.json"
        ],
    )


def test_a_directory_without_an_app(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"host\.json is missing"):
        load_host_settings(tmp_path / "host.json", {})


_PREFIX = """
import azure.durable_functions as df, azure.functions as func
app = df.DFApp()
"""


def _index(code: str, **env: str) -> Any:
    space: dict[str, Any] = {}
    exec(_PREFIX + code, space)
    return index(space["app"], env)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "@app.entity_trigger(context_name='context')\ndef counter(context): pass",
            "'counter' uses a binding of type 'entityTrigger'",
        ),
        (
            "@app.orchestration_trigger(context_name='ctx')\ndef flow(ctx): yield",
            "'flow' has the parameters ['context'], but its bindings are ['ctx']",
        ),
        (
            "@app.activity_trigger(input_name='x')\ndef act(x: dict, y: int): pass",
            "'act' has the parameters ['x', 'y'], but its bindings are ['x']",
        ),
        (
            "@app.activity_trigger(input_name='x')\ndef act(x: dict | None): pass",
            "does not support the annotation dict | None for 'x'",
        ),
        (
            "@app.activity_trigger(input_name='x')\ndef act(x: list[dict]): pass",
            "does not support the annotation list[dict]",
        ),
        (
            "@app.activity_trigger(input_name='x')\ndef act(x: 'Nowhere'): pass",
            "the annotations of 'act' cannot be read",
        ),
        (
            "@app.activity_trigger(input_name='x')\ndef act(x): pass\n"
            "@app.activity_trigger(input_name='x')\ndef ACT(x): pass",
            "2 functions are named 'act'",
        ),
        (
            "@app.activity_trigger(input_name='x')\n@app.blob_output(arg_name='out', path='a/b', "
            "connection='c')\ndef act(x, out: func.Out[str]): pass",
            "'act' uses a binding of type 'blob'",
        ),
    ],
)
def test_a_function_that_cannot_be_hosted(code: str, text: str) -> None:
    with pytest.raises(IndexingError) as caught:
        _index(code)
    assert text in str(caught.value)


def test_a_name_in_a_binding_is_resolved() -> None:
    function = _index(
        "@app.queue_trigger(arg_name='m', queue_name='%Q%', connection='C')\n"
        "def take(m: func.QueueMessage): pass",
        Q="letters",
    )[0]

    assert function.trigger["queueName"] == "letters"


def test_the_environment_wins_over_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "local.settings.json"
    file.write_text('{"Values": {"SETTING_A": "file", "SETTING_B": "file"}}')
    monkeypatch.setenv("SETTING_A", "environment")
    monkeypatch.delenv("SETTING_B", raising=False)

    load_values(file)
    seen = os.environ["SETTING_A"], os.environ.pop("SETTING_B")

    assert seen == ("environment", "file")


def test_host_json_is_read(tmp_path: Path) -> None:
    file = tmp_path / "host.json"
    content = {
        "functionTimeout": "01:00:30",
        "extensions": {
            "http": {"routePrefix": ""},
            "queues": {"batchSize": 6, "visibilityTimeout": "00:00:30", "messageEncoding": "none"},
            "durableTask": {"hubName": "%HUB%", "overridableExistingInstanceStates": "AnyState"},
        },
    }
    file.write_text(json.dumps(content))

    settings = load_host_settings(file, {"HUB": "MyHub"})

    queues, durable = settings.queues, settings.durable
    assert (settings.function_timeout, settings.route_prefix) == (3630.0, "")
    assert (queues.batch_size, queues.new_batch_threshold, queues.base64) == (6, 3, False)
    assert (durable.hub_name, durable.replace_running) == ("MyHub", True)


def test_a_setting_overrides_host_json(tmp_path: Path) -> None:
    file = tmp_path / "host.json"
    file.write_text('{"extensions": {"queues": {"visibilityTimeout": "00:00:30", "batchSize": 6}}}')

    name = "AzureFunctionsJobHost__extensions__queues__visibilityTimeout"
    settings = load_host_settings(file, {name: "00:00:01", "AzureFunctionsJobHost__x__y": "z"})

    assert (settings.queues.visibility_timeout, settings.queues.batch_size) == (1.0, 6)


@pytest.mark.parametrize(
    "content",
    [
        '{"functionTimeout": "soon"}',
        '{"extensions": {"queues": {"batchSize": 99}}}',
        '{"extensions": {"queues": {"messageEncoding": "utf-8"}}}',
        '{"extensions": {"durableTask": {"maxConcurrentActivityFunctions": 0}}}',
        '{"extensions": {"durableTask": {"hubName": "%ABSENT%"}}}',
        "[]",
        "{",
    ],
)
def test_an_invalid_host_json_is_rejected(tmp_path: Path, content: str) -> None:
    file = tmp_path / "host.json"
    file.write_text(content)

    with pytest.raises(SettingsError):
        load_host_settings(file, {})


def test_resolve_replaces_every_name() -> None:
    assert resolve("%A%-%B%", {"A": "1", "B": "2"}) == "1-2"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"Storage": "Endpoint=x"}, Account("Endpoint=x")),
        ({"AzureWebJobsStorage": "Endpoint=y"}, Account("Endpoint=y")),
        ({"Storage": "Endpoint=x", "AzureWebJobsStorage": "Endpoint=y"}, Account("Endpoint=y")),
        ({"Storage__credential": "managedidentity"}, None),
        ({"Storage__queueServiceUri": "https://a"}, Account("", "https://a", ANY)),
        ({"AzureWebJobsStorage__queueServiceUri": "https://a"}, Account("", "https://a", ANY)),
        ({"Storage__accountName": "a"}, Account("", "https://a.queue.core.windows.net", ANY)),
        ({"Storage": "Endpoint=x", "Storage__accountName": "a"}, Account("Endpoint=x")),
    ],
)
def test_a_connection_is_found_by_name(
    environment: dict[str, str], expected: Account | None
) -> None:
    assert find_account("Storage", environment) == expected


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"credential": "managedidentity", "clientId": "c"}, identity.ManagedIdentityCredential),
        ({"tenantId": "t", "clientId": "c", "clientSecret": "s"}, identity.ClientSecretCredential),
        ({"clientId": "c"}, identity.DefaultAzureCredential),
        ({}, identity.DefaultAzureCredential),
    ],
)
def test_the_settings_of_a_connection_determine_its_credential(
    settings: dict[str, str], kind: type
) -> None:
    environment = {f"Storage__{name}": value for name, value in settings.items()}
    account = find_account("Storage", {**environment, "Storage__accountName": "a"})

    assert account is not None
    assert type(account.credential(identity)) is kind


def test_development_storage_is_a_local_azurite() -> None:
    account = find_account("S", {"S": "UseDevelopmentStorage=true"})

    assert account is not None
    assert "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1" in account.connection_string
