"""Encrypts secrets before they enter a durable history."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from fleet.model.failure import DescribedError


class SealBroken(DescribedError, ValueError):
    """No key decrypts the secrets, or a key is invalid."""

    code, action, advice = "SealBroken", "fail_fleet", "See the message."


class Seal:
    """Fernet with key rotation: the first key encrypts, all keys decrypt."""

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            raise SealBroken(
                "FLEET_SEALING_KEY contains an invalid Fernet key (expected: 32 bytes, URL-safe base64)."
            ) from error
        self._keys = tuple(base64.urlsafe_b64decode(key) for key in keys)

    def close(self, secrets: Mapping[str, str]) -> str:
        """Encrypt secrets, by name."""
        return self._fernet.encrypt(json.dumps(dict(secrets)).encode()).decode()

    def open(self, sealed: str) -> dict[str, str]:
        """Decrypt the output of `close`. Raises SealBroken if no key fits."""
        try:
            return dict(json.loads(self._fernet.decrypt(sealed.encode())))
        except InvalidToken:
            raise SealBroken(
                "Cannot decrypt the request's secrets: FLEET_SEALING_KEY no longer contains the "
                "key that "
                "encrypted them. Append the old key after the new one."
            ) from None

    def fingerprints(self, document: Any) -> list[str]:
        """An HMAC of a JSON document per key, the encrypting key's first.

        Keyed, because a plain digest of a request with a short secret can be brute-forced.
        """
        text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        return [hmac.new(key, text, hashlib.sha256).hexdigest() for key in self._keys]
