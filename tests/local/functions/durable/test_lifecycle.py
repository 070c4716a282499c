"""External events, and the management of instances by clients."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.local.functions.conftest import Host, Response


def _raise_event(host: Host, instance_id: str, name: str, data: Any) -> None:
    host.client("raise_event", instance_id=instance_id, event_name=name, event_data=data)


def _error(host: Host, verb: str, **arguments: Any) -> str:
    """The message of the exception that the client's method raises."""
    answer: Response = host.call("POST", f"/client/{verb}", arguments)
    assert answer.status == 409, answer.body
    return answer.body.decode()


def _waiting(host: Host, length: int = 1, instance_id: str | None = None) -> str:
    """Start an instance that waits for the event `go`."""
    instance_id = host.start_new("reports", instance_id, {"length": length})
    host.until(lambda: host.status(instance_id)["customStatus"], bool)
    return instance_id


def test_an_event_beats_a_timer_which_is_then_cancelled(durable: Host) -> None:
    instance_id = durable.start_new("race", input={"seconds": 60})

    _raise_event(durable, instance_id, "go", {"n": 1})

    assert durable.finished(instance_id)["output"] == [{"n": 1}, 2]


def test_two_early_events_of_one_name_complete_one_wait_each(durable: Host) -> None:
    instance_id = durable.start_new("two_events")

    _raise_event(durable, instance_id, "go", "one")
    _raise_event(durable, instance_id, "go", "two")

    assert durable.finished(instance_id)["output"] == ["one", "two"]


def test_unconsumed_events_are_carried_over(durable: Host) -> None:
    instance_id = durable.start_new("collector", input={"seen": []})

    for item in (1, 2, 3):
        _raise_event(durable, instance_id, "item", item)

    assert durable.finished(instance_id)["output"] == [1, 2, 3]


def test_an_event_for_an_unknown_instance_is_rejected(durable: Host) -> None:
    text = _error(durable, "raise_event", instance_id="nobody", event_name="go")

    assert text == "No instance with ID nobody found."


def test_an_event_for_a_finished_instance_is_rejected(durable: Host) -> None:
    instance_id = durable.run("instant")["instanceId"]

    text = _error(durable, "raise_event", instance_id=instance_id, event_name="go")

    assert "is gone" in text


def test_a_webhook_event_arrives_as_an_object(durable: Host) -> None:
    answer = durable.call("POST", "/start/collector", {"input": {"seen": ["a", "b"]}})
    url = answer.json["sendEventPostUri"].replace("{eventName}", "item")

    json_type = {"Content-Type": "application/json"}
    durable.call("POST", url, '"c"', json_type)  # JSON in a JSON string, as the client sends it

    assert durable.finished(answer.json["id"])["output"] == ["a", "b", "c"]


def test_terminate_ends_with_the_reason(durable: Host) -> None:
    instance_id = _waiting(durable)

    durable.client("terminate", instance_id=instance_id, reason="enough of it")

    status = durable.finished(instance_id)
    assert (status["runtimeStatus"], status["output"]) == ("Terminated", "enough of it")


def test_terminate_does_not_touch_children(durable: Host) -> None:
    begun = datetime.now(UTC).isoformat()
    journal = uuid.uuid4().hex
    call = {"journal": journal, "name": "child", "seconds": 0.5}
    parent = durable.start_new("child_retried", input=call)
    durable.until(lambda: durable.journal(journal), bool)

    durable.client("terminate", instance_id=parent, reason="enough")

    seen = durable.until(
        lambda: durable.client("get_status_by", created_time_from=begun),
        lambda found: all(s["runtimeStatus"] != "Running" for s in found),
    )
    states = {s["name"]: s["runtimeStatus"] for s in seen}
    assert states == {"child_retried": "Terminated", "one_call": "Completed"}


def test_a_suspended_instance_processes_events_after_resume(durable: Host) -> None:
    instance_id = _waiting(durable)
    durable.client("suspend", instance_id=instance_id, reason="a pause")
    durable.until(lambda: durable.status(instance_id)["runtimeStatus"], lambda s: s == "Suspended")
    _raise_event(durable, instance_id, "go", 1)
    suspended = durable.status(instance_id)["runtimeStatus"]

    durable.client("resume", instance_id=instance_id, reason="go on")

    assert (suspended, durable.finished(instance_id)["output"]) == ("Suspended", "done")


def test_a_running_id_cannot_be_started_again(durable: Host) -> None:
    instance_id = _waiting(durable)

    text = _error(
        durable, "start_new", orchestration_function_name="instant", instance_id=instance_id
    )

    assert "An Orchestration instance with the status Running already exists." in text


def test_two_starts_of_one_id_at_the_same_moment_both_succeed_and_one_wins(durable: Host) -> None:
    def start(number: int) -> str:
        return durable.start_new("instant", "contended", number)

    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(start, (1, 2)))

    assert started == ["contended"] * 2
    assert durable.finished("contended")["output"] in (1, 2)


