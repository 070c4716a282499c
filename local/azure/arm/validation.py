"""Validates a request body against its schema, as strictly as ARM does."""

from __future__ import annotations

from typing import Any

from local.azure.arm.errors import (
    ArmError,
    gateway,
    invalid_parameter,
    missing_parameter,
    not_deserialized,
)
from local.azure.arm.schema import Schema

_NAMES: dict[type, str] = {str: "String", int: "Int32", bool: "Boolean", float: "Double"}


def validate(body: Any, schema: Schema) -> dict[str, Any]:
    """Return `body` if it is valid; raise ArmError 400 for the first invalid member.

    Unknown members, wrong types, missing required members and values outside an enumeration are
    invalid. The caller has removed members that are null.
    """
    if not isinstance(body, dict):
        raise not_deserialized("A JSON object is required.")
    if "location!" in schema and not body.get("location"):
        raise gateway(
            400, "LocationRequired", "The location property is required for this definition."
        )
    _validate(body, schema, "")
    return body


def _validate(value: Any, schema: Schema, path: str) -> None:
    if isinstance(schema, dict):
        _validate_object(value, schema, path)
    elif isinstance(schema, list):
        if not isinstance(value, list):
            raise _wrong_type(path, "JSON array")
        for at, item in enumerate(value):
            _validate(item, schema[0], f"{path}[{at}]")
    elif isinstance(schema, tuple):
        _validate_enum(value, schema, path)
    elif not _is(value, schema):
        raise _wrong_type(
            path, _NAMES.get(schema, "JSON object" if schema is dict else "JSON array")
        )


def _validate_object(value: Any, schema: dict[str, Schema], path: str) -> None:
    if not isinstance(value, dict):
        raise _wrong_type(path, "JSON object")
    if "*" in schema:
        for name, item in value.items():
            _validate(item, schema["*"], _join(path, name))
        return
    known = {name.removesuffix("!"): item for name, item in schema.items()}
    for name, item in value.items():
        if name not in known:
            raise not_deserialized(
                f"Could not find member '{name}' on object of type '{_type_name(path)}'. "
                f"Path '{_join(path, name)}'",
                _join(path, name),
            )
        _validate(item, known[name], _join(path, name))
    for name in schema:
        if name.endswith("!") and name[:-1] not in value:
            raise missing_parameter(_join(path, name[:-1]))


def _validate_enum(value: Any, choices: tuple[str, ...], path: str) -> None:
    # Enumerations are case-insensitive in ARM.
    if not isinstance(value, str) or value.lower() not in {choice.lower() for choice in choices}:
        raise invalid_parameter(
            path,
            f"The value '{value}' of parameter '{path}' is invalid. "
            f"Supported values are: {', '.join(choices)}.",
        )


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _wrong_type(path: str, expected: str) -> ArmError:
    return not_deserialized(f"Error converting value to type '{expected}'. Path '{path}'", path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _type_name(path: str) -> str:
    last = path.rpartition(".")[2].partition("[")[0]
    return last[:1].upper() + last[1:] if last else "ResourceDefinition"
