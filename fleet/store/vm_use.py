"""What VMs used while they ran trials, as they report it at their end."""

from __future__ import annotations

from fleet.model import names
from fleet.model.order_parts import FleetRef
from fleet.model.right_sizing import VmUse
from fleet.store.database import brief_transaction, may_read, rows


def read(uri: str, order: FleetRef) -> dict[int, VmUse]:
    """What a fleet's VMs used, by ordinal, without those that reported nothing.

    Raises DatabaseUnreachable.
    """
    first = names.runner_id(order["batch_id"], 0)
    values = {
        "experiment": order["experiment_id"],
        "first": first,
        "last": first + names.ORDINALS - 1,
        "began": order.get("created_at"),
    }
    with brief_transaction(uri) as cursor:
        if not may_read(cursor, "powerlift_fleet_runner"):
            return {}
        if not rows(cursor, _HAS_COLUMNS)[0][0]:
            return {}  # of an earlier build, and the role may not migrate it
        found = rows(cursor, _USED, values)
    return {runner - first: VmUse(*used) for runner, *used in found}


_HAS_COLUMNS = """
    SELECT count(*) = 2 FROM pg_attribute
    WHERE attrelid = to_regclass('powerlift_fleet_runner')
      AND attname IN ('used_vcpus', 'used_memory_bytes') AND NOT attisdropped
"""
# Rows of an earlier fleet with the same runner IDs are older. Any VM may write them: impossible values
# count as none.
_USED = """
    SELECT runner_id, cpus, memory_bytes, used_vcpus, used_memory_bytes FROM powerlift_fleet_runner
    WHERE experiment_id = %(experiment)s AND runner_id BETWEEN %(first)s AND %(last)s
      AND (%(began)s::timestamptz IS NULL OR started_at > %(began)s::timestamptz)
      AND cpus > 0 AND memory_bytes > 0 AND used_vcpus BETWEEN 0 AND cpus
      AND used_memory_bytes BETWEEN 1 AND memory_bytes
"""
