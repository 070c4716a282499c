"""The README and the pages on the request and the settings: tables are complete, examples work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.api.request import AzureJson, FleetRequest
from local.stack import Stack
from tests.harness import Api, eventually, experiment, queue_sas
from tests.local.demo.test_run import demo, started
from tests.trials import packages_at_hand

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
REQUEST = (ROOT / "docs" / "request.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
CODE = re.findall(r"^```(?:python)?\n(.*?)^```", README + REQUEST, re.MULTILINE | re.DOTALL)


def table(title: str) -> str:
    """The first table after a heading or a line of text."""
    return REQUEST.partition(title)[2].partition("\n|")[2].partition("\n\n")[0]


def example(mark: str) -> str:
    return next(block for block in CODE if mark in block)


def shell(stack: Stack, command: str) -> str:
    environment = {**os.environ, "FLEET_URL": stack.url, "FLEET_KEY": stack.key}
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_field_of_a_request_is_in_its_table():
    fields = {*FleetRequest.model_fields, *AzureJson.model_fields}
    assert {name for name in fields if f"`{name}`" not in table("## Fields")} == set()


def test_every_setting_that_is_read_is_in_its_table():
    files = ("fleet/settings.py", "fleet/policy_settings.py", "triggers/queue.py")
    source = "".join((ROOT / file).read_text() for file in files)
    settings = set(re.findall(r'"((?:AZURE|FLEET|POWERLIFT)_[A-Z_]+)"', source))
    assert {name for name in settings if f"`{name}`" not in SETTINGS} == set()


def test_the_sample_settings_hold_what_the_host_needs():
    sample = (ROOT / "local.settings.sample.json").read_text()
    placeholders = set(re.findall(r"%(\w+)%", (ROOT / "host.json").read_text()))
    needed = {*placeholders, "FLEET_SEALING_KEY", "POWERLIFT_DB_URI"}
    assert {name for name in needed if name not in sample} == set()


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 130


@pytest.mark.slow
def test_the_readme_works_from_top_to_bottom(tmp_path: Path):
    """All commands but `make`, which other tests run, and `azd`."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    program, shown = tmp_path / "readme", ""
    with (
        packages_at_hand(tmp_path / "packages", "scikit-learn"),
        demo(tmp_path, "start", "--time-scale", "0.02") as child,
    ):
        app = started(child)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "FLEET_URL": app.url,
            "FLEET_KEY": app.key,
            "POWERLIFT_DB_URI": app.db_uri,
        }
        for language, block in blocks:
            if block.startswith(("make ", "azd ")):
                continue
            program.write_text(block)
            done = subprocess.run(
                [*(["python"] if language else ["bash", "-e"]), str(program)],
                env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240,
            )  # fmt: skip
            assert done.returncode == 0, done
            shown += done.stdout + done.stderr
    assert {"iris", "wine"} <= set(shown.split())
    assert re.findall(r"done\W+VMs (\d/\d) .*trials (\d+/\d+)", shown) == [
        ("2/2", "3/3"), ("4/4", "24/24"),
    ]  # fmt: skip
    assert ",accuracy," in (tmp_path / "results.csv").read_text()


def test_a_fleet_is_submitted_and_cancelled_by_curl_as_printed(stack: Stack, api: Api):
    post = example("Idempotency-Key: tuesday")
    post = post.replace('"experiment_id": 1', f'"experiment_id": {experiment(stack)}')
    answer = shell(stack, post)
    fleet_id = re.findall(r'"id": "(fleet-\d+)"', answer)[0]
    look, listed, delete = (
        example("# cancel and tear down").replace("fleet-7", fleet_id).splitlines()
    )
    assert f'"id": "{fleet_id}"' in shell(stack, look)
    assert fleet_id in shell(stack, listed)
    shell(stack, delete)
    assert (" 202 " in answer, api.wait(fleet_id)["phase"]) == (True, "cancelled")


def test_a_fleet_is_submitted_by_queue_as_printed(
    stack: Stack, api: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLEET_QUEUE_URL", queue_sas(stack))
    code = example("QueueClient").replace(
        '"experiment_id": 1', f'"experiment_id": {experiment(stack)}'
    )
    exec(code, {})
    eventually(lambda: True if api.get("nightly").status_code == 200 else None)
    assert api.end("nightly")["phase"] == "cancelled"
