"""Runs an experiment's trials one after another, each in a process of its own, until none is left.

An experiment's `script`: one file, which needs the package powerlift, Linux, and no argument.
Environment: EXPERIMENT_ID, RUNNER_ID (numbers), DB_URL (SQLAlchemy's), TIMEOUT (seconds that a trial
may take; empty, "None", "inf" or absent: no limit).
Exit codes: 0 no more work; 65 the runner itself failed; 143 SIGTERM (the open trial is left open).

The trials' processes are forked from this one, which has imported what they need: a new Python with
pandas and SQLAlchemy takes 1.5 s. A trial that is too slow is killed with all it has started; one
that crashes, or is killed by the kernel, takes nothing else with it. What went wrong becomes the
trial's `errmsg`, and the next trial is run.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import importlib
import linecache
import math
import os
import signal
import sys
import tempfile
import textwrap
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, NoReturn

WORK_DONE, RUNNER_FAILED, TERMINATED = 0, 65, 128 + signal.SIGTERM

PRELOADED = ("numpy", "pandas", "scipy", "sklearn")
"""Packages imported before the first fork when the trial function imports them. Only such as start no
thread of their own at import: a fork keeps none, and a lock that one held stays locked."""

_WAKING = {signal.SIGCHLD, signal.SIGTERM}
_TRIAL_FILE = "trial_run_fn.py"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Terminated(BaseException):
    """SIGTERM came while a trial ran: leave it open, so that another runner can have it."""


@dataclass(frozen=True)
class Contract:
    """What the environment says."""

    experiment_id: int
    runner_id: int
    db_url: str = field(repr=False)
    timeout: float
    """Seconds; math.inf for no limit."""

    @classmethod
    def read(cls) -> Contract:
        """Read the environment. Raises KeyError or ValueError naming the variable."""
        return cls(
            experiment_id=int(os.environ["EXPERIMENT_ID"]),
            runner_id=int(os.environ["RUNNER_ID"]),
            db_url=os.environ["DB_URL"],
            timeout=_seconds(os.environ.get("TIMEOUT", "")),
        )


def main() -> int:
    """Run trials until there are none. Returns the exit code."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        run_trials(Contract.read())
    except Terminated:
        return TERMINATED
    except Exception:
        print(_without_secret(traceback.format_exc()), file=sys.stderr, flush=True)
        return RUNNER_FAILED
    return WORK_DONE


def run_trials(contract: Contract) -> None:
    """Run trials until none is left.

    Raises Terminated; and whatever Powerlift's store raises when the database stays unreachable for
    some five minutes.
    """
    with _signals_held():  # also in the threads that numpy starts: they inherit it
        from powerlift.bench.store import Store
        from sqlalchemy import create_engine

    create_engine(contract.db_url)  # fails at once without a driver, for which Store would wait
    store = Store(
        contract.db_url, print_exceptions=True, max_attempts=7, wait_secs=8.0, wait_lengthing=1.4
    )
    source = store.get_trial_fn(contract.experiment_id)
    if source is None:
        raise LookupError(f"Experiment {contract.experiment_id} is not in the database.")
    with _signals_held():
        preload(source)
    # The threads that Python 3.12 warns of are those of numpy's OpenBLAS, which restarts them in a fork.
    warnings.filterwarnings("ignore", "(?s).*fork", DeprecationWarning)
    while (trial := store.pick_trial(contract.experiment_id, contract.runner_id)) is not None:
        started = time.monotonic()
        disconnect(store)
        errmsg = run_apart(partial(run, source, trial), contract.timeout)
        store.end_trial(trial.id, errmsg)
        took = f"{time.monotonic() - started:.1f} s"
        print(f"trial {trial.id} {'failed' if errmsg else 'ended'} after {took}", flush=True)
    print("no more work", flush=True)


def run(source: str, trial: Any) -> None:
    """Run the experiment's trial function on a trial. Raises whatever it raises."""
    if "numpy" in sys.modules:  # a fork has the state of all others, and would draw their numbers
        sys.modules["numpy"].random.seed()
    load(source)(trial)


