"""The served OpenAPI document, and edge cases of HTTP."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from fleet.api.openapi.document import openapi_document
from fleet.api.routes import ROUTES
from local.stack import Stack

READ = [route for route in ROUTES if route.method == "GET"]


def ask(stack: Stack, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
    """Send one request byte for byte, as `requests` normalizes paths. Returns status, type and body."""
    connection = http.client.HTTPConnection(urlsplit(stack.url).netloc, timeout=30)
    try:
        connection.request(method, path, body, {"x-functions-key": stack.key, **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Content-Type"), answer.read()
    finally:
        connection.close()


def test_the_document_is_public(stack: Stack):
    answer = requests.get(f"{stack.url}/api/openapi.json", timeout=30)
    assert (answer.status_code, answer.json()) == (200, openapi_document("/api"))


def test_an_unchanged_document_is_304(stack: Stack):
    url = f"{stack.url}/api/openapi.json"
    tag = requests.get(url, timeout=30).headers["ETag"]
    again = requests.get(url, headers={"If-None-Match": f'"other", W/{tag}'}, timeout=30)
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)


@pytest.mark.parametrize("route", READ, ids=lambda route: route.name)
def test_head_is_get_without_the_body(stack: Stack, route: Any):
    path = f"/api{route.path}".replace("{id}", "fleet-999999999").replace("{ordinal}", "0")
    status, kind, _ = ask(stack, "GET", path)
    assert ask(stack, "HEAD", path) == (status, kind, b"")


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "PATCH"])
def test_an_unsupported_method_is_the_hosts_404(stack: Stack, method: str):
    assert ask(stack, method, "/api/fleets/fleet-7")[::2] == (404, b"")


@pytest.mark.parametrize("path", ["/plan", "/fleets"])
@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"1" * 10_000,
        b'{"experiment_id": 1, "n_instances": NaN}',
        b'{"experiment_id": 1, "experiment_id": 1, "n_instances": 1}',
        b'{"experiment_id": 1, "n_instances": 1' + b"0" * 4000 + b"}",
        b'{"experiment_id": 1, "n_instances": 1, "tags": {"\\u0000": "\\ud800"}}',
        b'{"experiment_id": 1, "n_instances": 1, "tags": {"a": "\\u0000"}}',
        b'{"experiment_id": 1, "n_instances": 1, "timeout": 1e999}',
        b'{"experiment_id": 1, "n_instances": 1, "x": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"experiment_id": 1, "n_instances": 1, "azure_json": []}',
        b"\x80\x81",
    ],
    ids=range(16),
)
def test_an_invalid_body_is_rejected_with_an_explanation(stack: Stack, path: str, body: bytes):
    status, kind, text = ask(stack, "POST", f"/api{path}", body)
    assert (status, kind, bool(json.loads(text)["errors"])) == (
        400,
        "application/problem+json",
        True,
    )


@pytest.mark.parametrize("path", ["/plan", "/fleets"])
def test_an_empty_body_lists_the_required_fields(stack: Stack, path: str):
    status, kind, text = ask(stack, "POST", f"/api{path}", b"")
    (fault,) = json.loads(text)["errors"]
    assert (status, kind, fault["pointer"]) == (400, "application/problem+json", "")
    assert "no body" in fault["detail"]
    assert "Content-Length" in fault["detail"]


@pytest.mark.parametrize("path", ["/plan", "/fleets"])
def test_a_body_above_the_limit_is_rejected_with_the_limit(stack: Stack, path: str):
    status, kind, text = ask(stack, "POST", f"/api{path}", b" " * 1_000_001)
    problem = json.loads(text)
    assert (status, kind, problem["status"]) == (413, "application/problem+json", 413)
    assert problem["detail"] == "The body is larger than 1000000 bytes."


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense"]
)
def test_a_body_is_parsed_as_json_whatever_its_content_type(stack: Stack, kind: str):
    body = b'{"experiment_id": 999999999, "n_instances": 1}'
    assert ask(stack, "POST", "/api/plan", body, **{"Content-Type": kind})[0] == 200


@pytest.mark.parametrize(
    "segment",
    [
        "fleet-" + "9" * 19,
        "fleet-" + "9" * 6000,
        "fleet-007",
        "fleet-%D9%A7",  # an Arabic seven
        "fleet-7%0A",
        "a%2Fb",
        "%FF",
        "%",
        "fleet-7'--",
    ],
    ids=range(9),
)
def test_an_unusual_id_is_not_found(stack: Stack, segment: str):
    for method, rest in (("GET", ""), ("GET", "/machines/0/log"), ("DELETE", "")):
        status, kind, _ = ask(stack, method, f"/api/fleets/{segment}{rest}")
        assert (status, kind) == (404, "application/problem+json")


@pytest.mark.parametrize("header", ["x" * 7000, "\xc3\xa9", '"quoted"'], ids=range(3))
def test_an_unusual_idempotency_key_is_accepted(stack: Stack, header: str):
    body = b'{"experiment_id": 999999999, "n_instances": 1}'
    codes = [
        ask(stack, "POST", "/api/fleets", body, **{"Idempotency-Key": header})[0] for _ in range(2)
    ]
    assert codes == [202, 200]
