"""``distq export``: network and table of a run, also of one that goes on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distq.cli.flags import OUTPUT, Output, example, switch
from distq.cli.perform import perform
from distq.errors import plural
from distq.options import make_options
from distq.run_options import ExportOptions

if TYPE_CHECKING:
    from distq.jobs.export import ExportResult

# ruff: noqa: PLC0415  # a command imports its job

exporting = typer.Typer()


@exporting.command(epilog=example("distq export run --best-so-far --out so-far"))
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The --out of calibrate, tune or auto.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where to write.", rich_help_panel=OUTPUT)
    ],
    *,
    best_so_far: Annotated[
        bool, switch("--best-so-far", "Of a run that goes on: the best network that it has by now.")
    ] = False,
    quiet: Annotated[bool, switch("--quiet", "Print only warnings and errors.")] = False,
    json: Annotated[bool, switch("--json", "Print the result as one JSON document.")] = False,
) -> None:
    """Write the INT8 network and the table of a run, also of one that is still going on."""
    values = {"run": run, "out": out, "best_so_far": best_so_far}
    options = make_options(ExportOptions, values, lambda name: f"--{name.replace('_', '-')}")
    run_export(options, Output(quiet=quiet, json=json))


def run_export(options: ExportOptions, output: Output) -> None:
    """Export, and show what was written."""
    from distq.jobs.export import export as job

    perform(partial(job, options), _show, output)


def _show(result: ExportResult) -> None:
    moved = f", {plural(len(result.moved), 'threshold')} moved since" if result.moved else ""
    typer.echo(f"the network as it is: {result.stage}{moved}")
    for path in result.files:
        typer.echo(f"  {path}")
