"""Both clients against an app that is slow, unreachable or faulty."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import powerlift_fleet as fleets
import pytest
from powerlift_fleet import AsyncFleetClient, FleetClient

from tests.client import both
from tests.client.both import KEY, REFUSED, Awaiting, Blocking, Script, busy, ok, problem, status
from tests.client.cli import served

Make = Callable[..., Any]
LINKS = status()["links"]
TAKEN = httpx.Response(202, json={"id": "fleet-7", "number": 7, "batch_id": 7, "links": LINKS})
REPEATED = httpx.Response(200, json={"id": "fleet-7", "number": 7, "batch_id": 7, "links": LINKS})


@pytest.fixture(params=[Blocking, Awaiting])
def make(request: pytest.FixtureRequest) -> Make:
    kind: Make = request.param
    return kind


def test_a_request_gets_its_batch_id_before_it_is_sent(make: Make) -> None:
    app = Script(TAKEN)
    make(app).ask("submit", {"experiment_id": 1})
    assert 0 <= app.bodies[0]["batch_id"] < 2**53


def test_retries_keep_the_batch_id(make: Make) -> None:
    app = Script(httpx.ReadTimeout("slow"), busy(), TAKEN)
    make(app).ask("submit", {"experiment_id": 1})
    assert len(app.bodies) == 3
    assert len({body["batch_id"] for body in app.bodies}) == 1


def test_a_repeat_of_a_lost_response_counts_as_created(make: Make) -> None:
    app = Script(busy(), REPEATED)
    assert make(app).ask("submit", {"experiment_id": 1}).created is True


def test_an_existing_batch_is_not_created(make: Make) -> None:
    app = Script(REPEATED)
    assert make(app).ask("submit", {"experiment_id": 1, "batch_id": 7}).created is False


def test_the_callers_request_is_not_modified(make: Make) -> None:
    request = {"experiment_id": 1}
    make(Script(TAKEN)).ask("submit", request)
    assert request == {"experiment_id": 1}


@pytest.mark.parametrize("passing", [429, 502, 503, 504])
def test_transient_errors_are_retried(make: Make, passing: int) -> None:
    app = Script(busy(passing), busy(passing), ok(**status()))
    assert make(app).ask("status", 7).phase == "run"


def test_a_500_is_retried_once(make: Make) -> None:
    app = Script(httpx.Response(500))
    with pytest.raises(fleets.AppUnavailable):
        make(app).ask("status", 7)
    assert len(app.requests) == 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, fleets.RequestRefused),
        (401, fleets.Unauthorized),
        (403, fleets.Unauthorized),
        (404, fleets.NotFound),
        (409, fleets.BatchTaken),
        (410, fleets.FleetPurged),
        (413, fleets.RequestRefused),
        (418, fleets.ApiError),
    ],
)
def test_a_4xx_has_its_class_and_is_not_retried(
    make: Make, code: int, kind: type[fleets.ApiError]
) -> None:
    app = Script(problem(code, "No", "Because."))
    with pytest.raises(kind, match="Because") as caught:
        make(app).ask("submit", {})
    assert (type(caught.value), caught.value.status, len(app.requests)) == (kind, code, 1)


def test_a_refused_request_lists_every_fault(make: Make) -> None:
    faults = [{"pointer": "/uri", "detail": "This is no URI."}, {"pointer": "", "detail": "No."}]
    app = Script(problem(400, "Invalid fleet request", "…", *faults))
    with pytest.raises(fleets.RequestRefused, match=r"/uri: This is no URI\.") as caught:
        make(app).ask("submit", {})
    assert caught.value.faults == faults


def test_a_401_without_a_body_mentions_the_key(make: Make) -> None:
    with pytest.raises(fleets.Unauthorized, match="FLEET_KEY") as caught:
        make(Script(httpx.Response(401))).ask("fleets")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "arguments", "permission"),
    [
        ("fleets", (), "read fleets"),
        ("submit", ({},), "plan and submit fleets"),
        ("cancel", ("fleet-7",), "cancel fleets"),
    ],
)
def test_a_401_names_the_permission_that_may_be_missing(
    make: Make, call: str, arguments: tuple[Any, ...], permission: str
) -> None:
    with pytest.raises(fleets.Unauthorized, match=f"needs a key that may {permission}"):
        make(Script(httpx.Response(401))).ask(call, *arguments)


def test_an_unavailable_database_is_retried_when_the_app_says(make: Make) -> None:
    unavailable = problem(503, "Temporarily unavailable", "The database does not respond.")
    unavailable.headers["Retry-After"] = "0"
    app = Script(unavailable, ok(**status()))
    assert make(app).ask("status", "latest").phase == "run"


def test_a_missing_setting_is_not_retried(make: Make) -> None:
    app = Script(problem(503, "Invalid app settings", "FLEET_SEALING_KEY is missing."))
    with pytest.raises(fleets.AppUnavailable, match="FLEET_SEALING_KEY is missing"):
        make(app).ask("fleets")
    assert len(app.requests) == 1


def test_an_unreachable_app_raises_after_the_retry_timeout(make: Make) -> None:
    app = Script(REFUSED)
    with pytest.raises(
        fleets.FleetUnreachable, match=r"Connection refused\. Gave up after 2 attempts"
    ):
        make(app, retry_timeout=0.8).ask("fleets")


@pytest.mark.parametrize("answer", [REFUSED, httpx.Response(500)])
def test_an_unknown_outcome_names_the_fleet(make: Make, answer: httpx.Response | Exception) -> None:
    app = Script(answer)
    with pytest.raises((fleets.FleetUnreachable, fleets.AppUnavailable)) as caught:
        make(app, retry_timeout=0.6).ask("submit", {"experiment_id": 1})
    assert f"the fleet is fleet-{app.bodies[0]['batch_id']}" in str(caught.value)


def test_a_retry_after_beyond_the_timeout_ends_the_call(make: Make) -> None:
    app = Script(busy(429, **{"Retry-After": "300"}))
    with pytest.raises(fleets.AppUnavailable):
        make(app, retry_timeout=10).ask("fleets")
    assert len(app.requests) == 1


def test_a_fleet_without_room_was_not_started(make: Make) -> None:
    answer = problem(429, "Too many VMs", "1,000 VMs exist.")
    answer.headers["Retry-After"] = "300"
    with pytest.raises(fleets.TooManyVms, match="request fewer VMs") as caught:
        make(Script(answer), retry_timeout=10).ask("submit", {"experiment_id": 1})
    assert "If the app received the request" not in str(caught.value)


def test_an_untrusted_certificate_is_not_retried(make: Make) -> None:
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    app = Script(error)
    with pytest.raises(fleets.FleetUnreachable, match="certificate is not trusted"):
        make(app).ask("fleets")
    assert len(app.requests) == 1


def test_redirects_are_not_followed(make: Make) -> None:
    app = Script(httpx.Response(307, headers={"Location": "https://evil.example/api/fleets?x=1"}))
    with pytest.raises(
        fleets.ApiError, match=r"Set FLEET_URL to the app that https://evil\.example/api/fleets"
    ):
        make(app).ask("fleets")
    assert len(app.requests) == 1


def test_a_response_of_another_app_is_an_error(make: Make) -> None:
    app = Script(httpx.Response(200, html="<h1>Your Functions app is up and running</h1>"))
    with pytest.raises(fleets.ApiError, match="not from a fleet app"):
        make(app).ask("fleets")


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
    listed = make(app).ask("fleets", status="active", experiment=12, owner="key-1", sort="oldest")
    asked = {"status": "active", "experiment": "12", "owner": "key-1", "sort": "oldest"}
    assert [one.handle for one in listed] == ["fleet-9", "fleet-8", "fleet-7"]
    assert queries(app) == [{**asked, "limit": "200"}, {**asked, "limit": "200", "cursor": "a+/="}]


@pytest.mark.parametrize(("limit", "sizes"), [(2, ["2"]), (3, ["3", "1"]), (0, [])])
def test_a_limited_list_requests_no_more_pages(make: Make, limit: int, sizes: list[str]) -> None:
    app = Script(ok(fleets=[both.entry(9), both.entry(8)], next="x"), ok(fleets=[both.entry(7)]))
    assert len(make(app).ask("fleets", limit=limit)) == limit
    assert [query["limit"] for query in queries(app)] == sizes


def test_since_is_a_time_or_how_long_ago(make: Make) -> None:
    app, ago = Script(ok(fleets=[])), timedelta(days=2)
    for since in (ago, datetime.now(UTC) - ago):
        make(app).ask("fleets", since=since)
    for query in queries(app):
        sent = datetime.fromisoformat(query["since"])
        assert abs(datetime.now(UTC) - ago - sent) < timedelta(minutes=1)


def test_a_since_of_another_type_is_not_sent(make: Make) -> None:
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
def test_the_app_resolves_what_a_fleet_is_called(make: Make, fleet: Any, segment: str) -> None:
    app = Script(ok(**status()))
    make(app).ask("status", fleet)
    assert app.requests[0].url.raw_path == f"/api/fleets/{segment}".encode()


def test_an_ambiguous_name_is_an_error_with_the_matches(make: Make) -> None:
    app = Script(problem(409, "Ambiguous fleet", "'nig' is ambiguous: nightly, nightly-2."))
    for call in ("status", "cancel"):
        with pytest.raises(fleets.FleetAmbiguous, match="nightly, nightly-2"):
            make(app).ask(call, "nig")


def test_a_watch_stays_with_the_fleet_that_latest_was_at_first(make: Make) -> None:
    app = Script(ok(**status(id="fleet-9001")), ok(**status("done", id="fleet-9001")))
    make(app).watch("latest", interval=0)
    assert [request.url.path for request in app.requests] == [
        "/api/fleets/latest",
        "/api/fleets/fleet-9001",
    ]


def test_a_fleet_on_the_queue_is_not_one_whose_id_begins_alike(make: Make) -> None:
    other = ok(**status(id="fleet-70001", batch_id=70001))
    app = Script(other, ok(**status("done", id="fleet-7000", batch_id=7000)))
    shown = make(app).watch("fleet-7000", interval=0, appears_within=30)
    assert [one.id for one in shown] == ["fleet-7000"]
    with pytest.raises(fleets.NotFound, match="fleet-7000 does not exist"):
        make(Script(other)).watch("fleet-7000", interval=0, appears_within=0.01)


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
def test_a_call_is_one_request_and_returns_its_json(
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
def test_a_list_is_returned_as_one(
    make: Make, name: str, args: tuple[Any, ...], path: str, item: dict[str, Any]
) -> None:
    app = Script(ok(id="fleet-7", **{name: [item]}))
    assert [one.raw for one in make(app).ask(name, *args)] == [item]
    assert app.requests[0].url.path == path


def test_a_log_is_text(make: Make) -> None:
    app = Script(httpx.Response(200, text="It ended: é\nline\n"))
    assert make(app).ask("log", 7, 3) == "It ended: é\nline\n"
    assert app.requests[0].url.path == "/api/fleets/fleet-7/machines/3/log"


def test_a_watch_yields_every_status(make: Make) -> None:
    app = Script(*(ok(**status(phase)) for phase in ("create", "run", "done")))
    shown = make(app).watch("fleet-7", interval=0)
    assert [one.phase for one in shown] == ["create", "run", "done"]


def test_a_watch_survives_a_restart(make: Make) -> None:
    app = Script(
        ok(**status()), busy(), httpx.Response(404, headers=both.AT_ONCE), ok(**status("done"))
    )
    shown = make(app).watch("fleet-7", interval=0)
    assert [one.phase for one in shown] == ["run", "done"]


def test_a_watch_may_have_a_longer_retry_timeout(make: Make) -> None:
    app = Script(ok(**status()), REFUSED, ok(**status("done")))
    shown = make(app, retry_timeout=0).watch("fleet-7", interval=0, retry_timeout=60)
    assert [one.phase for one in shown] == ["run", "done"]


def test_its_retry_timeout_applies_after_the_first_status(make: Make) -> None:
    with pytest.raises(fleets.FleetUnreachable):
        make(Script(REFUSED), retry_timeout=0).watch("fleet-7", interval=0, retry_timeout=60)


def test_a_watch_of_an_unknown_fleet_is_not_found(make: Make) -> None:
    with pytest.raises(fleets.NotFound):
        make(Script(problem(404, "Fleet not found", "…"))).watch("fleet-7", interval=0)


def test_a_fleet_submitted_by_queue_may_appear_late(make: Make) -> None:
    app = Script(problem(404, "Fleet not found", "…"), ok(**status("done")))
    assert len(make(app).watch("fleet-7", interval=0, appears_within=30)) == 1


def test_wait_returns_the_last_status(make: Make) -> None:
    assert make(Script(ok(**status("done")))).ask("wait", 7).phase == "done"


@pytest.mark.parametrize(
    ("phase", "kind"), [("failed", fleets.FleetFailed), ("cancelled", fleets.FleetCancelled)]
)
def test_wait_raises_for_a_failed_or_cancelled_fleet(
    make: Make, phase: str, kind: type[fleets.FleetEnded]
) -> None:
    with pytest.raises(kind) as caught:
        make(Script(ok(**status(phase)))).ask("wait", 7)
    assert caught.value.status.phase == phase


def test_a_wait_that_times_out_does_not_cancel(make: Make) -> None:
    app = Script(ok(**status()))
    with pytest.raises(TimeoutError, match="fleet-7 is in phase run after 0 s"):
        make(app).ask("wait", 7, timeout=0)
    assert {request.method for request in app.requests} == {"GET"}


def test_the_view_url_has_the_key_in_its_fragment(make: Make) -> None:
    url = httpx.URL(make(Script(ok())).client.view_url(7))
    assert (url.path, url.query, url.fragment) == ("/api/view/fleet-7", b"", f"key={KEY}")


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example",
        "https://a.example/",
        "https://a.example/api",
        " https://a.example/api/ ",
    ],
)
def test_a_url_works_with_or_without_api(url: str) -> None:
    assert FleetClient(url, KEY).url == "https://a.example/api"


@pytest.mark.parametrize("url", ["a.example:7071", "ftp://a.example", "https://", "", "http://a:b"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(fleets.ConfigurationError, match="FLEET_URL"):
        FleetClient(url, KEY)


def test_a_key_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(fleets.ConfigurationError, match="FLEET_KEY") as caught:
        FleetClient(f"https://a.example/api?code={KEY}", "x")
    assert KEY not in str(caught.value)


def test_url_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_URL", "https://b.example")
    monkeypatch.setenv("FLEET_KEY", "k")
    assert FleetClient().view_url(1) == "https://b.example/api/view/fleet-1#key=k"


@pytest.mark.parametrize("name", ["FLEET_URL", "FLEET_KEY"])
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("FLEET_URL", "https://b.example")
    monkeypatch.setenv("FLEET_KEY", "k")
    monkeypatch.delenv(name)
    with pytest.raises(fleets.ConfigurationError, match=name):
        AsyncFleetClient()


def test_an_empty_key_is_not_sent() -> None:
    app = Script(ok(fleets=[]))
    FleetClient("http://127.0.0.1:7071", "", transport=httpx.MockTransport(app)).fleets()
    assert "x-functions-key" not in app.requests[0].headers


@pytest.mark.parametrize("fleet", ["", "..", "../health", "a\\b", "\x1b[31m", True, "x" * 101])
def test_what_would_change_the_path_is_not_sent(make: Make, fleet: Any) -> None:
    app = Script(ok())
    with pytest.raises(fleets.ConfigurationError, match="fleet-7"):
        make(app).ask("status", fleet)
    assert app.requests == []


def test_a_request_that_is_not_json_is_not_sent(make: Make) -> None:
    app = Script(TAKEN)
    with pytest.raises(fleets.ConfigurationError, match="JSON"):
        make(app).ask("submit", {"timeout": float("inf")})
    assert app.requests == []


def test_repr_hides_the_key() -> None:
    assert KEY not in repr(FleetClient("https://a.example", KEY))


def test_a_client_is_closed_by_its_context() -> None:
    async def awaited() -> bool:
        async with AsyncFleetClient("https://a.example", KEY) as client:
            pass
        return client._http.is_closed

    with FleetClient("https://a.example", KEY) as client:
        pass
    assert (client._http.is_closed, asyncio.run(awaited())) == (True, True)
