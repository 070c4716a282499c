"""A request's JSON is parsed strictly, and errors are explained."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.api.request import InvalidRequest
from fleet.api.strict_json import LIMIT, read


def many(document: dict[str, Any]) -> bytes:
    """A document with 1001 members, in its inner object if it has one."""
    inner: Any = next(iter(document.values()), document)
    inner = inner[0] if isinstance(inner, list) else inner
    inner.update({f"x{n}": 0 for n in range(1001 - (inner is not document))})
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"n_instances=2", "not valid JSON"),
        (b"\xff\xfe{\0}\0", "not valid UTF-8"),
        (b'{"timeout": NaN}', "NaN is not a valid JSON number"),
        (b'{"timeout": Infinity}', "Use null where there is no limit"),
        (b'{"timeout": -Infinity}', "-Infinity is not a valid JSON number"),
        (b'{"n_instances": 1, "n_instances": 2}', "duplicate names: n_instances"),
        (b'{"azure_json": {"a": 1, "a": 1}}', "duplicate names: a"),
        (b'{"location": "\\ud800"}', "lone surrogate"),
        (b'{"\\udc00": 1}', "lone surrogate"),
        (many({}), "more than 1,000 fields"),
        (many({"azure_json": {}}), "more than 1,000 fields"),
        (many({"fallbacks": [{}]}), "more than 1,000 fields"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"9" * 10_000, "not valid JSON"),
        (b'"' + b"a" * LIMIT + b'"', "larger than"),
    ],
)
def test_invalid_json_is_rejected_with_the_reason(body: bytes, reason: str):
    with pytest.raises(InvalidRequest, match=reason):
        read(body)


def test_an_error_quotes_nothing_of_the_body():
    with pytest.raises(InvalidRequest) as refused:
        read(b'{"uri": "postgresql://user:s3cr3t@host/db",}')
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "\\ud83d\\ude00\\u0000"}', {"a": "\U0001f600\0"}),
        (b"[2.5, 1e3]", [2.5, 1000]),
    ],
)
def test_valid_json_is_accepted(body: bytes, value: object):
    assert read(body) == value


def test_the_maximum_number_of_members_is_accepted():
    assert len(read(json.dumps(dict.fromkeys(map(str, range(1000)), 0)).encode())) == 1000


def test_whole_numbers_are_integers_in_any_notation():
    assert [type(one) for one in read(b"[2, 2.0, 2e0, 2.5, 1e300]")] == [
        int,
        int,
        int,
        float,
        float,
    ]
