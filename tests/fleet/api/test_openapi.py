"""The OpenAPI document: valid, complete, and consistent with model and functions."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from fleet.api.openapi import examples
from fleet.api.openapi.document import VERSION, openapi_document
from fleet.api.request import InvalidRequest, parse
from fleet.api.routes import ROUTES
from tests.registered import http_functions

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = openapi_document()
SCHEMAS = DOCUMENT["components"]["schemas"]
SUBNET = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/n"


def validator(name: str) -> Draft202012Validator:
    """A validator of a schema, in which `$` matches only at the end, unlike Python's."""
    reference = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return Draft202012Validator(json.loads(json.dumps(reference).replace('$"', '\\\\Z"')))


def test_the_document_is_valid_openapi():
    validate(DOCUMENT)


def test_every_registered_function_is_a_route_and_every_route_a_function():
    # HEAD is answered wherever GET is, and documented once.
    heads = {"GET": {"GET", "HEAD"}}
    table = {
        route.name: (heads.get(route.method, {route.method}), route.path, route.anonymous)
        for route in ROUTES
    }
    assert http_functions() == table


def described(schema: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        for name, part in schema.get("properties", {}).items():
            yield f"{where}.{name}", part


def test_everything_has_a_description():
    parts = [(name, schema) for name, schema in SCHEMAS.items()]
    parts += [pair for name, schema in SCHEMAS.items() for pair in described(schema, name)]
    assert [where for where, part in parts if not part.get("description")] == []


def test_secrets_are_write_only_passwords():
    properties = (
        SCHEMAS["FleetRequest"]["properties"]["uri"],
        SCHEMAS["AzureJson"]["properties"]["client_secret"],
    )
    kinds = [(one["anyOf"][0]["format"], one["anyOf"][0]["writeOnly"]) for one in properties]
    assert kinds == [("password", True)] * 2


@pytest.mark.parametrize("name", [name for name in examples.RESPONSES if name in SCHEMAS])
def test_response_examples_match_their_types(name: str):
    assert [error.message for error in validator(name).iter_errors(examples.RESPONSES[name])] == []


def test_the_version_is_the_projects_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def maybe(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


# fmt: off
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "experiment_id": maybe(0, 2**31 - 1, 2**31, -1, "1", True, None),
        "n_instances": maybe(1, 5000, 0, 5001, 2.5, None),
        "uri": maybe(
            None, "postgresql://h/d", "POSTGRES+x://u:p@h", "mysql://h/d", "", "postgresql://a b",
            "postgresql://u:p,q@one,two/d", "postgresql://u:p,q@one/d?sslmode=require&options=a",
            "postgresql://h/d?host=other", "postgresql://u:p#@h/d", "postgresql://[::1]:5432/d?",
            "postgresql://h/d?options=a@b", "postgresql://h:1/d@e/x", "postgresql://h/d%40?options=%40",
        ),
        "resource_uris": maybe(
            None, [], ["/subscriptions/s"], ["/subscriptions/s?x"], ["/subscriptions/a\0"], ["s"],
            ["subscriptions/s/"], ["/subscriptions/s//"], ["/subscriptions/"],
        ),
        "credential": maybe(None, "c"),
        "disk_type": maybe("Standard_LRS", "standard_lrs", "UltraSSD_LRS", "", None),
        "max_undead": maybe(0, 1, 5000, -1, None, "1"),
        "timeout": maybe(None, 0, 0.5, -1, "1"),
        "azure_json": st.none() | st.fixed_dictionaries(
            {},
            optional={
                "tenant_id": maybe(None, "contoso.com", "a tenant", ""),
                "client_id": maybe(None, "app", " "),
                "client_secret": maybe(None, "s", ""),
                "resource_group": maybe(None, "g", "g."),
                "other": maybe(1),
            },
        ),
        "location": maybe(None, "eastus", "East US", "East  US", "us-east", ""),
        "vm_size": maybe("Standard_D2s_v5", "", "a/b", None),
        "batch_id": maybe(None, 0, 2**63 - 1, 2**63, -1),
        "ssh_public_key": maybe(None, "ssh-rsa AAAA= me", "ssh-dss AAAA", "ssh-rsa A\nssh-rsa B"),
        "outbound": maybe("default", "existing", "nat"),
        "subnet_id": maybe(None, SUBNET, SUBNET + "/x", ""),
        "zones": maybe([], ["1", "3"], ["4"], "1"),
        "priority": maybe("Regular", "Spot", "spot"),
        "fallbacks": maybe(
            [], [{}], [{"location": "westus"}], [{"priority": "Spot"}], [{"zone": "1"}], [{"x": 1}]
        ),
        "max_price": maybe(None, 0.1, 0),
        "max_cost": maybe(None, 5, 0),
        "delete_on_complete": maybe(True, False, 0),
        "max_lifetime": maybe(1, 0.5, 31 * 24 * 3600, 31 * 24 * 3600 + 1),
        "min_instances": maybe(1, 0),
        "tags": st.dictionaries(
            maybe("a", "powerlift-x", " Powerlift-x", "a/b", "", " "),
            maybe("", "b", "\n", None),
            max_size=1,
        ),
        "cpu_models": maybe([], ["EPYC  7763"], [" 8370C"], [" "], [""], ["a\tb"], [None]),
        "name": maybe(None, "nightly", "fleet-1", "latest", "N", ""),
        "trial_seed": maybe(None, 0, 2**31 - 1, 2**31, -1, 1.0, "1"),
        "bogus": maybe(1),
    },
)
# fmt: on


@settings(max_examples=400, derandomize=True, deadline=None)
@given(
    st.builds(
        lambda asked: {"experiment_id": 1, "n_instances": 2, **asked},
        ASKED,
    )
)
@example({"experiment_id": 1})
@example({"experiment_id": 1, "n_instances": 2, "tags": {"a": "\n"}})
@example({"experiment_id": 1, "n_instances": 2, "outbound": "existing", "subnet_id": SUBNET})
@example({"experiment_id": 1, "n_instances": 2, "max_price": 1, "priority": "Spot"})
@example({"experiment_id": 1, "n_instances": 2, "cpu_models": [" "]})
@example({"experiment_id": 1, "n_instances": 2, "max_cost": 1, "delete_on_complete": False})
@example(
    {"experiment_id": 1, "n_instances": 2, "max_price": 1, "fallbacks": [{"priority": "Spot"}]}
)
def test_the_schema_accepts_exactly_the_requests_that_the_app_accepts(asked: dict[str, Any]):
    try:
        parse(asked)
        taken = True
    except InvalidRequest:
        taken = False
    assert validator("FleetRequest").is_valid(asked) == taken


def test_the_document_is_generated_only_for_its_exact_path(monkeypatch: pytest.MonkeyPatch):
    """The route is anonymous, and generating the document takes long."""
    monkeypatch.delattr("fleet.api.openapi.document.schemas")
    assert openapi_document("/API")["servers"][0]["url"] == "/API"
