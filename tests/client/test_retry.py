"""When an attempt is repeated, told to a clock that does not run by itself."""

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
    """Those of a call that nothing ever comes of."""
    clock, taken = Clock(), []
    retry = Retry(retry_timeout, clock)
    while (pause := retry.backoff(outcome, seen=False)) is not None:
        taken.append(pause)
        clock.now += pause
    return taken


def test_pauses_double_up_to_a_longest_one_and_are_shortened_by_half_at_most() -> None:
    for number, pause in enumerate(pauses(600)):
        whole = min(MAX_BACKOFF, FIRST_BACKOFF * 2**number)
        assert whole / 2 <= pause <= whole


def test_all_attempts_together_take_no_longer_than_retry_timeout() -> None:
    assert 80 < sum(pauses(120)) < 120


def test_no_two_clients_come_back_in_step() -> None:
    assert pauses(120) != pauses(120)


def test_a_retry_after_is_taken_as_it_stands() -> None:
    assert pauses(100, HttpResponse(429, {"retry-after": "30"}, "")) == [30.0, 30.0, 30.0]


def test_a_retry_after_may_be_a_date() -> None:
    later = formatdate(time.time() + 50, usegmt=True)
    (pause,) = pauses(60, HttpResponse(503, {"retry-after": later}, ""))
    assert 45 < pause <= 50


@pytest.mark.parametrize("header", ["soon", "-3", ""])
def test_a_retry_after_that_says_nothing_is_left_out(header: str) -> None:
    assert pauses(5, HttpResponse(503, {"retry-after": header}, ""))[0] <= FIRST_BACKOFF


@pytest.mark.parametrize(("known", "again"), [(False, False), (True, True)])
def test_a_name_that_is_not_known_passes_only_where_it_was_known(known: bool, again: bool) -> None:
    pause = Retry(60, Clock()).backoff(UNKNOWN_HOST, known)
    assert (pause is not None) == again


@pytest.mark.parametrize(("known", "again"), [(False, False), (True, True)])
def test_a_404_of_the_host_passes_only_where_the_app_has_answered(known: bool, again: bool) -> None:
    pause = Retry(60, Clock()).backoff(HttpResponse(404, {}, ""), known)
    assert (pause is not None) == again


def test_a_404_of_the_app_is_its_answer() -> None:
    answer = HttpResponse(404, {"content-type": "application/problem+json"}, "{}")
    assert Retry(60, Clock()).backoff(answer, seen=True) is None
