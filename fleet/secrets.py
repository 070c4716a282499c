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
    """The secrets of a fleet cannot be decrypted, or a key is invalid."""

    code, action = "SealBroken", "fail_fleet"
    advice = "Correct FLEET_SEALING_KEY, then submit the request again."


class OtherFleetsSecrets(SealBroken):
    """The secrets were encrypted for another fleet: the order was tampered with."""

    advice = "Submit the request again, and find out who can write to the app's storage account."


class Seal:
    """Fernet with key rotation: the first key encrypts, all keys decrypt.

    The text of a fleet is of no use in the order of another one: owner and batch ID are encrypted with
    the secrets, and `decrypt` compares them. Fernet itself has no associated data.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            raise SealBroken(
                "FLEET_SEALING_KEY contains an invalid Fernet key (expected: 32 bytes, URL-safe base64)."
            ) from error
        self._keys = tuple(base64.urlsafe_b64decode(key) for key in keys)

    def encrypt(self, secrets: Mapping[str, str], owner: str, batch_id: int) -> str:
        """Encrypt a fleet's secrets, by name."""
        content = {"fleet": [owner, batch_id], "secrets": dict(secrets)}
        return self._fernet.encrypt(json.dumps(content).encode()).decode()

    def decrypt(self, sealed: str, owner: str, batch_id: int) -> dict[str, str]:
        """The secrets that were encrypted for this fleet.

        Raises SealBroken if no key fits, OtherFleetsSecrets if they belong to another fleet.
        """
        try:
            content = json.loads(self._fernet.decrypt(sealed.encode()))
        except InvalidToken:
            raise SealBroken(
                "Cannot decrypt the request's secrets: FLEET_SEALING_KEY no longer contains the "
                "key that encrypted them. Append the old key after the new one."
            ) from None
        if content.get("fleet") != [owner, batch_id]:
            raise OtherFleetsSecrets(
                "The encrypted secrets in this fleet's order belong to another fleet, or an earlier "
                "build of the app encrypted them. They were not used."
            )
        return dict(content["secrets"])

    def fingerprints(self, document: Any) -> list[str]:
        """An HMAC of a JSON document per key, the encrypting key's first.

        Keyed, because a plain digest of a request with a short secret can be brute-forced.
        """
        text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        return [hmac.new(key, text, hashlib.sha256).hexdigest() for key in self._keys]

    def has_signed(self, document: Any, signature: str | None) -> bool:
        """Whether a signature, of a table that VMs may write, is one of the document's fingerprints."""
        given = (signature or "").encode()
        return any(hmac.compare_digest(one.encode(), given) for one in self.fingerprints(document))
