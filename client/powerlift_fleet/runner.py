"""Runs an experiment's trials one after another, each in its own process, until none is left.

One file, since it is the experiment's `script`, which the database stores as one text. It needs the
package powerlift, Linux, and no argument.

Environment: EXPERIMENT_ID, RUNNER_ID (numbers), DB_URL (SQLAlchemy's), TIMEOUT (seconds per trial;
empty, "None" or "inf": no limit), MEMORY_LIMIT (of a trial with its child processes: bytes, or with
K, M, G, T for powers of 1024; empty: no limit), POWERLIFT_DATABASE_TIMEOUT (seconds to retry the
database; 300), POWERLIFT_CLAIM (SQL that assigns the next trial to this runner in the fleet's order, and
returns its id, -1 to start no more, or no row; empty: as Powerlift assigns them).
Exit codes: 0 no trials left; 65 the runner failed; 143 SIGTERM (the current trial stays open).

Trials are forked from this process, which has imported their packages: a new Python with pandas and
SQLAlchemy takes 1.5 s. A trial that exceeds a limit is killed with its child processes. An error
becomes the trial's `errmsg`, and the next trial runs. The runner writes nothing more to a trial that
was reassigned to another runner.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import importlib.util
import linecache
import math
import os
import re
import resource
import signal
import sys
import tempfile
import textwrap
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

WORK_DONE, RUNNER_FAILED, TERMINATED = 0, 65, 128 + signal.SIGTERM

PRELOADED = ("numpy", "pandas", "scipy", "sklearn")
"""Imported before the first fork if the trial function imports them. None starts a thread at import: a
fork has no threads, but keeps their locks."""

MEMORY_LIMIT = ""
"""The default; `runner_script` sets it."""
_MEMORY_POLL_SECONDS = 0.5
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAX_LINE = 300
"""Characters of an error on the console, of which the app keeps 32 KB."""
_SIGNAL_HINTS = {
    "SIGKILL": "Most likely by the kernel: the machine may have run out of memory.",
    "SIGSEGV": "A segmentation fault in compiled code.",
    "SIGABRT": "A failed check in compiled code.",
    "SIGILL": "It was compiled for a different CPU.",
}

_WAITED_SIGNALS = {signal.SIGCHLD, signal.SIGTERM}
_TRIAL_FILE = "trial_run_fn.py"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Terminated(BaseException):
    """SIGTERM during a trial: the trial stays open for another runner."""


class TrialReassigned(BaseException):
    """Another runner has the trial. Not an Exception, which trial code might catch."""


USAGE = ("wall_seconds", "user_seconds", "system_seconds", "steal_seconds", "max_rss_bytes")
"""What is measured of a trial: columns of powerlift_fleet_trial."""


class Usage:
    """What a trial's processes use, from now until all have been reaped."""

    def __init__(self) -> None:
        self._begin, self._clocks = time.monotonic(), _clocks()
        self._seconds, self._largest = math.nan, 0

    def add(self, process: resource.struct_rusage) -> None:
        """Count a process that has ended. The trial's own is the first one."""
        self._largest = max(self._largest, process.ru_maxrss * 1024)
        if math.isnan(self._seconds):
            self._seconds = time.monotonic() - self._begin

    def measured(self) -> dict[str, float | None]:
        """By name in USAGE; None where unknown."""
        spent = {name: now - self._clocks[name] for name, now in _clocks().items()}
        known = {"wall_seconds": self._seconds, "max_rss_bytes": self._largest}
        return {**dict.fromkeys(USAGE), **spent, **known}


