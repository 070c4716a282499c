"""The stack that the app's tests share: everything is real except the VMs, which are simulated.

Also selects the fast tests (`make test-fast`): those that start no process.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from _pytest.nodeid import coerce_node_id
from xdist.scheduler import LoadFileScheduling

from local.stack import Stack
from tests.harness import VISIBILITY_TIMEOUT, Api

GROUPS = "/subscriptions/*/resourceGroups"
ANYWHERE = f"{GROUPS}/*/providers"
NETWORKS = f"{ANYWHERE}/Microsoft.Network/virtualNetworks"
SETTINGS = {
    "FLEET_OWNER": "tests",
    "FLEET_ALLOWED_DATABASES": "127.0.0.1:*, db.example.org",  # other servers, and that of the examples
    # For the examples, and for tests that require a scope in the simulator.
    "FLEET_ALLOWED_SUBNETS": f"{GROUPS}/network, {GROUPS}/powerlift",
    "FLEET_ALLOWED_SCOPES": f"{ANYWHERE}/Microsoft.Storage/*, {NETWORKS}",
    "FLEET_ALLOWED_PRINCIPALS": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "FLEET_SWEEP_SCHEDULE": "0 0 0 1 1 *",  # its requests would be counted by tests
}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on which a simulated minute takes 0.6 s, and no VM runs a process."""
    state: Path = tmp_path_factory.mktemp("stack")
    with Stack(
        state,
        time_scale=0.01,
        machines="none",
        app_settings=SETTINGS,
        visibility_timeout=VISIBILITY_TIMEOUT,
    ) as running:
        yield running


@pytest.fixture(scope="session")
def api(stack: Stack) -> Api:
    return Api(stack)


class SharedStackScheduling(LoadFileScheduling):
    """Runs the files that use the shared stack on two workers: each starts its own, in 4 s of CPU.

    A file is recognised by its annotations; a miss only costs that time.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return shared_stack_of(file) or file


@cache
def shared_stack_of(file: str) -> str | None:
    """The group of a file that uses the shared stack; `file` is relative to the repository."""
    text = (Path(__file__).parents[1] / file).read_text(encoding="utf-8")
    if "Stack(" in text or not re.search(r"\b(api: Api|stack: Stack)\b", text):
        return None
    is_first = file.startswith(("tests/client/", "tests/orchestrators/"))
    return "first shared stack" if is_first else "second shared stack"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedStackScheduling:
    return SharedStackScheduling(config, log)


SLOWEST_FIRST = [
    "client/test_contract.py",  # both shared stacks first
    "triggers/test_contract.py",
    "orchestrators/test_failures.py",
    "orchestrators/test_crashes.py",
    "examples/test_examples.py",
    "test_readme.py",
    "local/demo/test_run.py",
    "triggers/test_sweep.py",
    "fleet/vm/test_startup_run.py",
    "orchestrators/test_property.py",
    "triggers/test_logs.py",
    "triggers/test_plan.py",
    "client/test_runner.py",
    "local/functions/durable/test_crash.py",
    "fleet/vm/test_startup_contract.py",
    "test_checks.py",
    "local/test_bootstrap.py",
    "test_secrets_stay_sealed.py",
    "test_observability.py",
    "fleet/vm/test_startup_trouble.py",
    "fleet/vm/test_startup_log.py",
]
"""Started last, each of these would keep the other workers waiting. A missing entry only costs time."""

NOT_FAST = "starts a process"
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"}  # Python's audit events


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root = Path(__file__).parent
    position = {root / name: index for index, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: position.get(item.path, len(position)))
    for item in items:
        # Schemathesis gives the tests of all operations one id, and pytest-xdist runs an id once.
        if label := getattr(item, "operation_label", None):
            item._id = coerce_node_id(f"{item.nodeid}[{label}]")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Modules and tests are permanent: collecting garbage among them takes a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, obj: object) -> Iterator[Any]:
    """Deselect a long test before its cases are generated, which may take seconds per worker."""
    found = yield
    marks = getattr(obj, "pytestmark", [])
    left_out = "not long" in collector.config.option.markexpr
    return [] if left_out and any(mark.name == "long" for mark in marks) else found


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help=f"leave out every test that {NOT_FAST}")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fast"):
        config.option.markexpr = "not slow and not long"  # known without trying
        config.pluginmanager.register(Fast())


class Fast:
    """Ends a test at its first process: a fixture that starts one ends all tests that use it.

    So nobody keeps a list, and a new test is where it belongs.
    """

    def __init__(self) -> None:
        self.is_testing = False  # the workers of pytest-xdist are processes too
        sys.addaudithook(self._refuse)

    def _refuse(self, event: str, _: Any) -> None:
        if self.is_testing and event in STARTS:
            pytest.skip(NOT_FAST)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self.is_testing = True
        try:
            return (yield)
        finally:
            self.is_testing = False

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Counts such a test separately, and does not list it."""
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        return ("left out", "", "") if reason.endswith(NOT_FAST) else None
