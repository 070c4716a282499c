"""Calls of both clients: one request each, except for pages and retries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import powerlift_fleet as fleets
import pytest

from tests.client import both
from tests.client.both import (
    BOTH_CLIENTS,
    KEY,
    LINKS,
    TAKEN,
    Make,
    Script,
    busy,
    ok,
    problem,
    status,
)
from tests.client.cli import served

pytestmark = BOTH_CLIENTS
REPEATED = httpx.Response(200, json={"id": "fleet-7", "number": 7, "batch_id": 7, "links": LINKS})


def test_a_request_gets_its_batch_id_before_it_is_sent(make: Make) -> None:
    app = Script(TAKEN)
    make(app).ask("submit", {"experiment_id": 1})
    assert 0 <= app.bodies[0]["batch_id"] < 2**53


def test_retries_keep_the_batch_id(make: Make) -> None:
    app = Script(httpx.ReadTimeout("slow"), busy(), TAKEN)
    make(app).ask("submit", {"experiment_id": 1})
    assert len(app.bodies) == 3
    assert len({body["batch_id"] for body in app.bodies}) == 1


def test_a_retry_after_a_lost_response_counts_as_created(make: Make) -> None:
    app = Script(busy(), REPEATED)
    assert make(app).ask("submit", {"experiment_id": 1}).created is True


def test_an_existing_batch_is_not_created(make: Make) -> None:
    app = Script(REPEATED)
    assert make(app).ask("submit", {"experiment_id": 1, "batch_id": 7}).created is False


def test_the_callers_request_is_not_modified(make: Make) -> None:
    request = {"experiment_id": 1}
    make(Script(TAKEN)).ask("submit", request)
    assert request == {"experiment_id": 1}


def test_a_64_bit_batch_id_is_accepted(make: Make) -> None:
    largest = 2**64 - 1
    app = Script(ok(**status(id=f"fleet-{largest}", batch_id=str(largest))))
    assert make(app).ask("status", largest).batch_id == largest
    assert app.requests[0].url.path == f"/api/fleets/fleet-{largest}"


def test_the_key_is_in_a_header(make: Make) -> None:
    app = Script(ok(fleets=[]))
    make(app).ask("fleets")
    assert app.requests[0].headers["x-functions-key"] == KEY


def queries(app: Script) -> list[dict[str, str]]:
    return [dict(request.url.params) for request in app.requests]


def test_the_list_is_read_from_all_pages(make: Make) -> None:
    app = Script(ok(fleets=[both.entry(9), both.entry(8)], next="a+/="), ok(fleets=[both.entry(7)]))
    listed = make(app).ask(
        "fleets", status="active", experiment=12, submitted_by="key-1", sort="oldest"
    )
    asked = {"status": "active", "experiment": "12", "submitted_by": "key-1", "sort": "oldest"}
    assert [one.handle for one in listed] == ["fleet-9", "fleet-8", "fleet-7"]
    assert queries(app) == [{**asked, "limit": "200"}, {**asked, "limit": "200", "cursor": "a+/="}]


@pytest.mark.parametrize(("limit", "sizes"), [(2, ["2"]), (3, ["3", "1"]), (0, [])])
def test_a_limited_list_requests_no_further_pages(make: Make, limit: int, sizes: list[str]) -> None:
    app = Script(ok(fleets=[both.entry(9), both.entry(8)], next="x"), ok(fleets=[both.entry(7)]))
    assert len(make(app).ask("fleets", limit=limit)) == limit
    assert [query["limit"] for query in queries(app)] == sizes


def test_since_is_a_time_or_a_duration(make: Make) -> None:
    app, ago = Script(ok(fleets=[])), timedelta(days=2)
    for since in (ago, datetime.now(UTC) - ago):
        make(app).ask("fleets", since=since)
    for query in queries(app):
        sent = datetime.fromisoformat(query["since"])
        assert abs(datetime.now(UTC) - ago - sent) < timedelta(minutes=1)


def test_a_since_of_another_type_is_rejected_before_sending(make: Make) -> None:
    app = Script(ok(fleets=[]))
    with pytest.raises(fleets.ConfigurationError, match="since"):
        make(app).ask("fleets", since="2d")
    assert app.requests == []


@pytest.mark.parametrize(
    ("fleet", "segment"),
    [
        (7, "fleet-7"),
        ("9007", "fleet-9007"),
        ("fleet-7", "fleet-7"),
        (" latest ", "latest"),
        ("nightly-2", "nightly-2"),
        ("a b?c#d%é", "a%20b%3Fc%23d%25%C3%A9"),
    ],
)
def test_the_app_resolves_fleet_references(make: Make, fleet: Any, segment: str) -> None:
    app = Script(ok(**status()))
    make(app).ask("status", fleet)
    assert app.requests[0].url.raw_path == f"/api/fleets/{segment}".encode()


def test_an_ambiguous_name_is_an_error_with_the_matches(make: Make) -> None:
    app = Script(problem(409, "Ambiguous fleet", "'nig' is ambiguous: nightly, nightly-2."))
    for call in ("status", "cancel"):
        with pytest.raises(fleets.FleetAmbiguous, match="nightly, nightly-2"):
            make(app).ask(call, "nig")


DOCUMENTS = {
    "plan": {**served.plan(), "location": None},
    "status": status(),
    "progress": served.progress(),
    "cancel": {"id": "fleet-7", "links": LINKS},
}


@pytest.mark.parametrize(
    ("name", "args", "method", "path"),
    [
        ("plan", ({},), "POST", "/api/plan"),
        ("status", ("fleet-7",), "GET", "/api/fleets/fleet-7"),
        ("progress", ("7",), "GET", "/api/fleets/fleet-7/progress"),
        ("cancel", (7,), "DELETE", "/api/fleets/fleet-7"),
    ],
)
def test_a_call_sends_one_request_and_returns_its_json(
    make: Make, name: str, args: tuple[Any, ...], method: str, path: str
) -> None:
    document = {**DOCUMENTS[name], "added_later": [1]}
    app = Script(ok(**document))
    answer = make(app).ask(name, *args)
    (asked,) = app.requests
    assert (asked.method, asked.url.path, answer.raw) == (method, path, document)


@pytest.mark.parametrize(
    ("name", "args", "path", "item"),
    [
        ("fleets", (), "/api/fleets", both.entry(7)),
        ("machines", (7,), "/api/fleets/fleet-7/machines", served.machine(1, "running")),
    ],
)
def test_a_list_response_is_returned_as_a_list(
    make: Make, name: str, args: tuple[Any, ...], path: str, item: dict[str, Any]
) -> None:
    app = Script(ok(id="fleet-7", **{name: [item]}))
    assert [one.raw for one in make(app).ask(name, *args)] == [item]
    assert app.requests[0].url.path == path


def test_a_log_is_returned_as_text(make: Make) -> None:
    app = Script(httpx.Response(200, text="It ended: é\nline\n"))
    assert make(app).ask("log", 7, 3) == "It ended: é\nline\n"
    assert app.requests[0].url.path == "/api/fleets/fleet-7/machines/3/log"
