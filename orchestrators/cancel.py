"""The mark that a fleet was cancelled: an instance that ends as soon as it has begun.

An event alone could be lost: one that comes while a fleet goes on in a new history (`continue_as_new`)
is given to the wait of the old one. The mark stays, and each new history asks for it.
"""

from __future__ import annotations

import azure.durable_functions as df

from orchestrators.patterns import Context, Orchestration

bp = df.Blueprint()


@bp.orchestration_trigger(context_name="context")
def mark_cancelled(context: Context) -> Orchestration:
    """`{batch_id}` -> the same."""
    yield from ()
    return context.get_input()