def _clocks() -> dict[str, float]:
    """Seconds of CPU that ended child processes have used, and that the host took from this machine."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    clocks = {"user_seconds": ended.ru_utime, "system_seconds": ended.ru_stime}
    with contextlib.suppress(OSError, ValueError, IndexError):
        ticks = Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]
        clocks["steal_seconds"] = int(ticks) / os.sysconf("SC_CLK_TCK")
    return clocks


@dataclass(frozen=True)
class Settings:
    """Those of the environment; infinity means no limit."""

    experiment_id: int
    runner_id: int
    db_url: str = field(repr=False)
    timeout: float
    """Seconds."""
    memory: float
    """Bytes."""
    database_timeout: float
    """Seconds."""
    claim: str = ""

    @classmethod
    def read(cls) -> Settings:
        """Read the environment. Raises KeyError or ValueError naming the variable."""
        return cls(
            experiment_id=int(os.environ["EXPERIMENT_ID"]),
            runner_id=int(os.environ["RUNNER_ID"]),
            db_url=os.environ["DB_URL"],
            timeout=_seconds(os.environ.get("TIMEOUT", "")),
            memory=_bytes(os.environ.get("MEMORY_LIMIT") or MEMORY_LIMIT),
            database_timeout=float(os.environ.get("POWERLIFT_DATABASE_TIMEOUT") or 300),
            claim=os.environ.get("POWERLIFT_CLAIM", ""),
        )


def main() -> int:
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        run_trials(Settings.read())
    except Terminated:
        return TERMINATED
    except Exception:
        print(_without_secret(traceback.format_exc()), file=sys.stderr, flush=True)
        return RUNNER_FAILED
    return WORK_DONE


def run_trials(settings: Settings) -> None:
    """Raises Terminated, and what Powerlift's store raises if the database stays unreachable."""
    store = open_store(settings)
    source = store.get_trial_fn(settings.experiment_id)
    if source is None:
        raise LookupError(f"Experiment {settings.experiment_id} does not exist in the database.")
    with _signals_held():
        preload(source)
    # Python 3.12 warns of OpenBLAS's threads, which OpenBLAS restarts in a fork.
    warnings.filterwarnings("ignore", "(?s).*fork", DeprecationWarning)
    while (trial := store.pick_trial(settings.experiment_id, settings.runner_id)) is not None:
        run_trial(store, source, trial, settings)
    print("no more work", flush=True)


def run_trial(store: Any, source: str, trial: Any, settings: Settings) -> None:
    started, usage = time.monotonic(), Usage()
    disconnect(store)
    with store.holding(trial.id):
        work = partial(run, source, trial)
        errmsg = run_in_fork(work, usage, settings.timeout, settings.memory)
        try:
            store.end_trial(trial.id, errmsg, usage.measured())
            outcome = "failed" if errmsg else "ended"
        except TrialReassigned:
            outcome = "was reassigned to another runner"
    why = f": {_message(errmsg)}" if errmsg else ""
    print(f"trial {trial.id} {outcome} after {time.monotonic() - started:.1f} s{why}", flush=True)


def open_store(settings: Settings) -> Any:
    """Powerlift's store, fenced: it writes to a trial only while the trial is this runner's.

    Raises what SQLAlchemy raises for an invalid URI.
    """
    with _signals_held():  # numpy's threads inherit the mask
        from powerlift.bench.store import Store
        from sqlalchemy import exc, text

        _read_parquet_as_powerlift_writes_it()

    def is_permanent(error: BaseException | None) -> bool:
        """The database refuses the value, or the driver cannot send it: a retry gets the same answer."""
        refused = isinstance(error, (exc.DataError, exc.IntegrityError))
        return refused or type(error) is exc.StatementError

    class FencedStore(Store):  # type: ignore[misc]
        held: int | None = None

        @contextlib.contextmanager
        def holding(self, trial_id: int) -> Iterator[None]:
            """Fence every transaction, in this process and its forks."""
            self.held = trial_id
            try:
                yield
            finally:
                self.held = None

        @property
        def session(self) -> Any:
            """Locks the trial first, so that it is not reassigned within the transaction."""
            fresh = self._session is None
            session = super().session
            if fresh and self.held is not None:
                ours = {"trial": self.held, "runner": settings.runner_id}
                if session.execute(text(_LOCK), ours).first() is None:
                    raise TrialReassigned(f"trial {self.held} was reassigned to another runner")
            return session

        def __exit__(self, kind: Any, error: Any, *rest: Any) -> bool:
            again = super().__exit__(kind, error, *rest)
            return bool(again) and kind is not TrialReassigned and not is_permanent(error)

        def add_measure(self, trial: int, name: Any, value: Any, *rest: Any, **more: Any) -> None:
            value = _storable(value) if isinstance(value, str) else value
            super().add_measure(trial, _storable(str(name)), value, *rest, **more)

        def pick_trial(self, experiment_id: int, runner_id: int) -> Any:
            """As Powerlift's, in the fleet's order; None also if the fleet starts no more trials."""
            values = {"experiment": experiment_id, "runner": runner_id}
            drains, claimed = False, None
            self.reset()
            while self.do:
                with self:
                    if settings.claim:
                        claimed = self.session.execute(text(settings.claim)).scalar()
                        drains = claimed == -1
                    elif self.session.execute(text(_CAN_READ_RUNNERS)).scalar():
                        drains = bool(self.session.execute(text(_DRAINS), values).scalar())
            if drains:
                print("the fleet starts no more trials", flush=True)
            if drains or (settings.claim and claimed is None):
                return None
            return super().pick_trial(experiment_id, runner_id)

        def end_trial(
            self,
            trial_id: int,
            errmsg: str | None = None,
            measured: dict[str, float | None] | None = None,
        ) -> None:
            """As Powerlift's; also records the runner and what the trial used, in a table of the app."""
            values = {"trial": trial_id, "errmsg": errmsg, "runner": settings.runner_id}
            self.reset()
            while self.do:
                with self:
                    can_record, can_measure = self.session.execute(text(_CAN_RECORD)).one()
                    if can_record:
                        used = measured if can_measure and measured else {}
                        self.session.execute(text(_record(used)), {**values, **used})
                    self.session.execute(text(_END), values)

    # With these parameters Powerlift's random backoff lasts about `database_timeout` seconds.
    return FencedStore(
        settings.db_url,
        print_exceptions=True,
        max_attempts=7,
        wait_secs=settings.database_timeout / 37,
        wait_lengthing=1.4,
        **_engine_options(settings.db_url),
    )


