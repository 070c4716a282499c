"""Fleets that began on an earlier release continue on this code: their recorded histories replay.

Also the rules of docs/releasing.md: which changes break a running fleet, and which do not.
"""

from __future__ import annotations

import functools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from fleet.model.custom_status import custom_status
from local.stack import REPOSITORY
from orchestrators import create, fleet, patterns, pipeline, run, snapshot
from tests.histories.changes import calls, change
from tests.histories.releases import VERSIONS
from tests.recorded.episodes import Episode, episodes
from tests.registered import FUNCTIONS
from tools.release import current

ORCHESTRATORS = {one.get_function_name(): one.get_user_function() for one in FUNCTIONS}

ADVICE = """
A fleet that began on {version} would fail on this code, or do what its history does not say. Keep the
old code for it, branch on `context.version`, and raise `defaultVersion` in host.json: see
docs/releasing.md. Only if {version} was never deployed: `make record-histories`.
"""


def test_the_current_version_is_recorded() -> None:
    assert current() in VERSIONS, "run `make record-histories`, as part of the release"


@functools.cache
def recorded(version: str) -> tuple[Episode, ...]:
    return tuple(episodes(f"../histories/{version}/episodes.jsonl.gz"))


@pytest.fixture(autouse=True)
def _each_time_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["azure.durable_functions.models.history.HistoryEvent"]
    monkeypatch.setattr(module, "dt_parse", functools.cache(module.dt_parse))


def changes(version: str) -> Iterator[str]:
    """A line for each episode that differs."""
    for episode in recorded(version):
        if (what := _change(episode)) is not None:
            yield f"{episode}: {what}"


def _change(episode: Episode) -> str | None:
    try:
        return change(episode.output, ORCHESTRATORS[episode.function](episode.input))
    except Exception as error:  # often the result of another call; the actions tell which
        text, _, state = str(error).partition("\n\n$OutOfProcData$:")
        cause = state and change(episode.output, state)
        return cause or f"raised {type(error).__name__}: {text:.300}"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_recorded_execution_replays(version: str) -> None:
    found = list(changes(version))
    assert not found, "\n".join([*found, ADVICE.format(version=version)])


LATER = ("client_principal_id", "client_principal_type", "image", "prices")
"""What plans of earlier builds did not return."""


def with_plan_of_an_earlier_build(episode: Episode) -> str:
    """The episode's input."""
    context = json.loads(episode.input)
    for event in context["history"]:
        result = json.loads(event.get("Result") or "null")
        if isinstance(result, dict) and "resolved" in result:
            for name in LATER:
                del result["resolved"][name]
            event["Result"] = json.dumps(result)
    return json.dumps(context)


def test_a_plan_of_an_earlier_build_is_accepted() -> None:
    fleets = [one for one in recorded(VERSIONS[-1]) if one.function == "run_fleet"]
    edited = {one: with_plan_of_an_earlier_build(one) for one in fleets}
    planned = [one for one, text in edited.items() if json.loads(text) != json.loads(one.input)]
    assert planned
    for one in planned:
        output = ORCHESTRATORS["run_fleet"](edited[one])
        assert calls(json.loads(output)["actions"]) == calls(json.loads(one.output)["actions"])


def phases(version: str) -> list[Any]:
    """The phases that fleets were in at the end of a history."""
    outputs = [json.loads(one.output) for one in recorded(version) if one.function == "run_fleet"]
    return [output["customStatus"]["phase"] for output in outputs]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recorded_fleets_have_every_end(version: str) -> None:
    assert {"provisioned", "run", "done", "failed", "cancelled"} <= set(phases(version))


def most_at_once(episode: Episode) -> int:
    """The largest number of children that create VMs at the same time.

    Events 7 and 8 are SubOrchestrationInstanceCreated and …Completed.
    """
    running, most = set(), 0
    for event in episode.context["history"]:
        if event["EventType"] == 7 and event["Name"] == "create_wave":
            running.add(event["EventId"])
        elif event["EventType"] == 8:
            running.discard(event["TaskScheduledId"])
        most = max(most, len(running))
    return most


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_waves_overlap(version: str) -> None:
    assert max(most_at_once(one) for one in recorded(version)) >= 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "what", ["SpotEvicted", "OSProvisioningTimedOut", "SkuNotAvailable", "QuotaTooSmall"]
)
def test_the_recorded_fleets_have_failures(version: str, what: str) -> None:
    assert any(f'\\"code\\": \\"{what}\\"' in json.dumps(one.output) for one in recorded(version))


@pytest.mark.parametrize("version", VERSIONS)
def test_no_ciphertext_and_no_path_of_the_machine_is_recorded(version: str) -> None:
    texts = [one.input + one.output for one in recorded(version)]
    found = Counter(
        sign for text in texts for sign in ("gAAAA", str(REPOSITORY), "/tmp/") if sign in text
    )
    assert found == {}


# What the page says needs a new version, and what does not. The patches stand for changes of the code.


def one_more_wait(context: Any, *arguments: Any) -> Any:
    yield from patterns.sleep(context, 2)
    return (yield from run.run(context, *arguments))


def one_more_wait_for_new_fleets(context: Any, *arguments: Any) -> Any:
    if context.version == "1.0":
        return (yield from run.run(context, *arguments))
    return (yield from one_more_wait(context, *arguments))


def with_task(edit: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    make = snapshot._task

    def edited(*arguments: Any, **options: Any) -> Any:
        task = dict(make(*arguments, **options))
        edit(task)
        return task

    return edited


def other_message(state: Any) -> Mapping[str, object]:
    return {**TOO_FEW_VMS(state), "message": "None has started.", "advice": "Look at the log."}


def other_status(state: Any) -> Mapping[str, object]:
    return {**custom_status(state), "phase": "?"}


TOO_FEW_VMS = create.too_few_vms
BREAKING = {
    "a call more": (fleet, "run", one_more_wait),
    "a limit": (run, "POLLS", 3),
    "another limit": (pipeline, "CREATING_AT_ONCE", 1),
    "the length of a wait": (patterns, "TIMER_ERROR", timedelta(seconds=2)),
    "a decision": (run, "check_deadline", lambda *_: None),
    "a member less in a task": (snapshot, "_task", with_task(lambda task: task.pop("phase"))),
}
HARMLESS = {
    "a branch on the version": (fleet, "run", one_more_wait_for_new_fleets),
    "a member more in a task": (snapshot, "_task", with_task(lambda task: task.update(more=1))),
    "a message": (create, "too_few_vms", other_message),
    "the custom status": (patterns, "custom_status", other_status),
}


@pytest.mark.parametrize("patch", BREAKING.values(), ids=BREAKING.keys())
def test_a_change_that_breaks_running_fleets_is_found(
    monkeypatch: pytest.MonkeyPatch, patch: tuple[Any, str, Any]
) -> None:
    monkeypatch.setattr(*patch)
    assert next(changes(VERSIONS[-1]), None) is not None


@pytest.mark.parametrize("patch", HARMLESS.values(), ids=HARMLESS.keys())
def test_a_change_that_running_fleets_survive_is_no_finding(
    monkeypatch: pytest.MonkeyPatch, patch: tuple[Any, str, Any]
) -> None:
    monkeypatch.setattr(*patch)
    assert list(changes(VERSIONS[-1])) == []
