"""The output and exit status of `make check-supply-chain`."""

from __future__ import annotations

from typing import Any

import pytest

from tools.supply_chain import verdict

CLEAN = {"name": "idna", "version": "3.20", "vulns": []}
SKIPPED = {"name": "our-fork", "skip_reason": "Dependency not found on PyPI"}
VULNERABLE = {
    "name": "requests",
    "version": "2.19.0",
    "vulns": [{"id": "PYSEC-2018-28", "fix_versions": ["2.20.0"]}],
}
UNFIXED = {"name": "idna", "version": "3.20", "vulns": [{"id": "PYSEC-1", "fix_versions": []}]}


@pytest.mark.parametrize(
    ("packages", "text", "status", "strict_status"),
    [
        ([], "Not audited: no advisory service responded.", 0, 1),
        # pip-audit itself reports "No known vulnerabilities found" here.
        ([SKIPPED], "Not audited: no advisory service responded.", 0, 1),
        (
            [CLEAN, SKIPPED],
            "Audited: 1 packages, 0 known vulnerabilities.\nNot audited: our-fork.",
            0,
            1,
        ),
        ([CLEAN], "Audited: 1 packages, 0 known vulnerabilities.", 0, 0),
        (
            [VULNERABLE],
            "Audited: 1 packages, 1 known vulnerabilities.\n"
            "requests 2.19.0: PYSEC-2018-28, fixed in 2.20.0",
            1,
            1,
        ),
        (
            [UNFIXED],
            "Audited: 1 packages, 1 known vulnerabilities.\nidna 3.20: PYSEC-1, fixed in no version",
            1,
            1,
        ),
    ],
    ids=["no report", "skipped", "part skipped", "clean", "vulnerable", "unfixed"],
)
def test_the_report_and_exit_status(
    packages: list[dict[str, Any]], text: str, status: int, strict_status: int
) -> None:
    assert verdict(packages, strict=False) == (text, status)
    assert verdict(packages, strict=True) == (text, strict_status)
