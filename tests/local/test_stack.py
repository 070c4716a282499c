from __future__ import annotations

import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil
import psycopg2
import pytest
from azure.storage.queue import QueueServiceClient

from local.process import ServiceError
from local.stack import Stack


@pytest.mark.slow
def test_the_app_responds(stack: Stack) -> None:
    with urllib.request.urlopen(f"{stack.url}/api/health") as answer:
        assert answer.status == 200


@pytest.mark.slow
def test_the_key_authorizes_requests(stack: Stack) -> None:
    request = urllib.request.Request(
        f"{stack.url}/api/fleets", headers={"x-functions-key": stack.key}
    )

    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


@pytest.mark.slow
def test_the_database_can_be_reached(stack: Stack) -> None:
    database = psycopg2.connect(stack.db_uri)
    try:
        assert database.info.dbname == "powerlift"
    finally:
        database.close()


@pytest.mark.slow
def test_the_app_listens_to_its_queue(stack: Stack) -> None:
    with QueueServiceClient.from_connection_string(stack.queue_connection_string) as service:
        assert "powerlift-fleets" in [queue.name for queue in service.list_queues()]


@pytest.mark.slow
def test_psql_is_in_its_directory(stack: Stack) -> None:
    done = subprocess.run([stack.psql_bin / "psql", "--version"], capture_output=True, text=True)

    assert done.stdout.startswith("psql (PostgreSQL)")


@pytest.mark.slow
def test_no_secret_is_in_the_process_list_or_a_log(stack: Stack) -> None:
    password = stack.db_uri.split(":")[2].split("@")[0]
    secrets = [password, stack.key, stack.arm["client_secret"]]

    shown = "".join(" ".join(child.cmdline()) for child in children())
    logged = "".join(log.read_text() for log in stack.logs.iterdir())

    assert [secret for secret in secrets if secret in shown + logged] == []


@pytest.mark.long  # the demo's tests check for processes after Ctrl-C
def test_exiting_leaves_no_process(tmp_path: Path) -> None:
    before = children()

    with Stack(tmp_path):
        pass

    assert children() - before == set()


@pytest.mark.long
def test_a_part_that_fails_to_start_stops_the_others(tmp_path: Path) -> None:
    before = children()

    with pytest.raises(ServiceError, match="azure"), Stack(tmp_path, time_scale=-1):
        pass

    assert children() - before == set()


@pytest.mark.long
def test_an_interrupted_start_leaves_no_process(tmp_path: Path) -> None:
    before = children()

    with interrupted_after(0.4), pytest.raises(KeyboardInterrupt), Stack(tmp_path):
        pass

    assert children() - before == set()


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raise KeyboardInterrupt after `seconds`."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
