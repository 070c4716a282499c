"""The HTTP side of the host: from a request to a function and back, and problems (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import azure.functions as func
from aiohttp import web

from local.functions.indexing import Function
from local.functions.invoke import FunctionTimeout, Invoker
from local.functions.keys import Keys
from local.functions.routing import Router

_log = logging.getLogger(__name__)
_MAX_BODY = 100 * 1024 * 1024  # bytes; the host's own limit is 100 MB

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FunctionsHandler:
    """Answers requests with the app's HTTP functions."""

    def __init__(self, router: Router, keys: Keys, invoker: Invoker) -> None:
        self._router, self._keys, self._invoker = router, keys, invoker

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Find the function, check the key, call it. Where that fails the answer has no body, as with
        the real host, which says 404 to a known path with another method as well, HEAD included
        (azure-functions-host#10098, #11625).
        """
        found = self._router.find(request.method, request.rel_url.raw_path)
        if found is None:
            return web.Response(status=404)
        function, parameters = found
        level = str(function.trigger.get("authLevel", "FUNCTION")).upper()
        if not self._keys.allow(level, request):
            return web.Response(status=401)
        return await self._call(function, parameters, request)

    async def _call(
        self, function: Function, parameters: dict[str, str], request: web.Request
    ) -> web.StreamResponse:
        argument = func.HttpRequest(
            request.method,
            str(request.url),
            headers=dict(request.headers),
            params=dict(request.query),
            route_params=parameters,
            body=await request.read(),
        )
        try:
            return _response(function, await self._invoker.call(function, argument))
        except FunctionTimeout as error:
            _log.error("%s", error)
            return web.Response(status=500)
        except Exception as error:
            _log.error("Function '%s' failed", function.name, exc_info=error)
            return web.Response(status=500)


def make_application(
    functions: FunctionsHandler, add_routes: Callable[[web.UrlDispatcher], None]
) -> web.Application:
    """The host's web application: the routes of `add_routes`, and every other path for functions."""
    application = web.Application(middlewares=[_problems], client_max_size=_MAX_BODY)
    add_routes(application.router)
    application.router.add_route("*", r"/{path:[\s\S]*}", functions.handle)  # %0A as well
    return application


def problem(status: int, detail: str, **headers: str) -> web.Response:
    """An error answer of type application/problem+json."""
    return web.json_response(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
        },
        status=status,
        headers=headers,
        content_type="application/problem+json",
    )


def _unauthorized() -> web.Response:
    """The answer to a request without a fitting key."""
    return problem(
        401, "A key is required: send it as the x-functions-key header or the code parameter."
    )


def _response(function: Function, result: Any) -> web.Response:
    if isinstance(result, str):
        return web.Response(text=result)
    if result is None:
        return web.Response(status=204)
    if not isinstance(result, func.HttpResponse):
        raise TypeError(
            f"function '{function.name}' returned {type(result).__name__}, "
            "must be an HttpResponse or a str"
        )
    response = web.Response(status=result.status_code, body=result.get_body())
    for name, value in result.headers.items():
        if name.lower() == "content-type":
            response.headers["Content-Type"] = value
        elif name.lower() != "content-length":
            response.headers.add(name, value)
    if "content-type" not in {name.lower() for name in result.headers.keys()}:  # noqa: SIM118
        response.headers["Content-Type"] = f"{result.mimetype}; charset={result.charset}"
    return response


@web.middleware
async def _problems(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Turn aiohttp's own errors and unexpected ones into problems."""
    try:
        return await handler(request)
    except web.HTTPUnauthorized:
        return _unauthorized()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return problem(error.status, error.reason)
    except ConnectionError:
        raise  # the caller has gone
    except Exception as error:
        _log.error("A request of the host's own API failed", exc_info=error)
        return problem(500, "The host failed. Its log has the details.")
