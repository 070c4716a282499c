"""Azure's rate limits: the size of each token bucket, and its refill rate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """A bucket of `bucket` tokens, refilled with `refill` tokens every `period` simulated seconds."""

    bucket: int
    refill: float
    period: float


def _compute(bucket: int) -> Rate:
    """Compute refills a third of the bucket each minute."""
    return Rate(bucket, bucket / 3, 60)


# reads, writes, deletes: learn.microsoft.com, "Understand how Azure Resource Manager throttles
# requests" (2026-04): per region, principal and kind. Compute's: azure-compute-docs,
# compute-throttling-limits.md (2024-05): per subscription and region, and per VM. Network's: "Azure
# Resource Manager request limits": per subscription and region.
RATES = {
    "reads": Rate(250, 25, 1),
    "writes": Rate(200, 10, 1),
    "deletes": Rate(200, 10, 1),
    "put_vm": _compute(1500),
    "put_vm_each": _compute(12),
    "update_vm": _compute(1500),
    "update_vm_each": _compute(12),
    "delete_vm": _compute(1500),
    "delete_vm_each": _compute(12),
    "low_cost_get": _compute(24000),
    "low_cost_get_each": _compute(36),
    "high_cost_get": _compute(900),
    "get_operation": _compute(15000),
    "get_operation_each": _compute(45),
    "network_reads": Rate(10_000, 10_000, 300),
    "network_writes": Rate(1000, 1000, 300),
}
"""`_each` is a bucket per VM or per operation."""

GLOBAL_FACTOR = 15
"""The size of a subscription's bucket, as a multiple of a single principal's."""
