"""`--watch` in a terminal: the screen from the first poll to the end."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from local.stack import Stack
from tests.client.cli.conftest import Command
from tests.client.cli.terminal import Terminal
from tests.harness import Api, eventually, experiment

STORY, ASKED = 7201, 7202
TIMEOUT = 60.0


def terminal(command: Command, *argv: str, columns: int = 80) -> Terminal:
    settings = {name: value for name, value in command.env.items() if value is not None}
    # A real terminal reports its size; these variables would take precedence.
    outer = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    env = {**outer, **settings}
    return Terminal("-m", "powerlift_fleet.cli", *argv, env=env, columns=columns)


def wait_for_screen(window: Terminal, condition: Callable[[str], bool]) -> str:
    """The screen once it meets the condition."""

    def once() -> str | None:
        text = window.text
        return text if condition(text) else None

    try:
        return eventually(once, TIMEOUT)
    except AssertionError:
        pytest.fail(f"The screen stays:\n{window.text}", pytrace=False)


@pytest.fixture
def fleet(stack: Stack, api: Api) -> str:
    """A fleet with three running VMs."""
    started = api.start(experiment_id=experiment(stack, 8), n_instances=3, batch_id=STORY)
    api.wait(started, "run")
    return started


def test_a_watch_redraws_survives_an_outage_and_ends_with_the_fleet(
    stack: Stack, api: Api, fleet_command: Command, fleet: str
):
    with terminal(fleet_command, "status", fleet, "--watch", "--interval", "0.3") as window:
        first = wait_for_screen(window, lambda text: "3 of 3" in text)
        assert [first.count(once) for once in (fleet, "VMs are installing packages", "3 of 3")] == [
            1,
            1,
            1,
        ]

        window.resize(40, 24)
        narrow = wait_for_screen(window, lambda text: "0 of 8" in text and "░" * 15 not in text)
        assert [narrow.count(once) for once in (fleet, "3 of 3", "0 of 8")] == [1, 1, 1]
        window.resize(80, 24)

        stack.kill_host()
        wait_for_screen(
            window, lambda text: text.startswith("Waiting for the app") and "3 of 3" in text
        )
        stack.start_host()
        wait_for_screen(window, lambda text: text.startswith(fleet))

        api.delete(fleet)
        code = window.wait(TIMEOUT)
        assert (code, f"{fleet}  cancelled" in window.text) == (7, True)
        assert (window.text.count("VMs  "), "Ctrl-C" in window.text) == (1, False)


@pytest.mark.long
def test_cancel_asks_for_confirmation_and_ctrl_c_only_stops_watching(
    stack: Stack, api: Api, fleet_command: Command
):
    fleet = api.start(experiment_id=experiment(stack), n_instances=1, batch_id=ASKED)
    api.wait(fleet, "run")
    with terminal(fleet_command, "cancel", fleet, columns=40) as window:
        wait_for_screen(window, lambda text: "[y/N]" in text)
        window.type("n\r")
        assert (window.wait(TIMEOUT), "Nothing was changed." in window.text) == (0, True)
    with terminal(fleet_command, "status", fleet, "--watch") as window:
        wait_for_screen(window, lambda text: "1 of 1" in text)
        window.type("\x03")
        assert (window.wait(TIMEOUT), f"{fleet} keeps running" in window.text) == (130, True)
    assert api.get(fleet).json()["phase"] == "run"
    with terminal(fleet_command, "cancel", fleet, "--wait", "--interval", "0.3") as window:
        wait_for_screen(window, lambda text: "[y/N]" in text)
        window.type("y\r")
        assert (window.wait(TIMEOUT), api.get(fleet).json()["phase"]) == (0, "cancelled")
