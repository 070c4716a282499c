"""The template's alerts are those of docs/observability.md, whose expressions are tested there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from fleet.model.costs import MAX_COST_REACHED
from fleet.preflight import costs
from fleet.store.budget import BudgetExceeded
from tests.infra.compiled import Example

PAGE = " ".join((Path(__file__).parents[2] / "docs" / "observability.md").read_text().split())
ALERTS = PAGE.partition("## Alerts")[2]
RULES = Example("isolated").of("Microsoft.Insights/scheduledQueryRules")
QUERIES = [rule["properties"]["criteria"]["allOf"][0]["query"] for rule in RULES]


def test_each_alert_is_documented_and_deployed():
    documented = re.findall(r"```kusto (events .+?) ```", ALERTS)
    deployed = [
        f"events | where event {query.rpartition(' | where event ')[2]}" for query in QUERIES
    ]
    assert sorted(deployed) == sorted(documented)


def test_the_codes_are_those_of_the_app():
    named = set(
        re.findall(r"code in \(([^)]+)\)", " ".join(QUERIES))[0].replace('"', "").split(", ")
    )
    assert named == {BudgetExceeded.code, MAX_COST_REACHED, "CostLimitExceeded"}
    assert "CostLimitExceeded" in inspect.getsource(costs)


def test_fields_are_extracted_as_documented():
    patterns = {
        pattern for query in QUERIES for pattern in re.findall(r'extract\(@"([^"]+)"', query)
    }
    assert len(patterns) == 2
    assert [pattern for pattern in patterns if pattern not in PAGE] == []
