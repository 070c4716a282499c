"""docs/vm.md names a test for each fault of Powerlift's own script, and each test exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "vm.md"
FAULTS = [4, 13, 16, 17, 18, 19, 20, 21, 23, 25, 26, 37, 38, 39]


def rows() -> list[tuple[int, str]]:
    """Numbers and tests of the page's table."""
    found = re.findall(r"^\| B(\d+) \|.*\| `(\w+)` \|$", PAGE.read_text(), re.MULTILINE)
    return [(int(number), test) for number, test in found]


def existing() -> set[str]:
    trees = [ast.parse(file.read_text()) for file in HERE.glob("test_startup*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_every_fault_has_a_test():
    assert [number for number, _ in rows()] == FAULTS


def test_every_named_test_exists():
    assert [test for _, test in rows() if test not in existing()] == []
