"""Responses about the app, and errors."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

Condition = Literal["ok", "unavailable"]
CheckName = Literal["settings", "sealing_key", "database", "task_hub", "queue", "azure"]


class Health(TypedDict):
    """Whether the app can run fleets."""

    status: Condition
    """`unavailable`, with 503, if a check failed or timed out."""


class HealthCheck(TypedDict):
    """One check of the deployment."""

    name: CheckName
    """What was checked."""
    status: Literal["ok", "failed", "timeout", "skipped"]
    """`skipped`: the check needs a setting that is not set, or settings that are invalid."""
    detail: str
    """What was checked; or what is wrong and what to do about it. Names settings, but no values."""


class PolicySetting(TypedDict):
    """A setting that limits what requests may ask for."""

    setting: str
    """Its name."""
    value: str
    """Its value, or its default; `none` allows nothing, or is no limit."""


class HealthDetails(TypedDict):
    """The checks of the deployment, and its policy."""

    status: Condition
    """As in `GET /health`."""
    checks: list[HealthCheck]
    """All checks, in a fixed order."""
    policy: list[PolicySetting]
    """What the deployment allows; empty if the settings are invalid."""


class RequestFault(TypedDict):
    """One validation error of a request."""

    pointer: Annotated[str, Field(examples=["/azure_json/client_secret"])]
    """A JSON pointer (RFC 6901) into the body; empty for the body as a whole, or a query parameter."""
    detail: str
    """What is wrong there, without the value; names a query parameter."""


class Problem(TypedDict):
    """Problem details (RFC 9457)."""

    type: Annotated[str, Field(examples=["about:blank"])]
    """Always `about:blank`: title and status identify the problem."""
    title: Annotated[str, Field(examples=["Invalid fleet request"])]
    """The kind of problem."""
    status: Annotated[int, Field(ge=400, le=599)]
    """The HTTP status code."""
    detail: str
    """What happened, and what to do about it."""
    errors: NotRequired[list[RequestFault]]
    """With 400: every validation error of the request."""
