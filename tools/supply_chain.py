"""Audits the packages of a deployment and its VMs, and writes a CycloneDX SBOM of the deployment.

The tools run in separate environments, so that their dependencies do not affect our lock.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local.stack import CACHE, REPOSITORY

SBOM = REPOSITORY / ".local" / "sbom.cdx.json"

_LOCK, _VM_LOCK = "requirements.txt", "fleet/vm/requirements.txt"
_PIP_AUDIT = ("pip-audit==2.10.1", "pip-audit", "--require-hashes", "--disable-pip")
_CYCLONEDX = ("cyclonedx-bom==7.5.0", "cyclonedx-py", "requirements", "-o", str(SBOM), _LOCK)
_SERVICES = ("pypi", "osv")


def main() -> int:
    """The exit status: 1 for a known vulnerability; with --strict also for an unaudited package."""
    parser = argparse.ArgumentParser(prog="python -m tools.supply_chain", description=__doc__)
    parser.add_argument("--strict", action="store_true", help="fail if a package is not audited")
    strict = parser.parse_args().strict
    sbom = _run(_CYCLONEDX, "--pyproject", "pyproject.toml")
    if sbom.returncode != 0:
        print(f"No SBOM: {sbom.stderr.strip()}", file=sys.stderr)
        return 1
    print(f"SBOM: {SBOM.relative_to(REPOSITORY)}", flush=True)
    # Separately: they may have different versions of a package.
    text, status = verdict([*_audit(_LOCK), *_audit(_VM_LOCK)], strict=strict)
    print(text)
    return status


def verdict(packages: Sequence[Mapping[str, Any]], *, strict: bool) -> tuple[str, int]:
    """The text and exit status for pip-audit's report.

    A package that the advisory service does not know has `skip_reason` instead of `vulns`.
    """
    known = [package for package in packages if "vulns" in package]
    if not known:
        return "Not audited: no advisory service responded.", int(strict)
    found = [
        f"{package['name']} {package['version']}: {one['id']}, "
        f"fixed in {', '.join(one['fix_versions']) or 'no version'}"
        for package in known
        for one in package["vulns"]
    ]
    lines = [f"Audited: {len(known)} packages, {len(found)} known vulnerabilities.", *found]
    unknown = [package["name"] for package in packages if "vulns" not in package]
    if unknown:
        lines.append(f"Not audited: {', '.join(unknown)}.")
    return "\n".join(lines), int(bool(found or (strict and unknown)))


def _audit(lock: str) -> list[dict[str, Any]]:
    """The report of the first advisory service that knows any package; empty if there is none."""
    for service in _SERVICES:
        with tempfile.TemporaryDirectory() as scratch:
            report = Path(scratch) / "report.json"
            # The exit status is ambiguous: 1 is a vulnerability or an unreachable service, and 0 may
            # be a service that knows none of the packages.
            _run(_PIP_AUDIT, "-r", lock, "-s", service, "--format", "json", "--output", str(report))
            packages = json.loads(report.read_text())["dependencies"] if report.exists() else []
            if any("vulns" in package for package in packages):
                return list(packages)
    return []


def _run(tool: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
    uvx = str(Path(sys.executable).with_name("uvx"))
    argv = [uvx, "--quiet", "--cache-dir", str(CACHE / "uv"), "--from", *tool, *options]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
