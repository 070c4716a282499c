"""Which owned resources are deleted first if there are more than one activity may delete."""

from __future__ import annotations

from collections import Counter

import pytest

from fleet.azure.owned_resources import KINDS, sample_evenly
from fleet.model.activities import ResourceKind, ResourceRef


def some(kind: ResourceKind, count: int) -> list[ResourceRef]:
    return [{"kind": kind, "name": f"{kind}-{at}"} for at in range(count)]


def test_each_kind_gets_its_share():
    found = [one for kind in KINDS for one in some(kind, 500)]
    assert Counter(one["kind"] for one in sample_evenly(found, 100)) == dict.fromkeys(KINDS, 25)


def test_unused_shares_are_given_to_other_kinds():
    found = [*some("assignment", 500), *some("nic", 3)]
    assert Counter(one["kind"] for one in sample_evenly(found, 100)) == {"assignment": 97, "nic": 3}


def test_vms_come_first():
    found = [*some("nic", 5), *some("machine", 5)]
    assert sample_evenly(found, 1)[0]["kind"] == "machine"


@pytest.mark.parametrize("count", [0, 7, 100])
def test_all_are_deleted_if_they_fit(count: int):
    found = some("disk", count)
    assert sorted(one["name"] for one in sample_evenly(found, 100)) == sorted(
        o["name"] for o in found
    )


def test_locked_resources_do_not_block_the_others():
    found, free = some("machine", 1000), "machine-999"
    drawn = [one["name"] for seed in range(60) for one in sample_evenly(found, 100, seed)]
    assert free in drawn


def test_each_list_is_sampled_independently():
    found = some("machine", 1000)
    assert sample_evenly(found, 100) != sample_evenly(found, 100)
