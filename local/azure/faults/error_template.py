"""An error response of Azure as a template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from typing import Any

from local.azure.arm.errors import ArmError


@dataclass(frozen=True)
class ErrorTemplate:
    """An error whose message and details may contain `$name` placeholders."""

    code: str
    status: int
    message: str
    retry_after: float | None = None
    """Simulated seconds; None sends no Retry-After."""
    details: tuple[Mapping[str, Any], ...] = ()
    cause: str = "service"
    target: str | None = None
    challenge: bool = False
    """Sends WWW-Authenticate."""
    wrapped: bool = True
    """Compute sends some errors without the envelope."""

    def render(self, values: Mapping[str, str], retry_after: str | None) -> ArmError:
        """The error with its placeholders filled in; `retry_after` is the header, in wall seconds."""
        values = {**values, "seconds": retry_after or "0"}
        message = _fill(self.message, values)
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        if self.challenge:
            headers["WWW-Authenticate"] = (
                f'Bearer authorization_uri="https://login.windows.net/{values.get("tenant")}", '
                f'error="invalid_token", error_description="{message}"'
            )
        details = [{k: _fill(v, values) for k, v in detail.items()} for detail in self.details]
        error = ArmError(
            self.status, self.code, message,
            target=self.target, details=details, headers=headers, cause=self.cause,
        )  # fmt: skip
        error.wrapped = self.wrapped
        return error


def _fill(value: Any, values: Mapping[str, str]) -> Any:
    return Template(value).safe_substitute(values) if isinstance(value, str) else value


def template_of(error: ArmError) -> ErrorTemplate:
    """The template of an error that has a constructor in `arm.errors`."""
    return ErrorTemplate(error.code, error.status, error.message, cause=error.cause)
