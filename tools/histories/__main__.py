"""Records the current version: the histories of its orchestrators, and its code.

    make record-histories

Runs fleets on simulated Azure for two minutes. Writes tests/histories/VERSION: the app (`app.zip`), and
the last episode of each execution (`episodes.jsonl.gz`, tools/histories/recording.py). Later versions
are tested against both (docs/releasing.md).
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import tempfile
import zipfile
from pathlib import Path

from local.stack import REPOSITORY
from tests.scenario_runner import run
from tools.histories.fleets import FLEETS, SCENARIO
from tools.histories.recording import FILE_SETTING, make_host_root
from tools.release import current, is_past

FOLDER = REPOSITORY / "tests" / "histories"
_APP = ("function_app.py", "host.json", "activities", "fleet", "orchestrators", "triggers", "view")
_SEALED = re.compile(r"gAAAA[\w-]{20,}={0,2}")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    """Returns the exit status: 1 if nothing was recorded."""
    version = current()
    if is_past():
        print(
            f"{version} is released, and the app has changed since: nothing was recorded, because its"
            " fleets run the code of the release. Run `make release VERSION=…` first.",
            file=sys.stderr,
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="histories-") as folder:
        state = Path(folder)
        state.chmod(0o711)  # PostgreSQL runs as another user
        lines, ends = state / "episodes.jsonl", _run_fleets(state)
        for name, phase in ends.items():
            print(f"{phase:9}  {name}")
        target = FOLDER / version
        target.mkdir(parents=True, exist_ok=True)
        _write_episodes(lines, target / "episodes.jsonl.gz")
        _write_app(target / "app.zip")
    size = sum(file.stat().st_size for file in target.iterdir())
    print(f"Recorded {version} in {target.relative_to(REPOSITORY)}: {size / 1000:.0f} KB.")
    return 0


def _run_fleets(state: Path) -> dict[str, str]:
    """Record the fleets in `state`/episodes.jsonl. Returns the phase in which each ended."""
    app = make_host_root(state / "app", REPOSITORY)
    result = run(SCENARIO, state / "stack", app, **{FILE_SETTING: str(state / "episodes.jsonl")})
    return {name: fleet.phase for name, fleet in zip(FLEETS, result.fleets, strict=True)}


def _write_episodes(lines: Path, target: Path) -> None:
    """The last recorded episode of each execution, without ciphertexts of secrets."""
    last = {}
    for line in lines.read_text().splitlines():
        history = json.loads(json.loads(line)["input"])["history"]
        execution = next(e["OrchestrationInstance"] for e in history if e["EventType"] == 0)
        last[execution["InstanceId"], execution["ExecutionId"]] = line
    text = _SEALED.sub("sealed", "".join(f"{line}\n" for line in last.values()))
    target.write_bytes(gzip.compress(text.encode(), mtime=0))


def _write_app(target: Path) -> None:
    """The deployed files. The same code gives the same bytes."""
    files = [
        path
        for name in _APP
        for path in [REPOSITORY / name, *sorted((REPOSITORY / name).rglob("*"))]
        if path.is_file() and path.suffix != ".pyc"
    ]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(REPOSITORY).as_posix(), _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
