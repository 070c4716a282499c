"""The source of a trial function, and the check that it can run on a VM without anything around it."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import logging
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from powerlift_fleet.api.errors import ConfigurationError

_log = logging.getLogger("powerlift_fleet")

_CONDITIONAL: dict[type[ast.AST], tuple[str, ...]] = {
    ast.If: ("body", "orelse"),
    ast.IfExp: ("body", "orelse"),
    ast.While: ("body", "orelse"),
    ast.Try: ("orelse", "handlers"),
    ast.ExceptHandler: ("body",),
    ast.Match: ("cases",),
}
"""Fields whose code may not run."""


def source_of(function: Callable[[Any], object]) -> str:
    """A trial function's source.

    Raises ConfigurationError if it cannot run on a VM: a lambda, a closure, a name defined outside that
    it always uses. Logs a warning for such names that only some of its branches use: whether these run,
    and what the VM's image has, is not known here.
    """
    name = getattr(function, "__name__", repr(function))
    try:
        text = inspect.getsource(function)
        module = ast.parse(textwrap.dedent(text))
    except (OSError, TypeError, SyntaxError):
        module, text = ast.Module([], []), ""
    if name not in [node.name for node in module.body if isinstance(node, ast.FunctionDef)]:
        raise ConfigurationError(
            f"{name} has no source. Define the trial function with def, in a file or a notebook cell."
        )
    # compile() inherits this module's `annotations` import, as in the runner: annotations may be global.
    code = compile(module, name, "exec")
    outside = {*_names(code, "LOAD_NAME"), *_in_functions(code, "LOAD_GLOBAL")}
    # What the function declares `global` and assigns, it defines itself.
    outside -= {name, *dir(builtins), *_in_functions(code, "STORE_GLOBAL")}
    refused = outside & set(_always_used(module))
    if refused:
        raise ConfigurationError(_describe(name, refused))
    if maybe := outside - set(_handled(module)):
        _log.warning("%s", _describe(name, maybe))
    return text


def _describe(function: str, names: set[str]) -> str:
    return (
        f"{function} refers to names defined outside it: {', '.join(sorted(names))}. Only the "
        "function's source is sent to the VM: import or define them inside the function."
    )


def _in_functions(code: CodeType, operation: str) -> Iterator[str]:
    yield from _names(code, operation)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _in_functions(inner, operation)


def _names(code: CodeType, operation: str) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname == operation:
            yield str(step.argval)


def _always_used(node: ast.AST) -> Iterator[str]:
    """The names in code that runs whenever the function runs; a loop's body counts as such."""
    if isinstance(node, ast.Name):
        yield node.id
    left_out = _CONDITIONAL.get(type(node), ())
    if isinstance(node, ast.Try) and _catches(node, "NameError", "Exception", "BaseException"):
        left_out += ("body",)
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        if isinstance(node, ast.BoolOp) and field == "values":
            children = children[:1]
        for child in children:
            if isinstance(child, ast.AST) and field not in left_out:
                yield from _always_used(child)


def _handled(module: ast.Module) -> Iterator[str]:
    """The names whose absence the function handles with `except NameError`."""
    for node in ast.walk(module):
        if isinstance(node, ast.Try) and _catches(node, "NameError"):
            yield from (
                one.id for part in node.body for one in ast.walk(part) if isinstance(one, ast.Name)
            )


def _catches(node: ast.Try, *errors: str) -> bool:
    """Whether a handler names one of the errors; a bare one catches BaseException."""
    for handler in node.handlers:
        kind = handler.type or ast.Name("BaseException")
        if any(isinstance(one, ast.Name) and one.id in errors for one in ast.walk(kind)):
            return True
    return False
