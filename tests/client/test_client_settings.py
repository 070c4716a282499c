"""URL and key of a client, and what it never sends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import powerlift_fleet as fleets
import pytest
from powerlift_fleet import AsyncFleetClient, FleetClient
from powerlift_fleet.api.settings import sources

from tests.client.both import BOTH_CLIENTS, KEY, TAKEN, Make, Script, ok
from tests.client.cli.conftest import private


@BOTH_CLIENTS
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
def test_an_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(fleets.ConfigurationError, match="FLEET_URL"):
        FleetClient(url, KEY)


def test_a_key_in_the_url_is_rejected_and_not_repeated() -> None:
    with pytest.raises(fleets.ConfigurationError, match="FLEET_KEY") as caught:
        FleetClient(f"https://a.example/api?code={KEY}", "x")
    assert KEY not in str(caught.value)


def test_url_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_URL", "https://b.example")
    monkeypatch.setenv("FLEET_KEY", "k")
    assert FleetClient().view_url(1) == "https://b.example/api/view/fleet-1#key=k"


@pytest.mark.parametrize("name", ["FLEET_URL", "FLEET_KEY"])
def test_a_missing_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("FLEET_URL", "https://b.example")
    monkeypatch.setenv("FLEET_KEY", "k")
    monkeypatch.delenv(name)
    with pytest.raises(fleets.ConfigurationError, match=name):
        AsyncFleetClient()


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The configuration file of a user without variables."""
    for name in ("FLEET_URL", "FLEET_KEY", "FLEET_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    text = (
        'url = "https://a.example"\nkey = "a"\n[profiles.b]\nurl = "https://b.example"\nkey = "b"'
    )
    return private(tmp_path / "powerlift-fleet" / "config.toml", text)


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize("profile", ["a", "b"])
def test_url_and_key_come_from_the_configuration_file(
    monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    if profile == "b":
        monkeypatch.setenv("FLEET_PROFILE", profile)
    expected = f"https://{profile}.example/api/view/fleet-1#key={profile}"
    assert FleetClient().view_url(1) == expected


@pytest.mark.usefixtures("logged_in")
def test_a_key_of_the_file_is_not_sent_to_another_url() -> None:
    with pytest.raises(
        fleets.ConfigurationError, match=r'Run powerlift-fleet login, pass key \(key=""'
    ):
        FleetClient("https://c.example")


def test_an_executor_by_queue_has_the_app_of_the_file(logged_in: Path) -> None:
    is_known = sources.is_known()
    logged_in.unlink()
    assert (is_known, sources.is_known()) == (True, False)


def test_a_key_that_others_can_read_causes_a_warning(logged_in: Path) -> None:
    logged_in.chmod(0o640)
    with pytest.warns(UserWarning, match="chmod 600"):
        FleetClient()


def test_an_empty_key_is_not_sent() -> None:
    app = Script(ok(fleets=[]))
    FleetClient("http://127.0.0.1:7071", "", transport=httpx.MockTransport(app)).fleets()
    assert "x-functions-key" not in app.requests[0].headers


@BOTH_CLIENTS
@pytest.mark.parametrize("fleet", ["", "..", "../health", "a\\b", "\x1b[31m", True, "x" * 101])
def test_an_argument_that_would_change_the_path_is_not_sent(make: Make, fleet: Any) -> None:
    app = Script(ok())
    with pytest.raises(fleets.ConfigurationError, match="fleet-7"):
        make(app).ask("status", fleet)
    assert app.requests == []


@BOTH_CLIENTS
def test_a_request_that_is_not_json_is_not_sent(make: Make) -> None:
    app = Script(TAKEN)
    with pytest.raises(fleets.ConfigurationError, match="JSON"):
        make(app).ask("submit", {"timeout": float("inf")})
    assert app.requests == []


def test_repr_hides_the_key() -> None:
    assert KEY not in repr(FleetClient("https://a.example", KEY))


def test_a_client_is_closed_by_its_context_manager() -> None:
    async def awaited() -> bool:
        async with AsyncFleetClient("https://a.example", KEY) as client:
            pass
        return client._http.is_closed

    with FleetClient("https://a.example", KEY) as client:
        pass
    assert (client._http.is_closed, asyncio.run(awaited())) == (True, True)
