"""Responses about the app, and errors."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict


class Health(TypedDict):
    """The app can accept requests."""

    status: Literal["ok"]
    """Always `ok`: an app that cannot accept requests returns 503."""


class RequestFault(TypedDict):
    """One validation error of a request."""

    pointer: Annotated[str, Field(examples=["/azure_json/client_secret"])]
    """A JSON pointer (RFC 6901) into the body; empty for the body as a whole."""
    detail: str
    """What is wrong there, without the value."""


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
