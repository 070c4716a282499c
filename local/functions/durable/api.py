"""The HTTP management API: for the app's own client, and as webhooks that require a key.

Paths, responses and status codes match the recordings of extension 3.19.0 (`tests/recorded`) or,
without a recording, its `HttpApiHandler`. Rewind is not supported (501).
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from local.functions.durable.engine import Engine
from local.functions.durable.history import EventType, Status, event, parse_time, timestamp
from local.functions.durable.links import WEBHOOKS, Links
from local.functions.durable.status import history_payload, status_payload
from local.functions.durable.store import InstanceExists
from local.functions.durable.tables import Tables

_READ_TO_WRITE = 0.03  # seconds: a round trip to Azure Storage
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PAGE = 100  # the extension's default; the Python client requests only the first page
_STATES = {*Status.FINISHED, "Running", "Pending", "Suspended", "ContinuedAsNew", "Canceled"}
_CONTROLS = {
    "terminate": EventType.EXECUTION_TERMINATED,
    "suspend": EventType.EXECUTION_SUSPENDED,
    "resume": EventType.EXECUTION_RESUMED,
}


class ManagementApi:
    """Handlers of the management API. `check_key` raises if a webhook request has no valid key."""

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
        """Add the API below the client's path and below the webhooks' path."""

        def with_key(handler: _Handler) -> _Handler:
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
            router.add_route(method, WEBHOOKS + path, with_key(handler))

    async def _start(self, request: web.Request) -> web.Response:
        text = await request.text()
        try:
            token = json.loads(text) if text else None
        except ValueError as error:
            return _failure(400, "Invalid JSON content", error)
        name, instance_id = request.match_info["name"], request.match_info.get("id")
        if "/" in (instance_id or ""):
            return web.Response(status=404)
        input_json = None if token is None else json.dumps(token)
        return await self._start_instance(
            name, instance_id, input_json, request.query.get("version")
        )

    async def _start_instance(
        self, name: str, instance_id: str | None, input_json: str | None, version: str | None = None
    ) -> web.Response:
        """Like the extension, accept any name: without an orchestrator the instance fails later.

        Like there, concurrent starts of one ID all succeed, and the last one wins: the extension reads
        the instance, then writes it, without a lock.
        """
        store = self._engine.store
        instance_id = instance_id or uuid.uuid4().hex
        try:
            if not self._replace_running:
                store.check_finished(instance_id)
        except InstanceExists as error:
            return _failure(409, str(error))
        await asyncio.sleep(_READ_TO_WRITE)
        store.start(name, instance_id, input_json, version)
        self._engine.wake(instance_id)
        payload = self._links.management(instance_id)
        del payload["rewindPostUri"]
        headers = {"Location": payload["statusQueryGetUri"], "Retry-After": "10"}
        return web.json_response(payload, status=202, headers=headers)

    async def _status(self, request: web.Request) -> web.Response:
        row = self._tables.record(request.match_info["id"])
        if row is None:
            return web.Response(status=404)
        show_input = _flag(request, "showInput", True)
        payload = status_payload(row, show_input=show_input)
        if _flag(request, "showHistory", False) and row["status"] != Status.PENDING:
            payload["historyEvents"] = history_payload(
                self._tables.history(row["id"]),
                show_input=show_input,
                show_output=_flag(request, "showHistoryOutput", False),
            )
        if row["status"] not in Status.FINISHED:
            headers = {"Location": str(request.url), "Retry-After": "5"}
            return web.json_response(payload, status=202, headers=headers)
        failed = row["status"] == Status.FAILED
        as_error = failed and _flag(request, "returnInternalServerErrorOnFailure", False)
        return web.json_response(payload, status=500 if as_error else 200)

    async def _list(self, request: web.Request) -> web.Response:
        top = request.query.get("top", "")
        size = int(top) if top.isdecimal() and int(top) > 0 else _PAGE
        token = request.headers.get("x-ms-continuation-token", "")
        try:
            start_at = base64.b64decode(token, validate=True).decode()
        except ValueError as error:
            return _failure(400, "One or more of the arguments submitted is incorrect", error)
        rows = self._tables.records(
            **_filters(request),
            prefix=request.query.get("instanceIdPrefix", ""),
            start_at=start_at,
            top=size + 1,
        )
        following = rows[size]["id"] if len(rows) > size else ""
        show_input = _flag(request, "showInput", True)
        payload = [status_payload(row, show_input=show_input) for row in rows[:size]]
        headers = {"x-ms-continuation-token": base64.b64encode(following.encode()).decode()}
        return web.json_response(payload, headers=headers)

    async def _purge(self, request: web.Request) -> web.Response:
        instance = self._tables.instance(request.match_info["id"])
        if instance is None:
            return web.Response(status=404)
        if not self._engine.store.purge(instance.id):
            text = (
                "Only orchestrations in a terminal state can be purged, but the orchestration with "
                f"instance ID {instance.id} has status {instance.status}"
            )
            return web.json_response(text, status=412)
        return web.json_response({"instancesDeleted": 1})

    async def _purge_many(self, request: web.Request) -> web.Response:
        filters = _filters(request)
        if filters["created_from"] is None:
            text = "Please provide value for 'createdTimeFrom' parameter."
            return web.json_response(text, status=400)
        rows = self._tables.records(**filters, top=-1)
        deleted = sum(self._engine.store.purge(row["id"]) for row in rows)
        if deleted == 0:
            return web.Response(status=404)
        return web.json_response({"instancesDeleted": deleted})

    async def _raise_event(self, request: web.Request) -> web.Response:
        instance_id = request.match_info["id"]
        if rejection := self._not_running(instance_id):
            return rejection
        if request.content_type != "application/json":
            return _failure(400, "Only application/json request content is supported")
        try:
            payload = json.dumps(await request.json())
        except ValueError as error:
            return _failure(400, "Invalid JSON content", error)
        name = request.match_info["event"]
        return self._send(instance_id, event(EventType.EVENT_RAISED, Name=name, Input=payload))

    async def _control(self, request: web.Request) -> web.Response:
        kind = _CONTROLS[request.match_info["verb"]]
        reason = request.query.get("reason", "")
        return self._send(request.match_info["id"], event(kind, Input=reason))

    def _send(self, instance_id: str, message: dict[str, Any]) -> web.Response:
        if rejection := self._not_running(instance_id):
            return rejection
        self._engine.store.post(instance_id, message)
        self._engine.wake(instance_id)
        return web.Response(status=202)

    def _not_running(self, instance_id: str) -> web.Response | None:
        instance = self._tables.instance(instance_id)
        if instance is None:
            return web.Response(status=404)
        return web.Response(status=410) if instance.finished else None

    async def _restart(self, request: web.Request) -> web.Response:
        instance = self._tables.instance(request.match_info["id"])
        if instance is None:
            text = "InstanceId does not match a valid orchestration instance."
            return _failure(400, text)
        new_id = _flag(request, "restartWithNewInstanceId", True)
        return await self._start_instance(
            instance.name, None if new_id else instance.id, instance.input
        )

    async def _rewind(self, request: web.Request) -> web.Response:
        return _failure(501, "This host cannot rewind instances.")


def _failure(status: int, message: str, error: Exception | None = None) -> web.Response:
    """An error in the format of ASP.NET's `HttpError`."""
    details = {
        "ExceptionMessage": str(error),
        "ExceptionType": type(error).__name__,
        "StackTrace": "",
    }
    return web.json_response({"Message": message, **(details if error else {})}, status=status)


def _filters(request: web.Request) -> dict[str, Any]:
    """The filters of status queries and purges. Ignores invalid times."""
    query = request.query
    statuses = ",".join(query.getall("runtimeStatus", [])).split(",")
    return {
        "created_from": _time(query.get("createdTimeFrom", "")),
        "created_to": _time(query.get("createdTimeTo", "")),
        "statuses": [state for state in statuses if state in _STATES],
    }


def _time(text: str) -> str | None:
    try:
        return timestamp(parse_time(text))
    except ValueError:
        return None


def _flag(request: web.Request, name: str, default: bool) -> bool:
    text = request.query.get(name, "").lower()
    return default if text not in ("true", "false") else text == "true"
