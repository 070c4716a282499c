"""When an attempt is repeated, told to a clock that does not run by itself."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from powerlift_fleet.api.retry import FIRST, LONGEST, Retry
from powerlift_fleet.api.wire import Answer, Silence

SILENCE = Silence("refused")
NAMELESS = Silence("no such name", nameless=True)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pauses(patience: float, outcome: Answer | Silence = SILENCE) -> list[float]:
    """Those of a call that nothing ever comes of."""
    clock, taken = Clock(), []
    retry = Retry(patience, clock)
    while (pause := retry.pause(outcome, known=False)) is not None:
        taken.append(pause)
        clock.now += pause
    return taken


def test_pauses_double_up_to_a_longest_one_and_are_shortened_by_half_at_most() -> None:
    for number, pause in enumerate(pauses(600)):
        whole = min(LONGEST, FIRST * 2**number)
        assert whole / 2 <= pause <= whole


def test_all_attempts_together_take_no_longer_than_patience() -> None:
    assert 80 < sum(pauses(120)) < 120


def test_no_two_clients_come_back_in_step() -> None:
    assert pauses(120) != pauses(120)


def test_a_retry_after_is_taken_as_it_stands() -> None:
    assert pauses(100, Answer(429, {"retry-after": "30"}, "")) == [30.0, 30.0, 30.0]


def test_a_retry_after_may_be_a_date() -> None:
    later = formatdate(time.time() + 50, usegmt=True)
    (pause,) = pauses(60, Answer(503, {"retry-after": later}, ""))
    assert 45 < pause <= 50


@pytest.mark.parametrize("header", ["soon", "-3", ""])
def test_a_retry_after_that_says_nothing_is_left_out(header: str) -> None:
    assert pauses(5, Answer(503, {"retry-after": header}, ""))[0] <= FIRST


@pytest.mark.parametrize(("known", "again"), [(False, False), (True, True)])
def test_a_name_that_is_not_known_passes_only_where_it_was_known(known: bool, again: bool) -> None:
    pause = Retry(60, Clock()).pause(NAMELESS, known)
    assert (pause is not None) == again


@pytest.mark.parametrize(("known", "again"), [(False, False), (True, True)])
def test_a_404_of_the_host_passes_only_where_the_app_has_answered(known: bool, again: bool) -> None:
    pause = Retry(60, Clock()).pause(Answer(404, {}, ""), known)
    assert (pause is not None) == again


def test_a_404_of_the_app_is_its_answer() -> None:
    answer = Answer(404, {"content-type": "application/problem+json"}, "{}")
    assert Retry(60, Clock()).pause(answer, known=True) is None
