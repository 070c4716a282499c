"""The program `powerlift-fleet`. A test runs each example of its help as printed."""

from __future__ import annotations

import sys

import click

from powerlift_fleet._version import __version__
from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.commands import cancel, login, logs, read, rerun, results, submit, trials
from powerlift_fleet.cli.session import Program

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _exit_codes() -> str:
    rows = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in exit_codes.MEANINGS.items())
    return f"\b\nExit codes:\n{rows}"


@click.group(cls=Program, context_settings=_HELP, epilog=_exit_codes())
@click.version_option(__version__, prog_name="powerlift-fleet")
def cli() -> None:
    """Run Powerlift experiments on fleets of Azure VMs.

    Set the app with `login`, which stores it in ~/.config/powerlift-fleet/config.toml, with FLEET_URL
    and FLEET_KEY, or with --url and --key-file. Output goes to stdout, messages to stderr; --json is
    for scripts.

    \b
    Example:
      powerlift-fleet plan --experiment 1 --vms 2 --vm-size Standard_D2s_v5 --zones 1,2,3
      powerlift-fleet submit --experiment 1 --vms 2 --timeout 300 --tag team=ml
      powerlift-fleet status fleet-7 --watch
    """


for command in (
    submit.submit, submit.plan, read.status, read.machines, trials.trials, results.results,
    logs.logs, read.lock, read.list_fleets, read.view, rerun.retry, rerun.clone, cancel.cancel,
    login.login, login.logout,
):  # fmt: skip
    cli.add_command(command)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print a script that completes commands, options and fleets.

    For ~/.bashrc, ~/.zshrc and ~/.config/fish/config.fish:

    \b
      eval "$(powerlift-fleet completion bash)"
      eval "$(powerlift-fleet completion zsh)"
      powerlift-fleet completion fish | source

    \b
    Example:
      powerlift-fleet completion bash
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 (click supports every shell of the choice)
    click.echo(kind(cli, {}, "powerlift-fleet", "_POWERLIFT_FLEET_COMPLETE").source())
    return exit_codes.OK


def main() -> None:
    """Characters that the terminal's encoding lacks are printed as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="powerlift-fleet")
