"""The power supply of one machine: runs its script, and ends everything that the script started.

`python supervisor.py CONSOLE SCRIPT` with a pipe as standard input. Standard library only, so that
it starts quickly. It adopts every orphan below it (PR_SET_CHILD_SUBREAPER), so that no `setsid`,
`nohup` or double fork leads out of its reach. It kills them all

- when the pipe closes: the VM was deleted, or the simulator is gone, however it ended;
- on SIGTERM: the machine shuts itself down; the supervisor then ends;
- on SIGHUP: the machine reboots; the supervisor goes on, and runs nothing again, as cloud-init would.

A script that ends leaves the machine on.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36
_PAUSE = 0.005


def main(console: str, script: str) -> None:
    """Run `script` with its output in `console`, until the power goes."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    alarm, bell = os.pipe()
    os.set_blocking(bell, False)
    signal.set_wakeup_fd(bell)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _run(console, script)
    while True:
        ready, _, _ = select.select([sys.stdin, alarm], [], [])
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
            break
        numbers = os.read(alarm, 64) if alarm in ready else b""
        if signal.SIGTERM in numbers:
            break
        if signal.SIGHUP in numbers:
            _end_all()
        _reap()
    _end_all()


def _run(console: str, script: str) -> None:
    power_button = {"LOCAL_AZURE_POWER_BUTTON": str(os.getpid())}
    with open(console, "ab") as out:
        try:
            subprocess.Popen(
                [script],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **power_button},
            )
        except OSError as error:
            out.write(f"cloud-init: the script could not be run: {error}\n".encode())


def _end_all() -> None:
    """Kill until nothing is left below: a child of a killed process becomes ours, and is next."""
    while children := _children():
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
        time.sleep(_PAUSE)


def _children() -> list[int]:
    """Processes whose parent we are, dead ones included until they are reaped."""
    own, found = os.getpid(), []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    # "pid (name) state ppid ...": the name may hold anything, even parentheses.
                    parent = int(stat.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if parent == own:
                found.append(int(entry))
    return found


def _reap() -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
