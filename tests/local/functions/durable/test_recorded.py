"""The host behaves like the recordings of the Durable extension, towards the SDK and clients.

`apps/recorded` replays the recorded fleet. The requests of `client.jsonl` are made in the same states
as in the recording.
"""

from __future__ import annotations

import functools
import json
import re
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from dateutil.parser import parse as dt_parse

from local.functions.durable.history import EventType
from tests.recorded.episodes import calls, episodes
from tests.recorded.shapes import shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.local.functions.conftest import Host, Response

WEBHOOKS = "/runtime/webhooks/durabletask"
Context = dict[str, Any]
RECORDED = [episode.context for episode in episodes()]
VARIES = ("input", "instanceId", "parentInstanceId")
SAME = ("name", "id", "instanceId", "runtimeStatus", "Message", "instancesDeleted")


@functools.cache
def recorded_shapes() -> dict[str, set[str]]:
    return shapes(RECORDED)


def shapes(contexts: list[Context]) -> dict[str, set[str]]:
    """Every shape as JSON, by event type, and for the context around the events.

    Distinguishes events of the current episode from earlier ones.
    """
    found = defaultdict(set)
    for context in contexts:
        left = types(context).count("OrchestratorStarted")
        around = {k: shape(v) if k in VARIES else v for k, v in context.items() if k != "history"}
        found["context"].add(json.dumps(around | {"first": left == 1}, sort_keys=True))
        for event in context["history"]:
            left -= event["EventType"] == EventType.ORCHESTRATOR_STARTED
            seen = {**shape(event), "new": left == 0}
            found[name_of(event)].add(json.dumps(seen, sort_keys=True))
    return found


def types(context: Context, mark: str = "") -> list[str]:
    """The names of a history's events, with `mark` appended to played ones."""
    return [name_of(event) + mark * event["IsPlayed"] for event in context["history"]]


def name_of(event: dict[str, Any]) -> str:
    return EventType(event["EventType"]).name.title().replace("_", "")


def histories(contexts: list[Context], instance_id: str) -> list[list[str]]:
    """The last history of each execution of an instance; played events have a `*`."""
    last = {
        event["OrchestrationInstance"]["ExecutionId"]: types(context, "*")
        for context in contexts
        if context["instanceId"] == instance_id
        for event in context["history"]
        if event["EventType"] == EventType.EXECUTION_STARTED
    }
    return list(last.values())


def body(answer: Any) -> Any:
    """A response body, reduced to shapes where it differs between fleets."""
    if isinstance(answer, list):
        return [body(one) for one in answer]
    if not isinstance(answer, dict):
        return answer
    seen = {k: plain(v) if k in SAME or k.endswith("Uri") else shape(v) for k, v in answer.items()}
    if "historyEvents" in answer:
        seen["historyEvents"] = {e["EventType"]: shape(e) for e in answer["historyEvents"]}
    return seen


def plain(value: Any) -> Any:
    """Remove what differs between hosts: address, prefix and key."""
    text = re.sub(r"http://[^/]+(/runtime/webhooks)?/durabletask", "", json.dumps(value))
    return json.loads(re.sub(r"code=[^&\"]+", "code=", text))


class Story:
    """The recorded fleet, on this host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.responses: dict[str, Response] = {}
        self._before = {
            "right after the start": lambda: self._start("run_fleet", "fleet-1"),
            "running": lambda: self._reach("create", "started"),
            "running, no input": lambda: self._reach("watch", "created"),
            "ended": self._cancel,
        }

    def play(self) -> None:
        for call in calls():
            self._before.get(call["note"], lambda: None)()
            self.responses[call["note"]] = self.call(call["method"], call["path"], call["body"])
            if call["note"] == "ended":
                self.contexts = self._contexts()

    def call(self, method: str, path: str, body: Any = None) -> Response:
        headers = {"x-functions-key": self.host.keys["master"], "Content-Type": "application/json"}
        return self.host.call(method, WEBHOOKS + path, body, headers)

    def _contexts(self) -> list[Context]:
        """The contexts passed to the SDK so far."""
        lines = (self.host.journals / "episodes").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def _start(self, name: str, instance_id: str) -> None:
        input_text = json.dumps(
            {"batch_id": 1}
        )  # JSON in a JSON string, as the SDK's client sends it
        assert self.call("POST", f"/orchestrators/{name}/{instance_id}", input_text).status == 202

    def _reach(self, phase: str, gate: str) -> None:
        (self.host.journals / gate).touch()
        self._until(lambda status: (status["customStatus"] or {}).get("phase") == phase)

    def _cancel(self) -> None:
        (self.host.journals / "watched").touch()
        self._start("mark_cancelled", "cancel-1")
        seen = len(self._contexts())
        # Right after a timer, so that the event and the next one are in separate episodes.
        self.host.until(lambda: len(self._contexts()), lambda count: count > seen + 1)
        assert self.call("POST", "/instances/fleet-1/raiseEvent/cancel", "{}").status == 202
        self._until(lambda status: status["runtimeStatus"] == "Completed")

    def _until(self, good: Callable[[Any], bool]) -> None:
        self.host.until(lambda: self.call("GET", "/instances/fleet-1").json, good, 30)


@pytest.fixture(scope="module")
def story(make_host: Any) -> Iterator[Story]:
    with make_host("recorded") as host:
        story = Story(host)
        story.play()
        yield story


# -- contexts --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["context", *sorted({e for c in RECORDED for e in types(c)})])
def test_contexts_have_the_recorded_shape(story: Story, kind: str) -> None:
    assert shapes(story.contexts)[kind] == recorded_shapes()[kind]


def test_a_fan_out_has_the_recorded_history(story: Story) -> None:
    assert histories(story.contexts, "wave-1-2") == histories(RECORDED, "wave-1-2")


def test_an_orchestration_has_the_recorded_history(story: Story) -> None:
    played = histories(story.contexts, "fleet-1")[0][:-1]

    assert played == histories(RECORDED, "fleet-1")[0][: len(played)]


def test_continue_as_new_has_the_recorded_history(story: Story) -> None:
    (_, actual), (_, recorded) = (histories(c, "fleet-1") for c in (story.contexts, RECORDED))

    # From the cancelled timer on, which still fires.
    assert (actual[:15], actual[-19:]) == (recorded[:15], recorded[-19:])


def test_the_first_episode_after_continue_as_new_matches_the_recording(story: Story) -> None:
    first = ["OrchestratorStarted", "ExecutionStarted", "OrchestratorCompleted"]

    assert first in [types(context) for context in RECORDED]
    assert first in [types(context) for context in story.contexts]


def test_times_are_to_100_nanoseconds(story: Story) -> None:
    actual, recorded = (
        max(len(event["Timestamp"]) for context in contexts for event in context["history"])
        for contexts in (story.contexts, RECORDED)
    )

    assert actual == recorded


def test_the_fast_time_parser_agrees_with_the_sdks() -> None:
    times = {e["Timestamp"] for c in RECORDED for e in c["history"]}

    assert {time for time in times if datetime.fromisoformat(time) != dt_parse(time)} == set()


# -- responses to clients --------------------------------------------------------------------

HEADERS = ("Content-Type", "Location", "Retry-After", "x-ms-continuation-token")


@pytest.mark.parametrize("call", calls(), ids=lambda call: call["note"])
def test_responses_match_the_recording(story: Story, call: dict[str, Any]) -> None:
    answer = story.responses[call["note"]]
    headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}

    assert answer.status == call["status"]
    assert plain(headers) == plain({n: v.strip() for n, v in call["headers"].items()})
    assert body(answer.json if answer.body else None) == body(call["answer"])
