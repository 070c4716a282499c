"""Storing a VM's console log in a real database, and showing it."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.azure.serial_console import ConsolePart
from fleet.store.database import DatabaseUnreachable
from fleet.store.vm_logs import (
    LIMIT,
    EndedVm,
    complete_bytes,
    decode_tail,
    find_log,
    redact_password,
    store_logs,
)

RUNNER = 80_001


def kept(
    log: str | None = "its last words", outcome: str = "OSProvisioningTimedOut: late"
) -> EndedVm:
    return EndedVm(RUNNER, "powerlift-vm-8-0001", outcome, log)


@pytest.fixture
def uri(benchmark_database: Any) -> str:
    """A database in which no VM has recorded itself yet."""
    benchmark_database.sql("TRUNCATE powerlift_fleet_runner")
    return str(benchmark_database.uri)


def test_an_unrecorded_vm_has_no_log(uri: str):
    assert find_log(uri, 1, RUNNER) is None


def test_a_log_and_the_reason_are_kept(uri: str):
    store_logs(uri, 1, [kept()])
    record = find_log(uri, 1, RUNNER)
    assert record is not None
    assert (record.log, record.outcome) == ("its last words", "OSProvisioningTimedOut: late")


def test_the_reason_is_kept_where_there_is_no_log(uri: str):
    store_logs(uri, 1, [kept(None)])
    record = find_log(uri, 1, RUNNER)
    assert record is not None
    assert (record.log, record.ending().partition(": ")[2]) == (
        None,
        "OSProvisioningTimedOut: late",
    )


def test_the_vms_own_log_is_not_overwritten(uri: str):
    store_logs(uri, 1, [kept("the VM's own", "no more work")])
    store_logs(uri, 1, [kept("ours", "ours")])
    record = find_log(uri, 1, RUNNER)
    assert record is not None
    assert (record.log, record.outcome) == ("the VM's own", "no more work")


def test_a_log_that_the_vm_could_not_store_is_added(uri: str, benchmark_database: Any):
    store_logs(uri, 1, [kept()])
    benchmark_database.sql(
        "UPDATE powerlift_fleet_runner SET log = NULL, outcome = NULL, ended_at = NULL"
    )
    store_logs(uri, 1, [kept("ours", "BootTimedOut: late")])
    record = find_log(uri, 1, RUNNER)
    assert record is not None
    assert (record.log, record.outcome, record.ended_at is None) == (
        "ours",
        "BootTimedOut: late",
        False,
    )


def test_an_unreachable_database_is_reported_without_its_address():
    with pytest.raises(DatabaseUnreachable) as raised:
        store_logs("postgresql://me:hidden@127.0.0.1:1/powerlift", 1, [kept()])
    assert "127.0.0.1" not in str(raised.value)


def test_a_role_without_write_permission_stores_no_log(uri: str, benchmark_database: Any):
    benchmark_database.sql("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    address = uri.partition("@")[2]
    with pytest.raises(DatabaseUnreachable, match="42501"):
        store_logs(f"postgresql://reader:reader@{address}", 1, [kept()])
    assert find_log(uri, 1, RUNNER) is None


def test_without_select_permission_there_is_no_log(uri: str, benchmark_database: Any):
    benchmark_database.sql("CREATE ROLE blind LOGIN PASSWORD 'blind'")
    store_logs(uri, 1, [kept()])
    assert find_log(f"postgresql://blind:blind@{uri.partition('@')[2]}", 1, RUNNER) is None


def test_the_end_of_a_long_log_is_kept():
    text = decode_tail(ConsolePart(b"first" + "\N{EURO SIGN}".encode() * LIMIT + b"last", 0))
    assert (len(text.encode()) <= LIMIT, text[0], text[-4:]) == (True, "\N{EURO SIGN}", "last")


def test_a_log_that_was_cut_off_begins_with_the_next_line():
    whole, cut = (decode_tail(ConsolePart(b"s3cr3t a\nb", 99, is_cut)) for is_cut in (False, True))
    assert (whole, cut) == ("s3cr3t a\nb", "b")


def test_every_byte_becomes_text_that_postgresql_accepts(uri: str):
    store_logs(uri, 1, [kept(decode_tail(ConsolePart(bytes(range(256)), 256)))])
    record = find_log(uri, 1, RUNNER)
    assert record is not None
    assert record.log is not None
    assert ("\0" in record.log, "xyz" in record.log, "\N{REPLACEMENT CHARACTER}" in record.log) == (
        False,
        True,
        True,
    )


def test_a_log_of_invalid_bytes_is_not_longer_than_another():
    assert len(decode_tail(ConsolePart(b"\xff" * LIMIT, 0)).encode()) <= LIMIT


@pytest.mark.parametrize("shown", ["p@ss/word", "p%40ss%2Fword", "p@ss%2fword"])
@pytest.mark.parametrize(
    "given", ["//me:p%40ss%2fword@host/db", "//me@host/db?password=p@ss%2fword"]
)
def test_the_databases_password_is_not_shown(shown: str, given: str):
    assert redact_password(f"me:{shown}@host", f"postgresql:{given}").startswith("me:***")


@pytest.mark.parametrize(
    ("data", "complete"),
    [
        (b"one\ntwo\nthr", b"one\ntwo\n"),
        (b"one\n", b"one\n"),
        (b"one", b""),
        (b"", b""),
        (b"10%\r20%\r30", b"10%\r20%\r"),
        (b"one\r", b""),  # perhaps one\r\n
        (b"one\r\ntwo", b"one\r\n"),
        (b"a " + b"b" * LIMIT, b"a "),
        (b"b" * LIMIT, b"b" * LIMIT),
    ],
)
def test_a_part_ends_with_a_line(data: bytes, complete: bytes):
    assert data[: complete_bytes(data)] == complete
