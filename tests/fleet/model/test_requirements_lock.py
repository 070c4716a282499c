"""Which texts are locks of packages, and the keys under which fleets store theirs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import fleet.vm
from fleet.model.requirements_lock import (
    MAX_FAULTS,
    PATTERN,
    TOOLS,
    architecture_of,
    faults,
    lock_key,
    missing_tools,
    without_credentials,
)

HASH = f"--hash=sha256:{'0' * 64}"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "lock",
    [
        "",
        f"# Python 3.12\nnumpy==2.1.0 \\\n    {HASH} \\\n    {HASH}\n    # via me\nlib==1+cu12",
        f"lib[all]==1 ; python_version < '3.12' {HASH}\n",
        f"lib @ git+https://github.com/a/lib@{COMMIT}#subdirectory=python/lib\n",
        f"lib @ git+ssh://git@github.com/a/lib.git@{COMMIT}\n",
        f"lib @ https://host/lib-1-py3-none-any.whl {HASH}\n",
        f"wheels/lib-1-py3-none-any.whl {HASH}\n",
    ],
)
def test_what_uv_and_pip_write_is_a_lock(lock):
    assert list(faults(lock)) == []


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "numpy>=2",
        "numpy==2.*",
        "numpy==2 --hash=md5:0",
        "--index-url https://host/simple",
        "-e ./lib",
        "lib @ git+https://github.com/a/lib@main",
        f"lib @ git+https://token@github.com/a/lib@{COMMIT}",
        "lib @ https://me:s3cr3t@host/lib.whl",
        "../lib.whl",
        "numpy==2 other==3",
        "numpy==2  # \x00",
        "numpy==2\r",
    ],
)
def test_each_line_that_pins_nothing_is_a_fault_with_its_number(line):
    lock = f"a==1 \\\n  {HASH}\n{line}\nb==2\n{line}\n"
    found = [fault.partition(":")[0] for fault in faults(lock)]
    assert found == ["Line 3", "Line 5"]
    assert "s3cr3t" not in "".join(faults(lock))


def test_many_faults_are_counted():
    found = list(faults("numpy\n" * (MAX_FAULTS + 5)))
    assert (len(found), found[-1]) == (MAX_FAULTS + 1, "And 5 more lines.")


@settings(max_examples=40, derandomize=True, phases=[Phase.generate], deadline=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(st.from_regex(PATTERN, fullmatch=True))
def test_what_the_schema_allows_is_valid(lock):
    assert list(faults(lock)) == []


def test_the_tools_of_a_vm_are_those_that_it_installs():
    text = (Path(fleet.vm.__file__).parent / "requirements.in").read_text()
    names = set(re.findall(r"^[a-z][-a-z0-9]*", text, re.MULTILINE))
    assert names - {"uv"} == set(TOOLS)


def test_tools_are_found_by_name_url_and_wheel():
    lock = f"wheels/psycopg2_binary-2-py3-none-any.whl\nPowerLift @ git+https://h/a/p@{COMMIT}\npsycopg==3"
    assert missing_tools(lock) == ["setuptools"]


def test_credentials_are_not_shown():
    lock = f"a @ git+https://me:s3cr3t@host/a@{COMMIT}\nb @ git+ssh://git@host/b\n"
    assert without_credentials(lock) == lock.replace("me:s3cr3t", "***")


@pytest.mark.parametrize(
    ("size", "architecture"),
    [
        ("Standard_D4ps_v5", "Arm64"),
        ("Standard_E2pds_v6", "Arm64"),
        ("standard_b2pts_v2", "Arm64"),
        ("Standard_D2s_v5", "x64"),
        ("Standard_NP10s", "x64"),
        ("Standard_M64-16ms", "x64"),
        ("Standard_DS2_v2_Promo", "x64"),
    ],
)
def test_a_size_has_an_architecture(size, architecture):
    assert architecture_of(size) == architecture


def test_a_key_belongs_to_one_fleet_and_architecture():
    keys = {lock_key(sealed, arch) for sealed in ("one", "other") for arch in ("x64", "Arm64")}
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/x.whl?sv=1&sig=s3cr3t#sha256=ab", "https://h/x.whl?***#sha256=ab"),
        ("https://me:s3cr3t/b@h/x.whl", "https://***@h/x.whl"),
        ("https://me:s3@cr3t@h/x.whl", "https://***@h/x.whl"),
        (f"git+https://me:s3cr3t@h/r@{'0' * 40}", f"git+https://***@h/r@{'0' * 40}"),
        (f"git+https://git@h/r@{'0' * 40}", f"git+https://git@h/r@{'0' * 40}"),
        (f"git+https://h/r@{'0' * 40}", f"git+https://h/r@{'0' * 40}"),
    ],
)
def test_a_lock_is_shown_without_the_credentials_of_its_urls(url: str, shown: str):
    assert without_credentials(f"a @ {url} --hash\nb==1\n") == f"a @ {shown} --hash\nb==1\n"


def test_a_url_with_a_query_is_no_part_of_a_requested_lock():
    """A query may be a token, and a request's lock is shown to everyone who may read the fleet."""
    assert len(list(faults("a @ https://h/x.whl?sig=s3cr3t\n"))) == 1
