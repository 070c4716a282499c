"""Runs the demo or the stack."""

from __future__ import annotations

import os
import signal
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERRUPTED = 130  # a shell's exit status after Ctrl-C


def _exit(number: int, frame: FrameType | None) -> None:
    """Exit immediately. Used while nothing is running."""
    os._exit(_INTERRUPTED)


# Before the other imports, which take seconds and can swallow a KeyboardInterrupt.
for _number in _SIGNALS:
    signal.signal(_number, _exit)

import argparse  # noqa: E402
import math  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

_STATE = Path(__file__).resolve().parents[2] / ".local"


def main() -> int:
    """Run the command line. Returns the exit status: 0, 1 if it failed, 130 if interrupted."""
    arguments = _arguments()
    if arguments.command != "experiment":
        print("Starting the stack.", flush=True)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print("Interrupted. All processes have stopped.", flush=True)
        return _INTERRUPTED


def _run(arguments: argparse.Namespace) -> int:
    # Imported here, since pandas and scikit-learn take seconds.
    from dataclasses import fields

    from local.demo.processes import adopt_orphans
    from local.demo.run import DemoFailed, Options, run
    from local.demo.start import NotRunning, add_experiment, start
    from local.process import ServiceError

    adopt_orphans()
    try:
        for number in _SIGNALS:
            signal.signal(number, _interrupt)
        match arguments.command:
            case "start":
                start(
                    arguments.state / "start",
                    arguments.time_scale,
                    arguments.seed,
                    arguments.faults,
                    fresh=arguments.fresh,
                )
            case "experiment":
                print(add_experiment(arguments.state / "start", arguments.trials))
            case _:
                given = vars(arguments)
                run(Options(**{option.name: given[option.name] for option in fields(Options)}))
    except (DemoFailed, NotRunning, ServiceError) as error:
        print(f"FAILED: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        for number in _SIGNALS:
            signal.signal(number, _exit)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Unwind through the `finally` blocks. Ignore further signals, which would interrupt them."""
    for again in _SIGNALS:
        signal.signal(again, lambda *_: None)  # not SIG_IGN, which children inherit
    # Not print, which is not reentrant.
    os.write(1, f"\n{signal.Signals(number).name}: stopping all processes.\n".encode())
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument("--state", type=Path, default=_STATE, help="directory for state and logs")
    stack = argparse.ArgumentParser(add_help=False, parents=[state])
    stack.add_argument(
        "--time-scale", type=_positive, default=0.05, help="wall seconds per simulated second"
    )
    stack.add_argument("--seed", type=_natural, default=0, help="seed of Azure's latencies")
    stack.add_argument("--faults", type=_fault_plan, metavar="FILE", help="fault plan (JSON)")
    work = argparse.ArgumentParser(add_help=False)
    work.add_argument("--trials", type=_count, default=24)

    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", parents=[stack], help="run the stack until Ctrl-C")
    start.add_argument(
        "--fresh", action="store_true", help="delete the state of earlier starts before"
    )
    commands.add_parser("experiment", parents=[state, work], help="add one to the running stack")
    run = commands.add_parser("run", parents=[stack, work], help="run one experiment on a fleet")
    run.add_argument("--vms", type=_count, default=4)
    run.add_argument("--trigger", choices=["http", "queue"], default="http")
    run.add_argument(
        "--deadline", type=_positive, default=600, help="seconds that the fleet may take"
    )
    run.add_argument("--keep", action="store_true", help="keep the state and logs of the run")
    return parser.parse_args()


def _fault_plan(text: str) -> Path | None:
    """The path of a valid plan, or None if it is empty: `make` always passes the option."""
    if not text:
        return None
    from local.azure.faults.plan import InvalidPlan, load

    try:
        load(Path(text))
    except InvalidPlan as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)


def _natural(text: str) -> int:
    return _whole(text, least=0)


def _count(text: str) -> int:
    return _whole(text, least=1)


def _whole(text: str, least: int) -> int:
    if not (text.isdecimal() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
