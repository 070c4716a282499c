"""An HTTP server that returns chosen responses, in the shape of the API's contract."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from fleet.api.openapi.examples import RESPONSES

NO_TRIALS = {"running": 0, "complete": 0, "error": 0}
PLACE = {"location": "eastus", "zone": "1", "vm_size": "Standard_D2s_v5", "priority": "Spot"}


@contextmanager
def served(answers: Mapping[str, Any]) -> Iterator[str]:
    """The URL of an app with a response for each `METHOD /path` below /api, with or without its query;
    404 for any other.

    A string is sent unchanged, everything else as JSON. The items of a list are sent in order, then the
    last one repeatedly.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            route = f"{self.command} {self.path.removeprefix('/api')}"
            found = answers.get(route, answers.get(route.partition("?")[0]))
            if isinstance(found, list):
                found = found.pop(0) if len(found) > 1 else found[0]
            kind = "application/json" if found else "application/problem+json"
            body = json.dumps(found or {"title": "None", "status": 404})
            if isinstance(found, str):
                kind, body = "text/plain", found
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            data = body.encode()
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def when(**ago: float) -> str:
    """A time so long ago; half an hour more, so that a slow test reads the same hours and days."""
    return (datetime.now().astimezone() - timedelta(minutes=30, **ago)).isoformat()


def fleet(text: str = "", **changes: Any) -> dict[str, Any]:
    """A fleet with failures and warnings; `text` is appended to every string in it."""
    failure = {
        "code": f"AllocationFailed{text}",
        "message": f"Allocation failed. We do not have sufficient capacity.{text}",
        "action": f"tried the next zone{text}",
        "advice": f"Try later, or list more zones or fallbacks.{text}",
    }
    counts = {
        "wanted": 10,
        "pending": 0,
        "accepted": 11,
        "role_assigned": 9,
        "creating": 0,
        "running": 8,
        "failed": 3,
        "deleted": 0,
        "refused": 1,
    }
    placement = {
        "placement": f"eastus/1 Standard_D2s_v5{text}",
        "accepted": 4,
        "failed": {f"AllocationFailed{text}": 3},
    }
    usual = {
        "id": "fleet-7",
        "batch_id": 7,
        "experiment_id": 12,
        "phase": "run",
        "machines": counts,
        "missing": {f"AllocationFailed{text}": 2},
        "placements": [
            placement,
            {**placement, "placement": f"eastus/2 Standard_D2s_v5{text}", "failed": {}},
        ],
        "trials": {"total": 1000, "ready": 572, "running": 8, "complete": 417, "error": 3},
        "failures": [{**failure, "count": 3}],
        "warnings": [f"7 of 10 VMs fit.{text}"],
        "reason": None,
        "created_at": when(days=4),
        "updated_at": when(),
        "provisioned_at": when(days=4),
        "deadline": when(days=-6),
        "summary": None,
        "links": dict.fromkeys(("self", "machines", "progress", "view", "cancel"), "https://a"),
    }
    return {**usual, **changes}


def entry(text: str = "", **changes: Any) -> dict[str, Any]:
    """The same fleet in the list."""
    names = (
        "id",
        "batch_id",
        "experiment_id",
        "phase",
        "machines",
        "trials",
        "created_at",
        "updated_at",
        "links",
    )
    shown = fleet(text)
    own = {"number": 7, "name": None, "submitted_by": f"key-0123456789ab{text}"}
    own |= {
        "experiment_name": f"my-benchmark{text}",
        "cost": None,
        "ended_at": None,
        "purged_at": None,
    }
    return {**{name: shown[name] for name in names}, **own, **changes}


def progress(text: str = "", **changes: Any) -> dict[str, Any]:
    usual = {
        "id": "fleet-7",
        "as_of": when(),
        "experiment": {"id": 12, "name": f"my-benchmark{text}"},
        "trials": None,
        "series": {"start": when(days=4), "step": 60.0, "complete": [], "error": []},
        "before": {"complete": 0, "error": 0},
        "vm_hours": {"so_far": 12.5, "by_placement": []},
        "errors": [{"message": f"ValueError: Input X contains NaN.{text}", "count": 12}],
        "trials_per_hour": 560.4,
        "expected_end": when(days=-1, hours=-3),
        "cost": {
            "currency": "USD",
            "so_far": 3.417,
            "per_hour": 1.2,
            "expected": 7.1,
            "per_trial": 0.0081,
            "saved_by_spot": 11.25,
            "max_cost": 20.0,
        },
        "problem": None,
    }
    return {**usual, **changes}


def machine(ordinal: int, state: str, text: str = "", **changes: Any) -> dict[str, Any]:
    usual = {
        "ordinal": ordinal,
        "name": f"powerlift-vm-7-{ordinal:04}",
        "runner_id": 70000 + ordinal,
        "placement": {**PLACE, "location": f"eastus{text}"},
        "state": state,
        "attempt": 1,
        "replaces": None,
        "created_at": when(days=4),
        "role_assigned_at": when(days=4),
        "running_at": when(days=3),
        "working_at": when(days=3),
        "ended_at": when(days=2) if state in ("failed", "deleted") else None,
        "deleted_at": when(days=1) if state == "deleted" else None,
        "failure": None,
        "outcome": None,
        "trials": {"running": 1, "complete": 51, "error": 2},
    }
    return {**usual, **changes}


