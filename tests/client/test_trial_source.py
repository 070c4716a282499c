"""Trial functions: those that need nothing around them, and others."""

from __future__ import annotations

import pickle
from typing import Any

import powerlift_fleet as fleets
import pytest
from powerlift_fleet.benchmark.trial_source import source_of

OUTSIDE = 3


class Outside:
    pass


def test_a_function_may_use_local_names() -> None:
    def trial(trial: Any) -> Any:
        import json

        class Kept:
            one = 1
            two = one

        def inner() -> Any:
            return json.dumps([Kept.two, len(trial)])

        return inner(), trial

    assert source_of(trial).lstrip().startswith("def trial(")


def test_global_names_are_rejected() -> None:
    local = 1

    def trial(trial: Any, default: int = OUTSIDE) -> Any:
        return [local, pickle, default, print]

    with pytest.raises(
        fleets.ConfigurationError,
        match="trial refers to names defined outside it: OUTSIDE, local, pickle",
    ):
        source_of(trial)


def counts(trial: Any) -> Any:
    global counted
    try:
        counted += 1
    except NameError:
        counted = 0
    locals()["any name"] = counted
    return locals()["any name"]


def asks_the_image(trial: Any) -> Any:
    try:
        return display  # of a notebook
    except (AttributeError, NameError):
        return None


@pytest.mark.parametrize("function", [counts, asks_the_image])
def test_a_function_may_define_globals_and_handle_their_absence(
    function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert (source_of(function).partition("(")[0], caplog.text) == (f"def {function.__name__}", "")


def in_a_branch(trial: Any) -> Any:
    return OUTSIDE if trial else None


def in_an_except(trial: Any) -> Any:
    try:
        return trial()
    except ValueError:
        return OUTSIDE


def after_an_and(trial: Any) -> Any:
    return trial and OUTSIDE


def where_anything_is_caught(trial: Any) -> Any:
    try:
        return OUTSIDE
    except Exception:
        return None


@pytest.mark.parametrize(
    "function", [in_a_branch, in_an_except, after_an_and, where_anything_is_caught]
)
def test_global_names_that_may_not_be_reached_are_warned_about(
    function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    source_of(function)
    assert f"{function.__name__} refers to names defined outside it: OUTSIDE." in caplog.text


def in_a_loop(trial: Any) -> Any:
    for one in trial:
        with one:
            return OUTSIDE


def where_something_else_is_caught(trial: Any) -> Any:
    try:
        return OUTSIDE
    except ValueError:
        return None


def in_a_test(trial: Any) -> Any:
    return 1 if OUTSIDE else 2


@pytest.mark.parametrize("function", [in_a_loop, where_something_else_is_caught, in_a_test])
def test_global_names_that_are_always_reached_are_refused(function: Any) -> None:
    with pytest.raises(fleets.ConfigurationError, match="OUTSIDE"):
        source_of(function)


@pytest.mark.parametrize("function", [lambda trial: None, print, Outside])
def test_a_function_without_source_is_rejected(function: Any) -> None:
    with pytest.raises(fleets.ConfigurationError, match="Define the trial function with def"):
        source_of(function)


def counts_from_nothing(trial: Any) -> None:
    global counter
    counter += 1


def rebinds_what_it_reads(trial: Any) -> None:
    global counter
    counter = counter + 1


def sets_first(trial: Any) -> None:
    global counter
    counter = 0
    counter += 1


def sets_if_absent(trial: Any) -> None:
    global counter
    if "counter" not in globals():
        counter = 0
    counter += 1


@pytest.mark.parametrize(
    ("function", "is_refused"),
    [
        (counts_from_nothing, True),
        (rebinds_what_it_reads, True),
        (sets_first, False),
        (sets_if_absent, False),
    ],
)
def test_a_global_must_have_a_value_before_it_is_read(function: Any, is_refused: bool) -> None:
    if is_refused:
        with pytest.raises(fleets.ConfigurationError, match="counter"):
            source_of(function)
    else:
        assert source_of(function)
