"""Which VMs get their roles next."""

from __future__ import annotations

from orchestrators.role_assignment_order import due_for_roles
from tests.fleets import NOW, later, machine


def vm(ordinal: int, created: float, **changes: object):
    return machine(ordinal, created_at=later(created).isoformat(), **changes)


def ordinals(*vms, **options) -> list[int]:
    return [one["ordinal"] for one in due_for_roles(vms, later(60), **options)]


def test_vms_are_in_order_of_their_creation_times():
    assert ordinals(vm(0, 3), vm(1, 1), vm(2, 2)) == [1, 2, 0]


def test_vms_created_at_the_same_time_are_in_order_of_their_ordinals():
    assert ordinals(vm(1, 1), vm(0, 1)) == [0, 1]


def test_a_vm_waits_for_waves_that_may_return_one_created_before_it():
    """Those that had started when it was created."""
    assert ordinals(vm(0, 1), vm(1, 2), vm(2, 3), created_before=later(2)) == [0]


def test_a_vm_without_an_identity_is_not_due():
    assert ordinals(vm(0, 1, principal_id=None)) == []


def test_a_refused_role_is_due_at_its_next_try():
    assert ordinals(
        vm(0, 1, next_role_try=later(61).isoformat()), vm(1, 2, next_role_try=NOW.isoformat())
    ) == [1]
