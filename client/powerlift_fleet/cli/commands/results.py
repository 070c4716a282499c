"""The results of a fleet's experiment, as a file."""

from __future__ import annotations

import io
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.formatting import clean, clean_lines, count
from powerlift_fleet.cli.options.fleet_argument import FLEET
from powerlift_fleet.cli.session import Session, connected, say, warn

if TYPE_CHECKING:
    from pandas import DataFrame


@click.command()
@FLEET
@click.option("--format", "format_", type=click.Choice(["csv", "json", "parquet"]),
              help="Default: that of the file's name, or csv.")  # fmt: skip
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Default: stdout.")  # fmt: skip
@connected
def results(session: Session, fleet: str, format_: str | None, output: Path | None) -> int:
    """Export the results of a fleet's experiment, with what ran each trial.

    A row for each measure, and one for each trial without any. Reads the benchmark's database, in
    POWERLIFT_DB_URI, with Powerlift's packages. The provenance (requests without secrets, locks of
    packages, versions) is in JSON and Parquet; that of results.csv is in results.provenance.json.
    clone --from starts the same fleet from it.

    \b
    Example:
      powerlift-fleet results fleet-7
      powerlift-fleet results fleet-7 --output results.json
    """
    from powerlift_fleet.benchmark import export
    from powerlift_fleet.benchmark.provenance import provenance

    format_ = export.format_of("json" if session.as_json else format_, output)
    uri = os.environ.get("POWERLIFT_DB_URI")
    if not uri:
        raise ConfigurationError(
            "Set POWERLIFT_DB_URI to the benchmark's database: results are read from there."
        )
    with session.client() as client:
        found = client.request_of(fleet)
        with warnings.catch_warnings(record=True) as caught:
            name, frame = export.read_database(uri, int(found.request["experiment_id"]))
        warn(dict.fromkeys(str(one.message) for one in caught))
        others = [str(one) for one in frame["fleet"].dropna().unique()]
        document = provenance(client, found.id, others, name)
    if others and found.id not in others:
        say(
            f"Warning: the trials in this database ran on {', '.join(others)}, and none on {found.id}. "
            "Check that POWERLIFT_DB_URI is the database of this fleet."
        )
    _warn_of_processors(frame)
    if output is None:
        text = io.StringIO()
        export.write_text(text, format_, frame, document)
        shown = clean_lines(text.getvalue()) if sys.stdout.isatty() else text.getvalue()
        click.echo(shown, nl=False)
        return exit_codes.OK
    export.write_file(output, format_, frame, document)
    trials = count(frame["trial_id"].nunique(), "trial")
    say(f"Wrote {count(len(frame), 'row')} of {trials} to {output}.")
    return exit_codes.OK


def _warn_of_processors(frame: DataFrame) -> None:
    models = frame.loc[frame["status"] == "COMPLETE", "cpu_model"].dropna().unique()
    if len(models) > 1:
        names = ", ".join(clean(one, 100) for one in models)
        say(f"Warning: trials ran on different processors ({names}): do not compare their times.")
