"""VMs on which people report trouble: source, what a program does, what becomes of the VM."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.vm import agent

DONE = "raise SystemExit(0)"

PROGRAMS = [
    # source, programs and what they do, the VM's exit code, a text of its log
    (
        "runner-images#13259",
        {
            "apt-get": """[[ -e $ROOT/configured ]] || {
                echo "E: dpkg was interrupted, run dpkg --configure -a"; exit 100; }""",
            "dpkg": '[[ "$*" != "--configure -a" ]] || touch "$ROOT/configured"',
        },
        0,
        "no more work",
    ),
]


@pytest.mark.parametrize(("source", "programs", "code", "said"), PROGRAMS)
def test_a_vm_with_a_program_in_trouble(
    vm: Any, benchmark_database: Any, startup: Any, source: str, programs: Any, code: int, said: str
):
    for name, text in programs.items():
        vm.program(name, text)
    vm.env["POWERLIFT_INSTALL_TIMEOUT"] = "3"  # seconds
    ended = vm.run(startup(benchmark_database.experiment(DONE, shell_install="g++")))
    assert (ended, said in vm.log) == (code, True), vm.log


def test_the_outcome_has_the_words_of_the_database(vm: Any, benchmark_database: Any, startup: Any):
    """A role with the grants of Powerlift's own VM script, but for one table."""
    tables = "experiment, trial, powerlift_fleet_runner, powerlift_fleet_trial"
    benchmark_database.sql("CREATE ROLE partial LOGIN PASSWORD 'partial'")
    benchmark_database.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO partial")
    number = benchmark_database.experiment(DONE)
    vm.env["POWERLIFT_DATABASE_TIMEOUT"] = "1"  # seconds
    place = benchmark_database.uri.partition("@")[2]
    code = vm.run(startup(number, uri=f"postgresql://partial:partial@{place}"))
    wanted = "failed to read the experiment from the database: permission denied for table wheel"
    assert (code, benchmark_database.runner(number)["outcome"]) == (1, wanted), vm.log


ANSWERS = [
    # source, what Azure answers, what the VM's log shows
    (
        "ARM",
        '{"error":{"code":"AuthorizationFailed","message":"The client lacks\\n an action."}}',
        "AuthorizationFailed: The client lacks an action.",
    ),
    (
        "metadata service",
        '{"error":"invalid_request","error_description":"Identity not found"}',
        "invalid_request: Identity not found",
    ),
    ("a gateway", "<html>\n<h1>502</h1>\n</html>", "<html> <h1>502</h1> </html>"),
    ("a gateway", '{"error": null}', '{"error": null}'),
    ("a gateway", '{"error": "late"}', "late"),
    ("a gateway", "[]", "[]"),
    ("a gateway", "x" * 600, "x" * 499 + "…"),
]


@pytest.mark.parametrize(("source", "body", "shown"), ANSWERS)
def test_a_refusal_of_azure_is_shown_by_its_message(source: str, body: str, shown: str):
    assert agent.message_of(body.encode()) == shown
