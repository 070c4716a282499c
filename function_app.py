"""The app: one DFApp that registers every blueprint. No logic lives here."""

import azure.durable_functions as df

from activities import (
    cancels,
    ends,
    leftovers,
    logs,
    machines,
    network,
    permissions,
    plan,
    stock,
    trials,
)
from fleet import telemetry
from orchestrators import cancel, fleet, teardown, wave
from triggers import http, openapi, queue, timer, view

telemetry.start()
app = df.DFApp()

for room in (
    http,
    openapi,
    queue,
    timer,
    view,
    fleet,
    wave,
    teardown,
    cancel,
    plan,
    network,
    machines,
    permissions,
    trials,
    stock,
    leftovers,
    logs,
    cancels,
    ends,
):
    app.register_functions(room.bp)
