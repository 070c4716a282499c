"""What the webhook of a fleet may be, and how a notification is signed, by the Standard Webhooks
specification (https://www.standardwebhooks.com).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence

LONGEST_URL = 2048
PATTERN = (
    r"https://([A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?)(?::([1-9][0-9]{0,4}))?"
    r"(?:[/?][-A-Za-z0-9._~!$&'()*+,;=:@%/?]*)?"
)
"""URLs that all clients read alike: without credentials, IPv6, a fragment, and what needs an escape."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - of the specification
SHORTEST_SECRET, LONGEST_SECRET = 24, 64
"""Bytes, as the specification requires."""


def host_of(url: str) -> str | None:
    """`host` or `host:port` of a webhook in lower case, without port 443; None if it is invalid."""
    found = re.fullmatch(PATTERN, url)
    if found is None or len(url) > LONGEST_URL or int(found[2] or 443) > 65535:
        return None
    return found[1].lower() + (f":{found[2]}" if found[2] not in (None, "443") else "")


def secret_key(secret: str) -> bytes | None:
    """The key in a secret, `whsec_` and base64; None if it is invalid."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        return None
    is_valid = secret.startswith(SECRET_PREFIX) and SHORTEST_SECRET <= len(key) <= LONGEST_SECRET
    return key if is_valid else None


def signature_headers(
    identity: str, timestamp: int, content: bytes, keys: Sequence[bytes]
) -> dict[str, str]:
    """The headers that identify and sign a request, with a signature per key.

    `timestamp`: seconds since 1970. A repeated request has the same identity.
    """
    signed = b".".join((identity.encode(), str(timestamp).encode(), content))
    digests = [hmac.digest(key, signed, hashlib.sha256) for key in keys]
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in digests),
    }
