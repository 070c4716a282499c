"""ARM's error responses, with a constructor for each error that several providers raise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Detail = dict[str, Any]


class ArmError(Exception):
    """An error response. The router catches it and adds the envelope."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        target: str | None = None,
        details: Sequence[Detail] = (),
        headers: Mapping[str, str] | None = None,
        cause: str = "service",
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message, self.target = status, code, message, target
        self.details, self.headers = list(details), dict(headers or {})
        self.cause = cause
        """The source of the failure: `gateway` is ARM itself, `service` a resource provider."""
        self.wrapped = True
        """Whether a response has it under `error`; Compute's throttling errors have no envelope."""

    def error(self) -> Detail:
        """The `error` object of a response or of a failed operation."""
        error: Detail = {"code": self.code, "message": self.message}
        if self.target is not None:
            error["target"] = self.target
        if self.details:
            error["details"] = self.details
        return error


def gateway(status: int, code: str, message: str) -> ArmError:
    """An error of ARM itself, raised before a resource provider is called."""
    return ArmError(status, code, message, cause="gateway")


def invalid_parameter(target: str, message: str) -> ArmError:
    return ArmError(400, "InvalidParameter", message, target=target)


def missing_parameter(path: str) -> ArmError:
    """400 InvalidParameter for a missing required member."""
    return invalid_parameter(path, f"Required parameter '{path}' is missing (null).")


def not_deserialized(reason: str, target: str | None = None) -> ArmError:
    """400 InvalidRequestContent: the resource type cannot deserialize the JSON."""
    message = f"The request content was invalid and could not be deserialized: '{reason}'."
    return ArmError(400, "InvalidRequestContent", message, target=target, cause="gateway")


def resource_not_found(type_: str, name: str, group: str) -> ArmError:
    """404 ResourceNotFound for a top-level resource."""
    return gateway(
        404,
        "ResourceNotFound",
        f"The Resource '{type_}/{name}' under resource group '{group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def invalid_reference(missing: str, by: str) -> ArmError:
    """400 InvalidResourceReference: a request refers to a resource that does not exist."""
    return ArmError(
        400,
        "InvalidResourceReference",
        f"Resource {missing} referenced by resource {by} was not found. Please make sure that the "
        "referenced resource exists, and that both resources are in the same region.",
    )


def authorization_failed(
    client: str, object_id: str, action: str, scope: str, *, condition: bool = False
) -> ArmError:
    """403; `condition`: that of the role assignment which allows the action is false."""
    has = "does not have authorization"
    if condition:
        has = "has an authorization with ABAC condition that is not fulfilled"
    return gateway(
        403,
        "AuthorizationFailed",
        f"The client '{client}' with object id '{object_id}' {has} to perform action '{action}' over "
        f"scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your "
        "credentials.",
    )


def linked_authorization_failed(
    client: str, object_id: str, action: str, scope: str, linked_action: str, linked_scope: str
) -> ArmError:
    """403: a request refers to a resource that its sender may not join (aad-pod-identity#339)."""
    return gateway(
        403,
        "LinkedAuthorizationFailed",
        f"The client '{client}' with object id '{object_id}' has permission to perform action "
        f"'{action}' on scope '{scope}'; however, it does not have permission to perform action "
        f"'{linked_action}' on the linked scope(s) '{linked_scope}' or the linked scope(s) are invalid.",
    )


def unauthenticated(code: str, message: str, tenant: str) -> ArmError:
    """401, with the challenge that tells a client where to get a token."""
    challenge = (
        f'Bearer authorization_uri="https://login.windows.net/{tenant}", '
        f'error="invalid_token", error_description="{message}"'
    )
    headers = {"WWW-Authenticate": challenge}
    return ArmError(401, code, message, headers=headers, cause="gateway")


def nic_reserved(vm_id: str) -> ArmError:
    """400 NicReservedForAnotherVm (gardenlinux#4133). Azure sends no Retry-After."""
    return ArmError(
        400,
        "NicReservedForAnotherVm",
        "Nic(s) in request is reserved for another Virtual Machine for 180 seconds. Please provide "
        f"another nic(s) or retry after 180 seconds. Reserved VM: {vm_id}",
    )


def nic_in_use(nic_id: str, vm_id: str) -> ArmError:
    """400 NicInUse (terraform-provider-azurerm#8105)."""
    return ArmError(
        400,
        "NicInUse",
        f"Network Interface {nic_id} is used by existing resource {vm_id}. In order to delete the "
        "network interface, it must be dissociated from the resource. To learn more, see "
        "aka.ms/deletenic.",
    )


def marked_for_deletion(operation: str, vm: str) -> ArmError:
    """409 OperationNotAllowed on a VM that is being deleted (viya4-iac-azure#140)."""
    return ArmError(
        409,
        "OperationNotAllowed",
        f"Operation '{operation}' is not allowed on VM '{vm}' since the VM is marked for deletion. "
        "You can only retry the Delete operation (or wait for an ongoing one to complete).",
    )
