"""The plan: resolve what the request left open, and reject what cannot work."""

from __future__ import annotations

import azure.durable_functions as df
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from activities import fleet_table
from activities.results import raises_transient
from fleet import telemetry
from fleet.azure.credentials import open_connections
from fleet.azure.virtual_machines import database_identity
from fleet.model.activities import FleetPlanned, PlanCheck, PlanFleet
from fleet.model.order_parts import part_of
from fleet.model.records import Order
from fleet.preflight.plan import Plan, make_plan
from fleet.settings import Settings
from fleet.store import budget as budgets
from fleet.store import package_locks, schema, trials
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import ACTIVITIES

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@raises_transient
async def plan_fleet(task: PlanFleet) -> FleetPlanned:
    """Plan a fleet. If there is no fault, create the app's tables in the request's database."""
    order = task["order"]
    connection, uri = open_connections(order)
    plan = await make_plan(connection, uri, order)
    if not plan["faults"]:
        await _reserve(order, plan)
        await ACTIVITIES.run(schema.migrate, uri, schema.BENCHMARK)
        identity = database_identity(order, uri)
        await ACTIVITIES.run(schema.grant, uri, identity["database_user"] if identity else "")
        if lock := order.get("requirements_lock"):
            own = Settings.read().database_uri
            await ACTIVITIES.run(package_locks.provide, own, uri, order, lock["digest"])
        name = await ACTIVITIES.run(trials.experiment_name, uri, order["experiment_id"])
        await fleet_table.update(order, {"experiment_name": name, "trials": plan["trials"]})
    _log(plan)
    resolved = plan["resolved"]
    key = resolved["ssh_public_key"] or _public_key()
    return {
        "ok": True,
        "resolved": {**resolved, "ssh_public_key": key},
        "trials": plan["trials"],
        "checks": [part_of(one, PlanCheck) for one in plan["checks"] if one["status"] != "ok"],
        "faults": plan["faults"],
    }


async def _reserve(order: Order, plan: Plan) -> None:
    """Reserve what the fleet may cost. With a budget, raises BudgetExceeded, NotReserved,
    DatabaseUnreachable."""
    settings, cost = Settings.read(), plan["cost"]
    budget = settings.policy.budget
    at_most = cost and cost["at_most"]
    task = (settings.database_uri, order["owner"], order["batch_id"], at_most, budget)
    try:
        await ACTIVITIES.run(budgets.reserve, *task)
    except DatabaseUnreachable:
        if budget is not None:
            raise


def _log(plan: Plan) -> None:
    log = telemetry.LOG
    for check in plan["checks"]:
        if check["status"] in ("warning", "unknown"):
            values = check["name"], check["detail"]
            log.warning("Plan warning: %s: %s", *values, extra={"event": "plan.warning"})
    for fault in plan["faults"]:
        extra = {"event": "plan.fault", "code": fault["code"]}
        log.warning("Plan fault: %s: %s", fault["code"], fault["message"], extra=extra)
    if not plan["faults"]:
        resolved = plan["resolved"]["n_instances"], plan["resolved"]["location"]
        log.info("Planned %d VMs in %s", *resolved, extra={"event": "fleet.planned"})


def _public_key() -> str:
    """A key whose private half is discarded: Azure requires one, and logging in is not supported unless
    the request sets `ssh_public_key`. Every Azure image accepts RSA 2048.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    encoded = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return encoded.decode()
