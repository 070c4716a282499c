"""Names, IDs and tags: functions of (batch, ordinal) that meet Azure's rules."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import names

BATCHES = st.integers(min_value=0, max_value=2**64 - 1)
ORDINALS = st.integers(min_value=0, max_value=names.ORDINALS - 1)
SCOPE = "/subscriptions/s/resourceGroups/g"


@given(BATCHES, ORDINALS)
def test_a_machine_name_is_legal_for_linux_vms(batch: int, ordinal: int):
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,63}(?<!-)", names.vm(batch, ordinal))


@given(BATCHES, ORDINALS)
def test_the_ordinal_can_be_parsed(batch: int, ordinal: int):
    assert names.ordinal_of(names.vm(batch, ordinal).upper(), batch) == ordinal


def test_a_name_of_another_batch_has_no_ordinal():
    assert names.ordinal_of(names.vm(71, 1), 7) is None


NAMES = {
    "machine": names.vm,
    "nic": names.nic,
    "disk": lambda *key: names.os_disk(names.vm(*key)),
}


@given(st.sampled_from(sorted(NAMES)), BATCHES, ORDINALS)
def test_a_resource_is_traced_to_its_vm_by_its_name(kind: str, batch: int, ordinal: int):
    assert names.vm_key(kind, NAMES[kind](batch, ordinal)) == (batch, ordinal)


@given(st.permutations(sorted(NAMES)), BATCHES, ORDINALS)
def test_a_name_of_another_kind_is_not_matched(kinds: list[str], batch: int, ordinal: int):
    assert names.vm_key(kinds[0], NAMES[kinds[1]](batch, ordinal)) is None


@given(BATCHES)
def test_the_batch_can_be_parsed(batch: int):
    assert names.batch_of(names.instance_id(batch)) == batch


@pytest.mark.parametrize("other", ["fleet-7-wave-0", "fleet-7-teardown", "fleet-", "fleet-07", "7"])
def test_other_instances_are_not_fleets(other: str):
    assert names.batch_of(other) is None


@given(BATCHES, ORDINALS)
def test_a_runner_id_fits_powerlifts_column(batch: int, ordinal: int):
    assert 0 <= names.runner_id(batch, ordinal) < 2**31


def test_two_batches_share_no_runner_id():
    assert not {names.runner_id(1, n) for n in range(names.ORDINALS)} & {
        names.runner_id(2, n) for n in range(names.ORDINALS)
    }


def test_a_role_assignments_name_is_a_guid():
    name = names.role_assignment(SCOPE, "principal")
    assert str(uuid.UUID(name)) == name


def test_a_recreated_identity_has_a_different_role_assignment():
    assert names.role_assignment(SCOPE, "one") != names.role_assignment(SCOPE, "two")


def test_a_scope_is_the_same_in_any_case():
    assert names.role_assignment(SCOPE, "p") == names.role_assignment(SCOPE.upper(), "P")


def test_the_apps_tags_override_the_users():
    tags = names.tags(7, 1, "2026-01-01T00:00:00Z", "us", {names.BATCH_TAG: "8", "owner": "me"})
    assert (tags[names.BATCH_TAG], tags["owner"]) == ("7", "me")
