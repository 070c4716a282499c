"""Subnets: outbound access, free addresses, region."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleet.preflight.plan import evaluate
from tests.fleet.preflight.azure_inputs import (
    NO_ANSWER,
    OURS,
    THEIRS,
    inputs,
    network,
    one,
    order,
    region,
)


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, "ok"),
        ({"defaultOutboundAccess": True}, "ok"),
        ({"defaultOutboundAccess": False, "natGateway": {"id": "n"}}, "ok"),
        ({"defaultOutboundAccess": False, "routeTable": {"id": "r"}}, "unknown"),
    ],
)
@pytest.mark.parametrize("subnet_id", [None, THEIRS])
def test_outbound_access_of_an_existing_subnet(
    subnet_id: str | None, properties: dict[str, Any], expected: str
):
    existing_subnet = network(subnet_id or OURS, **properties)
    seen = inputs(order(subnet_id=subnet_id), regions={"eastus": region(network=existing_subnet)})
    assert one(seen, "subnet")["status"] == expected


@pytest.mark.parametrize(("subnet_id", "expected"), [(None, "fault"), (THEIRS, "warning")])
def test_a_private_subnet_has_no_known_outbound_access(subnet_id: str | None, expected: str):
    existing_subnet = network(subnet_id or OURS, defaultOutboundAccess=False)
    seen = inputs(order(subnet_id=subnet_id), regions={"eastus": region(network=existing_subnet)})
    assert one(seen, "subnet")["status"] == expected


@pytest.mark.parametrize(
    ("used", "expected"), [(0, "ok"), (1, "ok"), (2, "warning"), (9, "warning"), (10, "fault")]
)
@pytest.mark.parametrize("subnet_id", [None, THEIRS])
def test_an_existing_subnet_needs_free_addresses(subnet_id: str | None, used: int, expected: str):
    existing_subnet = network(subnet_id or OURS, used)
    seen = inputs(order(subnet_id=subnet_id), regions={"eastus": region(network=existing_subnet)})
    assert one(seen, "addresses")["status"] == expected


def test_addresses_that_azure_does_not_report_are_unknown():
    existing_subnet = replace(network(OURS), usages=NO_ANSWER)
    seen = inputs(regions={"eastus": region(network=existing_subnet)})
    assert one(seen, "addresses")["status"] == "unknown"


def test_a_subnet_of_the_user_must_exist():
    seen = inputs(order(subnet_id=THEIRS))
    assert [fault["code"] for fault in evaluate(seen)["faults"]] == ["SubnetNotFound"]


def test_a_subnet_of_the_user_must_be_in_the_vms_region():
    existing_subnet = replace(network(THEIRS), body={**network(THEIRS).body, "location": "West US"})
    seen = inputs(order(subnet_id=THEIRS), regions={"eastus": region(network=existing_subnet)})
    assert [fault["code"] for fault in evaluate(seen)["faults"]] == ["SubnetInOtherRegion"]
