"""Errors of an experiment that no VM of a kind can avoid: the first VM that meets one ends the fleet.

A VM reports such an error by the exit code of its startup script (`fleet/vm/startup/10-process.sh`).
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet.model.failure import UNRECOGNISED_LIMIT, failure
from fleet.model.records import Action, ExperimentError, Failure

WRONG_CPU = 75
"""The exit code of a VM whose processor the request does not allow. Another VM may have another one."""
FOREVER = 10 * 365 * 86_400.0
"""Seconds; longer than any fleet lives."""
ENDED_FLEET = "ended the fleet, since every VM would fail"


@dataclass(frozen=True, slots=True)
class Kind:
    code: str
    action: Action
    advice: str
    scope: str = ""


EXIT_CODES = {
    78: Kind(
        "ExperimentInvalid",
        "fail_fleet",
        "Correct what the message names, then create and submit the experiment again.",
    ),
    69: Kind(
        "PackagesUnavailable",
        "move",
        "Correct pip_install, shell_install or the wheels, then create and submit the experiment again.",
        scope="architecture",
    ),
}
"""By exit code. 78: every VM would fail. 69: every VM whose CPU has this architecture would fail."""


def experiment_failure(vm: str, error: ExperimentError) -> Failure:
    """The failure of the VM with this name, in the VM's words: the step that failed, and why."""
    kind = EXIT_CODES[error["exit_code"]]
    text = f"{vm}: {error['message']}"
    reason = failure(kind.code, text, kind.action, kind.advice, limit=UNRECOGNISED_LIMIT)
    return {**reason, "scope": kind.scope, "cool_down": FOREVER}
