"""VMs on which people report trouble: source, what a program does, what becomes of the VM."""

from __future__ import annotations

from typing import Any

import pytest

DONE = "raise SystemExit(0)"

PROGRAMS = [
    # source, programs and what they do, the VM's exit code, a text of its log
    (
        "runner-images#13259",
        {
            "apt-get": """[[ -e $ROOT/configured ]] || {
                echo "E: dpkg was interrupted, run dpkg --configure -a"; exit 100; }""",
            "dpkg": '[[ "$*" != "--configure -a" ]] || touch "$ROOT/configured"',
        },
        0,
        "no more work",
    ),
]


@pytest.mark.parametrize(("source", "programs", "code", "said"), PROGRAMS)
def test_a_vm_with_a_program_in_trouble(
    vm: Any, benchmark_database: Any, startup: Any, source: str, programs: Any, code: int, said: str
):
    for name, text in programs.items():
        vm.program(name, text)
    vm.env["POWERLIFT_INSTALL_TIMEOUT"] = "3"  # seconds
    ended = vm.run(startup(benchmark_database.experiment(DONE, shell_install="g++")))
    assert (ended, said in vm.log) == (code, True), vm.log
