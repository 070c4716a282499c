"""Workflows and hooks name existing files and set limits; GitHub reports errors only after a push."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))
ACTIONS = sorted(GITHUB.glob("actions/*/action.yml"))
HOOKS = REPOSITORY / ".pre-commit-config.yaml"
MAKEFILE = REPOSITORY / "Makefile"
PATH = re.compile(r"(?<![\w./-])(?:\./)?(\.?[\w-]+/[\w./-]+|requirements[\w-]*\.\w+)")


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def load(path: Path) -> dict[Any, Any]:
    return dict(yaml.safe_load(path.read_text()))


def steps(path: Path) -> list[dict[str, Any]]:
    """The steps of a workflow or an action, or the hooks."""
    document = load(path)
    if "repos" in document:
        return [{"run": hook["entry"]} for hook in document["repos"][0]["hooks"]]
    if "runs" in document:
        return list(document["runs"]["steps"])
    return [step for job in document["jobs"].values() for step in job.get("steps", [job])]


def text(path: Path) -> str:
    """Commands, options and our own actions, without GitHub's expressions around file names."""
    parts = [
        str(part)
        for step in steps(path)
        for part in (step.get("run"), *step.get("with", {}).values())
    ] + [step["uses"] for step in steps(path) if step.get("uses", "").startswith("./")]
    return re.sub(r"\$\{\{ ?(?:hashFiles\((.*?)\).*?|.*?)\}\}", r"\1", "\n".join(parts))


def targets(path: Path) -> Iterator[str]:
    for command in re.findall(r"\bmake (.*)", text(path)):
        yield from (word for word in shlex.split(command) if "=" not in word)


def missing(words: str) -> list[str]:
    """Paths that are missing in this repository, except for generated ones."""
    made = (".venv/", ".local/", "dist/")
    found = [path for path in PATH.findall(words) if not path.startswith(made)]
    return [path for path in found if not (REPOSITORY / path).exists()]


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS, HOOKS], ids=name)
def test_every_make_target_exists(path: Path) -> None:
    there = set(re.findall(r"^([\w-]+):", MAKEFILE.read_text(), re.MULTILINE)) | {".venv/.complete"}
    assert set(targets(path)) - there == set()


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS, HOOKS], ids=name)
def test_every_path_exists(path: Path) -> None:
    assert missing(text(path)) == []


def test_every_path_of_the_makefile_exists() -> None:
    assert missing(MAKEFILE.read_text()) == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_a_workflow_has_minimal_permissions_and_a_timeout(path: Path) -> None:
    workflow = load(path)
    assert (workflow["permissions"], "concurrency" in workflow) == ({"contents": "read"}, True)
    jobs = workflow["jobs"]
    assert [
        job for job, one in jobs.items() if "steps" in one and "timeout-minutes" not in one
    ] == []


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=name)
def test_an_action_is_pinned_to_a_major_version_or_local(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert [one for one in used if not re.search(r"^\./|@v\d+$|@[0-9a-f]{40}$", one)] == []


def test_every_hook_selects_a_check() -> None:
    """`-k` with the name of a removed check would select no test."""
    selected = re.findall(r"-k ['\"]?([\w ]+)", text(HOOKS))
    words = {word for expression in selected for word in expression.split()} - {"or"}
    checks = " ".join(
        re.findall(r"def (test_\w+)", (REPOSITORY / "tests/test_checks.py").read_text())
    )
    assert (len(selected), {word for word in words if word not in checks}) == (3, set())
