"""Checks of the resource group, the trials, other fleets, the custom data, the runner IDs, the batch ID
and the database schema.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleet.azure.network_interfaces import ForeignNic
from fleet.preflight.check_result import CheckResult, unreadable
from fleet.preflight.plan_inputs import PlanInputs, Unavailable
from fleet.store.schema import BENCHMARK, SchemaTooNew


def resource_group(inputs: PlanInputs) -> Iterator[CheckResult]:
    group = inputs.group
    if not isinstance(group, Unavailable):
        yield CheckResult("ok", f"Resource group {group['name']} exists in {group['location']}")
    else:
        yield _essential("The resource group", group)


def trials(inputs: PlanInputs) -> Iterator[CheckResult]:
    """VMs without an unfinished trial to run would only cost money."""
    seen, experiment = inputs.trials, inputs.order["experiment_id"]
    if isinstance(seen, Unavailable):
        yield _essential("The experiment", seen)
        return
    if seen is None:
        text = f"Experiment {experiment} does not exist in the database."
        advice = "Create the experiment and its trials first."
        yield CheckResult("fault", text, advice, "ExperimentNotFound")
        return
    remaining, asked = seen["ready"] + seen["running"], inputs.order["n_instances"]
    detail = f"{remaining} of {seen['total']} trials of experiment {experiment} are unfinished"
    if remaining == 0:
        advice = "Add trials, or reset finished trials to run them again."
        yield CheckResult("fault", detail, advice, "NoTrialsLeft")
    elif inputs.wanted < asked:
        capped = f"{detail}: the fleet has {inputs.wanted} VMs instead of {asked}"
        yield CheckResult("warning", capped, "Request at most one VM per unfinished trial.")
    else:
        yield CheckResult("ok", detail)


_SHOWN_FLEETS = 5
_SHARED = "The fleets share its trials. If you did not want that, cancel one and watch the other."


def other_fleets(inputs: PlanInputs) -> Iterator[CheckResult]:
    """An experiment may have several fleets. Often, the second one is an accident."""
    found, experiment = inputs.other_fleets, inputs.order["experiment_id"]
    if isinstance(found, Unavailable):
        yield unreadable("The app's fleets", found)
    elif not found:
        yield CheckResult("ok", f"No other fleet runs experiment {experiment}")
    else:
        shown = [*found[:_SHOWN_FLEETS], *(["…"] if len(found) > _SHOWN_FLEETS else [])]
        text = f"{len(found)} fleets already run experiment {experiment}: {', '.join(shown)}"
        if len(found) == 1:
            text = f"{found[0]} already runs experiment {experiment}"
        yield CheckResult("warning", text, _SHARED)


_SHORTEN = "Use a shorter uri, fewer cpu_models, or fewer certificates in FLEET_DB_ROOT_CERT."


def custom_data(inputs: PlanInputs) -> Iterator[CheckResult]:
    fault = inputs.custom_data_fault
    if fault is None:
        yield CheckResult("ok", "The startup script fits into the VM's custom data")
    else:
        yield CheckResult("fault", fault, _SHORTEN, "CustomDataTooLarge")


def runner_ids(inputs: PlanInputs) -> Iterator[CheckResult]:
    """A runner claims trials by its ID, so no two VMs of an experiment may share one."""
    other = inputs.conflicting_batch
    if isinstance(other, Unavailable):
        yield unreadable("The runner IDs in use", other)
    elif other is None:
        yield CheckResult("ok", "No other batch of the experiment uses these runner IDs")
    else:
        text = f"Batch {other} of the same experiment uses the same runner IDs."
        yield CheckResult("fault", text, "Submit with a different batch_id.", "RunnerIdsTaken")


def batch_id(inputs: PlanInputs) -> Iterator[CheckResult]:
    """Names contain the batch ID, so another deployment's VMs in the group may have the same names."""
    found = inputs.foreign_nics
    if isinstance(found, Unavailable):
        yield unreadable("The resource group's network interfaces", found)
    elif found:
        text = (
            f"Another deployment uses batch_id {inputs.order['batch_id']} in this resource group: "
            f"{len(found)} of the names are taken, among them {found[0]}."
        )
        yield CheckResult("fault", text, ForeignNic.advice, ForeignNic.code)
    else:
        yield CheckResult("ok", "No other deployment uses the batch_id in this resource group")


def schema(inputs: PlanInputs) -> Iterator[CheckResult]:
    """The app must not write to tables that a newer build has migrated."""
    seen = inputs.schema
    if not isinstance(seen, Unavailable):
        text = f"The database schema has version {seen}; this build uses {BENCHMARK.latest}"
        yield CheckResult("ok", text)
    elif isinstance(seen.error, SchemaTooNew):
        yield _fault(seen)
    else:
        yield unreadable("The database schema version", seen)


def _essential(what: str, missing: Unavailable) -> CheckResult:
    """The result if the fleet cannot start without what could not be read."""
    return unreadable(what, missing) if missing.passing else _fault(missing)


def _fault(missing: Unavailable) -> CheckResult:
    reason = missing.failure
    return CheckResult("fault", reason["message"], reason["advice"], reason["code"])
