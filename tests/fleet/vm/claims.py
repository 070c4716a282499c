"""The SQL with which a VM takes its next trial, as its startup script prints it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import fleet.vm

_FRAGMENT = Path(fleet.vm.__file__).parent / "startup" / "60-claim.sh"


def claim_statement(
    experiment: int, runner: int, order: str, *, seed: int = 1, is_spot: bool = False
) -> str:
    values = {
        "EXPERIMENT_ID": experiment,
        "RUNNER_ID": runner,
        "TRIAL_ORDER": order,
        "TRIAL_SEED": seed,
        "IS_SPOT": str(is_spot).lower(),
        "IDS": f"'experiment_id = {experiment} AND runner_id = {runner}'",
        "registered": "true",
    }
    assignments = "".join(f"{name}={value}\n" for name, value in values.items())
    script = f"{assignments}{_FRAGMENT.read_text()}\nclaim_statement"
    printed = subprocess.run(["bash", "-uc", script], capture_output=True, check=True, text=True)
    return printed.stdout
