"""A small server that gives the real pages and answers as the API would, from scenes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from fleet.api.openapi.examples import RESPONSES
from fleet.store.vm_logs import Position, complete_bytes
from tests.view.scenes import Scene
from triggers.http.view import SOURCES, page

KEY = "a-key/with+signs=="
PAGES = {"/api/view": "list/fleets.html", "/api/submit": "submit/submit.html"}


class Stage:
    """Serves `fleets` (scenes by their id) at `url`. A context manager.

    `away` is what it does instead of answering the API: "drop" ends connections, "fail" answers 503.
    `broken` are parts of a fleet ("/machines") that answer 503. `refused` are problems by reference.
    `logs` are the VMs' logs by ordinal, those of `stored` from the database: the VM was deleted.
    `read_only`: the key does not open the functions that plan, submit and cancel.
    `requests` is every request, as method and path with query; `cancelled` the ids that were deleted.
    `plan` is the plan of every request; with `errors`, it is a 400. `submitted` are the requests of the
    fleets that were submitted, by batch ID; `lost`: their answers do not arrive.
    """

    def __init__(self) -> None:
        self.fleets: dict[str, Scene] = {}
        self.key, self.away = KEY, ""
        self.requests: list[str] = []
        self.cancelled: list[str] = []
        self.read_only = False
        self._looks = 0
        self.broken: set[str] = set()
        self.refused: dict[str, tuple[int, str]] = {}
        self.logs: dict[int, str] = {}
        self.stored: set[int] = set()
        self.plan: dict[str, Any] = RESPONSES["Plan"]
        self.errors: list[dict[str, str]] = []
        self.submitted: dict[int, str] = {}
        self.lost = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def show(self, *scenes: Scene) -> None:
        self.fleets.update({scene.id: scene for scene in scenes})

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def api(self, method: str, path: str, query: str = "") -> tuple[int, str, str]:
        """An answer of the API: status, content type, body."""
        parts = path.removeprefix("/api/fleets").strip("/").split("/")
        if parts == [""]:
            return _json(200, self._page(dict(parse_qsl(query))))
        if parts[0] in self.refused:
            code, detail = self.refused[parts[0]]
            return _json(code, {"title": "Refused", "detail": detail})
        scene = self._find(parts[0])
        if scene is None:
            return _json(
                404, {"title": "Fleet not found", "detail": f"There is no fleet {parts[0]}."}
            )
        if method == "DELETE" and self.read_only:
            return 401, "text/plain", ""
        if method == "DELETE":
            self.cancelled.append(scene.id)
            scene.phase = "teardown"
            return _json(202, {"id": scene.id})
        if parts[-1] == "log":
            text = self.logs.get(int(parts[2]))
            if text is None:
                return _json(404, {"title": "No log", "detail": "Its console has said nothing."})
            return 200, "text/plain; charset=utf-8", self._lines(int(parts[2]), query)
        part = "/".join(["", *parts[1:]])
        if part in self.broken:
            return _json(503, {})
        if part == "/trials":
            return _json(200, scene.trial_page(dict(parse_qsl(query))))
        answer = scene.answers()[part]
        if part == "/progress":  # time goes on, whether or not anything happens
            self._looks += 1
            as_of = scene.now + timedelta(seconds=self._looks)
            answer = {**answer, "as_of": as_of.isoformat()}
        return _json(200, answer)

    def post(self, path: str, body: str) -> tuple[int, str, str]:
        """An answer to a request for a plan or a fleet."""
        if self.read_only:
            return 401, "text/plain", ""
        if self.errors:
            return _json(400, {"detail": "Invalid fleet request", "errors": self.errors})
        if path == "/api/plan":
            return _json(200, self.plan)
        batch = json.loads(body)["batch_id"]
        if self.submitted.setdefault(int(batch), body) != body:
            return _json(409, {"detail": f"batch_id {batch} was already used."})
        scene = Scene(f"fleet-{batch}", elapsed=1)
        self.show(scene)
        return _json(202, {"id": scene.id, "number": scene.number})

    def log_next(self, ordinal: int) -> Position:
        log = self.logs[ordinal].encode()
        if ordinal in self.stored:
            return Position("stored", len(log))
        return Position("console", complete_bytes(log))

    def _lines(self, ordinal: int, query: str) -> str:
        """A log, or what the API responds with `after`."""
        after = dict(parse_qsl(query)).get("after")
        if after is None:
            return self.logs[ordinal]
        position, next_ = Position.read(after), self.log_next(ordinal)
        begin = position.offset if position.source == next_.source else 0
        return self.logs[ordinal].encode()[begin : next_.offset].decode()

    def _page(self, query: dict[str, str]) -> Any:
        """A page of the list: the fleets in the order in which they were shown."""
        ended = {"active": False, "ended": True}.get(query.get("status", ""))
        entries = [scene.entry() for scene in self.fleets.values()]
        entries = [one for one in entries if ended in (None, one["ended_at"] is not None)]
        ids = [one["id"] for one in entries]
        begin = ids.index(query["cursor"]) + 1 if "cursor" in query else 0
        page = entries[begin : begin + int(query["limit"])]
        more = len(entries) > begin + len(page)
        return {"fleets": page, "next": page[-1]["id"] if more else None}

    def _find(self, reference: str) -> Scene | None:
        scenes = list(self.fleets.values())
        if reference == "latest":
            return scenes[0] if scenes else None
        matches = (
            one for one in scenes if reference in (one.id, f"fleet-{one.number}", one.own_name)
        )
        return next(matches, None)


def _json(status: int, body: Any) -> tuple[int, str, str]:
    return status, "application/json", json.dumps(body)


def _handler(stage: Stage) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            stage.requests.append(f"{self.command} {self.path}")
            _, _, path, query, _ = urlsplit(self.path)
            script = {"Content-Type": "text/javascript"}
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            if path in PAGES or path.startswith("/api/view/"):
                shown = page(PAGES.get(path, "fleet/fleet.html"))
                self._send(200, shown.headers, shown.html)
            elif path.startswith("/sources/"):
                self._send(200, script, (SOURCES / path.removeprefix("/sources/")).read_text())
            elif stage.away == "drop":
                self._drop()
            elif stage.away == "fail":
                self._send(503, {}, "")
            elif self.headers["x-functions-key"] != stage.key:
                self._send(401, {}, "")  # the Functions host says no more
            elif self.command == "POST":
                status, kind, body = stage.post(path, body)
                if stage.lost and path == "/api/fleets":
                    self._drop()
                else:
                    self._send(status, {"Content-Type": kind}, body)
            else:
                status, kind, body = stage.api(self.command, path, query)
                headers = {"Content-Type": kind}
                if path.endswith("/log") and status == 200:
                    headers["Log-Next"] = str(stage.log_next(int(path.split("/")[-2])))
                self._send(status, headers, body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def _drop(self) -> None:
            self.close_connection = True
            self.connection.close()

        def _send(self, status: int, headers: Any, body: str) -> None:
            data = body.encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            with suppress(ConnectionError):  # a page that was closed meanwhile
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
