"""Secrets are hidden in every spelling; all other text is unchanged."""

from __future__ import annotations

import json
import time

import pytest

from fleet.api.redaction import redacted

JSON = {"uri": "postgresql://me:s3cret@host/db", "azure_json": {"client_secret": "s3cret"}}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'{"uri": "postgresql://me:s3cret@host/db"}', b'{"uri": "postgresql://me:***@host/db"}'),
        (b'{"a": {"client_secret":"s3cret"} }', b'{"a": {"client_secret":"***"} }'),
        (b'{"client_secret": "s3\\"cr\\\\", "x": "\\""}', b'{"client_secret": "***", "x": "\\""}'),
        (b'{"client\\u005fsecret": "s3cret"}', b'{"client\\u005fsecret": "***"}'),
        (b'{"clientSecret" : "s3cret" , "n":1}', b'{"clientSecret" : "***" , "n":1}'),
        (b'{"AZURE_CLIENT_SECRET": "s3cret"}', b'{"AZURE_CLIENT_SECRET": "***"}'),
        (b'{"client_secret": 12345, "n": 1}', b'{"client_secret": ***, "n": 1}'),
        (b'{"client_secret": ["s3cret", "s3"], "n": 1}', b'{"client_secret": ***], "n": 1}'),
        (b'{"client_secret": null, "uri": null}', b'{"client_secret": null, "uri": null}'),
        (b'{"uri":"postgresql:\\/\\/me:s3cret@h\\/d"}', b'{"uri":"postgresql:\\/\\/me:***@h\\/d"}'),
        (b'{"uri": "postgresql://me@h:1/d"}', b'{"uri": "postgresql://me@h:1/d"}'),
        (b'{"uri": "postgresql://m@s:s3/cr@et@h/d"}', b'{"uri": "postgresql://m@s:***@h/d"}'),
        (b'{"uri": "postgresql://me:it\'s 3@h/d"}', b'{"uri": "postgresql://me:***@h/d"}'),
        (b'{"uri": "postgresql://h/d?password=s3&a=b"}', b'{"uri": "postgresql://h/d?password=***&a=b"}'),
        (b'{"uri": "me:s3cret@host/db"}', b'{"uri": "me:***@host/db"}'),
        (b"{\"uri\": \"host=h password='s 3' user=u\"}", b'{"uri": "host=h password=***\' user=u"}'),
        (b'{"uri": "password=s3 options=\'x:s3@h\'"}', b'{"uri": "password=*** options=\'x:***@h\'"}'),
        (b'{"other": "see db://me:s3cret@host/x y@z"}', b'{"other": "see db://me:***@host/x y@z"}'),
        (b'{"client_secret": "s3cret', b'{"client_secret": "***'),
        (b'\xff{"client_secret": "s3\xe9cret"}\x80', b'\xff{"client_secret": "***"}\x80'),
        (b"{'uri': 'pg://me:s3cret@h', 'x': 'y@z'}", b"{'uri': 'pg://me:***@h', 'x': 'y@z'}"),
        (b"uri: pg://me:s3,cret@h\nclient_secret: s3\n", b"uri: pg://me:***@h\nclient_secret: ***\n"),
        (b"client_secret=s3cret&n_instances=1", b"client_secret=***&n_instances=1"),
        (b'{"n_instances": 1, "n_instances": NaN}', b'{"n_instances": 1, "n_instances": NaN}'),
        (b"", b""),
    ],
)  # fmt: skip
def test_a_secret_is_hidden_and_other_text_is_kept(sent: bytes, kept: bytes):
    assert redacted(sent) == kept


def test_json_in_json_hides_its_secrets():
    sent = json.dumps(json.dumps({**JSON, "client_secret": 's3"cret'})).encode()
    assert b"s3" not in redacted(sent)
    assert b"cret" not in redacted(sent).replace(b"client_secret", b"")


@pytest.mark.parametrize("name", ["client_secret ", "client secret", "secret", "pwd", "db_token?"])
def test_a_misspelled_name_hides_its_secret(name: str):
    assert b"hunter2" not in redacted(json.dumps({"azure_json": {name: "hunter2"}}).encode())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_another_encoding_hides_its_secrets(encoding: str):
    kept = redacted(json.dumps(JSON).encode(encoding)).replace(b"\0", b"")
    assert b"s3cret" not in kept
    assert kept.count(b"***") == 2


@pytest.mark.parametrize(
    "part",
    [b"a", b'"', b"://", b"password=", b"password ", b'"uri":"', b"\\u0022", b"client_secret:["],
    ids=range(8),
)
def test_a_large_body_is_redacted_quickly(part: bytes):
    begin = time.process_time()
    redacted(part * (64 * 1024 // len(part)))
    assert time.process_time() - begin < 2
