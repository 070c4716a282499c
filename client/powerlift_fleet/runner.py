"""Runs an experiment's trials one after another, each in a process of its own, until none is left.

An experiment's `script`: one file, which needs the package powerlift, Linux, and no argument.
Environment: EXPERIMENT_ID, RUNNER_ID (numbers), DB_URL (SQLAlchemy's), TIMEOUT (seconds that a trial
may take; empty, "None", "inf" or absent: no limit), MEMORY_LIMIT (of a trial with all it has started:
bytes, or with K, M, G, T for powers of 1024; empty or absent: no limit), POWERLIFT_DATABASE_TIMEOUT
(seconds that a silent database is waited for, roughly; 300).
Exit codes: 0 no more work; 65 the runner itself failed; 143 SIGTERM (the open trial is left open).

The trials' processes are forked from this one, which has imported what they need: a new Python with
pandas and SQLAlchemy takes 1.5 s. A trial that is too slow is killed with all it has started; one
that crashes, or is killed by the kernel, takes nothing else with it. What went wrong becomes the
trial's `errmsg`, and the next trial is run.

A trial belongs to the runner whose id it bears. One that was given to another (this VM was thought
dead) takes no measure and no end from this runner any more.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import importlib
import linecache
import math
import os
import re
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
from pathlib import Path
from typing import IO, Any, NoReturn

WORK_DONE, RUNNER_FAILED, TERMINATED = 0, 65, 128 + signal.SIGTERM

PRELOADED = ("numpy", "pandas", "scipy", "sklearn")
"""Packages imported before the first fork when the trial function imports them. Only such as start no
thread of their own at import: a fork keeps none, and a lock that one held stays locked."""

MEMORY_LIMIT = ""
"""For experiments whose VMs are told no other."""
_LOOK = 0.5
"""Seconds between looks at a trial's memory."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LONGEST_LINE = 300
"""Characters of an error on the console, of which 32 KB are kept."""
_DEATHS = {
    "SIGKILL": "By the kernel, most likely: did the machine run out of memory?",
    "SIGSEGV": "A segmentation fault: a fault in compiled code.",
    "SIGABRT": "It aborted itself: a failed check in compiled code.",
    "SIGILL": "It was compiled for another CPU than this one.",
}

_WAKING = {signal.SIGCHLD, signal.SIGTERM}
_TRIAL_FILE = "trial_run_fn.py"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Terminated(BaseException):
    """SIGTERM came while a trial ran: leave it open, so that another runner can have it."""


class TakenAway(BaseException):
    """The trial is not this runner's any more. Not an Exception: a trial must not go on after it."""


