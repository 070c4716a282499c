"""The source of a trial function, and the check that it can run on a VM without the code around it."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import logging
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, NamedTuple

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
_TARGETS = ("target", "targets")


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
    uses = list(_uses(module))
    first = {use.name: use for use in reversed(uses)}
    # What the function declares `global` and assigns, it defines itself, unless it reads it before.
    outside -= {
        name,
        *dir(builtins),
        *(one for one in _in_functions(code, "STORE_GLOBAL") if not first[one].needs_value),
    }
    refused = outside & {use.name for use in uses if use.is_certain}
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


class _Use(NamedTuple):
    name: str
    is_read: bool
    is_certain: bool
    """Whether the code runs whenever the function runs; a loop's body counts as such."""

    @property
    def needs_value(self) -> bool:
        return self.is_read and self.is_certain


def _uses(node: ast.AST, is_certain: bool = True) -> Iterator[_Use]:
    """The uses of names in a function, in the order in which they run."""
    if isinstance(node, ast.Name):
        yield _Use(node.id, isinstance(node.ctx, ast.Load), is_certain)
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        yield _Use(node.target.id, True, is_certain)  # `x += 1` reads x
    conditional = _CONDITIONAL.get(type(node), ())
    if isinstance(node, ast.Try) and _catches(node, "NameError", "Exception", "BaseException"):
        conditional += ("body",)
    # A value is computed before it is assigned.
    for field, value in sorted(ast.iter_fields(node), key=lambda one: one[0] in _TARGETS):
        for at, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                is_first = not isinstance(node, ast.BoolOp) or at == 0
                yield from _uses(child, is_certain and is_first and field not in conditional)


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
