"""Whether a VM that stopped responding was taken down by the trial that it ran.

Such a trial would take down every VM. A VM that Azure evicts or that loses its network shows none of
these signs, and its trial is run again.
"""

from __future__ import annotations

import re

AVAILABLE = 0.05
"""Share of the memory. With less at its last heartbeat, a VM that hangs has run out of memory: Linux
then drops program code from memory and reads it from the disk again, for hours."""

# Our runner and the startup script print these when a trial has ended: earlier lines concern others.
# cloud-init may add a prefix of its own.
_ENDED = re.compile(
    r"^(?:\[[^]\n]*\] cloud-init\[\d+\]: )?(?:trial \d+ |powerlift \d{4}-)", re.MULTILINE
)
_TIME = r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? "
_SIGNS = (
    (re.compile(_TIME + r"(Kernel panic - not syncing[^\n]*)", re.MULTILINE), "its kernel stopped"),
    (
        re.compile(_TIME + r"(Out of memory: Killed process \d+ \([^)\n]*\))", re.MULTILINE),
        "it ran out of memory",
    ),
)
_LONGEST = 200
"""Characters that are quoted of a line."""


def sign_of_trial(console: str | None, available: int | None, memory: int | None) -> str | None:
    """How the trial took its VM down, as the end of a sentence; None if nothing shows that it did.

    `console`: the VM's console log. `available`: bytes of memory at its last heartbeat, of `memory`.
    """
    text = console or ""
    start = max((found.end() for found in _ENDED.finditer(text)), default=0)
    for pattern, sign in _SIGNS:
        if found := pattern.search(text, start):
            return f"{sign} (console: {found[1][:_LONGEST].strip()})"
    if available is not None and memory and available < AVAILABLE * memory:
        return (
            f"at its last heartbeat, {_gib(available)} of {_gib(memory)} of memory were available"
        )
    return None


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
