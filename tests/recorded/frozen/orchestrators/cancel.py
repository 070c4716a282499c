from __future__ import annotations
import azure.durable_functions as df
from tests.recorded.frozen.orchestrators.patterns import Context, Steps
bp = df.Blueprint()

@bp.orchestration_trigger(context_name='context')
def mark_cancelled(context: Context) -> Steps:
    yield from ()
    return context.get_input()
