"""Sealing: no secret reaches a durable history, a status or a log in the clear."""

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
    """A sealed text that none of the keys opens, or a key that is not valid."""

    code, action, advice = "SealBroken", "fail_fleet", "See the message."


class Seal:
    """Fernet over one or more keys: the first seals, all of them open, so that keys can rotate."""

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            raise SealBroken(
                "FLEET_SEALING_KEY holds something that is no Fernet key (32 bytes, url-safe base64)."
            ) from error
        self._keys = tuple(base64.urlsafe_b64decode(key) for key in keys)

    def close(self, secrets: Mapping[str, str]) -> str:
        """Seal a mapping of names to secrets into one text."""
        return self._fernet.encrypt(json.dumps(dict(secrets)).encode()).decode()

    def open(self, sealed: str) -> dict[str, str]:
        """Open what `close` made. Raises SealBroken when no key fits."""
        try:
            return dict(json.loads(self._fernet.decrypt(sealed.encode())))
        except InvalidToken:
            raise SealBroken(
                "A sealed request cannot be opened: FLEET_SEALING_KEY no longer holds the key that "
                "it was sealed with. Put the old key back, after the new one."
            ) from None

    def fingerprints(self, document: Any) -> list[str]:
        """One keyed digest of a JSON document per key, the sealing key's first.

        Keyed, because a plain digest of a request that holds a short secret can be guessed.
        """
        text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        return [hmac.new(key, text, hashlib.sha256).hexdigest() for key in self._keys]
