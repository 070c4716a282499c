"""Errors of the app and of the connection: which are retried, and which exceptions they raise."""

from __future__ import annotations

import ssl
from typing import Any

import httpx
import powerlift_fleet as fleets
import pytest

from tests.client.both import BOTH_CLIENTS, KEY, REFUSED, Make, Script, busy, ok, problem, status

pytestmark = BOTH_CLIENTS


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
def test_a_4xx_raises_its_class_and_is_not_retried(
    make: Make, code: int, kind: type[fleets.ApiError]
) -> None:
    app = Script(problem(code, "No", "Because."))
    with pytest.raises(kind, match="Because") as caught:
        make(app).ask("submit", {})
    assert (type(caught.value), caught.value.status, len(app.requests)) == (kind, code, 1)


def test_a_rejected_request_lists_every_fault(make: Make) -> None:
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


def test_an_unavailable_database_is_retried_after_the_apps_retry_after(make: Make) -> None:
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
        fleets.FleetUnreachable, match=r"Connection refused\. Gave up after [23] attempts"
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


def test_a_fleet_above_the_vm_limit_was_not_started(make: Make) -> None:
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


def test_a_response_from_another_app_is_an_error(make: Make) -> None:
    app = Script(httpx.Response(200, html="<h1>Your Functions app is up and running</h1>"))
    with pytest.raises(fleets.ApiError, match="not from a fleet app"):
        make(app).ask("fleets")
