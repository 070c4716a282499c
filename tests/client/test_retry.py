"""Which attempts are retried, and when, on a simulated clock."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from powerlift_fleet.api.retry import FIRST_BACKOFF, MAX_BACKOFF, Retry
from powerlift_fleet.api.wire import ConnectionFailure, HttpResponse

REFUSED = ConnectionFailure("refused")
UNKNOWN_HOST = ConnectionFailure("no such name", unknown_host=True)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pauses(
    retry_timeout: float, outcome: HttpResponse | ConnectionFailure = REFUSED
) -> list[float]:
    """The pauses between the attempts of a call that never succeeds."""
    clock, taken = Clock(), []
    retry = Retry(retry_timeout, clock)
    while (pause := retry.backoff(outcome, seen=False)) is not None:
        taken.append(pause)
        clock.now += pause
    return taken


def test_backoff_is_exponential_with_jitter_and_a_maximum() -> None:
    for number, pause in enumerate(pauses(600)):
        whole = min(MAX_BACKOFF, FIRST_BACKOFF * 2**number)
        assert whole / 2 <= pause <= whole


def test_the_timeout_covers_all_attempts() -> None:
    assert 80 < sum(pauses(120)) < 120


def test_jitter_differs_between_clients() -> None:
    assert pauses(120) != pauses(120)


def test_retry_after_is_honoured() -> None:
    assert pauses(100, HttpResponse(429, {"retry-after": "30"}, "")) == [30.0, 30.0, 30.0]


def test_retry_after_may_be_a_date() -> None:
    later = formatdate(time.time() + 50, usegmt=True)
    (pause,) = pauses(60, HttpResponse(503, {"retry-after": later}, ""))
    assert 45 < pause <= 50


@pytest.mark.parametrize("header", ["soon", "-3", ""])
def test_an_invalid_retry_after_is_ignored(header: str) -> None:
    assert pauses(5, HttpResponse(503, {"retry-after": header}, ""))[0] <= FIRST_BACKOFF


@pytest.mark.parametrize(("known", "again"), [(False, False), (True, True)])
def test_an_unresolvable_host_is_retried_only_after_a_success(known: bool, again: bool) -> None:
    pause = Retry(60, Clock()).backoff(UNKNOWN_HOST, known)
    assert (pause is not None) == again


@pytest.mark.parametrize(("known", "again"), [(False, False), (True, True)])
def test_a_404_of_the_host_is_retried_only_after_a_success(known: bool, again: bool) -> None:
    pause = Retry(60, Clock()).backoff(HttpResponse(404, {}, ""), known)
    assert (pause is not None) == again


def test_a_404_of_the_app_is_not_retried() -> None:
    answer = HttpResponse(404, {"content-type": "application/problem+json"}, "{}")
    assert Retry(60, Clock()).backoff(answer, seen=True) is None