@dataclass(frozen=True)
class Contract:
    """What the environment says."""

    experiment_id: int
    runner_id: int
    db_url: str = field(repr=False)
    timeout: float
    """Seconds; math.inf for no limit."""
    memory: float
    """Bytes; math.inf for no limit."""
    patience: float
    """Seconds."""

    @classmethod
    def read(cls) -> Contract:
        """Read the environment. Raises KeyError or ValueError naming the variable."""
        return cls(
            experiment_id=int(os.environ["EXPERIMENT_ID"]),
            runner_id=int(os.environ["RUNNER_ID"]),
            db_url=os.environ["DB_URL"],
            timeout=_seconds(os.environ.get("TIMEOUT", "")),
            memory=_bytes(os.environ.get("MEMORY_LIMIT") or MEMORY_LIMIT),
            patience=float(os.environ.get("POWERLIFT_DATABASE_TIMEOUT") or 300),
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

    Raises Terminated; and whatever Powerlift's store raises when the database stays unreachable.
    """
    store = open_store(contract)
    source = store.get_trial_fn(contract.experiment_id)
    if source is None:
        raise LookupError(f"Experiment {contract.experiment_id} is not in the database.")
    with _signals_held():
        preload(source)
    # The threads that Python 3.12 warns of are those of numpy's OpenBLAS, which restarts them in a fork.
    warnings.filterwarnings("ignore", "(?s).*fork", DeprecationWarning)
    while (trial := store.pick_trial(contract.experiment_id, contract.runner_id)) is not None:
        run_trial(store, source, trial, contract)
    print("no more work", flush=True)


def run_trial(store: Any, source: str, trial: Any, contract: Contract) -> None:
    """Run one trial and record its end."""
    started = time.monotonic()
    disconnect(store)
    with store.holding(trial.id):
        errmsg = run_apart(partial(run, source, trial), contract.timeout, contract.memory)
        try:
            store.end_trial(trial.id, errmsg)
            outcome = "failed" if errmsg else "ended"
        except TakenAway:
            outcome = "was taken away: nothing more is recorded of it"
    why = f": {_last_line(errmsg)}" if errmsg else ""
    print(f"trial {trial.id} {outcome} after {time.monotonic() - started:.1f} s{why}", flush=True)


def open_store(contract: Contract) -> Any:
    """Powerlift's store, which writes to the trial that it holds only while that is this runner's.

    Raises what SQLAlchemy raises for a URI that it cannot use.
    """
    with _signals_held():  # also in the threads that numpy starts: they inherit it
        from powerlift.bench.store import Store
        from sqlalchemy import create_engine, text

    class FencedStore(Store):  # type: ignore[misc]
        held: int | None = None

        @contextlib.contextmanager
        def holding(self, trial_id: int) -> Iterator[None]:
            """Do nothing meanwhile, in this process or a fork, but while the trial is ours."""
            self.held = trial_id
            try:
                yield
            finally:
                self.held = None

        @property
        def session(self) -> Any:
            """As Powerlift's. A transaction begins by locking the trial, so that it cannot be given
            to another before the end of it."""
            fresh = self._session is None
            session = super().session
            if fresh and self.held is not None:
                ours = {"trial": self.held, "runner": contract.runner_id}
                if session.execute(text(_LOCK), ours).first() is None:
                    raise TakenAway(f"trial {self.held} was given to another runner")
            return session

        def __exit__(self, kind: Any, *rest: Any) -> bool:
            again = super().__exit__(kind, *rest)
            return bool(again) and kind is not TakenAway

        def end_trial(self, trial_id: int, errmsg: str | None = None) -> None:
            """As Powerlift's, with a note of who ran it, for which Powerlift has no place."""
            values = {"trial": trial_id, "errmsg": errmsg, "runner": contract.runner_id}
            self.reset()
            while self.do:
                with self:
                    if self.session.execute(text(_MAY_NOTE)).scalar():
                        self.session.execute(text(_NOTE), values)
                    self.session.execute(text(_END), values)

    create_engine(contract.db_url)  # fails at once without a driver, for which Store would wait
    # Seven attempts, of which the last five come after pauses of 21 times `wait_secs` together,
    # give or take: Powerlift draws them.
    return FencedStore(
        contract.db_url,
        print_exceptions=True,
        max_attempts=7,
        wait_secs=contract.patience / 37,
        wait_lengthing=1.4,
    )


_LOCK = """
    SELECT id FROM trial WHERE id = :trial AND runner_id = :runner AND end_time IS NULL FOR UPDATE
"""
_END = """
    UPDATE trial SET end_time = CURRENT_TIMESTAMP, errmsg = :errmsg, runner_id = -2 WHERE id = :trial
"""
_MAY_NOTE = """
    SELECT bool_and(has_table_privilege(to_regclass('powerlift_fleet_trial'), needed))
    FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS needed
"""
_NOTE = """
    INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id)
    SELECT id, experiment_id, :runner FROM trial WHERE id = :trial
    ON CONFLICT (trial_id) DO UPDATE SET runner_id = EXCLUDED.runner_id
"""


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


def run_apart(work: Callable[[], None], timeout: float, memory: float = math.inf) -> str | None:
    """Run `work` in a fork, for `timeout` seconds and in `memory` bytes at most.

    Returns what went wrong, or None. All processes that it started have ended on return, however it
    ended. Raises Terminated.
    """
    with tempfile.TemporaryFile() as report, _signals_held():
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _work_and_exit(work, report)
        try:
            status = _await(child, timeout, memory)
        finally:
            _end_all(child)
        if isinstance(status, str):
            return status
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


def _await(child: int, timeout: float, memory: float) -> int | str:
    """The child's wait status, or what it has to be killed for. Raises Terminated."""
    end = time.monotonic() + timeout
    longest = _LOOK if math.isfinite(memory) else 3600  # sigtimedwait takes no infinity
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
            return f"Timeout failure: the trial was killed after {timeout:g} s."
        if math.isfinite(memory) and (used := _memory()) > memory:
            return (
                f"Memory failure: the trial was killed at {_gib(used)}; it may have {_gib(memory)}."
            )
        woken = signal.sigtimedwait(_WAKING, min(left, longest))
        if woken is not None and woken.si_signo == signal.SIGTERM:
            raise Terminated


def _memory() -> int:
    """Bytes of memory that the trial's processes have of their own: all but files and shared memory.

    Looked at rather than limited. RLIMIT_AS and RLIMIT_DATA count what is only reserved, as BLAS and
    the JVM do by gigabytes, and each process for itself; a control group needs one that systemd has
    delegated. What grows faster than we look is the kernel's, which takes the trial first.
    """
    total, found = 0, _children()
    while found:
        pid = found.pop()
        with contextlib.suppress(OSError):
            resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
            total += (int(resident) - int(shared)) * _PAGE
            found += _children(pid)
    return total


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"


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


def _children(pid: int | None = None) -> list[int]:
    """The children of a process: of its first thread, which is all that we need to kill them."""
    pid = pid or os.getpid()
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _death(status: int) -> str | None:
    """A wait status in words; None for success."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    if code > 0:
        return f"The trial's process ended with exit code {code}."
    name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
    return f"The trial's process was killed by {name}. {_DEATHS.get(name, '')}".strip()


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


def _bytes(text: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if not text.strip():
        return math.inf
    if match is None or not float(match[1]) > 0:
        raise ValueError(
            f"MEMORY_LIMIT is {text!r}; it must be bytes above 0, as 8G or 8589934592."
        )
    return float(match[1]) * 1024.0 ** " KMGT".index(match[2].upper() or " ")


def _last_line(errmsg: str) -> str:
    """What a traceback comes to, for the VM's console; all of it is the trial's `errmsg`."""
    return _without_secret(errmsg.strip()).rpartition("\n")[2][:_LONGEST_LINE]


def _without_secret(text: str) -> str:
    url = os.environ.get("DB_URL", "")
    return text.replace(url, "DB_URL") if url else text


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
