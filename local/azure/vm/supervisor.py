"""The supervisor of one VM: runs its script, and kills everything that the script started.

`python supervisor.py CONSOLE SCRIPT` with a pipe as standard input. Standard library only, so that
it starts quickly. It adopts all orphaned descendants (PR_SET_CHILD_SUBREAPER), so that processes
cannot escape by `setsid`, `nohup` or a double fork. It kills all descendants

- when the pipe closes, because the VM is deleted or the simulator has exited: it then exits;
- on SIGTERM, when the VM shuts itself down: it then exits;
- on SIGHUP, when the VM reboots: it keeps running, and like cloud-init does not rerun the script.

The VM keeps running after its script exits.
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
_POLL_SECONDS = 0.005


def main(console: str, script: str) -> None:
    """Run `script` with its output in `console` until the VM is powered off."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signals, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _run(console, script)
    while True:
        ready, _, _ = select.select([sys.stdin, signals], [], [])
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
            break
        numbers = os.read(signals, 64) if signals in ready else b""
        if signal.SIGTERM in numbers:
            break
        if signal.SIGHUP in numbers:
            _kill_all()
        _reap()
    _kill_all()


def _run(console: str, script: str) -> None:
    with open(console, "ab") as out:
        try:
            subprocess.Popen(
                [script],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, "LOCAL_AZURE_SUPERVISOR": str(os.getpid())},
            )
        except OSError as error:
            out.write(f"cloud-init: the script could not be run: {error}\n".encode())


def _kill_all() -> None:
    """Kill until no child is left: children of a killed process become ours."""
    while children := _children():
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
        time.sleep(_POLL_SECONDS)


def _children() -> list[int]:
    """Our child processes, including zombies."""
    own, found = os.getpid(), []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    # "pid (name) state ppid ...": the name may contain parentheses.
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
