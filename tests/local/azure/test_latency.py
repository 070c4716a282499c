"""The latencies that benchmarks rely on."""

from __future__ import annotations

import statistics

import pytest

from local.azure.latency import Latencies

NAMES = [f"powerlift-vm-7-{n:04}" for n in range(500)]


def test_draws_depend_only_on_seed_kind_and_name() -> None:
    first, second = Latencies(7), Latencies(7)
    first.draw("vm.boot", "another")

    assert first.draw("vm.boot", "VM-1") == second.draw("vm.boot", "vm-1")


def test_seeds_differ() -> None:
    assert Latencies(1).draw("vm.boot", "vm") != Latencies(2).draw("vm.boot", "vm")


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("vnet.put", 0, 10),
        ("subnet.put", 0, 1),
        ("nic.put", 0, 1),
        ("vm.put", 3, 4),
        ("vm.boot", 30, 300),
        ("vm.delete", 20, 60),
        ("role.put", 1, 3),
        ("role.effective", 1, 60),
        ("identity.replication", 0, 30),
        ("read", 0, 0.5),
    ],
)
def test_draws_stay_in_the_recorded_range(kind: str, low: float, high: float) -> None:
    draws = [Latencies(0).draw(kind, name) for name in NAMES]

    assert low <= min(draws)
    assert max(draws) <= high


def test_boot_has_the_recorded_median() -> None:
    assert statistics.median(Latencies(0).draw("vm.boot", n) for n in NAMES) == pytest.approx(
        70, rel=0.05
    )


def test_few_identities_replicate_late() -> None:
    late = sum(Latencies(0).draw("identity.replication", name) > 0 for name in NAMES)

    assert 0.02 < late / len(NAMES) < 0.09


def test_unknown_kind() -> None:
    with pytest.raises(KeyError):
        Latencies(0).draw("vm.coffee", "vm")