def machines(text: str = "") -> dict[str, Any]:
    why = {
        "code": f"SpotEvicted{text}",
        "message": f"Azure took it.{text}",
        "action": f"gave up{text}",
    }
    return {
        "id": "fleet-7",
        "machines": [
            machine(0, "running", text),
            machine(1, "failed", text, failure=why),
            machine(2, "deleted", text, replaces=1, outcome=f"all trials done{text}"),
            machine(3, "refused", text, failure=why, created_at=None, trials=NO_TRIALS),
        ],
    }


def plan(text: str = "") -> dict[str, Any]:
    checks = [
        {"name": f"{name}{text}", "status": state, "detail": f"Seen.{text}", "advice": f"Do.{text}"}
        for name, state in (("sizes", "ok"), ("permissions", "unknown"), ("quota", "warning"))
    ]
    trials = {"total": 20, "ready": 20, "running": 0, "complete": 0, "error": 0}
    placements = [f"eastus/1 Standard_D2s_v5{text}", f"westus Standard_D2s_v5{text}"]
    return {
        "request": RESPONSES["Plan"]["request"],
        "ok": True,
        "n_instances": 10,
        "placements": placements,
        "trials": trials,
        "cost": {**RESPONSES["Plan"]["cost"], "basis": f"a guess{text}"},
        "checks": checks,
    }


def trials(text: str = "", with_traceback: bool = False) -> dict[str, Any]:
    """A trial in each state; `text` is appended to every string in them."""
    usual = {
        "task": f"adult{text}", "origin": f"openml{text}", "method": f"tree{text}", "meta": "{}",
        "replicate": 0, "machine": None, "started_at": None, "ended_at": None, "seconds": None,
        "usage": None, "vm": None, "measures": {}, "error": None, "traceback": None,
    }  # fmt: skip
    begun = {**usual, "started_at": when(), "machine": 3}
    ended = {**begun, "ended_at": when()}
    intel = f"Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz{text}"
    used = {
        "user_seconds": 11.5,
        "system_seconds": 0.4,
        "steal_seconds": 0.3,
        "max_rss_bytes": 2**29,
    }
    other = {
        "name": f"powerlift-vm-8-0001{text}",
        "system": {"cpu_model": f"AMD EPYC 7763 64-Core Processor{text}"},
    }
    error = f"ValueError: no{text}"
    measures = {f"score{text}": 0.87654, f"seconds{text}": 12.0, f"size{text}": 3.0}
    traceback = f"Traceback:\n  File x\n{error}" if with_traceback else None
    failure = {"error": error, "traceback": traceback}
    found = [
        {**ended, "id": 1, "state": "failed", "seconds": 3.21, **failure},
        {**ended, "id": 2, "state": "complete", "seconds": 312.0, "measures": measures,
         "usage": used, "vm": {"system": {"cpu_model": intel}}},
        {**ended, "id": 5, "state": "complete", "seconds": 2.0, "machine": None, "vm": other},
        {**begun, "id": 3, "state": "running"},
        {**usual, "id": 4, "state": "ready"},
    ]  # fmt: skip
    return {"id": "fleet-7", "experiment_id": 12, "trials": found, "next": None}


TAKEN = {
    "id": "fleet-9",
    "number": 9,
    "batch_id": 9,
    "links": dict.fromkeys(("self", "machines", "progress", "view", "cancel"), "http://x"),
}


def answers(text: str) -> dict[str, object]:
    """The responses of an app with fleets 7 to 9; `text` is appended to every string in them."""
    shown = fleet(text)
    reason = {**shown["failures"][0], "code": f"TooFewMachines{text}"}
    return {
        "GET /fleets/fleet-7": shown,
        "GET /fleets/fleet-7/progress": progress(text),
        "GET /fleets/fleet-7/machines": machines(text),
        "GET /fleets/fleet-7/machines/0/log": f"# it ended{text}\nlast line\n",
        "GET /fleets": {
            "fleets": [entry(text, name=f"n{text}", phase=f"run{text}")],
            "next": None,
        },
        "POST /plan": plan(text),
        "GET /fleets/fleet-7/trials": trials(text),
        "GET /fleets/fleet-7/trials?traceback=true&limit=500": trials(text, True),
        "GET /fleets/fleet-7/request": {
            "id": f"fleet-1234567890123456{text}",
            "number": 7,
            "name": f"nightly{text}",
            "request": {"n_instances": 10, "experiment_id": 12, "tags": {"team": f"ml{text}"}},
            "secrets": [],
        },
        "POST /fleets/fleet-7/retry": {**TAKEN, "trials": 3},
        "POST /fleets": TAKEN,
        "DELETE /fleets/fleet-8": {"id": "fleet-8", "links": shown["links"]},
        "GET /fleets/fleet-8": {**shown, "id": "fleet-8", "phase": "failed", "reason": reason},
        "GET /fleets/fleet-9": {
            **shown,
            "id": "fleet-9",
            "phase": "failed",
            "reason": shown["failures"][0],
        },
    }
