"""The document: what is refused, and how it is told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.azure.faults.operation_names import NAMES
from local.azure.faults.plan import Plan, PlanRefused, load, parse
from local.azure.faults.rate_limits import RATES

PAGE = (Path(__file__).parents[4] / "docs" / "fault-injection.md").read_text()


def test_an_empty_document_is_a_plan_of_nothing() -> None:
    assert parse("{}") == Plan()


def test_every_fault_is_told_at_once() -> None:
    wrong = {
        "quotas": {"eastus": {"coers": 1}},
        "storms": [],
        "faults": [{"on": "vm.putt", "error": "SkuNotAvailable"}, {"on": "vm.put", "error": "Sku"}],
    }

    with pytest.raises(PlanRefused) as refused:
        parse(wrong)

    places = [line.partition(":")[0].strip() for line in str(refused.value).splitlines()[1:]]
    assert places == ["quotas.eastus.coers", "faults.0.on", "faults.1.error", "storms"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"quotas": {"mars": {}}}, "'mars' is no location"),
        ({"quotas": {"eastus": {"cores": -1}}}, "greater than or equal to 0"),
        ({"quotas": {"eastus": {"cores": "64"}}}, "valid integer"),
        ({"capacity": [{"vms": 1, "size": "Big"}]}, "'Big' is no VM size"),
        ({"restrictions": [{"location": "eastus"}]}, "restrictions.0.size: Field required"),
        ({"restrictions": [{"size": "*", "zones": []}]}, "at least 1 item"),
        ({"throttling": {"puts": None}}, "'puts' is no bucket"),
        ({"throttling": {"reads": {"bucket": 1}}}, "give per_second or per_minute"),
        ({"evictions": [{"share": 0.5}]}, "give after, or within"),
        ({"evictions": [{"within": [2, 1]}]}, "within is [low, high]"),
        ({"evictions": [{"after": 1, "match": "("}]}, "not a regular expression"),
        ({"faults": [{"on": "vm.put"}]}, "give error, lost or slow"),
        ({"faults": [{"on": "vm.put", "error": {"message": "m"}}]}, "error.code: Field required"),
        ({"faults": [{"on": "vm.put", "slow": 1, "nth": [0]}]}, "faults.0.nth.0"),
        ({"faults": [{"on": "vm.boot", "lost": True}]}, "nobody waits for an answer of vm.boot"),
        ({"faults": [{"on": "read", "slow": 1, "zone": "1"}]}, "conditions of vm.* alone"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(PlanRefused, match=re.escape(told)):
        parse(wrong)


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(PlanRefused, match="the document: Invalid JSON"):
        parse("{")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanRefused, match="cannot be read"):
        load(tmp_path / "none.json")


def test_the_command_line_tells_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text('{"storms": 1}')
    argv = [sys.executable, "-m", "local.azure", "--state", str(tmp_path), "--faults", str(file)]

    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60)

    assert (ended.returncode, "storms: Extra inputs" in ended.stderr) == (2, True)


def test_throttling_is_off_unless_asked_for() -> None:
    assert parse("{}").rates() == {}


def test_buckets_that_are_not_named_keep_azures_rates() -> None:
    rates = parse(
        {"throttling": {"writes": {"bucket": 5, "per_minute": 60}, "reads": None}}
    ).rates()

    assert rates["deletes"] == RATES["deletes"]
    assert (rates["writes"].bucket, rates["writes"].refill, rates["writes"].period) == (5, 60, 60)
    assert "reads" not in rates


def test_the_pages_example_is_a_plan() -> None:
    example = PAGE.partition("```json\n")[2].partition("```")[0]

    assert len(parse(example).faults) == 5


def test_the_page_names_every_operation() -> None:
    listed = PAGE.partition("Requests, which fail")[2].partition("\n\n")[0]

    assert set(re.findall(r"`([a-z]+(?:\.[a-z]+)*)`", listed)) == NAMES


def test_the_page_names_every_bucket() -> None:
    table = PAGE.partition("| bucket |")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]

    assert set(re.findall(r"`(\w+)`", " ".join(first))) == set(RATES)
