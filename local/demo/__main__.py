"""The demo and the stack, from the command line."""

from __future__ import annotations

import os
import signal
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C


def _exit(number: int, frame: FrameType | None) -> None:
    """End at once: nothing runs yet, or any more."""
    os._exit(_INTERRUPTED)


# Before the other imports: these take seconds, and can swallow a KeyboardInterrupt.
for _number in _SIGNALS:
    signal.signal(_number, _exit)

import argparse  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

_STATE = Path(__file__).resolve().parents[2] / ".local"


def main() -> int:
    """Run the command line; the return value is the exit status: 0, 1 failed, 130 interrupted."""
    asked = _arguments()
    if asked.command != "experiment":
        print(
            "Starting the stack; the first time, npm fetches Azurite (half a minute).", flush=True
        )
    try:
        return _obey(asked)
    except KeyboardInterrupt:
        print("Interrupted. Everything that was started has ended.", flush=True)
        return _INTERRUPTED


def _obey(asked: argparse.Namespace) -> int:
    # Imported here: pandas and scikit-learn take seconds.
    from local.azure.faults.plan import PlanRefused
    from local.demo.processes import adopt_orphans
    from local.demo.run import DemoFailed, Options, run
    from local.demo.start import NotRunning, add_experiment, start
    from local.process import ServiceError

    adopt_orphans()
    try:
        for number in _SIGNALS:
            signal.signal(number, _interrupt)
        match asked.command:
            case "start":
                start(asked.state / "start", asked.time_scale, asked.seed, asked.faults)
            case "experiment":
                print(add_experiment(asked.state / "start", asked.trials))
            case _:
                run(
                    Options(
                        vms=asked.vms,
                        trials=asked.trials,
                        trigger=asked.trigger,
                        time_scale=asked.time_scale,
                        seed=asked.seed,
                        faults=asked.faults,
                        deadline=asked.deadline,
                        keep=asked.keep,
                        state_root=asked.state,
                    )
                )
    except (DemoFailed, NotRunning, PlanRefused, ServiceError) as error:
        print(f"FAILED: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        for number in _SIGNALS:
            signal.signal(number, _exit)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End through the `finally` blocks, once: more signals must not cut these short."""
    for again in _SIGNALS:
        signal.signal(again, lambda *_: None)  # not SIG_IGN, which a child would inherit
    # Not print: the signal may have interrupted one, and that is not reentrant.
    os.write(1, f"\n{signal.Signals(number).name}: stopping everything, a moment.\n".encode())
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--state", type=Path, default=_STATE, help="the directory for state and logs"
    )
    stack = argparse.ArgumentParser(add_help=False, parents=[place])
    stack.add_argument(
        "--time-scale", type=_positive, default=0.05, help="wall seconds per simulated second"
    )
    stack.add_argument("--seed", type=_natural, default=0, help="draws Azure's latencies")
    stack.add_argument("--faults", type=_file, metavar="FILE", help="Azure's weather plan (JSON)")
    work = argparse.ArgumentParser(add_help=False)
    work.add_argument("--trials", type=_count, default=24)

    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", parents=[stack], help="keep the stack up until Ctrl-C")
    commands.add_parser("experiment", parents=[place, work], help="add one to the stack that is up")
    run = commands.add_parser("run", parents=[stack, work], help="run one experiment on a fleet")
    run.add_argument("--vms", type=_count, default=4)
    run.add_argument("--trigger", choices=["http", "queue"], default="http")
    run.add_argument("--deadline", type=_positive, default=600, help="seconds for the fleet")
    run.add_argument("--keep", action="store_true", help="keep the state and logs of the run")
    return parser.parse_args()


def _file(text: str) -> Path | None:
    """An empty name is none: `make` passes its variable on whether it is set or not."""
    return Path(text) if text else None


def _natural(text: str) -> int:
    return _at_least(0, int(text))


def _count(text: str) -> int:
    return _at_least(1, int(text))


def _at_least(least: int, value: int) -> int:
    if value < least:
        raise argparse.ArgumentTypeError(f"must be {least} or more")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
