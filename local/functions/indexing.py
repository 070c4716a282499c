"""Loads a function_app.py and indexes its functions."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure.functions as func

from local.functions.settings import SettingsError, resolve

_TRIGGERS = frozenset(
    {"httpTrigger", "queueTrigger", "timerTrigger", "activityTrigger", "orchestrationTrigger"}
)
_OTHER_BINDINGS = frozenset({"http", "durableClient", "queue"})
_VALID_NAME = re.compile(r"[a-z][a-z0-9_\-]{0,127}", re.IGNORECASE)


class IndexingError(Exception):
    """The app cannot be hosted. The message names the function and the error."""


@dataclass(frozen=True)
class Function:
    """A function of the app.

    `trigger` is a binding as in a function.json; `clients` are the names of durableClient parameters.
    `call` takes keyword arguments; with `is_async` it returns an awaitable. `argument_type` is the
    annotation of the trigger's parameter, or None.
    """

    name: str
    kind: str
    trigger: Mapping[str, Any]
    clients: tuple[str, ...]
    call: Callable[..., Any]
    is_async: bool
    wants_context: bool
    argument_type: Any = None
    outputs: tuple[Mapping[str, Any], ...] = ()
    """Queue output bindings; each names a parameter that takes an `Out`."""

    @property
    def argument(self) -> str:
        """The name of the trigger's parameter."""
        return str(self.trigger["name"])


def load_app(host_root: Path) -> Any:
    """Import function_app.py in `host_root` and return its one app object.

    Raises IndexingError if the import fails, or if there is not exactly one app.
    """
    if not (host_root / "function_app.py").is_file():
        raise IndexingError(f"{host_root} has no function_app.py")
    sys.path.insert(0, str(host_root))
    try:
        module = importlib.import_module("function_app")
    except Exception as error:
        where = _innermost_frame(error, host_root)
        raise IndexingError(
            f"function_app.py does not import: {type(error).__name__}: {error}{where}"
        ) from error
    apps = [item for item in vars(module).values() if isinstance(item, func.FunctionRegister)]
    distinct = {id(app): app for app in apps}
    if len(distinct) != 1:
        raise IndexingError(
            f"function_app.py has {len(distinct)} app objects (FunctionApp, DFApp), must have one"
        )
    return apps[0]


def index(app: Any, environment: Mapping[str, str]) -> list[Function]:
    """The functions of `app`, with %NAME% in their bindings resolved.

    The SDK allows one call per app. Raises IndexingError for what the Functions worker rejects, and for
    what this host does not support.
    """
    try:
        builders = app.get_functions()
    except Exception as error:
        raise IndexingError(f"the app does not index: {error}") from error
    functions = [_function(one, environment) for one in builders]
    for name, count in Counter(function.name.lower() for function in functions).items():
        if count > 1:
            raise IndexingError(f"{count} functions are named '{name}'; the host ignores case")
    return functions


def _function(built: Any, environment: Mapping[str, str]) -> Function:
    name = built.get_function_name()
    try:
        bindings = [_resolved(json.loads(raw), environment) for raw in built.get_raw_bindings()]
    except SettingsError as error:
        raise IndexingError(f"function '{name}': {error}") from error
    call = built.get_user_function()
    if not _VALID_NAME.fullmatch(name) or name.lower() == "host":
        raise IndexingError(f"'{name}' is not a valid function name")
    trigger = _trigger(name, bindings)
    inputs = [b for b in bindings if b["direction"] == "IN"]
    outputs = _outputs(name, bindings)
    bound = {b["name"] for b in (*inputs, *outputs)}
    argument_type = _check_parameters(name, call, trigger, bound)
    kind = trigger["type"]
    if kind in ("activityTrigger", "orchestrationTrigger"):
        name = trigger.get(kind.removesuffix("Trigger")) or name
    return Function(
        name=name,
        kind=kind,
        trigger=trigger,
        clients=tuple(b["name"] for b in inputs if b["type"] == "durableClient"),
        call=call,
        is_async=inspect.iscoroutinefunction(call),
        wants_context="context" in inspect.signature(call).parameters
        and trigger["name"] != "context",
        argument_type=argument_type,
        outputs=outputs,
    )


def _outputs(name: str, bindings: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    queues = tuple(b for b in bindings if b["type"] == "queue")
    if any(b["name"] == "$return" for b in queues):
        raise IndexingError(
            f"function '{name}' returns its queue message; this host supports only queue "
            "outputs with a parameter of type func.Out"
        )
    return queues


def _trigger(name: str, bindings: list[dict[str, Any]]) -> dict[str, Any]:
    triggers = [b for b in bindings if b["type"].endswith("Trigger")]
    for binding in bindings:
        if binding["type"] not in _TRIGGERS | _OTHER_BINDINGS:
            extra = " (entities are not supported)" if binding["type"] == "entityTrigger" else ""
            raise IndexingError(
                f"function '{name}' uses a binding of type '{binding['type']}'; this host supports "
                f"{', '.join(sorted(_TRIGGERS))}, durableClient and queue outputs{extra}"
            )
    if len(triggers) != 1:
        raise IndexingError(f"function '{name}' has {len(triggers)} triggers, must have one")
    return triggers[0]


def _check_parameters(
    name: str, call: Callable[..., Any], trigger: Mapping[str, Any], bound: set[str]
) -> Any:
    """The annotation of the trigger's parameter.

    Raises IndexingError for what the Functions worker rejects (seen with worker 4.34), where one
    such function prevents the whole app from loading.
    """
    parameters = set(inspect.signature(call).parameters)
    unbound, missing = parameters - bound - {"context"}, bound - parameters
    if unbound or missing:
        raise IndexingError(
            f"function '{name}' has the parameters {sorted(parameters)}, "
            f"but its bindings are {sorted(bound)}"
        )
    try:
        hints = typing.get_type_hints(call)
    except Exception as error:
        raise IndexingError(f"the annotations of '{name}' cannot be read: {error}") from error
    hint = hints.get(trigger["name"])
    origin = typing.get_origin(hint)
    if isinstance(hint, types.GenericAlias) or origin in (typing.Union, types.UnionType):
        raise IndexingError(
            f"function '{name}': the Functions worker does not support the annotation {hint} for "
            f"'{trigger['name']}'; use a plain class such as dict"
        )
    return hint


def _resolved(binding: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        key: resolve(value, environment) if isinstance(value, str) else value
        for key, value in binding.items()
    }


def _innermost_frame(error: BaseException, host_root: Path) -> str:
    """The innermost frame of the error in the app's own files, for the message."""
    location = ""
    trace = error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.is_relative_to(host_root):
            location = f" ({path.relative_to(host_root)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return location