def _engine_options(db_url: str) -> dict[str, Any]:
    """Raises immediately what SQLAlchemy raises without a driver; Store would retry."""
    from sqlalchemy import create_engine

    if create_engine(db_url).driver != "psycopg":
        return {}
    # In PgBouncer's transaction mode, the next transaction may be on a server connection that lacks
    # psycopg 3's prepared statements, or has another client's of the same name.
    return {"connect_args": {"prepare_threshold": None}}


def _read_parquet_as_powerlift_writes_it() -> None:
    """With fastparquet. pandas prefers pyarrow where an experiment installs it, which reads the
    categorical columns that fastparquet wrote as text."""
    if importlib.util.find_spec("fastparquet") is not None:
        with contextlib.suppress(KeyError, ValueError):  # pandas 4 may have one engine only
            importlib.import_module("pandas").set_option("io.parquet.engine", "fastparquet")


def _storable(text: str) -> str:
    r"""Escaped like Python's repr where PostgreSQL takes no character: NUL (\x00), lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


_LOCK = """
    SELECT id FROM trial WHERE id = :trial AND runner_id = :runner AND end_time IS NULL FOR UPDATE
"""
_END = """
    UPDATE trial SET end_time = CURRENT_TIMESTAMP, errmsg = :errmsg, runner_id = -2 WHERE id = :trial
"""
_CAN_READ_RUNNERS = """
    SELECT has_table_privilege(to_regclass('powerlift_fleet_runner'), 'SELECT')
"""
# An outcome without an end: `fleet.store.heartbeats.drain`.
_DRAINS = """
    SELECT EXISTS (SELECT FROM powerlift_fleet_runner WHERE experiment_id = :experiment
                   AND runner_id = :runner AND outcome IS NOT NULL AND ended_at IS NULL)
"""
# An app of an earlier version has made the table without the columns for what a trial uses.
_CAN_RECORD = """
    SELECT bool_and(has_table_privilege(to_regclass('powerlift_fleet_trial'), needed)),
           EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('powerlift_fleet_trial')
                   AND attname = 'measured_at')
    FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS needed
"""


def _record(used: Iterable[str]) -> str:
    """The statement that records a trial's runner, and the given columns of USAGE."""
    values = {"experiment_id": "experiment_id", "runner_id": ":runner"}
    if used:
        values |= {"measured_at": "now()", **{name: f":{name}" for name in used}}
    changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in values)
    return f"""
        INSERT INTO powerlift_fleet_trial (trial_id, {", ".join(values)})
        SELECT id, {", ".join(values.values())} FROM trial WHERE id = :trial
        ON CONFLICT (trial_id) DO UPDATE SET {changes}
    """  # noqa: S608 (names of columns)


def run(source: str, trial: Any) -> None:
    if "numpy" in sys.modules:  # all forks inherit the same random state
        sys.modules["numpy"].random.seed()
    load(source)(trial)


