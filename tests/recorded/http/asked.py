"""The requests of the recordings, by title, as they go over the wire.

`<default>`, `<master>` and `<system>` stand for the host's keys.
"""

from __future__ import annotations

import ast

_BODIES: dict[str, bytes] = {
    "array": b"[]",
    "bigint": b'{"experiment_id": 99999999999999999999}',
    "bom": b'\xef\xbb\xbf{"n_instances": 1}',
    "comment": b"{} // a comment",
    "date": b'{"x": "2026-11-28T07:05:06Z", "2026-11-28T07:05:06Z": 1}',
    "dup": b'{"experiment_id": 1, "experiment_id": 2}',
    "empty": b"",
    "float1.0": b'{"experiment_id": 1, "n_instances": 1.5}',
    "invalid": b"{invalid",
    "latin1": '{"tags": {"a": "é"}}'.encode("latin-1"),
    "nan": b'{"experiment_id": NaN}',
    "nul": b'{"a": "\\u0000"}',
    "num": b"1",
    "single": b"{'experiment_id': 1}",
    "surrogate": b'{"experiment_id": "\\ud800"}',
    "text": b"text",
    "trail": b"{} x",
}


def ask(
    method: str | bytes,
    target: str | bytes,
    *headers: str | bytes,
    key: str | None = "default",
    body: bytes | None = None,
    host: str | None = "127.0.0.1",
    version: str = "1.1",
) -> bytes:
    """A request; its length is said where there is a `body`."""
    lines = [b" ".join([_bytes(method), _bytes(target), f"HTTP/{version}".encode()])]
    lines += [f"Host: {host}".encode()] if host else []
    lines += [f"x-functions-key: <{key}>".encode()] if key else []
    lines += [b"Connection: close"]
    lines += [f"Content-Length: {len(body)}".encode()] if body is not None else []
    return b"\r\n".join([*lines, *map(_bytes, headers), b"", body or b""])


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def request(title: str) -> bytes:
    """The request of a title. Those of `path …` and of a content type with a body are made from it."""
    if title in ASKED:
        return ASKED[title]
    if title.startswith("path "):
        return ask("GET", title.removeprefix("path "))
    content_type, _, name = title.rpartition(" ")
    kind = ast.literal_eval(content_type)
    headers = [] if kind is None else [b"Content-Type: " + kind]
    return ask("POST", "/api/fleets", *headers, body=_BODIES[name])


_FLEETS, _HEALTH = "/api/fleets", "/api/health"
_WEBHOOK, _ADMIN = "/runtime/webhooks/durabletask/instances", "/admin/host/status"
_30_MB = b" " * 30_000_000

