"""The resource group, the experiment and its trials, and the size of the startup script."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.preflight.finding import Finding, unseen
from fleet.preflight.inventory import Missing, Survey
from fleet.store.database import DatabaseUnreachable
from fleet.store.schema import BENCHMARK, SchemaTooNew


def resource_group(survey: Survey) -> Iterator[Finding]:
    group = survey.group
    if not isinstance(group, Missing):
        yield Finding("ok", f"{group['name']} stands, in {group['location']}")
    elif group.passing:
        yield unseen("The resource group", group)
    else:
        yield _fault(group)


def trials(survey: Survey) -> Iterator[Finding]:
    """Without trials the VMs would be made for nothing; so would more VMs than trials."""
    seen, experiment = survey.trials, survey.order["experiment_id"]
    if isinstance(seen, Missing):
        yield _unanswered(seen)
        return
    if seen is None:
        text = f"The database has no experiment {experiment}."
        advice = "Create the experiment and its trials first."
        yield Finding("fault", text, advice, "ExperimentNotFound")
        return
    left, asked = seen["ready"] + seen["running"], survey.order["n_instances"]
    told = f"{left} of {seen['total']} trials of experiment {experiment} are left"
    if left == 0:
        advice = "Add trials, or reset those to be run again."
        yield Finding("fault", told, advice, "NoTrialsLeft")
    elif survey.wanted < asked:
        instead = f"{told}: {survey.wanted} VMs are made, not {asked}"
        yield Finding("warning", instead, "Ask for no more VMs than trials are left.")
    else:
        yield Finding("ok", told)


def custom_data(survey: Survey) -> Iterator[Finding]:
    fault = survey.custom_data_fault
    if fault is None:
        yield Finding("ok", "The startup script fits into a VM's custom data")
    else:
        yield Finding("fault", fault, "Shorten the request's uri.", "CustomDataTooLarge")


def runner_ids(survey: Survey) -> Iterator[Finding]:
    """A runner takes the trials that bear its number, so no two VMs of an experiment may share one."""
    other = survey.neighbour
    if isinstance(other, Missing):
        yield unseen("Whether the runner ids are free", other)
    elif other is None:
        yield Finding("ok", "No other batch of the experiment has these runner ids")
    else:
        text = f"Batch {other} of the same experiment has the same runner ids."
        yield Finding("fault", text, "Submit under another batch_id.", "RunnerIdsTaken")


def schema(survey: Survey) -> Iterator[Finding]:
    """What a newer build of the app has migrated, this one must not write to."""
    seen = survey.schema
    if not isinstance(seen, Missing):
        text = f"The app's tables have version {seen}; this build uses {BENCHMARK.latest}"
        yield Finding("ok", text)
    elif isinstance(seen.error, SchemaTooNew):
        yield _fault(seen)
    else:
        yield unseen("The version of the app's tables", seen)


def _unanswered(missing: Missing) -> Finding:
    if isinstance(missing.error, DatabaseUnreachable):
        return _fault(missing)
    return unseen("The experiment", missing)


def _fault(missing: Missing) -> Finding:
    reason = missing.failure
    return Finding("fault", reason["message"], reason["advice"], reason["code"])
