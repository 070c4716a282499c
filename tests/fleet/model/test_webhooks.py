"""Webhooks: which URLs are valid, and the signature of a notification."""

from __future__ import annotations

import base64

import pytest

from fleet.model.webhooks import host_of, secret_key, signature_headers

KEY = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Hooks.example.org/a?b=c", "hooks.example.org"),
        ("https://hooks.example.org:443", "hooks.example.org"),
        ("https://127.0.0.1:8443/x", "127.0.0.1:8443"),
        ("https://hooks.example.org?token=a@b", "hooks.example.org"),
        ("http://hooks.example.org/", None),
        ("https://me:secret@hooks.example.org/", None),
        ("https://hooks.example.org@evil.example/", None),
        ("https://hooks.example.org\\@evil.example/", None),
        ("https://hooks.example.org#@evil.example/", None),
        ("https://hooks.example.org:70000/", None),
        ("https://hooks.example.org:/", None),
        ("https://hooks.example.org/\n", None),
        ("https://h\u00f6\u00f6ks.example.org/", None),
        ("https://[::1]/", None),
        ("https://" + "a" * 2048, None),
    ],
)
def test_the_host_of_a_webhook(url: str, host: str | None):
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("secret", "length"),
    [
        ("whsec_" + base64.b64encode(b"x" * 24).decode(), 24),
        ("whsec_" + base64.b64encode(b"x" * 64).decode(), 64),
        ("whsec_" + base64.b64encode(b"x" * 23).decode(), None),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), None),
        (base64.b64encode(b"x" * 32).decode(), None),
        ("whsec_not base64", None),
    ],
)
def test_a_secret_has_24_to_64_bytes(secret: str, length: int | None):
    key = secret_key(secret)
    assert (key and len(key)) == length


def test_the_signature_is_that_of_the_specifications_example():
    assert KEY is not None
    identity, content = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
    assert signature_headers(identity, 1614265330, content, [KEY]) == {
        "webhook-id": identity,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_key_signs():
    signature = signature_headers("id", 1, b"{}", [b"x" * 24, b"y" * 24])["webhook-signature"]
    assert [one[:3] for one in signature.split(" ")] == ["v1,", "v1,"]
