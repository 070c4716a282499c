"""The lock of packages: all VMs of a fleet install what one of them has resolved."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fleet.vm
from fleet.vm import packages
from tests.fleet.conftest import RESOLVER
from tests.fleet.vm.packages import PACKAGES, installed, lock_of, make_index
from tests.fleet.vm.scripts import DONE

FRAGMENT = Path(fleet.vm.__file__).parent / "startup" / "74-lock.sh"
HELD = "until [[ $2 != compile || -e $ROOT/go ]]; do sleep 0.05; done\n" + RESOLVER
"""Resolves when it is told to."""


def test_a_replacement_installs_the_versions_and_files_of_the_first_vm(
    vm_with_uv, other_vm, benchmark_database, startup, tmp_path_factory
):
    """Its index has a newer version by then."""
    index = tmp_path_factory.mktemp("index")
    for name in (*PACKAGES, "lib"):
        make_index(index, name, "2")
    (other_vm.root / "bin" / "uv").unlink()
    (other_vm.root / "bin" / "uv").symlink_to(os.readlink(vm_with_uv.root / "bin" / "uv"))
    other_vm.without_packages = True
    for machine in (vm_with_uv, other_vm):
        machine.env["UV_DEFAULT_INDEX"] = index.as_uri()
    # Without the VMs' pinned versions, which this index lacks.
    experiment = benchmark_database.experiment(DONE, pip_install=f"lib {' '.join(PACKAGES)}")

    codes = [vm_with_uv.run(startup(experiment))]
    make_index(index, "lib", "3")
    codes.append(other_vm.run(startup(experiment, runner_id=8)))

    logs = vm_with_uv.log + other_vm.log
    assert codes == [0, 0], logs
    assert {"lib-2"} == {one for one in installed(other_vm) if one.startswith("lib")}, logs
    text = lock_of(benchmark_database, startup(experiment))
    assert text.count(" \\\n    --hash=sha256:") == len(PACKAGES) + 1, text
    digest = hashlib.sha256(text.encode()).hexdigest()
    rows = benchmark_database.runners(experiment)
    python = ".".join(map(str, sys.version_info[:3]))
    found = [(row["lock_digest"], row["python"], row["architecture"]) for row in rows]
    assert found == [(digest, python, os.uname().machine)] * 2


@pytest.fixture
def two_vms(vm, other_vm, benchmark_database, startup):
    """One VM that resolves the packages until its file `go` exists, and one that waits for them."""
    experiment = benchmark_database.experiment(DONE, pip_install="lib")
    vm.program("uv", HELD)
    vm.start(startup(experiment))
    vm.until(lambda: any("compile" in call for call in vm.calls("uv")))
    other_vm.start(startup(experiment, runner_id=8))
    other_vm.wait_for_log("another VM resolves the packages")
    return experiment


def test_vms_that_boot_at_the_same_time_resolve_once(vm, other_vm, two_vms, benchmark_database):
    (vm.root / "go").touch()

    codes = [vm.wait(), other_vm.wait()]

    digests = {row["lock_digest"] for row in benchmark_database.runners(two_vms)}
    assert (codes, len(digests), None in digests) == ([0, 0], 1, False), vm.log + other_vm.log
    assert [call[1] for call in other_vm.calls("uv")] == ["install"], other_vm.log


@pytest.mark.long
@pytest.mark.parametrize(
    "ended",
    [
        "seen_at = now() - interval '4 minutes'",
        pytest.param("ended_at = now()", marks=pytest.mark.long),
        pytest.param("resolving_at = now() - interval '61 minutes'", marks=pytest.mark.long),
        pytest.param("resolving_at = 'infinity'", marks=pytest.mark.long),
        pytest.param("seen_at = 'infinity'", marks=pytest.mark.long),
    ],
)
def test_a_vm_that_ends_or_dies_leaves_the_resolution_to_another(
    vm, other_vm, two_vms, benchmark_database, ended
):
    os.killpg(vm.process.pid, signal.SIGKILL)
    statement = (
        f"UPDATE powerlift_fleet_runner SET {ended} WHERE experiment_id = %s AND runner_id = 7"
    )
    benchmark_database.sql(statement, two_vms)

    code = other_vm.wait()

    assert (code, [call[1] for call in other_vm.calls("uv")]) == (0, ["compile", "install"]), (
        other_vm.log
    )


@pytest.mark.long
def test_once_a_vm_could_not_resolve_no_other_waits(vm, other_vm, two_vms, benchmark_database):
    """One after the other would be paid for while it waits: an index may be down for hours."""
    benchmark_database.sql(
        "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, ended_at, exit_code, outcome)"
        " VALUES (%s, 9, now(), 1, 'failed to resolve the experiment''s packages: 503')",
        two_vms,
    )

    code = other_vm.wait()

    assert (code, [call[1] for call in other_vm.calls("uv")]) == (0, ["compile", "install"]), (
        other_vm.log
    )
    (vm.root / "go").touch()
    assert vm.wait() == 0, vm.log


WAITS = """
ARCHITECTURE=x EXPERIMENT_ID=1 RUNNER_ID=7 LOCK_KEY=key LOCK_DIGEST= IDS=true registered=true
DATABASE_TIMEOUT=1
say() { :; }
retry() { "${@:2}"; }
must() { "$1"; }
run_group() { echo "$2" >>pauses; }
query() {
    echo "$2" >>queries
    case $(wc -l <pauses) in
        0 | 1 | 2 | 3 | 4 | 5 | 6 | 7) echo '?' ;;
        *) base64 <<<'lib==1' ;;
    esac >"$1"
    [[ $1 != may_lock ]] || echo 't|t' >"$1"
}
: >pauses
obtain_lock
grep -c SELECT.coalesce queries
grep -c LOCK.TABLE queries
tr '\\n' ' ' <pauses
cat lock
"""
"""Another VM resolves the packages for a while."""


@pytest.mark.parametrize(
    ("interval", "longest"),
    [("0.2", "10 10 10 10"), ("60", "16 32 60 60"), ("600", "16 32 64 128")],
)
def test_a_vm_that_waits_for_the_lock_logs_in_once_for_each_pause(tmp_path, interval, longest):
    """The longest pause is that between heartbeats, which grows with the fleet."""
    text = f"HEARTBEAT_INTERVAL={interval}\n{FRAGMENT.read_text()}\n{WAITS}"
    ran = subprocess.run(["bash", "-uc", text], cwd=tmp_path, capture_output=True, text=True)
    expected = f"10\n0\n1 2 4 8 {longest} lib==1\n"
    assert (ran.stdout, ran.stderr) == (expected, "")


@pytest.fixture
def earlier(benchmark_database):
    """The URI of a role whose grants are those of an earlier release."""
    benchmark_database.sql(
        "DO $$BEGIN IF to_regrole('earlier') IS NULL THEN"
        " CREATE ROLE earlier LOGIN PASSWORD 'earlier'; END IF; END$$;"
        " GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO earlier;"
        " REVOKE ALL ON powerlift_fleet_lock FROM earlier"
    )
    return f"postgresql://earlier:earlier@{benchmark_database.uri.split('@')[1]}"


@pytest.mark.long
def test_a_role_that_may_not_read_the_lock_of_the_request_lacks_a_grant(
    vm, benchmark_database, startup, earlier
):
    """The request is right: the fleet must not say that the experiment is invalid."""
    experiment = benchmark_database.experiment(DONE)

    code = vm.run(startup(experiment, uri=earlier, lock_digest="0" * 64))

    reason = "requirements_lock needs a grant: "
    reason += "GRANT SELECT, INSERT ON powerlift_fleet_lock TO the VM's role"
    assert (code, benchmark_database.runner(experiment)["outcome"]) == (1, reason), vm.log


@pytest.mark.long
def test_a_role_without_access_to_the_locks_resolves_for_its_own_vm(
    vm, benchmark_database, startup, earlier
):
    experiment = benchmark_database.experiment(DONE, pip_install="lib")

    code = vm.run(startup(experiment, uri=earlier))

    runner = benchmark_database.runner(experiment)
    assert (code, runner["lock_digest"], runner["outcome"]) == (0, None, "no more work"), vm.log
    assert "this VM resolves its own packages" in vm.log
    assert [call[1] for call in vm.calls("uv")] == ["install"]


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.long
def test_what_has_no_hash_is_pinned_to_its_commit_and_logged(vm, benchmark_database, startup):
    vcs = f"vcs-thing @ git+https://me:s3cr3t@host/it@{COMMIT}"
    vm.program("uv", RESOLVER.replace('>"$2"', f'>"$2"; echo "{vcs}" >>"$2"'))
    experiment = benchmark_database.experiment(
        DONE, pip_install="lib git+https://me:s3cr3t@host/it"
    )

    code = vm.run(startup(experiment))

    said = "without a hash: vcs-thing \n" in vm.log
    flags = [word for word in vm.calls("uv")[-1] if word.startswith("--")]
    assert (code, said, flags[-1]) == (0, True, "--no-deps"), vm.log
    assert (vcs in lock_of(benchmark_database, startup(experiment)), "s3cr3t" in vm.log) == (
        True,
        False,
    )


@pytest.mark.long
def test_a_lock_of_the_request_that_cannot_be_read_ends_the_vm(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(DONE)

    code = vm.run(startup(experiment, lock_digest="0" * 64))

    reason = "the request's requirements_lock cannot be read from powerlift_fleet_lock"
    assert (code, benchmark_database.runner(experiment)["outcome"]) == (78, reason), vm.log


def test_a_lock_of_the_request_is_installed(vm, benchmark_database, startup):
    """With the options of pip_install, whose packages it replaces."""
    text = f"# mine\nlib==7 \\\n    --hash=sha256:{'1' * 64}\n    # via me\n"
    experiment = benchmark_database.experiment(
        DONE, pip_install="lib==8 --index-url https://host/simple"
    )
    values = startup(experiment, lock_digest=hashlib.sha256(text.encode()).hexdigest())
    statement = "INSERT INTO powerlift_fleet_lock (key, digest, requirements) VALUES (%s, %s, %s)"
    benchmark_database.sql(statement, values.lock_key, values.lock_digest, text)

    code = vm.run(values)

    [call] = vm.calls("uv")
    wanted = ["--require-hashes", "--no-deps", "-r", "locked", "--index-url", "https://host/simple"]
    assert (code, call[-6:]) == (0, wanted), vm.log
    assert (vm.home / "locked").read_text() == f"lib==7 --hash=sha256:{'1' * 64}\n"


@pytest.mark.long
def test_a_file_that_is_not_the_one_in_the_lock_is_named(vm, benchmark_database, startup):
    said = "error: Failed to download `lib==1`\n  cause: Hash mismatch for `lib==1`\n\n  Expected:"
    vm.program("uv", f"[[ $2 == compile ]] || {{ echo '{said}' >&2; exit 1; }}\n{RESOLVER}")
    vm.env["POWERLIFT_INSTALL_TIMEOUT"] = "0"
    experiment = benchmark_database.experiment(DONE, pip_install="lib")

    code = vm.run(startup(experiment))

    reason = "failed to install the experiment's packages: Hash mismatch for `lib==1`"
    assert (code, benchmark_database.runner(experiment)["outcome"]) == (1, reason), vm.log


@pytest.mark.parametrize(
    ("words", "requirements", "options"),
    [
        (["a", "b<2", "git+https://h/r#egg=c"], ["a", "b<2", "git+https://h/r#egg=c"], []),
        (["-i", "https://h", "a"], ["a"], ["-i", "https://h"]),
        (
            ["--extra-index-url=https://h", "a", "--pre"],
            ["a"],
            ["--extra-index-url=https://h", "--pre"],
        ),
        (["-r", "more.txt", "--requirement=x", "-e", "./a"], ["-r more.txt", "-r x", "-e ./a"], []),
        (["--no-binary", ":all:", "a"], ["a"], ["--no-binary", ":all:"]),
        (["a\nb"], ["a b"], []),
        (["-r"], ["-r "], []),
    ],
)
def test_pip_install_is_split_into_requirements_and_options(words, requirements, options):
    assert packages.split(words) == (requirements, options)


def test_our_tools_keep_our_hashes_whatever_the_index_says():
    ours, theirs, others = ("1" * 64, "2" * 64, "3" * 64)
    lock = f"lib==1 \\\n    --hash=sha256:{others}\npsycopg==3.3 \\\n    --hash=sha256:{theirs}\n"
    pins = f"psycopg[binary]==3.2 ; x < 'y' --hash=sha256:{theirs}\n"
    pins += f"psycopg[binary]==3.3 ; x > 'y' --hash=sha256:{ours} --hash=sha256:{others}\nlib\n"

    completed = packages.complete(lock + "wheels/a.whl\nb @ git+https://h/r@c\n", pins)

    mine = f"psycopg==3.3 \\\n    --hash=sha256:{ours} \\\n    --hash=sha256:{others}\n"
    assert (
        completed == lock.partition("psycopg")[0] + mine + "wheels/a.whl\nb @ git+https://h/r@c\n"
    )
