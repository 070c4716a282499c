"""Activities, sub-orchestrations, retries and timers, through the client of a hosted app."""

from __future__ import annotations

import itertools
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.local.functions.conftest import Host


def _times(host: Host, journal: str) -> dict[str, list[float]]:
    """The start times of each named call in a journal, in order."""
    times: dict[str, list[float]] = {}
    for name, moment, _ in host.entries(journal):
        times.setdefault(name, []).append(moment)
    return times


def _calls(journal: str, fails: list[int]) -> list[dict[str, Any]]:
    return [{"journal": journal, "name": f"n{i}", "fails": n} for i, n in enumerate(fails)]


def test_fan_out(durable: Host) -> None:
    assert durable.run("fan_out", {"count": 12})["output"] == sum(2 * i for i in range(12))


def test_an_activity_may_have_a_client(durable: Host) -> None:
    assert durable.run("asks_for_itself")["output"] == "Running"


def test_sub_orchestrations(durable: Host) -> None:
    assert durable.run("children")["output"] == [6, 12]


def test_an_activitys_failure_has_the_extensions_message(durable: Host) -> None:
    output = durable.run("catches", {"text": "bang"})["output"]

    assert output.startswith("Activity function 'broken' failed:  ValueError: bang \n ")


def test_a_failure_message_is_truncated_at_a_stack(durable: Host) -> None:
    output = durable.run("catches", {"text": "bang\nStack: mine"})["output"]

    assert output.startswith("Activity function 'broken' failed:  ValueError: bang \n ")


def test_a_failed_orchestration_has_a_reason(durable: Host) -> None:
    status = durable.run("fails", {"text": "bang"})

    assert status["runtimeStatus"] == "Failed"
    assert status["output"].startswith("Orchestrator function 'fails' failed: Activity function")


def test_a_failed_child_reaches_its_parent_as_an_exception(durable: Host) -> None:
    output = durable.run("child_fails")["output"]

    assert output.startswith("Orchestrator function 'fails' failed: Activity function 'broken'")


def test_a_child_is_retried(durable: Host) -> None:
    call = {"journal": uuid.uuid4().hex, "name": "child", "fails": 2}

    assert durable.run("child_retried", call)["output"] == "child"


def test_a_retried_fan_out_succeeds(durable: Host) -> None:
    calls = _calls(uuid.uuid4().hex, [0, 1, 2, 0, 1, 2, 0, 1, 2])

    status = durable.run("retries", {"attempts": 3, "calls": calls})

    assert status["output"] == [[call["name"] for call in calls], 42]


def test_a_call_is_retried_up_to_the_limit(durable: Host) -> None:
    journal = uuid.uuid4().hex

    names, after = durable.run("retries", {"attempts": 3, "calls": _calls(journal, [9])})["output"]

    assert (durable.journal(journal), after) == (["n0"] * 3, 42)
    assert names.startswith("Activity function 'work' failed:  ValueError: n0 failed")


def test_one_attempt_means_no_retry(durable: Host) -> None:
    journal = uuid.uuid4().hex

    durable.run("retries", {"attempts": 1, "calls": _calls(journal, [9])})

    assert durable.journal(journal) == ["n0"]


def test_the_delay_grows_by_the_coefficient_up_to_the_maximum(durable: Host) -> None:
    journal = uuid.uuid4().hex
    given = {"attempts": 4, "first_ms": 1000, "calls": _calls(journal, [3])}

    durable.run("retries", given)

    delays = [b - a for a, b in itertools.pairwise(_times(durable, journal)["n0"])]
    # 1, 2 and 2 seconds, each slightly less when its timer is set, and therefore rounded down.
    assert [int(delay) for delay in delays] == [0, 1, 1]


def test_the_next_action_waits_for_the_whole_group_even_after_a_failure(durable: Host) -> None:
    journal = uuid.uuid4().hex
    group = [
        {"journal": journal, "name": "quick", "fails": 1},
        {"journal": journal, "name": "slow", "seconds": 0.5},
    ]

    durable.run("sequence", {"group": group, "then": {"journal": journal, "name": "then"}})

    times = _times(durable, journal)
    assert times["then"][0] >= times["slow"][0] + 0.5


def test_catching_while_a_sibling_retries_yields_the_wrong_result(durable: Host) -> None:
    """The SDK mistakes the sibling's retry timer for the completion of the activity called after the
    catch, so the orchestrator gets None instead of 42. The extension has the same behaviour; a host
    that hides it would accept such orchestrators."""
    status = durable.run("catches_while_a_sibling_retries", {"journal": uuid.uuid4().hex})

    assert (status["runtimeStatus"], status["output"]) == ("Completed", None)


def test_a_timer_fires(durable: Host) -> None:
    assert durable.run("race", {"seconds": 0.2})["output"] == "timer"


def test_a_timer_fires_up_to_a_second_early_by_the_orchestrators_clock(durable: Host) -> None:
    fire_at, clock = durable.run("timed", {"seconds": 1.9})["output"]

    assert 0.5 < fire_at - clock <= 1


def test_a_timer_below_a_second_does_not_wait(durable: Host) -> None:
    fire_at, clock = durable.run("timed", {"seconds": 0.9})["output"]

    assert fire_at - clock > 0.5


def test_a_timer_of_more_than_six_days_starts_with_one_of_three_days(durable: Host) -> None:
    instance_id = durable.start_new("long_timer")
    status = durable.until(
        lambda: durable.status(instance_id, show_history=True),
        lambda seen: seen["runtimeStatus"] == "Running",
    )

    started, timer = status["historyEvents"]

    lasts = datetime.fromisoformat(timer["FireAt"]) - datetime.fromisoformat(started["Timestamp"])
    assert timedelta(days=3) <= lasts < timedelta(days=3, minutes=1)


def test_continue_as_new_starts_over(durable: Host) -> None:
    status = durable.run("counter", {"count": 0})

    assert (status["output"], status["input"]) == (20, '{"count": 20}')


def test_a_child_reports_to_its_parent_after_continue_as_new(durable: Host) -> None:
    assert durable.run("counts_in_a_child", {"count": 18})["output"] == 20


def test_an_orchestrator_without_yield(durable: Host) -> None:
    assert durable.run("instant", {"a": [1, None]})["output"] == {"a": [1, None]}


def test_an_unknown_activity_fails_the_orchestration(durable: Host) -> None:
    output = durable.run("calls_unknown")["output"]

    assert "The function 'no_such_activity' doesn't exist" in output


def test_code_that_changes_its_calls_fails_with_a_reason(durable: Host) -> None:
    assert "Non-Deterministic workflow detected" in durable.run("erratic")["output"]


def test_an_activity_past_the_timeout_fails(durable: Host) -> None:
    output = durable.run("one_call", {"journal": uuid.uuid4().hex, "name": "n", "seconds": 30})[
        "output"
    ]

    assert "Activity function 'work' failed: Timeout value of 00:00:02 was exceeded" in output


def test_history_on_request(durable: Host) -> None:
    instance_id = durable.start_new("catches", input={"text": "bang"})
    durable.finished(instance_id)

    events = durable.status(instance_id, show_history=True, show_history_output=True)

    kinds = [(e["EventType"], e.get("FunctionName")) for e in events["historyEvents"]]
    assert kinds == [
        ("ExecutionStarted", "catches"),
        ("TaskFailed", "broken"),
        ("ExecutionCompleted", None),
    ]
