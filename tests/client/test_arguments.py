"""Python arguments are checked before anything is created or sent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from powerlift_fleet import ConfigurationError
from powerlift_fleet.benchmark import arguments


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3)])
def test_an_identifier_may_be_any_integral_number(value: Any) -> None:
    assert arguments.identifier("experiment_id", value) == 3


@pytest.mark.parametrize("value", [3.7, math.nan, math.inf, None, "3", "my fleet"])
def test_an_identifier_is_not_rounded_or_guessed(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"experiment_id must be an integer, and not .+"):
        arguments.identifier("experiment_id", value)


@pytest.mark.parametrize("value", [None, math.inf, np.inf])
def test_no_limit_is_none(value: Any) -> None:
    assert arguments.limit_or_none("timeout", value) is None


@pytest.mark.parametrize("value", [0, -1, math.nan, -math.inf, "60", "x", [1]])
def test_a_limit_that_is_no_number_above_0_is_rejected(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout must be a number above 0, or None"):
        arguments.limit_or_none("timeout", value)


@pytest.mark.parametrize("value", ["8G", "8 gib", "0.5G", 8589934592, " 1T "])
def test_a_memory_limit_is_bytes_or_a_size(value: Any) -> None:
    assert arguments.memory_or_empty(value) == str(value)


@pytest.mark.parametrize("value", ["lots", "0", "-1G", "8X", "8G8"])
def test_another_memory_limit_is_rejected(value: Any) -> None:
    with pytest.raises(ConfigurationError, match='or a size such as "8G"'):
        arguments.memory_or_empty(value)


def test_a_list_is_not_taken_for_a_text() -> None:
    with pytest.raises(ConfigurationError, match="pip_install must be one text, such as 'numpy'"):
        arguments.text_or_none("pip_install", ["numpy"], "numpy")


def test_a_text_is_not_taken_for_a_list() -> None:
    with pytest.raises(ConfigurationError, match=r"must be a list of texts, such as \['a.whl'\]"):
        arguments.texts_or_none("wheel_filepaths", "a.whl")


@pytest.mark.parametrize("value", ["westus", ["westus2"], {"location": "westus2"}])
def test_fallbacks_are_dicts(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"a list of dicts, such as \[{'location'"):
        arguments.mappings_or_none("fallbacks", value, {"location": "westus2"})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("300", 300),
        ("90s", 90),
        ("1.5 h", 5400),
        ("1H", 3600),
        ("30 Min", 1800),
        ("7d", 604800),
        ("2w", 1209600),
        (2.5, 2.5),
        (None, None),
    ],
)
def test_a_duration_is_written_as_on_the_command_line(value: Any, seconds: float | None) -> None:
    assert arguments.duration_or_none("timeout", value) == seconds


@pytest.mark.parametrize("value", ["5parsecs", "", "0s", "-1h"])
def test_another_duration_is_rejected(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        arguments.duration_or_none("timeout", value)


def test_a_rejected_duration_names_every_form() -> None:
    with pytest.raises(ConfigurationError) as refused:
        arguments.duration("5 parsecs")
    units = {word[-1] for word in ("90s", "30m", "12h", "7d", "2w") if word in str(refused.value)}
    assert (units, "300" in str(refused.value)) == (set("smhdw"), True)


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", None])
def test_a_number_of_vms_is_a_positive_integer(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="n_instances"):
        arguments.count("n_instances", value, 1)