ASKED: dict[str, bytes] = {
    # methods
    "PUT /api/fleets": ask("PUT", _FLEETS),
    "PATCH /api/fleets/fleet-1": ask("PATCH", f"{_FLEETS}/fleet-1"),
    "DELETE /api/fleets": ask("DELETE", _FLEETS),
    "POST /api/health": ask("POST", _HEALTH),
    "PUT /api/fleets no key": ask("PUT", _FLEETS, key=None),
    "HEAD /api/health": ask("HEAD", _HEALTH),
    "HEAD /api/fleets": ask("HEAD", _FLEETS),
    "HEAD /api/fleets no key": ask("HEAD", _FLEETS, key=None),
    "HEAD /api/nothing": ask("HEAD", "/api/nothing"),
    "HEAD 404": ask("HEAD", f"{_FLEETS}/nope"),
    "OPTIONS /api/fleets": ask("OPTIONS", _FLEETS),
    "OPTIONS /api/fleets no key CORS": ask(
        "OPTIONS", _FLEETS, "Origin: http://a.b", "Access-Control-Request-Method: GET", key=None
    ),
    "OPTIONS *": ask("OPTIONS", "*"),
    "TRACE /api/fleets": ask("TRACE", _FLEETS),
    "FOO /api/fleets": ask("FOO", _FLEETS),
    "CONNECT": ask("CONNECT", "127.0.0.1:443"),
    "lower method": ask("get", _HEALTH),
    "method override": ask("POST", f"{_FLEETS}/fleet-1", "X-HTTP-Method-Override: DELETE"),
    "DELETE body": ask("DELETE", f"{_FLEETS}/fleet-999999", body=b"{}"),
    # keys
    "GET /api/fleets no key": ask("GET", _FLEETS, key=None),
    "GET /api/fleets wrong key": ask("GET", _FLEETS, "x-functions-key: wrong", key=None),
    "GET /api/fleets empty key": ask("GET", _FLEETS, "x-functions-key:", key=None),
    "GET /api/fleets ?code=": ask("GET", f"{_FLEETS}?code=<default>", key=None),
    "GET /api/fleets ?code=wrong": ask("GET", f"{_FLEETS}?code=wrong", key=None),
    "GET ?code=wrong + right header": ask("GET", f"{_FLEETS}?code=wrong"),
    "GET ?code=right + wrong header": ask(
        "GET", f"{_FLEETS}?code=<default>", "x-functions-key: wrong", key=None
    ),
    "GET /api/fleets master key": ask("GET", _FLEETS, key="master"),
    "GET two key headers (wrong, right)": ask(
        "GET", _FLEETS, "x-functions-key: wrong", "x-functions-key: <default>", key=None
    ),
    "GET ?CODE=key": ask("GET", f"{_FLEETS}?CODE=<default>", key=None),
    "GET bearer": ask("GET", _FLEETS, "Authorization: Bearer <default>", key=None),
    "webhook no key": ask("GET", _WEBHOOK, key=None),
    "webhook default key": ask("GET", _WEBHOOK),
    "webhook system key": ask("GET", _WEBHOOK, key="system"),
    "admin status no key": ask("GET", _ADMIN, key=None),
    "admin status function key": ask("GET", _ADMIN),
    "admin ping": ask("GET", "/admin/host/ping", key=None),
    "view": ask("GET", f"{_FLEETS}/view", key=None),
    # paths
    "GET /api/nothing": ask("GET", "/api/nothing"),
    "GET /api/nothing no key": ask("GET", "/api/nothing", key=None),
    "GET /nothing": ask("GET", "/nothing"),
    "GET /": ask("GET", "/", key=None),
    "GET /api": ask("GET", "/api"),
    "GET /api/": ask("GET", "/api/"),
    "GET /API/Health": ask("GET", "/API/Health"),
    "GET /api/health/": ask("GET", "/api/health/"),
    "GET //api/health": ask("GET", "//api/health"),
    "GET /api//health": ask("GET", "/api//health"),
    "GET /api/../api/health": ask("GET", "/api/../api/health"),
    "GET /api/%68ealth": ask("GET", "/api/%68ealth"),
    "GET /api/fleets/nope": ask("GET", f"{_FLEETS}/nope"),
    "GET /api/fleets/a%2Fb": ask("GET", f"{_FLEETS}/a%2Fb"),
    "%FF path": ask("GET", f"{_FLEETS}/%FF"),
    "%FF route": ask("GET", "/api/%FF"),
    "%00 path": ask("GET", f"{_FLEETS}/%00"),
    "%0A path": ask("GET", f"{_FLEETS}/a%0Ab"),
    "raw \\xff path": ask("GET", b"/api/fleets/\xff"),
    "%FF query": ask("GET", f"{_FLEETS}?x=%FF"),
    "%00 query": ask("GET", f"{_FLEETS}?x=%00"),
    "bad escape %zz": ask("GET", f"{_FLEETS}/%zz"),
    "path 7000": ask("GET", f"{_FLEETS}/{'a' * 7000}"),
    "path 9000": ask("GET", f"{_FLEETS}/{'a' * 9000}"),
    "path /api/health?aaaaaaaaaaaaaaaaaaaaaaaaaaaa": ask("GET", f"{_HEALTH}?{'a' * 7000}"),
    # headers
    "header non-UTF-8": ask("GET", _FLEETS, b"X-A: \xff\xfe"),
    "header latin1 e-acute byte": ask("GET", _FLEETS, b"X-A: \xe9"),
    "header UTF-8": ask("GET", _FLEETS, "X-A: é"),
    "header UTF-8 in Idempotency-Key (POST)": ask(
        "POST", _FLEETS, "Idempotency-Key: é", body=b"{}"
    ),
    "header 7000": ask("GET", _FLEETS, f"X-A: {'a' * 7000}"),
    "header 7000 health": ask("GET", _HEALTH, f"X-A: {'a' * 7000}"),
    "header 33000": ask("GET", _FLEETS, f"X-A: {'a' * 33000}"),
    "120 headers": ask("GET", _FLEETS, *[f"X-{i}: a" for i in range(120)]),
    "no Host header": ask("GET", _HEALTH, host=None),
    "two Host": ask("GET", _HEALTH, "Host: other"),
    "bad Host": ask("GET", _HEALTH, host="a b"),
    "Host evil": ask("GET", _HEALTH, host="evil.example"),
    "HTTP/1.0": ask("GET", _HEALTH, host=None, version="1.0"),
    "junk": b"\x16\x03\x01junk\r\n\r\n",
    "Accept-Encoding gzip": ask("GET", "/api/openapi.json", "Accept-Encoding: gzip"),
    # bodies
    "body 30MB POST": ask("POST", _FLEETS, body=_30_MB),
    "body 30MB no key": ask("POST", _FLEETS, key=None, body=_30_MB),
    # Answered before the body is read: the rest of it need not be sent.
    "body 110MB": ask("POST", _FLEETS, "Content-Length: 110000000") + b" " * 100_000,
    "POST non-UTF-8 body": ask("POST", _FLEETS, body=b'{"a": "\xff"}'),
    "POST no body": ask("POST", _FLEETS, body=b""),
    "POST without length": ask("POST", _FLEETS),
    "bad length": ask("POST", _FLEETS, "Content-Length: abc"),
    "chunked POST": ask("POST", _FLEETS, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
    "Expect 100": ask("POST", _FLEETS, "Expect: 100-continue", body=b"{}"),
}
