from __future__ import annotations
import itertools
import json
from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
import azure.durable_functions as df
from tests.recorded.frozen.activities import MARK
from tests.recorded.frozen.fleet.failures import failure
from tests.recorded.frozen.fleet.records import Failure
from tests.recorded.frozen.fleet.state import FleetState
from tests.recorded.frozen.fleet.status import custom_status
ROUNDS = 5
CHUNK = 50
FIRST_DELAY, LONGEST_DELAY = (2.0, 60.0)
THROTTLE_PATIENCE = timedelta(minutes=30)
Steps = Generator[Any, Any, Any]
Call = tuple[Any, dict[str, Any]]

class Context(Protocol):
    instance_id: str
    current_utc_datetime: datetime

    def get_input(self) -> Any:
        ...

    def call_activity(self, name: Any, input_: Any) -> Any:
        ...

    def call_activity_with_retry(self, name: Any, retry_options: Any, input_: Any) -> Any:
        ...

    def call_sub_orchestrator(self, name: Any, input_: Any, instance_id: str) -> Any:
        ...

    def create_timer(self, fire_at: datetime) -> Any:
        ...

    def wait_for_external_event(self, name: str) -> Any:
        ...

    def task_all(self, tasks: list[Any]) -> Any:
        ...

    def task_any(self, tasks: list[Any]) -> Any:
        ...

    def set_custom_status(self, status: Any) -> None:
        ...

    def continue_as_new(self, input_: Any) -> None:
        ...

class Ended(Exception):

    def __init__(self, phase: str, reason: Failure | None=None) -> None:
        super().__init__(phase)
        self.phase, self.reason = (phase, reason)

class Backoff(df.RetryOptions):

    def __init__(self, first_seconds: float=FIRST_DELAY, attempts: int=ROUNDS) -> None:
        super().__init__(int(first_seconds * 1000), attempts)

    def to_json(self) -> dict[str, Any]:
        longest = int(LONGEST_DELAY * 1000)
        mine = {'backoffCoefficient': 2.0, 'maxRetryIntervalInMilliseconds': longest}
        return {**super().to_json(), **mine}

def attempt(context: Context, activity: Any, task: dict[str, Any], patient: bool=True) -> Steps:
    give_up = context.current_utc_datetime + THROTTLE_PATIENCE
    for turn in itertools.count():
        try:
            result = (yield context.call_activity_with_retry(activity, Backoff(), task))
        except Exception as error:
            return {'ok': False, 'failure': told(error)}
        if not is_throttled(result) or context.current_utc_datetime >= give_up:
            return result
        wait = _wait(result, turn)
        if not patient and wait > LONGEST_DELAY:
            return result
        yield from sleep(context, wait)

def settle(context: Context, calls: Sequence[Call], rounds: int=ROUNDS) -> Steps:
    results: list[dict[str, Any]] = [{}] * len(calls)
    todo = list(range(len(calls)))
    for turn in range(rounds):
        for start in range(0, len(todo), CHUNK):
            places = todo[start:start + CHUNK]
            answers = (yield from _fan_out(context, [calls[place] for place in places]))
            for place, answer in zip(places, answers, strict=True):
                results[place] = answer
        todo = [place for place in todo if _may_pass(results[place])]
        wait = max((_wait(results[place], turn) for place in todo), default=0.0)
        if not todo or turn == rounds - 1 or wait > LONGEST_DELAY:
            break
        yield from sleep(context, wait)
    return results

def show(context: Context, fleet: FleetState, phase: str) -> None:
    fleet.phase = phase
    context.set_custom_status(custom_status(fleet))

def sleep(context: Context, seconds: float) -> Steps:
    yield context.create_timer(context.current_utc_datetime + timedelta(seconds=seconds))

def sleep_unless(context: Context, event: Any, seconds: float) -> Steps:
    if not event.is_completed:
        timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=seconds))
        yield context.task_any([event, timer])
        if not timer.is_completed:
            timer.cancel()
    return bool(event.is_completed)

def delay(turn: int) -> float:
    return min(FIRST_DELAY * 2.0 ** turn, LONGEST_DELAY)

def is_passing(reason: Failure) -> bool:
    return reason['action'] in ('wait', 'retry')

def is_throttled(result: dict[str, Any]) -> bool:
    return not result['ok'] and result['failure']['action'] == 'wait'

def told(error: BaseException) -> Failure:
    text = str(error)
    try:
        record: Failure = json.JSONDecoder().raw_decode(text, text.index(MARK) + len(MARK))[0]
    except ValueError:
        advice = "The app's log has the details."
        return failure('ActivityFailed', text.partition('\n')[0], 'retry', advice)
    return record

def _wait(result: dict[str, Any], turn: int) -> float:
    return float(result['failure']['retry_after'] or delay(turn))

def _may_pass(result: dict[str, Any]) -> bool:
    return not result['ok'] and is_passing(result['failure'])

def _fan_out(context: Context, calls: Sequence[Call]) -> Steps:
    tasks = [context.call_activity(activity, task) for activity, task in calls]
    try:
        return (yield context.task_all(tasks))
    except Exception as error:
        return [{'ok': False, 'failure': told(error)} for _ in tasks]
