"""Calls the app's functions: async ones on the event loop, the others in threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import azure.functions as func
from azure.functions import _abc

from local.functions.indexing import Function
from local.functions.outputs import Out, QueueOutputs

_log = logging.getLogger(__name__)

running_function: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "running_function", default=None
)
"""The function that the current code runs in; determines the category of its log records."""


class FunctionTimeout(Exception):
    """A function exceeded host.json's functionTimeout."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(
            f"Timeout value of {_timespan(seconds)} was exceeded by function: Functions.{name}"
        )


# The SDK exports neither class by another path.
class _NoTrace(_abc.TraceContext):
    trace_state = trace_parent = ""
    attributes: ClassVar[dict[str, str]] = {}


class _NoRetries(_abc.RetryContext):
    retry_count = max_retry_count = 0
    exception: Any = None


_NO_TRACE, _NO_RETRIES = _NoTrace(), _NoRetries()


class Context(func.Context):
    """The value of a function's parameter named `context`."""

    def __init__(self, function_name: str, directory: Path) -> None:
        self._function_name, self._directory = function_name, directory
        self._invocation_id = str(uuid.uuid4())
        self._local = threading.local()

    @property
    def invocation_id(self) -> str:
        return self._invocation_id

    @property
    def thread_local_storage(self) -> Any:
        return self._local

    @property
    def function_name(self) -> str:
        return self._function_name

    @property
    def function_directory(self) -> str:
        return str(self._directory)

    @property
    def trace_context(self) -> _abc.TraceContext:
        return _NO_TRACE

    @property
    def retry_context(self) -> _abc.RetryContext:
        return _NO_RETRIES


class Invoker:
    """Runs functions, with one thread pool for the synchronous ones.

    Its size follows the worker: PYTHON_THREADPOOL_THREAD_COUNT, or cores + 4 but at most 32.
    `timeout` is in seconds, None for no limit. `client_binding` is the value of durable client
    parameters.
    """

    def __init__(
        self, host_root: Path, timeout: float | None, *, outputs: QueueOutputs, client_binding: str
    ) -> None:
        self._host_root, self._timeout = host_root, timeout
        self._client_binding, self._outputs = client_binding, outputs
        count = int(os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT") or 0)
        count = count or min(32, (os.cpu_count() or 1) + 4)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="function")

    async def call(self, function: Function, argument: Any) -> Any:
        """Run `function` with its trigger's argument, send its queue outputs, and return its result.

        Raises FunctionTimeout, and what the function or the sending raises. A synchronous function
        cannot be cancelled: after a timeout it keeps its thread, and its result is discarded.
        """
        arguments: dict[str, Any] = dict.fromkeys(function.clients, self._client_binding)
        arguments[function.argument] = argument
        if function.wants_context:
            arguments["context"] = Context(function.name, self._host_root)
        arguments |= (outs := {str(binding["name"]): Out() for binding in function.outputs})
        running_function.set(function.name)
        started = time.monotonic()
        work = self._start(function, arguments)
        try:
            done, _ = await asyncio.wait({work}, timeout=self._timeout)
            if not done:
                raise FunctionTimeout(function.name, self._timeout or 0)
            result = work.result()
            for binding in function.outputs:
                if (value := outs[str(binding["name"])].get()) is not None:
                    await self._outputs.send(binding, value)
        except BaseException as error:
            self._report(function, started, f"Failed: {type(error).__name__}")
            raise
        finally:
            if not work.done():
                work.cancel()
                work.add_done_callback(_discard_result)
            running_function.set(None)
        self._report(function, started, "Succeeded")
        return result

    def close(self) -> None:
        """Start no more functions. Does not wait for running ones."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, function: Function, arguments: dict[str, Any]) -> asyncio.Future[Any]:
        if function.is_async:
            return asyncio.create_task(function.call(**arguments))
        run = functools.partial(contextvars.copy_context().run, function.call, **arguments)
        return asyncio.get_running_loop().run_in_executor(self._pool, run)

    def _report(self, function: Function, started: float, outcome: str) -> None:
        milliseconds = (time.monotonic() - started) * 1000
        _log.info("Executed '%s' (%s, %.0f ms)", function.name, outcome, milliseconds)


def _discard_result(work: asyncio.Future[Any]) -> None:
    """Retrieve the result of abandoned work, so that asyncio logs no warning."""
    if not work.cancelled():
        work.exception()


def _timespan(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole % 3600 // 60:02}:{whole % 60:02}"
