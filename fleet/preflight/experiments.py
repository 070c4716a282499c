"""Checks of what the experiment's VMs install and run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from fleet.preflight.check_result import CheckResult, unreadable
from fleet.preflight.plan_inputs import PlanInputs, Unavailable
from fleet.store.trials import Experiment
from fleet.vm.render import pinned_version

_POWERLIFT = re.compile(r"(?<![\w-])powerlift(?![\w-])", re.IGNORECASE)
_WHEEL = re.compile(r"powerlift-([^-]+)-", re.IGNORECASE)


def timeout(inputs: PlanInputs) -> Iterator[CheckResult]:
    """The deadline ends the fleet, and with it a trial whose own limit is later."""
    each, whole = inputs.order["timeout"], inputs.order["max_lifetime"]
    if each is None or each <= whole:
        yield CheckResult("ok", "The timeout of a trial is within max_lifetime")
    else:
        text = f"timeout ({each:g} s) exceeds max_lifetime ({whole:g} s), which ends a trial first"
        yield CheckResult("warning", text, "Increase max_lifetime, or reduce timeout.")


def powerlift(inputs: PlanInputs) -> Iterator[CheckResult]:
    """VMs and author need the same Powerlift: versions pass trials other types of data."""
    author, experiment = inputs.order.get("powerlift_version"), inputs.experiment
    if author is None:
        yield CheckResult("ok", "The request does not say which Powerlift its author has")
    elif isinstance(experiment, Unavailable):
        yield unreadable("The experiment's packages", experiment)
    elif experiment is None:  # the check of the trials reports it
        yield CheckResult("ok", f"The author has Powerlift {author}")
    else:
        yield _compare(author, _version_on_vms(experiment))


def requirements_lock(inputs: PlanInputs) -> Iterator[CheckResult]:
    """A lock lists all packages of the VMs, so it must have those that run trials."""
    lock = inputs.order.get("requirements_lock")
    if lock is None:
        yield CheckResult("ok", "The first VM resolves the packages for all")
    elif missing := lock["missing_tools"]:
        text = f"requirements_lock lacks {', '.join(missing)}, without which VMs run no trials"
        advice = "Start from the output of powerlift-fleet lock: docs/comparing.md."
        yield CheckResult("fault", text, advice, "LockIncomplete")
    else:
        yield CheckResult("ok", f"All VMs install requirements_lock {lock['digest'][:12]}")


def measures(inputs: PlanInputs) -> Iterator[CheckResult]:
    """Only our own runner measures trials."""
    experiment = inputs.experiment
    if isinstance(experiment, Unavailable):
        yield unreadable("The experiment's script", experiment)
    elif experiment and not experiment["measures_trials"]:
        text = (
            "The experiment's script is not the one of run_experiment: CPU time, memory and steal time "
            "of its trials will not be known, only when they began and ended"
        )
        yield CheckResult("ok", text)
    else:
        yield CheckResult("ok", "The script measures CPU time and memory of the trials")


def _compare(author: str, on_vms: str | None) -> CheckResult:
    if on_vms is None:
        return CheckResult("ok", f"The author has Powerlift {author}; pip_install names the VMs'")
    if author.lower() == on_vms.lower():
        return CheckResult("ok", f"Author and VMs have Powerlift {author}")
    text = f"The author has Powerlift {author}, but VMs install {on_vms}"
    advice = "Add the author's wheel to wheel_filepaths, or name its version or URL in pip_install."
    return CheckResult("warning", text, advice)


def _version_on_vms(experiment: Experiment) -> str | None:
    """From the wheel, else the pin in pip_install, else the app's lock; None if pip_install decides."""
    for wheel in experiment["wheels"]:
        if found := _WHEEL.match(wheel.rpartition("/")[2]):
            return found[1]
    try:
        words = shlex.split(experiment["pip_install"])
    except ValueError:  # an unclosed quote: VMs report it
        return None
    named = [word for word in words if _POWERLIFT.search(word)]
    if not named:
        return pinned_version("powerlift")
    pin = re.fullmatch(r"powerlift\s*==\s*([^\s;,]+)", named[0], re.IGNORECASE)
    return pin[1] if pin else None
