"""The app: one DFApp that registers every blueprint. No logic lives here."""

import azure.durable_functions as df

from activities import leftovers, machines, network, permissions, plan, trials
from orchestrators import fleet, teardown, wave
from triggers import http, queue

app = df.DFApp()

for room in (
    http,
    queue,
    fleet,
    wave,
    teardown,
    plan,
    network,
    machines,
    permissions,
    trials,
    leftovers,
):
    app.register_functions(room.bp)
