"""Scripts and trial functions for experiments in tests of the VM."""

from __future__ import annotations

from pathlib import Path

ONE_TRIAL_SCRIPT = Path(__file__).with_name("one_trial.py").read_text(encoding="utf-8")
"""A script with the contract of Powerlift's own runner."""

DONE = "raise SystemExit(0)"
"""A script without open trials."""

LOGS = "def trial(trial):\n    trial.log('n', trial.replicate_num)\n"
"""A trial that logs one measure."""
