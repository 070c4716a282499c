"""What the compiler makes of `infra/`: the template, and the resources of the example parameters."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INFRA = Path(__file__).parents[2] / "infra"
TEMPLATE: dict[str, Any] = json.loads((INFRA / "main.json").read_text())
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
SETTING = re.compile(r"'((?:APPLICATIONINSIGHTS|AZURE|AzureWebJobs|FLEET|POWERLIFT|TASKHUB)\w+)',")


@dataclass(frozen=True)
class Assignment:
    """A role assignment of the app: `scope` is the ARM ID below the example's subscription."""

    role: str
    scope: str
    condition: str | None


class Example:
    """The resources that a deployment with `infra/examples/NAME.bicepparam` has."""

    def __init__(self, name: str) -> None:
        snapshot = json.loads((INFRA / "examples" / f"{name}.snapshot.json").read_text())
        self.resources: list[dict[str, Any]] = snapshot["predictedResources"]

    def of(self, type_: str) -> list[dict[str, Any]]:
        return [one for one in self.resources if one["type"] == type_]

    def roles(self) -> dict[str, dict[str, Any]]:
        """The custom roles by their kind: provisioner, assigner, vm, …"""
        definitions = self.of("Microsoft.Authorization/roleDefinitions")
        return {one["properties"]["roleName"].split()[2].lower(): one for one in definitions}

    def assignments(self) -> list[Assignment]:
        """The assignments of the custom roles, to the app's identity."""
        kinds = {one["id"]: kind for kind, one in self.roles().items()}
        found = []
        for one in self.of("Microsoft.Authorization/roleAssignments"):
            properties = one["properties"]
            if kind := kinds.get(properties["roleDefinitionId"]):
                found.append(Assignment(kind, _scope(one["id"]), properties.get("condition")))
        return found

    def settings(self) -> set[str]:
        """The names of the app's settings."""
        [config] = self.of("Microsoft.Web/sites/config")
        properties = config["properties"]  # an expression, where a module computes some
        return set(SETTING.findall(properties) if isinstance(properties, str) else properties)


def _scope(assignment_id: str) -> str:
    """The scope of a role assignment, whose name is computed during the deployment."""
    call = re.match(r"\[(\w+)\('([^']*)'(?:, '([^']*)')?", assignment_id)
    assert call, assignment_id
    function, first, second = call.groups()
    if function == "subscriptionResourceId":
        return SUBSCRIPTION
    return first if function == "extensionResourceId" else f"{SUBSCRIPTION}/resourceGroups/{second}"
