"""The durable mark that a fleet was cancelled: an instance that completes at once.

An event alone may be lost: one raised during `continue_as_new` is delivered to the old history. The mark
persists, and each new history checks it.
"""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

from orchestrators.patterns import Context, Orchestration

bp = df.Blueprint()


@bp.orchestration_trigger(context_name="context")
def mark_cancelled(context: Context) -> Orchestration[Any]:
    yield from ()
    return context.get_input()
