"""What the trial runner reads from its environment."""

from __future__ import annotations

import math

import pytest
from powerlift_fleet import runner_script
from powerlift_fleet.runner import Settings

ENVIRONMENT = {"EXPERIMENT_ID": "1", "RUNNER_ID": "3", "DB_URL": "postgresql://u@h/d"}


def settings(monkeypatch, **environment: str) -> Settings:
    for name, value in {**ENVIRONMENT, **environment}.items():
        monkeypatch.setenv(name, value)
    return Settings.read()


@pytest.mark.parametrize("timeout", ["", "None", "none", "inf"])
def test_some_timeouts_mean_no_limit(monkeypatch, timeout):
    assert settings(monkeypatch, TIMEOUT=timeout).timeout == math.inf


@pytest.mark.parametrize("timeout", ["0", "-1", "nan"])
def test_a_timeout_is_a_number_above_0(monkeypatch, timeout):
    with pytest.raises(ValueError, match="TIMEOUT"):
        settings(monkeypatch, TIMEOUT=timeout)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", math.inf),
        ("1000", 1000),
        ("8G", 8 * 2**30),
        ("1.5 GiB", 1.5 * 2**30),
        ("5mb", 5 * 2**20),
    ],
)
def test_a_memory_limit_is_bytes_or_has_a_unit(monkeypatch, text, size):
    assert settings(monkeypatch, MEMORY_LIMIT=text).memory == size


@pytest.mark.parametrize("text", ["0", "much", "-1G"])
def test_a_memory_limit_is_above_0(monkeypatch, text):
    with pytest.raises(ValueError, match="MEMORY_LIMIT"):
        settings(monkeypatch, MEMORY_LIMIT=text)


def test_an_experiment_can_set_its_memory_limit():
    assert "\nMEMORY_LIMIT = '8G'\n" in runner_script(memory_limit="8G")
