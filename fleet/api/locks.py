"""A fleet's locks of packages as a response."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from fleet.api.responses.common import json_time
from fleet.api.responses.locks import PackageLock, PackageLocks
from fleet.model import names
from fleet.model.order_parts import FleetRef
from fleet.model.requirements_lock import without_credentials
from fleet.store import package_locks


def shown(
    order: FleetRef, found: Iterable[package_locks.PackageLock], problem: str | None = None
) -> PackageLocks:
    """The response of `GET /fleets/{id}/lock`. `problem` says why nothing was found."""
    first = names.runner_id(order["batch_id"], 0)
    return {
        "id": names.instance_id(order["batch_id"]),
        "locks": [
            cast(
                PackageLock,
                {
                    "architecture": one.architecture,
                    "digest": one.digest,
                    "requirements": without_credentials(one.requirements),
                    "python": one.python,
                    "ordinal": _ordinal(one.runner_id, first),
                    "resolved_at": one.resolved_at and json_time(one.resolved_at),
                },
            )
            for one in found
        ],
        "problem": problem,
    }


def _ordinal(runner_id: int | None, first: int) -> int | None:
    """None for a runner that is no VM of the fleet, since a VM wrote the row."""
    ordinal = -1 if runner_id is None else runner_id - first
    return ordinal if 0 <= ordinal < names.ORDINALS else None
