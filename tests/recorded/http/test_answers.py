"""The recorded requests, sent again: the stand-in answers as the real host did.

Where the app answers its texts may have changed: status, Content-Type and framing are compared, and
the body too where the host itself answers.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from local.stack import Stack
from tests.recorded.http.asked import ask, request

HERE = Path(__file__).parent

REFUSED_BY_THE_APP = {
    "body 30MB POST",
    "POST no body",
    "POST without length",
    "chunked POST",
    "None empty",
    "b'application/json' empty",
}
"""Too large or empty. The app chooses the status; the host forwards the request."""

NOT_REPLAYED = {
    "X-Forwarded": "asked of a deployment without a usable FLEET_SEALING_KEY",
    "If-None-Match": "needs the document's ETag: a test of its own",
    "path /api/fleets?limit=1&limit=2": "the app of the recording did not read `limit`",
    "GET /api": "the app of the recording had no function for the prefix alone",
    "GET /api/": "as GET /api",
    "CL+TE": "the stand-in refuses it (see local/functions/kestrel.py)",
}

COMPARED = ("Content-Type", "Content-Length", "Transfer-Encoding", "WWW-Authenticate")


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str | None]
    body: bytes


def _recorded() -> Iterator[tuple[str, Answer]]:
    for name in ("requests.txt", "bodies.txt"):
        for part in (HERE / name).read_text().removeprefix("### ").split("\n\n### "):
            title, status, *rest = part.splitlines()
            if title not in NOT_REPLAYED:
                headers = message_from_string("\n".join(rest[:-1]))
                yield title, Answer(int(status.split()[1]), _kept(headers), b"")


def _kept(headers: Message) -> dict[str, str | None]:
    return {name: headers[name] for name in COMPARED}


@pytest.fixture(scope="module")
def keys(stack: Stack) -> dict[str, str]:
    kept = json.loads((stack.state_dir / "host" / "keys.json").read_text())
    return {
        "default": kept["default"],
        "master": kept["master"],
        "system": kept["durabletask_extension"],
    }


def _send(stack: Stack, keys: Mapping[str, str], raw: bytes) -> Answer:
    for name, key in keys.items():
        raw = raw.replace(f"<{name}>".encode(), key.encode())
    url = urlsplit(stack.url)
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        with contextlib.suppress(ConnectionError):  # refused before all of it was sent
            connection.sendall(raw)
        response = http.client.HTTPResponse(connection, method=raw.split(b" ")[0].decode("latin-1"))
        response.begin()
        return Answer(response.status, _kept(response.headers), response.read())


@pytest.mark.parametrize(("title", "recorded"), list(_recorded()))
def test_the_stand_in_answers_as_the_host(
    stack: Stack, keys: dict[str, str], title: str, recorded: Answer
) -> None:
    answer = _send(stack, keys, request(title))

    if title in REFUSED_BY_THE_APP:
        assert answer.headers == recorded.headers
        assert 400 <= answer.status < 500
    elif recorded.headers["Content-Length"] == "0":
        assert answer == recorded
    elif title in ("GET /", "webhook system key"):  # the host's own pages, of another length
        assert answer.status == recorded.status
        assert answer.headers["Content-Type"] == recorded.headers["Content-Type"]
    else:
        assert answer[:2] == recorded[:2]


def test_a_document_that_the_caller_has_is_a_304_without_a_body(
    stack: Stack, keys: dict[str, str]
) -> None:
    connection = http.client.HTTPConnection(stack.url.removeprefix("http://"))
    connection.request("GET", "/api/openapi.json")
    etag = connection.getresponse().headers["ETag"]
    answer = _send(stack, keys, ask("GET", "/api/openapi.json", f"If-None-Match: {etag}"))

    assert (answer.status, answer.headers["Transfer-Encoding"], answer.body) == (304, None, b"")