def load(source: str) -> Callable[[Any], object]:
    """The first function in the experiment's `trial_fn`, which may be indented, and have imports.

    Raises SyntaxError, ValueError when there is no function, and what its module level raises.
    """
    text = textwrap.dedent(source)
    module = ast.parse(text, _TRIAL_FILE)
    names = [node.name for node in module.body if isinstance(node, ast.FunctionDef)]
    if not names:
        raise ValueError("The experiment's trial_fn defines no function.")
    linecache.cache[_TRIAL_FILE] = (len(text), None, text.splitlines(True), _TRIAL_FILE)
    scope: dict[str, Any] = {"__name__": "trial_run_fn"}
    exec(compile(module, _TRIAL_FILE, "exec"), scope)  # noqa: S102 (the experiment is code)
    function: Callable[[Any], object] = scope[names[0]]
    return function


def preload(source: str) -> None:
    """Import those of PRELOADED that the trial function imports; faults are left to the trials."""
    with contextlib.suppress(SyntaxError):
        for node in ast.walk(ast.parse(textwrap.dedent(source))):
            named = [node.module] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in filter(None, named):
                if name.partition(".")[0] in PRELOADED:
                    with contextlib.suppress(Exception):
                        importlib.import_module(name)


def disconnect(store: Any) -> None:
    """Close the store's connection; the next use of it opens one.

    Two processes must not share a connection, and a runner that waits for its trial needs none: a
    server has fewer than a large fleet has VMs. Powerlift's store has no method for it but this.
    """
    store.__del__()


def run_apart(work: Callable[[], None], timeout: float) -> str | None:
    """Run `work` in a fork for `timeout` seconds at most. Returns what went wrong, or None.

    All processes that it started have ended on return, however it ended. Raises Terminated.
    """
    with tempfile.TemporaryFile() as report, _signals_held():
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _work_and_exit(work, report)
        try:
            status = _await(child, timeout)
        finally:
            _end_all(child)
        if status is None:
            return f"Timeout failure: the trial was killed after {timeout:g} s."
        report.seek(0)
        return report.read().decode().replace("\0", "") or _death(status)  # PostgreSQL takes no NUL


def _work_and_exit(work: Callable[[], None], report: IO[bytes]) -> NoReturn:
    """What the fork does. Never returns, and leaves without what atexit or destructors would do."""
    code = 1
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _be_first_when_memory_ends()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAKING)
        work()
        code = 0
    except BaseException:
        report.write(traceback.format_exc().encode(errors="replace"))
        report.flush()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _await(child: int, timeout: float) -> int | None:
    """The child's wait status, or None when `timeout` seconds were not enough. Raises Terminated."""
    end = time.monotonic() + timeout
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            # At a shutdown everyone gets SIGTERM, the child perhaps first.
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM
            if killed and signal.sigtimedwait({signal.SIGTERM}, 1) is not None:
                raise Terminated
            return status
        left = end - time.monotonic()
        if left <= 0:
            return None
        woken = signal.sigtimedwait(_WAKING, min(left, 3600))  # the call takes no infinity
        if woken is not None and woken.si_signo == signal.SIGTERM:
            raise Terminated


def _end_all(child: int) -> None:
    """Kill the child's process group, then whatever has left it: as subreaper, we inherit those."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _be_first_when_memory_ends() -> None:
    """Have the kernel kill the trial rather than the runner."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        return [int(pid) for pid in children.read().split()]


def _death(status: int) -> str | None:
    """A wait status in words; None for success."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    if code > 0:
        return f"The trial's process ended with exit code {code}."
    name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
    hint = " Did the machine run out of memory?" if name == "SIGKILL" else ""
    return f"The trial's process was killed by {name}.{hint}"


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Keep the signals for sigtimedwait.

    Elsewhere SIGTERM ends the runner at once, as it should: no trial runs then, and PostgreSQL drops
    what was not committed.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAKING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAKING)


def _seconds(text: str) -> float:
    if text.strip().lower() in ("", "none"):
        return math.inf
    seconds = float(text)
    if not seconds > 0:
        raise ValueError(f"TIMEOUT is {text!r}; it must be a number of seconds above 0.")
    return seconds


def _without_secret(text: str) -> str:
    url = os.environ.get("DB_URL", "")
    return text.replace(url, "DB_URL") if url else text


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