def load(source: str) -> Callable[[Any], object]:
    """The first function in the experiment's `trial_fn`, which may be indented and have imports.

    Raises SyntaxError, ValueError without a function, and what its module level raises.
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
    """Import those of PRELOADED that the trial function imports; the trials report any error."""
    with contextlib.suppress(SyntaxError):
        for node in ast.walk(ast.parse(textwrap.dedent(source))):
            named = [node.module] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in filter(None, named):
                if name.partition(".")[0] in PRELOADED:
                    with contextlib.suppress(Exception):
                        importlib.import_module(name)


def disconnect(store: Any) -> None:
    """Close the store's connection; the next use opens it again. The store has no other method.

    Processes must not share a connection, and a server has fewer than a large fleet has VMs.
    """
    store.__del__()


def run_in_fork(
    work: Callable[[], None], usage: Usage, timeout: float, memory: float = math.inf
) -> str | None:
    """Run `work` in a fork, within `timeout` seconds and `memory` bytes; return the error, or None.

    Its child processes have ended on return, and `usage` has counted them. Raises Terminated.
    """
    with tempfile.TemporaryFile() as report, _signals_held():
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _work_and_exit(work, report)
        try:
            status = _await(child, usage, timeout, memory)
        finally:
            _end_all(child, usage)
        if isinstance(status, str):
            return status
        report.seek(0)
        return report.read().decode() or _describe_exit(status)


def _work_and_exit(work: Callable[[], None], report: IO[bytes]) -> NoReturn:
    """Exits without atexit handlers and destructors, which belong to the parent."""
    code = 1
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _prefer_oom_kill()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_SIGNALS)
        work()
        code = 0
    except BaseException:
        report.write(_storable(traceback.format_exc()).encode())
        report.flush()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _await(child: int, usage: Usage, timeout: float, memory: float) -> int | str:
    """The child's wait status, or the reason to kill it. Raises Terminated."""
    end = time.monotonic() + timeout
    longest = _MEMORY_POLL_SECONDS if math.isfinite(memory) else 3600  # sigtimedwait takes no inf
    while True:
        pid, status, ended = os.wait4(child, os.WNOHANG)
        if pid:
            usage.add(ended)
            # A shutdown sends SIGTERM to all processes, perhaps to the child first.
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM
            if killed and signal.sigtimedwait({signal.SIGTERM}, 1) is not None:
                raise Terminated
            return status
        left = end - time.monotonic()
        if left <= 0:
            return f"Timeout failure: the trial was killed after {timeout:g} s."
        if math.isfinite(memory) and (used := _memory()) > memory:
            return f"Memory failure: the trial was killed at {_gib(used)}; the limit is {_gib(memory)}."
        woken = signal.sigtimedwait(_WAITED_SIGNALS, min(left, longest))
        if woken is not None and woken.si_signo == signal.SIGTERM:
            raise Terminated


def _memory() -> int:
    """Bytes of private memory of the trial's processes.

    Polled, since RLIMIT_AS and RLIMIT_DATA count reserved memory (gigabytes for BLAS and the JVM) and
    each process apart, and a control group needs systemd's delegation.
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


def _end_all(child: int, usage: Usage) -> None:
    """Kill the child's process group, then what has left it: this subreaper inherits orphans."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            usage.add(os.wait4(-1, 0)[2])
        except ChildProcessError:
            return


def _prefer_oom_kill() -> None:
    """If memory runs out, the kernel kills the trial, not the runner."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")


def _children(pid: int | None = None) -> list[int]:
    """The children of a process's main thread."""
    pid = pid or os.getpid()
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _describe_exit(status: int) -> str | None:
    """None for success."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    if code > 0:
        return f"The trial's process ended with exit code {code}."
    name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
    return f"The trial's process was killed by {name}. {_SIGNAL_HINTS.get(name, '')}".strip()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Block the signals for sigtimedwait.

    Elsewhere SIGTERM ends the runner immediately: no trial is running, and PostgreSQL rolls back.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_SIGNALS)


def _seconds(text: str) -> float:
    if text.strip().lower() in ("", "none"):
        return math.inf
    seconds = float(text)
    if not seconds > 0:
        raise ValueError(f"TIMEOUT is {text!r}; it must be seconds above 0.")
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


def _message(errmsg: str) -> str:
    """The exception's name and the first line of its message, for the console.

    It is the first line after the last frame that is not indented; the rest of the message follows it.
    Without a traceback, it is the last line.
    """
    _, frame, rest = _without_secret(errmsg.strip()).rpartition('\n  File "')
    lines = [line for line in rest.split("\n")[1:] if line[:1].strip()] if frame else []
    return (lines[0] if lines else rest.rpartition("\n")[2])[:_MAX_LINE]


def _without_secret(text: str) -> str:
    url = os.environ.get("DB_URL", "")
    return text.replace(url, "DB_URL") if url else text


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
