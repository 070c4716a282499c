"""The app of the recorded orchestrators, as the worker indexes it."""

import azure.durable_functions as df

from tests.recorded.frozen import activities
from tests.recorded.frozen.orchestrators import cancel, fleet, teardown, wave

app = df.DFApp()
for room in (activities, cancel, fleet, teardown, wave):
    app.register_functions(room.bp)
