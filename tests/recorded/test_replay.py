"""Episodes recorded from the real Durable extension replay to the recorded outputs.

What is measured is the SDK (its entry, how it reads a history, what it asks for), with the
orchestrators of which the recordings were made. An SDK that behaves otherwise shows here.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.recorded.difference import difference
from tests.recorded.episodes import FILES, episodes
from tests.recorded.frozen.function_app import app

if TYPE_CHECKING:
    from tests.recorded.episodes import Episode

ORCHESTRATORS = {f.get_function_name(): f.get_user_function() for f in app.get_functions()}


@pytest.fixture(autouse=True)
def _each_time_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the SDK's own parser, which would take most of the time: each history repeats the last."""
    module = sys.modules["azure.durable_functions.models.history.HistoryEvent"]
    monkeypatch.setattr(module, "dt_parse", functools.cache(module.dt_parse))


@pytest.mark.parametrize("file", FILES)
def test_every_episode_replays_to_the_recorded_output(file: str) -> None:
    found = {str(episode): _difference(episode) for episode in episodes(file)}

    assert not {episode: where for episode, where in found.items() if where}


def _difference(episode: Episode) -> str | None:
    try:
        output = ORCHESTRATORS[episode.function](episode.input)
    except Exception as error:
        return f"raised {error!r:.500}"
    same = output == episode.output
    return None if same else difference(json.loads(episode.output), json.loads(output))
