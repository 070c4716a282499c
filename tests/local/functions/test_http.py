from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.functions.http.keys import Keys

if TYPE_CHECKING:
    from tests.local.functions.conftest import Host


@pytest.fixture(scope="module")
def host(make_host: Any) -> Iterator[Host]:
    with make_host("triggers", TIMER_SCHEDULE="0 0 0 1 1 *") as running:
        yield running


def test_a_request_reaches_the_function(host: Host) -> None:
    answer = host.call("POST", "/api/echo?a=1", b"hello", {"X-Say": "hi"})

    assert answer.json == {"body": "hello", "params": {"a": "1"}, "method": "POST"}


def test_a_chunked_body_is_dropped(host: Host) -> None:
    chunked = {"Transfer-Encoding": "chunked"}

    assert host.call("POST", "/api/echo", b"hello", chunked).json["body"] == ""


def test_the_values_of_a_parameter_are_joined(host: Host) -> None:
    answer = host.call("POST", "/api/echo?a=1&b=&a=2", b"")

    assert answer.json["params"] == {"a": "1,2"}


def test_the_response_keeps_status_headers_and_content_type(host: Host) -> None:
    answer = host.call("POST", "/api/echo", b"", {"X-Say": "hi"})

    seen = answer.status, answer.headers["X-Echo"], answer.headers["Content-Type"]
    assert seen == (201, "hi", "application/vnd.echo+json")


def test_a_str_is_a_plain_text_response(host: Host) -> None:
    answer = host.call("GET", "/api/plain")

    assert (answer.body, answer.headers["Content-Type"]) == (
        b"plain text",
        "text/plain; charset=utf-8",
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/api/machines/vm%201", "machine vm 1"),
        ("/api/machines/%C3%A9%25", "machine é%"),
        ("/api/machines/%FFa%2fb%zz", "machine %FFa%2fb%zz"),
        ("/api/machines/all", "machine all"),
        ("/api/runs/7", "run 7"),
        ("/api/runs", "run None"),
        ("/API/Plain", "plain text"),
        ("/api", "the root"),
        ("/api/", "the root"),
    ],
)
def test_routes(host: Host, path: str, text: str) -> None:
    assert host.call("GET", path).body.decode() == text


@pytest.mark.parametrize("path", ["/api/runs/seven", "/api/nothing", "/plain"])
def test_an_unknown_route_is_a_404_without_a_body(host: Host, path: str) -> None:
    answer = host.call("GET", path)

    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize("method", ["DELETE", "HEAD", "OPTIONS", "TRACE"])
def test_a_wrong_method_is_a_404_as_well(host: Host, method: str) -> None:
    answer = host.call(method, "/api/echo")

    assert (answer.status, answer.body) == (404, b"")


def test_a_failure_is_a_500_without_a_body(host: Host) -> None:
    answer = host.call("GET", "/api/fails")

    assert (answer.status, answer.body) == (500, b"")


def test_a_failure_is_logged_with_its_traceback(host: Host) -> None:
    host.call("GET", "/api/fails")

    assert 'raise ValueError("a secret text")' in host.log.read_text()


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/with-key", None, 401),
        ("/api/with-key", "wrong", 401),
        ("/api/with-key", "default", 200),
        ("/api/with-key", "master", 200),
        ("/api/for-admin", "default", 401),
        ("/api/for-admin", "master", 200),
        ("/runtime/webhooks/durabletask/instances", "default", 403),
    ],
)
def test_keys_authorize_their_levels(host: Host, path: str, key: str | None, status: int) -> None:
    headers = {"x-functions-key": host.keys.get(key, key)} if key else {}

    assert host.call("GET", path, headers=headers).status == status


def test_a_401_has_no_body(host: Host) -> None:
    assert host.call("GET", "/api/with-key").body == b""


def test_a_key_may_be_a_parameter(host: Host) -> None:
    assert host.call("GET", f"/api/with-key?code={host.keys['default']}").status == 200


def test_keys_are_not_logged(host: Host) -> None:
    host.call("GET", f"/api/with-key?code={host.keys['default']}")

    assert host.keys["default"] not in host.log.read_text()


def set_key(host: Host, path: str, value: str, key: str = "master") -> int:
    headers = {"x-functions-key": host.keys[key]}
    return host.call("PUT", f"/admin/{path}", {"name": "any", "value": value}, headers).status


def test_a_functions_key_opens_that_function_only(host: Host) -> None:
    key = {"x-functions-key": "of-one-function"}
    before = host.call("GET", "/api/with-key", headers=key).status
    set_key(host, "functions/With_Key/keys/reader", "of-one-function")

    others = [host.call("GET", path, headers=key).status for path in ("/api/too", "/api/for-admin")]
    assert (before, host.call("GET", "/api/with-key", headers=key).status) == (401, 200)
    assert others == [401, 401]


def test_an_added_host_key_opens_all_functions(host: Host) -> None:
    set_key(host, "host/functionkeys/team", "of-a-team")

    key = {"x-functions-key": "of-a-team"}
    found = [host.call("GET", path, headers=key).status for path in ("/api/with-key", "/api/too")]
    assert found == [200, 200]


def test_a_deleted_key_opens_nothing(host: Host) -> None:
    path = "functions/with_key/keys/leaked"
    set_key(host, path, "a-leaked-key")
    master = {"x-functions-key": host.keys["master"]}
    deleted = [host.call("DELETE", f"/admin/{path}", headers=master).status for _ in range(2)]

    key = {"x-functions-key": "a-leaked-key"}
    assert (deleted, host.call("GET", "/api/with-key", headers=key).status) == ([204, 404], 401)


@pytest.mark.parametrize(
    ("path", "value", "key", "statuses"),
    [
        ("functions/with_key/keys/twice", "x", "master", [201, 200]),
        ("functions/no_such/keys/reader", "x", "master", [404, 404]),
        ("functions/with_key/keys/none", None, "master", [400, 400]),
        ("functions/with_key/keys/mine", "x", "default", [403, 403]),
    ],
)
def test_the_admin_api_of_keys(
    host: Host, path: str, value: Any, key: str, statuses: list[int]
) -> None:
    assert [set_key(host, path, value, key) for _ in range(2)] == statuses


def test_keys_are_persistent(tmp_path: Path) -> None:
    first = Keys.load(tmp_path / "keys.json")

    assert Keys.load(tmp_path / "keys.json")["default"] == first["default"]


def test_the_key_file_is_readable_only_by_its_owner(host: Host) -> None:
    assert (host.state / "keys.json").stat().st_mode & 0o077 == 0


def test_a_context_parameter(host: Host) -> None:
    assert host.call("GET", "/api/context").body == b"with_context"


def test_the_users_log_lines_are_logged(host: Host) -> None:
    host.call("GET", "/api/context")

    assert "INFO    Function.with_context.User: a line of the user's" in host.log.read_text()


def test_a_queue_trigger_without_connection_is_disabled_with_a_warning(host: Host) -> None:
    assert "Function 'never' is disabled: its connection NoSuchConnection is not set" in (
        host.log.read_text()
    )


def test_shutdown_does_not_wait_for_a_blocked_thread(make_host: Any) -> None:
    with make_host("triggers", TIMER_SCHEDULE="0 0 0 1 1 *") as host:
        host.call_and_leave("/api/block/30")
        host.until(lambda: host.journal("blocked"), bool)

        assert host.service.stop(timeout=5) == 0