def test_a_finished_id_can_be_started_again(durable: Host) -> None:
    instance_id = durable.run("instant", "first")["instanceId"]

    durable.start_new("instant", instance_id, "second")

    durable.until(lambda: durable.status(instance_id)["output"], lambda out: out == "second")


def test_an_unknown_orchestrator_is_accepted_and_fails(durable: Host) -> None:
    status = durable.run("nothing")

    words = (
        "Orchestrator function 'nothing' failed: The function 'nothing' doesn't exist, is disabled"
    )
    assert (status["runtimeStatus"], status["output"][: len(words)]) == ("Failed", words)


def test_an_event_of_another_content_type_is_rejected(durable: Host) -> None:
    answer = durable.call("POST", "/start/reports", {"input": {"length": 1}})
    url = answer.json["sendEventPostUri"].replace("{eventName}", "go")

    rejected = durable.call("POST", url, 1, {"Content-Type": "text/plain"})

    message = "Only application/json request content is supported"
    assert (rejected.status, rejected.json) == (400, {"Message": message})


def test_a_custom_status_of_up_to_16_kb_is_kept(durable: Host) -> None:
    instance_id = _waiting(durable, length=8000)

    assert len(durable.status(instance_id)["customStatus"]["text"]) == 8000


def test_a_longer_custom_status_fails_the_orchestration(durable: Host) -> None:
    status = durable.run("reports", {"length": 8200})

    assert status["runtimeStatus"] == "Failed"
    assert "must not exceed 16 KB" in status["output"]


def test_purge_deletes_a_finished_instance(durable: Host) -> None:
    instance_id = durable.run("instant")["instanceId"]

    deleted = durable.client("purge_instance_history", instance_id=instance_id)

    assert (deleted, durable.status(instance_id)) == (1, {})


def test_purge_rejects_a_running_instance(durable: Host) -> None:
    instance_id = _waiting(durable)

    assert "412" in _error(durable, "purge_instance_history", instance_id=instance_id)
    assert durable.status(instance_id)["runtimeStatus"] == "Running"


def test_purge_by_filter(durable_alone: Host) -> None:
    host = durable_alone
    running = _waiting(host)
    host.run("fails", {"text": "x"})
    host.run("instant")
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()

    deleted = host.client(
        "purge_instance_history_by", created_time_from=an_hour_ago, runtime_status=["Failed"]
    )

    left = {s["name"] for s in host.client("get_status_all")}
    assert (deleted, left, running != "") == (1, {"reports", "instant"}, True)


def test_status_by_prefix_and_state(durable: Host) -> None:
    prefix = uuid.uuid4().hex
    waiting = _waiting(durable, instance_id=f"{prefix}-waiting")
    durable.finished(durable.start_new("instant", f"{prefix}-done"))

    found = durable.client(
        "get_status_by", instance_id_prefix=prefix, runtime_status=["Running", "Pending"]
    )

    assert [s["instanceId"] for s in found] == [waiting]


def test_the_continuation_token_leads_to_the_next_page(durable: Host) -> None:
    prefix = uuid.uuid4().hex
    for name in "abc":
        durable.finished(durable.start_new("instant", f"{prefix}-{name}"))
    path = f"/runtime/webhooks/durabletask/instances/?instanceIdPrefix={prefix}&top=2"
    seen, headers = [], {"x-functions-key": durable.keys["master"]}

    while headers.get("x-ms-continuation-token") != "":
        answer = durable.call("GET", path, headers=headers)
        seen.append([status["instanceId"][-1] for status in answer.json])
        headers["x-ms-continuation-token"] = answer.headers["x-ms-continuation-token"]

    assert seen == [["a", "b"], ["c"]]


def test_status_by_time(durable: Host) -> None:
    durable.run("instant")
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    assert durable.client("get_status_by", created_time_from=in_an_hour) == []


def test_a_management_url_shows_the_status(durable: Host) -> None:
    answer = durable.call("POST", "/start/reports", {"input": {"length": 1}})

    status = durable.call("GET", answer.json["statusQueryGetUri"])

    assert (answer.status, status.status, status.json["name"]) == (202, 202, "reports")


def test_a_management_url_without_its_key_is_rejected(durable: Host) -> None:
    answer = durable.call("POST", "/start/instant", {})

    assert durable.call("GET", answer.json["statusQueryGetUri"].split("?")[0]).status == 401


def test_rewind_is_not_supported(durable: Host) -> None:
    answer = durable.call("POST", "/start/instant", {})

    assert durable.call("POST", answer.json["rewindPostUri"]).status == 501


def test_restart_runs_the_same_input_again(durable: Host) -> None:
    instance_id = durable.run("instant", 5)["instanceId"]

    again = durable.client("restart", instance_id=instance_id)

    assert durable.finished(again["id"])["output"] == 5
