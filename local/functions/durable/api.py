"""The management API over HTTP, twice: for the app's own client, and as webhooks with a key.

Paths, answers and status codes follow the extension's `HttpApiHandler`, as far as the Python client
1.7.0 and its management URLs use it. Rewind is refused with 501.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from local.functions.durable.engine import Engine
from local.functions.durable.history import EventType, Status, event, parse_time, timestamp
from local.functions.durable.links import WEBHOOKS, Links
from local.functions.durable.status import history_payload, status_payload
from local.functions.durable.store import InstanceExists
from local.functions.durable.tables import Tables

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PAGE = 100  # the extension's default; the Python client never asks for a second page
_CONTROLS = {
    "terminate": EventType.EXECUTION_TERMINATED,
    "suspend": EventType.EXECUTION_SUSPENDED,
    "resume": EventType.EXECUTION_RESUMED,
}


class ManagementApi:
    """Handlers of the management API. `check_key` raises where a webhook's caller has no key."""

    def __init__(
        self,
        engine: Engine,
        tables: Tables,
        links: Links,
        check_key: Callable[[web.Request], None],
        *,
        replace_running: bool,
    ) -> None:
        self._engine, self._tables, self._links = engine, tables, links
        self._check_key, self._replace_running = check_key, replace_running

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve the API below the client's path and below the webhooks' path."""

        def guarded(handler: _Handler) -> _Handler:
            async def check_then_handle(request: web.Request) -> web.StreamResponse:
                self._check_key(request)
                return await handler(request)

            return check_then_handle

        routes: list[tuple[str, str, _Handler]] = [
            ("POST", "/orchestrators/{name}", self._start),
            ("POST", "/orchestrators/{name}/{id}", self._start),
            ("GET", "/instances/", self._list),
            ("GET", "/instances", self._list),
            ("DELETE", "/instances/", self._purge_many),
            ("DELETE", "/instances", self._purge_many),
            ("GET", "/instances/{id}", self._status),
            ("DELETE", "/instances/{id}", self._purge),
            ("POST", "/instances/{id}/raiseEvent/{event}", self._raise_event),
            ("POST", "/instances/{id}/restart", self._restart),
            ("POST", "/instances/{id}/rewind", self._rewind),
            ("POST", "/instances/{id}/{verb:terminate|suspend|resume}", self._control),
        ]
        for method, path, handler in routes:
            router.add_route(method, self._links.rpc_path + path, handler)
            router.add_route(method, WEBHOOKS + path, guarded(handler))

    async def _start(self, request: web.Request) -> web.Response:
        text = await request.text()
        try:
            token = json.loads(text) if text else None
        except ValueError as error:
            return _exception(400, "ArgumentException", f"The input is not JSON: {error}")
        name, wanted = request.match_info["name"], request.match_info.get("id")
        given = None if token is None else json.dumps(token)
        return self._start_instance(name, wanted, given, request.query.get("version"))

    def _start_instance(
        self, name: str, instance_id: str | None, input_json: str | None, version: str | None = None
    ) -> web.Response:
        names = self._engine.names
        if name not in names.orchestrators:
            return _exception(400, "ArgumentException", names.unknown("orchestrator", name))
        if instance_id is not None and (fault := _id_fault(instance_id)):
            return _exception(400, "ArgumentException", fault)
        try:
            instance_id = self._engine.store.start(
                name, instance_id, input_json, version, replace_running=self._replace_running
            )
        except InstanceExists as error:
            return _exception(500, "OrchestrationAlreadyExistsException", str(error))
        self._engine.wake(instance_id)
        payload = self._links.management(instance_id)
        headers = {"Location": payload["statusQueryGetUri"], "Retry-After": "10"}
        return web.json_response(payload, status=202, headers=headers)

    async def _status(self, request: web.Request) -> web.Response:
        row = self._tables.record(request.match_info["id"])
        if row is None:
            return web.Response(status=404)
        query = request.query
        payload = status_payload(row, show_input=_flag(query.get("showInput"), True))
        if _flag(query.get("showHistory"), False):
            show_output = _flag(query.get("showHistoryOutput"), False)
            events = self._tables.history(row["id"])
            payload["historyEvents"] = history_payload(events, show_output=show_output)
        if row["status"] not in Status.FINISHED:
            location = self._links.management(row["id"])["statusQueryGetUri"]
            headers = {"Location": location, "Retry-After": "5"}
            return web.json_response(payload, status=202, headers=headers)
        failed = row["status"] == Status.FAILED
        as_error = failed and _flag(query.get("returnInternalServerErrorOnFailure"), False)
        return web.json_response(payload, status=500 if as_error else 200)

    async def _list(self, request: web.Request) -> web.Response:
        try:
            top = int(request.query.get("top") or _PAGE)
            rows = self._tables.records(
                **_filters(request),
                prefix=request.query.get("instanceIdPrefix", ""),
                after=request.headers.get("x-ms-continuation-token", ""),
                top=top,
            )
        except ValueError as error:
            return _exception(400, "ArgumentException", str(error))
        show_input = _flag(request.query.get("showInput"), True)
        more = {"x-ms-continuation-token": rows[-1]["id"]} if rows and len(rows) == top else {}
        payload = [status_payload(row, show_input=show_input) for row in rows]
        return web.json_response(payload, headers=more)

    async def _purge(self, request: web.Request) -> web.Response:
        if not self._engine.store.purge(request.match_info["id"]):
            return web.Response(status=404)
        return web.json_response({"instancesDeleted": 1})

    async def _purge_many(self, request: web.Request) -> web.Response:
        if "createdTimeFrom" not in request.query:
            return _exception(400, "ArgumentException", "createdTimeFrom is required.")
        try:
            rows = self._tables.records(**_filters(request), top=-1)
        except ValueError as error:
            return _exception(400, "ArgumentException", str(error))
        deleted = sum(self._engine.store.purge(row["id"]) for row in rows)
        if deleted == 0:
            return web.Response(status=404)
        return web.json_response({"instancesDeleted": deleted})

    async def _raise_event(self, request: web.Request) -> web.Response:
        text = await request.text()
        try:
            payload = json.dumps(json.loads(text) if text else None)
        except ValueError:
            return _exception(
                400, "ArgumentException", "Only application/json request content is supported"
            )
        name = request.match_info["event"]
        return self._send(
            request.match_info["id"], event(EventType.EVENT_RAISED, Name=name, Input=payload)
        )

    async def _control(self, request: web.Request) -> web.Response:
        kind = _CONTROLS[request.match_info["verb"]]
        reason = request.query.get("reason", "")
        return self._send(request.match_info["id"], event(kind, Input=reason))

    def _send(self, instance_id: str, message: dict[str, Any]) -> web.Response:
        instance = self._tables.instance(instance_id)
        if instance is None:
            return web.Response(status=404)
        if instance.finished:
            return web.Response(status=410)
        self._engine.store.post(instance_id, message)
        self._engine.wake(instance_id)
        return web.Response(status=202)

    async def _restart(self, request: web.Request) -> web.Response:
        instance = self._tables.instance(request.match_info["id"])
        if instance is None:
            return web.Response(status=404)
        new_id = _flag(request.query.get("restartWithNewInstanceId"), True)
        return self._start_instance(instance.name, None if new_id else instance.id, instance.input)

    async def _rewind(self, request: web.Request) -> web.Response:
        return _exception(501, "NotImplementedException", "This host cannot rewind instances.")


def _exception(status: int, kind: str, message: str) -> web.Response:
    """An error in the shape that the Python client turns into an exception."""
    return web.json_response(
        {
            "Message": "Something went wrong while processing your request",
            "ExceptionMessage": message,
            "ExceptionType": kind,
            "StackTrace": "",
        },
        status=status,
    )


def _id_fault(instance_id: str) -> str | None:
    if len(instance_id) > 100:
        return "Instance IDs must not be longer than 100 characters."
    if instance_id.startswith("@"):
        return "Orchestration instance IDs must not start with '@'."
    if any(c in "/\\#?" or ord(c) < 32 or 127 <= ord(c) < 160 for c in instance_id):
        return "Orchestration instance IDs must not contain /, \\, #, ?, or control characters."
    return None


def _filters(request: web.Request) -> dict[str, Any]:
    """The filters that status queries and purges share. Raises ValueError for a bad time."""
    query = request.query
    times = {
        argument: timestamp(parse_time(query[name])) if query.get(name) else None
        for argument, name in (("created_from", "createdTimeFrom"), ("created_to", "createdTimeTo"))
    }
    statuses = [s for s in query.get("runtimeStatus", "").split(",") if s]
    return {**times, "statuses": statuses}


def _flag(text: str | None, default: bool) -> bool:
    return default if text is None else text.lower() == "true"
