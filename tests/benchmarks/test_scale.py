"""The bound of a makespan, and the chart."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.bound import earliest, kind_of
from benchmarks.chart import Series, line_chart
from benchmarks.scale import bounded_by


@pytest.mark.parametrize(
    ("size", "seconds", "limit"),
    [
        (50, 0.0, "boot"),
        (100, 5.0, "writes"),  # 200 writes and 50 roles, of which a full bucket allows 200
        (1000, 275.0, "writes"),
        (5000, 1475.0, "writes"),
    ],
)
def test_azures_limits_bound_a_fleet(size: int, seconds: float, limit: str):
    assert max(0.0, earliest(size - 1, max_undead=50)) == seconds
    assert bounded_by(size, max_undead=50) == limit


def test_interfaces_bound_fleets_whose_roles_may_wait():
    """1,000 interfaces in five minutes are fewer than two writes per VM."""
    assert bounded_by(2001, max_undead=2001) == "interfaces"


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/subscriptions/s/resourceGroups/g/providers/M.C/virtualMachines", "VM LIST"),
        ("PUT", "/subscriptions/s/resourceGroups/g/providers/M.C/virtualMachines/v", "VM PUT"),
        ("PUT", "/subscriptions/s/x/virtualMachines/v/providers/M.A/roleAssignments/r", "role PUT"),
        ("GET", "/subscriptions/s/providers/M.A/roleAssignmentsUsageMetrics", "plan GET"),
        ("POST", "/tenant/oauth2/v2.0/token", "token"),
    ],
)
def test_requests_have_a_kind(method: str, path: str, kind: str):
    assert kind_of({"method": method, "path": path}) == kind


def test_a_chart_is_xml_with_a_line_and_a_name_for_each_series():
    lines = [
        Series("measured <1>", [(1, 70), (1000, 450)], marks=True),
        Series("bound", [(1, 65), (1000, 440)], dashed=True),
    ]
    svg = ElementTree.fromstring(line_chart("Title", "VMs", "seconds", lines))
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"measured <1>: 450 s", "bound: 440 s"} <= set(texts)
    dashes = [path.get("stroke-dasharray") for path in svg.iter("{http://www.w3.org/2000/svg}path")]
    assert len([one for one in dashes if one]) == 1
