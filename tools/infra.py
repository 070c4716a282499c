"""Checks `infra/`: it compiles without a warning, its compiled template is current, and checkov finds
nothing that is not explained here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.stack import CACHE, REPOSITORY

INFRA = REPOSITORY / "infra"
TEMPLATE = INFRA / "main.json"
EXAMPLES = sorted(INFRA.glob("examples/*.bicepparam"))
_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
ISOLATED = INFRA / "examples" / "isolated.snapshot.json"
_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
_CHECKOV = "checkov==3.2.501"

_OF_A_WEB_SITE = (
    "of web sites; here it reads the app settings, which are a resource of the same type"
)

SKIPPED = {
    "CKV_AZURE_13": "callers have function keys, which the app requires; " + _OF_A_WEB_SITE,
    "CKV_AZURE_17": "callers have function keys instead of client certificates",
    "CKV_AZURE_36": "no service of Azure reads the accounts: the app uses private endpoints",
    "CKV_AZURE_63": _OF_A_WEB_SITE,
    "CKV_AZURE_65": _OF_A_WEB_SITE,
    "CKV_AZURE_66": _OF_A_WEB_SITE,
    "CKV_AZURE_80": _OF_A_WEB_SITE,
    "CKV_AZURE_88": _OF_A_WEB_SITE,
    "CKV_AZURE_206": "a task hub cannot move to another region; the sweep cleans up after a lost one",
    "CKV_AZURE_212": "Flex Consumption scales to zero, and has no minimum",
    "CKV_AZURE_213": "a new instance brings no database back (docs/operating.md, Health)",
    "CKV_AZURE_222": "the API is public: its callers are elsewhere, and have keys",
    "CKV_AZURE_225": "not every region has zones, and fleets survive the loss of an instance",
}
"""checkov's checks that do not apply, and why."""


def main() -> int:
    """The exit status: 1 with a finding; without a compiler only with --strict."""
    parser = argparse.ArgumentParser(prog="python -m tools.infra", description=__doc__)
    parser.add_argument("--strict", action="store_true", help="fail without a Bicep compiler")
    parser.add_argument("--write", action="store_true", help="write the compiler's output")
    options = parser.parse_args()
    compiler = find_compiler()
    if compiler is None:
        print("Not checked: there is no bicep on PATH, and BICEP names none.", file=sys.stderr)
        return int(options.strict)
    if options.write:
        _bicep(compiler, "build", str(INFRA / "main.bicep"), "--outfile", str(TEMPLATE))
    findings = [*compile_all(compiler, write=options.write), *scan()]
    print("\n".join(findings) or "infra/ is checked: no findings.")
    return int(bool(findings))


def find_compiler() -> str | None:
    """The path of the Bicep compiler: from BICEP, PATH, or the folder beside the repository."""
    beside = REPOSITORY.parent / "shared" / "tools" / "bicep"
    named = os.environ.get("BICEP") or shutil.which("bicep")
    return named or (str(beside) if beside.exists() else None)


def compile_all(compiler: str, *, write: bool) -> Iterator[str]:
    """Findings of the compiler, and committed output that is not current.

    Another version of the compiler may write the same template differently: then nothing is compared.
    """
    built = _bicep(compiler, "build", str(INFRA / "main.bicep"), "--stdout")
    yield from built.stderr.splitlines()
    parameters = str(INFRA / "main.bicepparam")
    yield from _bicep(compiler, "build-params", parameters, "--stdout").stderr.splitlines()
    if built.returncode != 0:
        return
    template, committed = json.loads(built.stdout), json.loads(TEMPLATE.read_text())
    if version_of(template) != version_of(committed):
        print(f"Not compared: infra/main.json is the output of bicep {version_of(committed)}.")
        return
    if template != committed:
        yield "infra/main.json is not current: make check-infra ARGS=--write"
    mode = "overwrite" if write else "validate"
    for example in EXAMPLES:
        scope = ("--subscription-id", _SUBSCRIPTION, "--location", "eastus")
        snapshot = _bicep(compiler, "snapshot", str(example), "--mode", mode, *scope)
        if snapshot.returncode != 0 or snapshot.stderr:
            yield f"{example.name}: {snapshot.stderr or snapshot.stdout}"


def version_of(template: Any) -> str:
    """The version of the compiler that wrote a template."""
    return str(template["metadata"]["_generator"]["version"])


def scan() -> Iterator[str]:
    """Findings of checkov in the resources of the isolated example, in which no condition is open."""
    resources = json.loads(ISOLATED.read_text())["predictedResources"]
    template = REPOSITORY / ".local" / "infra" / "isolated.json"
    template.parent.mkdir(parents=True, exist_ok=True)
    header = {"$schema": _SCHEMA, "contentVersion": "1.0.0.0"}  # by which checkov recognizes it
    template.write_text(json.dumps({**header, "resources": resources}))
    argv = [str(Path(sys.executable).with_name("uvx")), "--quiet", "--cache-dir", str(CACHE / "uv")]
    argv += ["--from", _CHECKOV, "checkov", "--framework", "arm", "--file", str(template)]
    argv += ["--compact", "--output", "json", "--skip-download", "--skip-check", ",".join(SKIPPED)]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
        checked, failed = report["summary"]["passed"], report["results"]["failed_checks"]
    except (json.JSONDecodeError, KeyError):
        checked, failed = 0, []
    if not checked:
        yield f"checkov checked nothing: {done.stderr[-2000:] or done.stdout[-2000:]}"
    for one in failed:
        yield f"{one['check_id']} {one['check_name']}: {one['resource']}"


def _bicep(compiler: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Without it, the compiler requires ICU.
    environment = {**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}
    return subprocess.run(
        [compiler, *arguments], env=environment, capture_output=True, text=True, check=False
    )


if __name__ == "__main__":
    sys.exit(main())
