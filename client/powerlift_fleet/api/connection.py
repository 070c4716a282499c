"""How the clients reach the app through httpx."""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Iterator
from typing import Any

import httpx

from powerlift_fleet._version import __version__
from powerlift_fleet.api import wire
from powerlift_fleet.api.flows import Flows
from powerlift_fleet.api.settings import sources
from powerlift_fleet.api.wire import ConnectionFailure, HttpRequest, HttpResponse

_ARGUMENTS = "url", 'key (key="" for an app without keys, as under `func start`)'


class Connection:
    """URL, key and HTTP options of an app, for both clients."""

    def __init__(self, url: str | None, key: str | None, retry_timeout: float) -> None:
        if url is None or key is None:
            app = sources.read(sources.Options(url, key=key, names=_ARGUMENTS))
            url, key = app.url, app.key
            for text in app.warnings:
                warnings.warn(text, stacklevel=3)
        self._key = wire.header_key(key)
        self._flows = Flows(url, retry_timeout)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def url(self) -> str:
        """The base URL of the API; ends in /api."""
        return self._flows.url

    def view_url(self, fleet: str | int) -> str:
        """The fleet's web page, with the key in the fragment, which browsers do not send."""
        return self._flows.view_url(fleet, self._key)

    def _options(self, timeout: float) -> dict[str, Any]:
        headers = {
            "User-Agent": f"powerlift-fleet/{__version__}",
            "Accept": "application/json, */*",
        }
        if self._key:
            headers["x-functions-key"] = self._key
        return {
            "headers": headers,
            "timeout": timeout,
            # A proxy cannot reach this machine's loopback.
            "trust_env": not wire.is_loopback(httpx.URL(self.url).host),
            "follow_redirects": False,  # the key must not be sent to another host
        }

    def _arguments(self, call: HttpRequest) -> dict[str, Any]:
        """The keyword arguments of httpx's `request`."""
        arguments: dict[str, Any] = {"method": call.method, "url": f"{self.url}{call.path}"}
        if call.body is not None:
            arguments |= {"content": call.body, "headers": {"Content-Type": "application/json"}}
        return arguments


def to_response(response: httpx.Response) -> HttpResponse:
    return HttpResponse(response.status_code, dict(response.headers), response.text)


def to_failure(error: httpx.RequestError) -> ConnectionFailure:
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return ConnectionFailure(f"its certificate is not trusted ({error})", permanent=True)
    if any(isinstance(one, socket.gaierror) and one.errno == socket.EAI_NONAME for one in causes):
        return ConnectionFailure(f"its host name cannot be resolved ({error})", unknown_host=True)
    return ConnectionFailure(str(error) or type(error).__name__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
