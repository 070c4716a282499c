"""The fault plan: its validation and its error messages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.azure.faults.operation_names import OPERATIONS
from local.azure.faults.plan import InvalidPlan, Plan, load, parse
from local.azure.faults.rate_limits import RATES

PAGE = (Path(__file__).parents[4] / "docs" / "fault-injection.md").read_text()


def test_an_empty_plan() -> None:
    assert parse("{}") == Plan()


def test_every_error_is_reported_at_once() -> None:
    invalid = {
        "quotas": {"eastus": {"coers": 1}},
        "unknown": [],
        "faults": [{"on": "vm.putt", "error": "SkuNotAvailable"}, {"on": "vm.put", "error": "Sku"}],
    }

    with pytest.raises(InvalidPlan) as rejected:
        parse(invalid)

    paths = [line.partition(":")[0].strip() for line in str(rejected.value).splitlines()[1:]]
    assert paths == ["quotas.eastus.coers", "faults.0.on", "faults.1.error", "unknown"]


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({"quotas": {"mars": {}}}, "'mars' is not a known location"),
        ({"quotas": {"eastus": {"cores": -1}}}, "greater than or equal to 0"),
        ({"quotas": {"eastus": {"cores": "64"}}}, "valid integer"),
        ({"capacity": [{"vms": 1, "size": "Big"}]}, "'Big' is not a known VM size"),
        ({"restrictions": [{"location": "eastus"}]}, "restrictions.0.size: Field required"),
        ({"restrictions": [{"size": "*", "zones": []}]}, "at least 1 item"),
        ({"throttling": {"puts": None}}, "'puts' is not a known bucket"),
        ({"throttling": {"reads": {"bucket": 1}}}, "set exactly one of per_second and per_minute"),
        ({"evictions": [{"share": 0.5}]}, "set exactly one of after and within"),
        ({"evictions": [{"within": [2, 1]}]}, "within must be [low, high]"),
        ({"evictions": [{"after": 1, "match": "("}]}, "not a regular expression"),
        ({"faults": [{"on": "vm.put"}]}, "set error, lost, cut, garbled or slow"),
        ({"faults": [{"on": "vm.put", "error": {"message": "m"}}]}, "error.code: Field required"),
        ({"faults": [{"on": "vm.put", "slow": 1, "nth": [0]}]}, "faults.0.nth.0"),
        (
            {"faults": [{"on": "vm.boot", "lost": True}]},
            "no client waits for a response to vm.boot",
        ),
        ({"faults": [{"on": "vm.boot", "cut": 0}]}, "cut: no client waits"),
        ({"faults": [{"on": "vm.put", "cut": -1}]}, "greater than or equal to 0"),
        ({"faults": [{"on": "vm.put", "lost": True, "cut": 0}]}, "that could be cut or garbled"),
        ({"faults": [{"on": "vm.put", "garbled": "xml"}]}, "'xml' is not a known garbled response"),
        ({"faults": [{"on": "read", "slow": 1, "zone": "1"}]}, "apply only to vm.*"),
    ],
)
def test_invalid_values_are_rejected(invalid: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPlan, match=re.escape(message)):
        parse(invalid)


def test_invalid_json_is_rejected() -> None:
    with pytest.raises(InvalidPlan, match="the plan: Invalid JSON"):
        parse("{")


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidPlan, match="cannot be read"):
        load(tmp_path / "none.json")


def test_the_command_line_reports_errors(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text('{"unknown": 1}')
    argv = [sys.executable, "-m", "local.azure", "--state", str(tmp_path), "--faults", str(file)]

    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60)

    assert (ended.returncode, "unknown: Extra inputs" in ended.stderr) == (2, True)


def test_throttling_is_off_by_default() -> None:
    assert parse("{}").rates() == {}


def test_other_buckets_keep_azures_rates() -> None:
    rates = parse(
        {"throttling": {"writes": {"bucket": 5, "per_minute": 60}, "reads": None}}
    ).rates()

    assert rates["deletes"] == RATES["deletes"]
    assert (rates["writes"].bucket, rates["writes"].refill, rates["writes"].period) == (5, 60, 60)
    assert "reads" not in rates


def test_the_pages_examples_are_valid() -> None:
    examples = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

    assert [len(parse(example).faults) for example in examples] == [3, 7]


def test_the_page_names_every_operation() -> None:
    listed = PAGE.partition("Requests, which fail")[2].partition("\n\n")[0]

    assert set(re.findall(r"`([a-z]+(?:\.[a-z]+)*)`", listed)) == OPERATIONS


def test_the_page_names_every_bucket() -> None:
    table = PAGE.partition("| bucket |")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]

    assert set(re.findall(r"`(\w+)`", " ".join(first))) == set(RATES)
