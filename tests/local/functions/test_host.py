"""The host in process."""
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import azure.durable_functions as df
import azure.functions as func
import pytest

from local.functions.host import FunctionsHost
from local.functions.indexing import index
from local.functions.settings import DurableSettings, HostSettings, SettingsError

if TYPE_CHECKING:
    from tests.local.functions.conftest import Host


def _app() -> Any:
    app: Any = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    running: list[int] = []

    @app.activity_trigger(input_name="x")
    async def most_at_a_time(x: int) -> int:
        running.append(x)
        await asyncio.sleep(0.05)
        most = len(running)
        running.remove(x)
        return most

    @app.orchestration_trigger(context_name="context")
    def fan_out(context: df.DurableOrchestrationContext) -> Any:
        tasks = [context.call_activity("most_at_a_time", i) for i in range(6)]
        return max((yield context.task_all(tasks)))

    @app.route(route="run")
    @app.durable_client_input(client_name="client")
    async def run(req: func.HttpRequest, client: Any) -> Any:
        instance_id = await client.start_new(req.params["name"], req.params.get("id"))
        return await client.wait_for_completion_or_create_check_status_response(
            req, instance_id, 10_000, 50
        )

    return app


async def _get(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


def test_the_limit_of_concurrent_activities(tmp_path: Path) -> None:
    settings = HostSettings(durable=DurableSettings(max_activities=2))

    async def scenario() -> str:
        host = FunctionsHost(index(_app(), {}), settings, tmp_path, host_root=tmp_path)
        await host.start()
        try:
            return await _get(f"{host.url}/api/run?name=fan_out")
        finally:
            await host.stop()

    assert asyncio.run(scenario()) == "2"


def test_with_any_state_a_running_instance_is_replaced(tmp_path: Path) -> None:
    settings = HostSettings(durable=DurableSettings(replace_running=True))

    async def scenario() -> tuple[str, str]:
        host = FunctionsHost(index(_app(), {}), settings, tmp_path, host_root=tmp_path)
        await host.start()
        try:
            url = f"{host.url}/api/run?name=fan_out&id=same"
            return await asyncio.gather(_get(url), _get(url))
        finally:
            await host.stop()

    # Both wait for the second execution; activities of the first still run concurrently.
    first, second = asyncio.run(scenario())
    assert first == second


def _error(host: FunctionsHost) -> str:
    """The error message of `start`."""
    with pytest.raises(SettingsError) as caught:
        asyncio.run(host.start())
    return str(caught.value)


def test_an_invalid_connection_string_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app: Any = func.FunctionApp()

    @app.queue_trigger(arg_name="msg", queue_name="letters", connection="Storage")
    def take(msg: func.QueueMessage) -> None: ...

    monkeypatch.setenv("Storage", "nonsense")
    host = FunctionsHost(index(app, {}), HostSettings(), tmp_path, host_root=tmp_path)

    assert _error(host) == "function 'take': the value of Storage is not a connection string"


def test_an_invalid_schedule_is_an_error(tmp_path: Path) -> None:
    app: Any = func.FunctionApp()

    @app.timer_trigger(schedule="every day", arg_name="timer")
    def tick(timer: func.TimerRequest) -> None: ...

    host = FunctionsHost(index(app, {}), HostSettings(), tmp_path, host_root=tmp_path)

    assert _error(host).startswith("function 'tick': schedule 'every day' has 2 fields")


def test_a_port_in_use_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        host = FunctionsHost([], HostSettings(), tmp_path, host_root=tmp_path, port=port)

        assert _error(host).startswith(f"port {port} cannot be used")


def test_a_state_directory_in_use_is_an_error(durable: Host, tmp_path: Path) -> None:
    host = FunctionsHost([], HostSettings(), durable.state, host_root=tmp_path)

    assert _error(host) == f"another host is using {durable.state}"
