"""startup.sh with real installers, where they do not agree with what the experiment wants."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.fleet.vm.packages import PACKAGES, installed, lock_of, make_index, make_wheel

DONE = "raise SystemExit(0)"
FAILED = "failed to install the experiment's packages: "


@pytest.fixture
def refusing_index():
    """A function that starts an index which answers every request with a status; returns its URL."""
    servers = []

    def serve(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_error(status)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/simple"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def outcome(database, experiment: int) -> str:
    return str(database.runner(experiment)["outcome"])


@pytest.mark.long
def test_pip_takes_options_that_uv_does_not_know(vm_with_uv, benchmark_database, startup, index):
    links = [str(page.parent) for page in index.rglob("index.html")]
    vm_with_uv.env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": " ".join(links)}
    words = f"--prefer-binary --no-input --retries 2 {' '.join(PACKAGES)}"
    experiment = benchmark_database.experiment(DONE, pip_install=words)

    code = vm_with_uv.run(startup(experiment))

    log = vm_with_uv.log
    assert (code, "powerlift-2" in installed(vm_with_uv)) == (0, True), log
    assert "unexpected argument '--prefer-binary' found: installing with pip" in log
    assert "powerlift==2\n" in lock_of(
        benchmark_database, startup(experiment)
    )  # as it was installed


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        ("--bogus", "no such option: --bogus", 78),
        pytest.param("'numpy=>1'", "Failed to parse: `numpy=>1`", 78, marks=pytest.mark.long),
        (
            "powerlift==99",
            "No solution found when resolving dependencies: Because there is no version",
            69,  # there may be one for another CPU
        ),
        pytest.param("-r nothing.txt", "File not found: nothing.txt", 78, marks=pytest.mark.long),
    ],
)
def test_what_no_retry_cures_ends_the_vm_with_the_installers_words(
    vm_with_uv, benchmark_database, startup, index, words, said, code
):
    if words != "--bogus":  # with an index for uv, pip is not asked
        vm_with_uv.env["UV_DEFAULT_INDEX"] = index.as_uri()
    experiment = benchmark_database.experiment(DONE, pip_install=words)

    exit_code = vm_with_uv.run(startup(experiment))

    ended = outcome(benchmark_database, experiment)
    assert (exit_code, ended.startswith(FAILED + said)) == (code, True), (ended, vm_with_uv.log)


@pytest.mark.long
def test_pip_does_not_replace_uv_where_an_index_is_configured_for_it(
    vm_with_uv, benchmark_database, startup, index
):
    """pip would take a package of the same name from a public index."""
    words = f"--prefer-binary --extra-index-url https://user:s3cr3t@{index}"
    experiment = benchmark_database.experiment(DONE, pip_install=words)

    vm_with_uv.run(startup(experiment))

    ended = outcome(benchmark_database, experiment)
    assert ended.startswith(FAILED + "unexpected argument '--prefer-binary' found"), vm_with_uv.log
    assert ended.endswith("Remove the option")


@pytest.mark.long
@pytest.mark.parametrize(
    "status",
    [403, pytest.param(429, marks=pytest.mark.long), pytest.param(503, marks=pytest.mark.long)],
)
def test_an_index_that_refuses_to_answer_is_no_missing_package(
    vm_with_uv, benchmark_database, startup, refusing_index, status
):
    """uv says that there is no version. Another VM, or this one later, may get an answer."""
    vm_with_uv.env |= {
        "POWERLIFT_INSTALL_TIMEOUT": "0", "UV_HTTP_RETRIES": "0",
        "UV_DEFAULT_INDEX": refusing_index(status),
    }  # fmt: skip
    experiment = benchmark_database.experiment(DONE, pip_install="numpy")

    exit_code = vm_with_uv.run(startup(experiment))

    ended = outcome(benchmark_database, experiment)
    reason = "failed to resolve the experiment's packages"
    assert (exit_code, ended) == (1, reason), vm_with_uv.log


@pytest.mark.parametrize(
    "password",
    [
        "p@s3cr3t",
        pytest.param("s3cr3t", marks=pytest.mark.long),
        pytest.param("p/s3cr3t", marks=pytest.mark.long),
    ],
)
def test_the_reason_has_no_credentials(vm_with_uv, benchmark_database, startup, index, password):
    vm_with_uv.env["UV_DEFAULT_INDEX"] = index.as_uri()
    words = f"'a @@ https://user:{password}@host/a.whl'"
    experiment = benchmark_database.experiment(DONE, pip_install=words)

    vm_with_uv.run(startup(experiment))

    ended = outcome(benchmark_database, experiment)
    assert ("***@host/a.whl" in ended, "s3cr3t" in ended) == (True, False), ended


@pytest.mark.long
def test_a_wheel_replaces_a_dependency_of_another_package(
    vm_with_uv, benchmark_database, startup, index, tmp_path
):
    """A developer's build of one package of two that belong together, as Powerlift installs it."""
    make_index(index, "interpret", "0.7.8", "interpret-core==0.7.8")
    make_index(index, "interpret_core", "0.7.8")
    wheel = make_wheel(tmp_path, "interpret_core", "0.7.1")
    vm_with_uv.env["UV_DEFAULT_INDEX"] = index.as_uri()
    words = f"interpret>=0.7.8 {' '.join(PACKAGES)}"
    wheels = {wheel: (tmp_path / wheel).read_bytes()}
    experiment = benchmark_database.experiment(DONE, pip_install=words, wheels=wheels)

    code = vm_with_uv.run(startup(experiment))

    found = {one for one in installed(vm_with_uv) if one.startswith("interpret")}
    assert (code, found) == (0, {"interpret-0.7.8", "interpret_core-0.7.1"}), vm_with_uv.log
