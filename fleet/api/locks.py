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
                    "ordinal": names.ordinal_of_runner(one.runner_id, order["batch_id"]),
                    "resolved_at": one.resolved_at and json_time(one.resolved_at),
                },
            )
            for one in found
        ],
        "problem": problem,
    }
