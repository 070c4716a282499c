"""Errors of an experiment that every VM would meet: the VM ends at once, and its exit code says so."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fleet.vm import agent
from tests.fleet.vm.scripts import DONE

RUNNER = "store.get_trial_fn(1)"
"""A script that reads the trial function, as Powerlift's and ours do."""


@pytest.mark.parametrize(
    ("script", "function", "said"),
    [
        ("import sys\nif", "", "the experiment's script is not valid Python 3"),
        ("import json, absent.part", "", "the experiment's script imports absent, which is not"),
        ("'''Text.'''\nfrom absent import x", "", "the experiment's script imports absent"),
        (RUNNER, "def f(trial):\n    return (", "the trial function is not valid Python 3"),
        (RUNNER, "    def f(trial):\n        '''Text.'''\n        import absent", "the trial function "),
        (RUNNER, "import absent\ndef f(trial): pass", "the trial function imports absent"),
        (RUNNER, "", "the trial function defines no function"),
        # What may work, or may be installed by the code itself:
        ("try:\n    import absent\nexcept ImportError:\n    pass", "", ""),
        ("import os\nos.system('pip install absent')\nimport absent", "", ""),
        ("from . import absent", "", ""),
        (RUNNER, "def f(trial):\n    if trial.method == 'm':\n        import absent", ""),
        ("print()", "not a function", ""),
    ],
)  # fmt: skip
def test_code_that_no_vm_can_run_is_found_before_a_trial_runs(tmp_path, script, function, said):
    files = [tmp_path / "script.py", tmp_path / "function.py"]
    for file, text in zip(files, (script, function), strict=True):
        file.write_text(text)

    command = [sys.executable, agent.__file__, "check_script", *files]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert (found.startswith(said), bool(found)) == (True, bool(said)), found


@pytest.mark.long
def test_the_first_vm_ends_before_it_claims_a_trial(vm, benchmark_database, startup):
    function = "def trial(trial):\n    import absent\n"
    experiment = benchmark_database.experiment(f"# {RUNNER}", trials=1, trial_fn=function)

    code = vm.run(startup(experiment))

    said = "the trial function imports absent, which is not installed: No module named 'absent'"
    [trial] = benchmark_database.trials(experiment)
    found = benchmark_database.runner(experiment)
    assert (code, found["exit_code"], found["outcome"]) == (78, 78, said), vm.log
    assert (trial["start_time"], (vm.home / "claimed").exists()) == (None, False)


@pytest.mark.long
@pytest.mark.parametrize(
    ("is_current", "ended"),
    [
        (True, (69, ": Unable to locate package bogus")),
        (False, (1, "")),  # the missing list may have it
    ],
)
def test_a_package_that_apt_does_not_know(vm, benchmark_database, startup, is_current, ended):
    vm.env["POWERLIFT_INSTALL_TIMEOUT"] = "0"
    vm.program(
        "apt-get",
        f"""[[ "$*" != *Error-Mode=any* ]] || exit {int(not is_current)}
        [[ "$*" != *install* ]] || {{ echo "E: Unable to locate package bogus" >&2; exit 100; }}""",
    )

    code = vm.run(startup(benchmark_database.experiment(DONE, shell_install="bogus")))

    reason = f"apt-get failed to install the experiment's shell_install{ended[1]}"
    assert (code, f"ending ({ended[0]}): {reason}\n" in vm.log) == (ended[0], True), vm.log
