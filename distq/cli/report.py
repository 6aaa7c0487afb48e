"""``distq report``: a page of finished runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distq.cli.flags import OUTPUT, Output, example, switch
from distq.cli.perform import perform
from distq.errors import plural
from distq.options import make_options
from distq.run_options import ReportOptions

if TYPE_CHECKING:
    from distq.jobs.report import ReportResult

# ruff: noqa: PLC0415  # a command imports its job

reporting = typer.Typer()


@reporting.command(epilog=example("distq report run --out page.html"))
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Finished runs, side by side; or a sweep's folder.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The page to write.", rich_help_panel=OUTPUT)
    ],
    measured: Annotated[
        list[Path] | None,
        typer.Option(
            "--measured",
            metavar="FILE",
            help="What 'distq diff --progressive --json' or '--sensitivity --json' printed; again for each.",
        ),
    ] = None,
    *,
    no_images: Annotated[bool, switch("--no-images", "Leave out pictures of the worst samples.")] = False,
    model_explorer: Annotated[
        bool, switch("--model-explorer", "Also write node data for Google's Model Explorer, beside the page.")
    ] = False,
    quiet: Annotated[bool, switch("--quiet", "Print only warnings and errors.")] = False,
    json: Annotated[bool, switch("--json", "Print the result as one JSON document.")] = False,
) -> None:
    """Show finished runs on an HTML page: verdict, tensors, distributions, weights, settings."""
    values = {
        "runs": tuple(runs),
        "out": out,
        "measured": tuple(measured or ()),
        "images": not no_images,
        "model_explorer": model_explorer,
    }
    options = make_options(ReportOptions, values, lambda name: f"--{name.replace('_', '-')}")
    run_report(options, Output(quiet=quiet, json=json))


def run_report(options: ReportOptions, output: Output) -> None:
    """Write the page, and show where it is."""
    from distq.jobs.report import report as job

    perform(partial(job, options), _show, output)


def _show(result: ReportResult) -> None:
    typer.echo(f"{result.out}: {plural(len(result.runs), 'run')}")
    for path in result.node_data:
        typer.echo(f"  {path}")
