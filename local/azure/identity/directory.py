"""The tenant: its identity, its service principals, and their access tokens."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local.azure.arm.errors import ArmError, unauthenticated

TOKEN_LIFETIME = 86399
"""Wall seconds; the lifetime of Entra ID's application tokens."""

USERS = (
    "11111111-2222-4333-8444-555555555555",
    "5d1b1a7e-0c8e-4f57-9d5a-3f6f3e0a4a11",
    "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
)
"""Object IDs of the tenant's users. All others are unknown to it, as are application IDs."""

_PUBLIC_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")
_KEY_ID = "local-azure"


@dataclass(frozen=True)
class Identity:
    """The subscription, the tenant, and the application that owns them."""

    subscription_id: str
    tenant_id: str
    client_id: str
    client_object_id: str
    client_secret: str
    signing_key: rsa.RSAPrivateKey


def load_identity(directory: Path, seed: int) -> Identity:
    """Load the identity, or create one. Ids are derived from the seed; secret and key are random."""
    file = directory / "identity.json"
    if file.exists():
        content = json.loads(file.read_text())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        content = {"client_secret": secrets.token_urlsafe(30), "signing_key": pem.decode()}
        directory.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps(content))
    signing_key = serialization.load_pem_private_key(content["signing_key"].encode(), None)
    assert isinstance(signing_key, rsa.RSAPrivateKey)
    return Identity(
        subscription_id=seeded_guid(seed, "subscription"),
        tenant_id=seeded_guid(seed, "tenant"),
        client_id=seeded_guid(seed, "client"),
        client_object_id=seeded_guid(seed, "client object"),
        client_secret=content["client_secret"],
        signing_key=signing_key,
    )


def seeded_guid(seed: int, name: str) -> str:
    """A GUID derived from the seed and a name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"local.azure/{seed}/{name}"))


@dataclass(frozen=True)
class Principal:
    """The configured application's service principal, a managed identity, or a user."""

    object_id: str
    client_id: str
    """The application ID, which no role can be assigned to; empty for a user."""
    type: str = "ServicePrincipal"
    vm_id: str | None = None
    """Resource id of the VM that has this identity."""
    replicated_at: float = 0.0
    """Simulated time from which a role can be assigned to it if the request gives its type."""
    replicated_untyped_at: float = 0.0
    """The same without the type, which requires a directory lookup."""


class Directory:
    """Holds the tenant's principals; issues and validates their tokens."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._principals: dict[str, Principal] = {}
        self.add(Principal(identity.client_object_id, identity.client_id))
        for user in USERS:
            self.add(Principal(user, "", type="User"))

    def add(self, principal: Principal) -> None:
        self._principals[principal.object_id.lower()] = principal

    def find(self, object_id: str) -> Principal | None:
        return self._principals.get(object_id.lower())

    def remove(self, object_id: str) -> None:
        """Remove a principal. Its tokens become invalid."""
        self._principals.pop(object_id.lower(), None)

    def issue_token(self, principal: Principal, audience: str) -> str:
        """A signed access token for `principal`."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "aud": audience, "iss": f"https://sts.windows.net/{self.identity.tenant_id}/",
            "iat": now, "nbf": now, "exp": now + TOKEN_LIFETIME, "idtyp": "app", "ver": "1.0",
            "appid": principal.client_id, "oid": principal.object_id, "sub": principal.object_id,
            "tid": self.identity.tenant_id, "uti": secrets.token_urlsafe(8),
        }  # fmt: skip
        if principal.vm_id:
            claims["xms_mirid"] = principal.vm_id
        return jwt.encode(
            claims, self.identity.signing_key, algorithm="RS256", headers={"kid": _KEY_ID}
        )

    def authenticate(self, headers: Mapping[str, str], base: str) -> Principal:
        """The principal that sends the request. Raises ArmError 401. `base` is our own audience."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if not token:
            message = "Authentication failed. The 'Authorization' header is missing."
            raise self._unauthenticated("AuthenticationFailed", message)
        if scheme.lower() != "bearer":
            message = "Authentication failed. The 'Authorization' header has an invalid format."
            raise self._unauthenticated("AuthenticationFailedInvalidHeader", message)
        claims = self._claims(token)
        if str(claims["aud"]).rstrip("/") not in (*_PUBLIC_AUDIENCES, base):
            audience = claims["aud"]
            message = (
                f"The access token was obtained for the wrong audience or resource '{audience}'."
            )
            raise self._unauthenticated("InvalidAuthenticationTokenAudience", message)
        principal = self.find(claims["oid"])
        if principal is None:
            raise self._unauthenticated(
                "InvalidAuthenticationToken", "The access token is invalid."
            )
        return principal

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self.identity.signing_key.public_key(),
                algorithms=["RS256"],
                options={"verify_aud": False, "require": ["aud", "exp", "oid"]},
            )
        except jwt.ExpiredSignatureError:
            raise self._unauthenticated(
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier than current UTC time.",
            ) from None
        except jwt.InvalidTokenError:
            raise self._unauthenticated(
                "InvalidAuthenticationToken", "The access token is invalid."
            ) from None

    def _unauthenticated(self, code: str, message: str) -> ArmError:
        return unauthenticated(code, message, self.identity.tenant_id)

    def public_keys(self) -> dict[str, Any]:
        """The JSON Web Key Set that verifies the tokens."""
        public = self.identity.signing_key.public_key()
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(public))
        return {"keys": [{**key, "use": "sig", "kid": _KEY_ID}]}
