"""The URLs of the management API in the client binding and in responses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

WEBHOOKS = "/runtime/webhooks/durabletask"
_PLACEHOLDER = "INSTANCEID"


@dataclass(frozen=True)
class Links:
    """URLs of the host at `origin`, which has no trailing slash.

    `system_key` authorizes webhooks. `rpc_token` is an unguessable part of the path that the app's own
    client uses.
    """

    origin: str
    hub: str
    system_key: str
    rpc_token: str

    @property
    def rpc_path(self) -> str:
        """The path of the client's endpoints, without a trailing slash."""
        return f"/durabletask/{self.rpc_token}"

    def management(self, instance_id: str) -> dict[str, str]:
        """The response to a start: one URL per management operation."""
        base = f"{self.origin}{WEBHOOKS}/instances/{quote_plus(instance_id)}"
        query = f"taskHub={quote(self.hub)}&connection=AzureWebJobsStorage&code={quote(self.system_key)}"
        return {
            "id": instance_id,
            "statusQueryGetUri": f"{base}?{query}",
            "sendEventPostUri": f"{base}/raiseEvent/{{eventName}}?{query}",
            "terminatePostUri": f"{base}/terminate?reason={{text}}&{query}",
            "rewindPostUri": f"{base}/rewind?reason={{text}}&{query}",
            "purgeHistoryDeleteUri": f"{base}?{query}",
            "restartPostUri": f"{base}/restart?{query}",
            "suspendPostUri": f"{base}/suspend?reason={{text}}&{query}",
            "resumePostUri": f"{base}/resume?reason={{text}}&{query}",
        }

    def client_binding(self) -> str:
        """The JSON value of a durableClient parameter."""
        code = f"code={quote(self.system_key)}"
        start = f"{self.origin}{WEBHOOKS}/orchestrators/{{functionName}}[/{{instanceId}}]?{code}"
        return json.dumps(
            {
                "taskHubName": self.hub,
                "connectionName": None,
                "creationUrls": {"createNewInstancePostUri": start},
                "managementUrls": self.management(_PLACEHOLDER),
                "baseUrl": f"{self.origin}{WEBHOOKS}",
                "requiredQueryStringParameters": code,
                "rpcBaseUrl": f"{self.origin}{self.rpc_path}/",
                "httpBaseUrl": None,
            }
        )
