"""Entra ID's endpoints: discovery, application tokens, and the cloud's metadata."""

from __future__ import annotations

import hmac
import time
import uuid
from typing import Any

from local.azure.arm.calls import Call, Reply, Request
from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Target
from local.azure.clock import timestamp
from local.azure.cloud import Checkpoint, Interceptor
from local.azure.identity.directory import TOKEN_LIFETIME, Directory

_ANY_TENANT = ("common", "organizations")
_RESOURCES = (
    "https://management.azure.com",
    "https://management.core.windows.net",
    "https://ossrdbms-aad.database.windows.net",  # Azure Database for PostgreSQL
    "https://storage.azure.com",
    "https://vault.azure.net",
)
"""Resources of every tenant, in addition to the simulator itself."""
_TOKEN = Target("/token", "/", "token", (), collection=True, subscription=None, group=None)


class Entra:
    """Handles the requests that azure-identity, MSAL and the Azure CLI send before they have a token."""

    def __init__(self, directory: Directory, intercept: Interceptor) -> None:
        self._directory, self._intercept = directory, intercept
        self._tenant = directory.identity.tenant_id

    async def handle(self, request: Request) -> Reply | None:
        """The reply, or None if the path is not an Entra ID endpoint."""
        parts = [part.lower() for part in request.path.split("/") if part]
        match parts:
            case ["metadata", "endpoints"]:
                return Reply(200, _cloud_description(request.base))
            case ["common", "discovery", "instance"]:
                return Reply(200, self._instances(request.base))
            case [tenant, ".well-known", "openid-configuration"]:
                return self._configuration(tenant, "", request.base)
            case [tenant, "v2.0", ".well-known", "openid-configuration"]:
                return self._configuration(tenant, "/v2.0", request.base)
            case [_, "discovery", "v2.0", "keys"] | [_, "discovery", "keys"]:
                return Reply(200, self._directory.public_keys())
            case [tenant, "oauth2", "token"] | [tenant, "oauth2", "v2.0", "token"]:
                return await self._token(tenant, request)
            case ["msi", "token"]:
                return self._managed(request)
        return None

    def _managed(self, request: Request) -> Reply:
        """App Service's endpoint of managed identities (learn.microsoft.com, overview-managed-identity):
        the application is the site's only user-assigned identity.
        """
        identity, query = self._directory.identity, request.query
        given = request.headers.get("x-identity-header", "")
        if not hmac.compare_digest(given.encode(), identity.client_secret.encode()):
            return Reply(401, {"statusCode": 401, "message": "The identity header is invalid."})
        resource = query.get("resource", "").rstrip("/")
        if query.get("client_id", "").lower() != identity.client_id:
            text = "No User Assigned or Delegated Managed Identity found for specified ClientId"
            return Reply(400, {"statusCode": 400, "message": f"{text}/ResourceId/PrincipalId."})
        if resource not in (*_RESOURCES, request.base):
            text = f"The resource principal named {resource} was not found."
            return Reply(400, {"statusCode": 400, "message": text})
        principal = self._directory.find(identity.client_object_id)
        assert principal is not None
        token = {
            "access_token": self._directory.issue_token(principal, resource),
            "expires_on": str(int(time.time()) + TOKEN_LIFETIME),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": identity.client_id,
        }
        return Reply(200, token)

    def _instances(self, base: str) -> dict[str, Any]:
        host = base.removeprefix("https://")
        return {
            "tenant_discovery_endpoint": f"{base}/{self._tenant}/v2.0/.well-known/openid-configuration",
            "api-version": "1.1",
            "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
        }

    def _configuration(self, tenant: str, version: str, base: str) -> Reply:
        if not self._is_known(tenant):
            return self._unknown_tenant(tenant)
        root = f"{base}/{tenant}"
        return Reply(
            200,
            {
                "issuer": f"{base}/{self._tenant}{version}",
                "token_endpoint": f"{root}/oauth2{version}/token",
                "authorization_endpoint": f"{root}/oauth2{version}/authorize",
                "device_authorization_endpoint": f"{root}/oauth2{version}/devicecode",
                "jwks_uri": f"{root}/discovery{version or '/v2.0'}/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
                "response_types_supported": ["code", "id_token", "token"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "tenant_region_scope": "NA",
            },
        )

    async def _token(self, tenant: str, request: Request) -> Reply:
        identity = self._directory.identity
        form = request.body if isinstance(request.body, dict) else {}
        client = str(form.get("client_id", ""))
        if not self._is_known(tenant):
            return self._unknown_tenant(tenant)
        if form.get("grant_type") != "client_credentials":
            text = f"The app requested an unsupported grant type '{form.get('grant_type')}'."
            return _error(400, "unsupported_grant_type", 70003, text)
        if client.lower() != identity.client_id:
            text = (
                f"Application with identifier '{client}' was not found in the directory '{tenant}'."
            )
            return _error(400, "unauthorized_client", 700016, text)
        if not hmac.compare_digest(
            str(form.get("client_secret", "")).encode(), identity.client_secret.encode()
        ):
            text = (
                "Invalid client secret provided. Ensure the secret being sent in the request is the "
                f"client secret value, not the client secret ID, for a secret added to app '{client}'."
            )
            return _error(401, "invalid_client", 7000215, text)
        principal = self._directory.find(identity.client_object_id)
        assert principal is not None
        scope = str(form.get("scope") or form.get("resource") or "")
        resource = scope.removesuffix("/.default").rstrip("/")
        if resource not in (*_RESOURCES, request.base):
            text = (
                f"The resource principal named {resource} was not found in the tenant named {tenant}. "
                "This can happen if the application has not been installed by the administrator of the "
                "tenant or consented to by any user in the tenant. You might have sent your "
                "authentication request to the wrong tenant."
            )
            return _error(400, "invalid_resource", 500011, text)
        try:
            await self._intercept(Checkpoint("accepted", Call(request, _TOKEN, principal)))
        except ArmError as error:
            body = {"error": error.code, "error_description": error.message}
            return Reply(error.status, body, error.headers)
        token = self._directory.issue_token(principal, scope.removesuffix("/.default"))
        lifetime = {"expires_in": TOKEN_LIFETIME, "ext_expires_in": TOKEN_LIFETIME}
        return Reply(200, {"token_type": "Bearer", **lifetime, "access_token": token})

    def _is_known(self, tenant: str) -> bool:
        return tenant in (self._tenant, *_ANY_TENANT)

    def _unknown_tenant(self, tenant: str) -> Reply:
        text = (
            f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are "
            "signing into the correct cloud."
        )
        return _error(400, "invalid_request", 90002, text)


def _error(status: int, error: str, number: int, text: str) -> Reply:
    trace, correlation, now = str(uuid.uuid4()), str(uuid.uuid4()), timestamp()
    return Reply(
        status,
        {
            "error": error,
            "error_description": f"AADSTS{number}: {text} Trace ID: {trace} "
            f"Correlation ID: {correlation} Timestamp: {now}",
            "error_codes": [number],
            "timestamp": now,
            "trace_id": trace,
            "correlation_id": correlation,
        },
    )


def _cloud_description(base: str) -> dict[str, Any]:
    """The response to `az cloud register --endpoint-resource-manager`: one object, not a list."""
    slash = f"{base}/"
    return {
        "name": "LocalAzure",
        "portal": base,
        "authentication": {
            "loginEndpoint": base,
            "audiences": [slash, "https://management.core.windows.net/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "resourceManager": slash,
        "graph": base, "graphAudience": base, "gallery": base, "batch": base, "media": base,
        "mediaServices": base, "sqlManagement": base, "activeDirectoryDataLake": base,
        "logAnalyticsResourceId": base, "appInsightsResourceId": base,
        "attestationResourceId": base, "microsoftGraphResourceId": slash,
        "suffixes": {
            "storage": "storage.invalid", "keyVaultDns": "vault.invalid",
            "sqlServerHostname": "sql.invalid", "acrLoginServer": "acr.invalid",
        },
    }  # fmt: skip
