"""The app: one DFApp that registers every blueprint; no logic."""

import azure.durable_functions as df

from activities import (
    cancellation,
    completion,
    logs,
    network,
    owned_resources,
    plan,
    role_assignments,
    snapshot,
    trials,
    vms,
    write_budget,
)
from fleet import telemetry
from orchestrators import cancel, fleet, teardown, wave
from triggers import purge, queue, webhooks
from triggers.http import fleets, health, openapi, view
from triggers.sweep import timer as sweep

telemetry.start()
app = df.DFApp()

for module in (
    fleets,
    health,
    openapi,
    queue,
    sweep,
    purge,
    webhooks,
    view,
    fleet,
    wave,
    teardown,
    cancel,
    plan,
    network,
    vms,
    role_assignments,
    write_budget,
    trials,
    snapshot,
    owned_resources,
    logs,
    cancellation,
    completion,
):
    app.register_functions(module.bp)
