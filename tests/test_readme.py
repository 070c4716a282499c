"""The README's tables name what there is, and its examples work as printed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from fleet.api.request import AzureJson, FleetRequest
from local.stack import Stack
from tests.harness import Api, eventually, experiment

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
CODE = re.findall(r"^```(?:python)?\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def table(title: str) -> str:
    """The first table after a heading or a line of text."""
    return README.partition(title)[2].partition("\n|")[2].partition("\n\n")[0]


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
    assert {name for name in fields if f"`{name}`" not in table("## The request")} == set()


def test_every_setting_that_is_read_is_in_its_table():
    source = (ROOT / "fleet" / "settings.py").read_text() + (
        ROOT / "triggers" / "queue.py"
    ).read_text()
    settings = set(re.findall(r'"((?:AZURE|FLEET|POWERLIFT)_[A-Z_]+)"', source))
    assert {name for name in settings if f"`{name}`" not in README} == set()


def test_the_sample_settings_hold_what_the_host_needs():
    sample = (ROOT / "local.settings.sample.json").read_text()
    placeholders = set(re.findall(r"%(\w+)%", (ROOT / "host.json").read_text()))
    needed = {*placeholders, "FLEET_SEALING_KEY", "POWERLIFT_DB_URI"}
    assert {name for name in needed if name not in sample} == set()


def test_the_benchmark_is_that_which_is_run():
    """`tests/examples` runs the file, to its table of results."""
    text = (ROOT / "examples" / "benchmark.py").read_text()
    whole = [line.strip() for line in text.splitlines()]
    rest = iter(whole)
    for line in filter(None, map(str.strip, example("AzureVMFleet(").splitlines())):
        # The file may import more on the same line.
        assert any(one.startswith(line) for one in rest), f"{line!r} is not there, or not in order"


def test_a_fleet_is_submitted_and_cancelled_by_curl_as_printed(stack: Stack, api: Api):
    post = example("Idempotency-Key: tuesday")
    post = post.replace('"experiment_id": 1', f'"experiment_id": {experiment(stack)}')
    answer = shell(stack, post)
    fleet_id = re.findall(r'"id": "(fleet-\d+)"', answer)[0]
    look, listed, delete = example("how is it?").replace("fleet-7", fleet_id).splitlines()
    assert f'"id": "{fleet_id}"' in shell(stack, look)
    assert fleet_id in shell(stack, listed)
    shell(stack, delete)
    assert (" 202 " in answer, api.wait(fleet_id)["phase"]) == (True, "cancelled")


def test_a_fleet_is_submitted_by_message_as_printed(stack: Stack, api: Api):
    code = example("QueueClient").replace(
        '"experiment_id": 1', f'"experiment_id": {experiment(stack)}'
    )
    exec(code, {"connection_string": stack.queue_connection_string})
    eventually(lambda: True if api.get("fleet-7").status_code == 200 else None)
    assert api.end("fleet-7")["phase"] == "cancelled"
