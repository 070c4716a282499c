"""The client's response types have exactly the fields of the app's OpenAPI document."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime
from typing import Any

import pytest
from powerlift_fleet import FleetStatus, Submission
from powerlift_fleet.api import responses
from powerlift_fleet.api.json_reader import Response, UnreadableResponse, read

from fleet.api.openapi.document import openapi_document
from tests.client.both import status

SCHEMAS: dict[str, Any] = openapi_document()["components"]["schemas"]
ROOTS = {
    responses.Submission: "SubmitResponse",
    responses.Cancellation: "CancelResponse",
    responses.FleetStatus: "Fleet",
    responses.FleetList: "Fleets",
    responses.MachineList: "Machines",
    responses.PackageLockList: "PackageLocks",
    responses.Progress: "Progress",
    responses.Plan: "Plan",
    responses.TrialPage: "TrialPage",
}
CLIENT_ONLY = {(responses.Submission, "created")}
APP_ONLY = {"SubmitResponse"}
"""A schema with the request that the client sent."""
SCALARS = {"string": str, "integer": int, "number": float, "boolean": bool}


def differences(kind: type[Response], name: str) -> list[str]:
    """Where a type differs from a schema, at any depth."""
    properties = SCHEMAS[name]["properties"]
    types = typing.get_type_hints(kind)
    own = {
        one.name
        for one in fields(kind)
        if one.name != "raw" and (kind, one.name) not in CLIENT_ONLY
    }
    differing = own - set(properties) if name in APP_ONLY else own ^ set(properties)
    found = [f"{kind.__name__}.{field}" for field in sorted(differing)]
    for field in own & set(properties):
        found += compare(types[field], properties[field], f"{kind.__name__}.{field}")
    return found


def compare(type_: Any, schema: dict[str, Any], where: str) -> list[str]:
    alternatives = schema.get("anyOf", [schema])
    nullable = {"type": "null"} in alternatives
    arguments = typing.get_args(type_)
    if nullable != (type(None) in arguments):
        return [f"{where} is nullable in one of both"]
    if nullable:
        [alternative] = [one for one in alternatives if one != {"type": "null"}]
        return compare(arguments[0], alternative, where)
    if where.endswith(".batch_id"):  # an integer, or a string above 2^53
        return [] if type_ is int else [where]
    if "$ref" in schema:
        return differences(type_, schema["$ref"].rpartition("/")[2])
    if schema["type"] == "array":
        is_tuple = typing.get_origin(type_) is tuple
        return compare(arguments[0], schema["items"], where) if is_tuple else [where]
    if schema["type"] == "object":
        is_mapping = typing.get_origin(type_) is Mapping
        return (
            compare(arguments[1], schema["additionalProperties"], where) if is_mapping else [where]
        )
    expected = datetime if schema.get("format") == "date-time" else SCALARS[schema["type"]]
    return [] if type_ is expected else [f"{where} is {type_}, not {expected}"]


@pytest.mark.parametrize("kind", ROOTS)
def test_a_type_has_the_fields_of_its_schema(kind: type[Response]) -> None:
    assert differences(kind, ROOTS[kind]) == []


def test_fields_are_typed_and_raw_is_the_json() -> None:
    document = status(added_later=1)
    fleet = read(FleetStatus, document)
    assert fleet.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert fleet.trials is not None
    assert (fleet.trials.ended, fleet.version, fleet.raw) == (3, None, document)


def test_objects_are_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        read(FleetStatus, status()).phase = "done"  # type: ignore[misc]


def test_a_label_contains_number_and_name() -> None:
    named = read(FleetStatus, status(number=3, name="nightly"))
    assert (named.handle, named.label) == ("fleet-3", "fleet-3 (nightly)")


def test_a_handle_is_the_full_id_while_the_number_is_unknown() -> None:
    assert read(FleetStatus, status(number=None)).label == "fleet-7"


@pytest.mark.parametrize("batch_id", [2**64 - 1, str(2**64 - 1)])
def test_a_batch_id_is_an_int_whether_sent_as_number_or_string(batch_id: int | str) -> None:
    links = status()["links"]
    document = {"id": f"fleet-{batch_id}", "number": 7, "batch_id": batch_id, "links": links}
    assert read(Submission, document).batch_id == 2**64 - 1


@pytest.mark.parametrize(
    "text",
    ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.1234567+00:00", "2026-03-01T13:00:00+01:00"],
)
def test_times_are_read_in_utc(text: str) -> None:
    fleet = read(FleetStatus, status(created_at=text))
    assert fleet.created_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert fleet.created_at.utcoffset() == datetime.now(UTC).utcoffset()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"created_at": "soon"}, "created_at"),
        ({"created_at": None}, "created_at"),
        ({"trials": {"total": 1}}, "trials: the field ready is missing"),
        ({"links": []}, "links: Links is not a JSON object"),
        ({"missing": []}, "missing"),
    ],
)
def test_an_unreadable_field_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnreadableResponse, match=message):
        read(FleetStatus, status(**change))
