"""Phase 1: resolve what the request left open, and refuse now what cannot work."""

from __future__ import annotations

import asyncio

import azure.durable_functions as df
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from activities.results import Json, opened, raises_transient
from fleet import telemetry
from fleet.model.records import Order
from fleet.preflight.plan import Plan, make_plan
from fleet.store import schema

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@raises_transient
async def plan_fleet(task: Json) -> Json:
    """`{order}` -> `{resolved, trials, checks, faults}`: `fleet.preflight.plan.Plan` without the checks
    that are ok, since a durable history keeps it all. Creates nothing but our tables in the database,
    for a plan without faults.

    `resolved` also holds `ssh_public_key`.
    """
    order: Order = task["order"]
    connection, uri = opened(order)
    plan = await make_plan(connection, uri, order)
    if not plan["faults"]:
        await asyncio.to_thread(schema.migrate, uri)
    _tell(plan)
    key = order["ssh_public_key"] or _public_key()
    return {
        **plan,
        "resolved": {**plan["resolved"], "ssh_public_key": key},
        "checks": [check for check in plan["checks"] if check["status"] != "ok"],
    }


def _tell(plan: Plan) -> None:
    for check in plan["checks"]:
        if check["status"] in ("warning", "unknown"):
            told = (check["name"], check["detail"])
            telemetry.LOG.warning("The plan warns: %s: %s", *told, extra={"event": "plan.warning"})
    for fault in plan["faults"]:
        told = (fault["code"], fault["message"])
        extra = {"event": "plan.fault", "code": fault["code"]}
        telemetry.LOG.warning("The plan refuses the fleet: %s: %s", *told, extra=extra)
    if not plan["faults"]:
        resolved = plan["resolved"]
        text = "The plan has no faults: %d VMs in %s"
        told_ = (resolved["n_instances"], resolved["location"])
        telemetry.LOG.info(text, *told_, extra={"event": "fleet.planned"})


def _public_key() -> str:
    """A key whose private half is thrown away: Azure wants one, and nobody needs to log in.

    Whoever does gives `ssh_public_key`. RSA 2048: the least that every Azure image takes.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    encoded = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return encoded.decode()
