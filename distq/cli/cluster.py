"""The commands that speak to a cluster over HTTP: submit, jobs, cancel, fetch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from distq.cli.console import make_reporter
from distq.cli.flags import OUTPUT, PLACE_FLAGS, Output, example, switch, takes
from distq.cli.perform import perform, show_result
from distq.cli.tables import print_fetch_result, print_job, print_jobs, print_submit_result
from distq.config import CommonOptions
from distq.errors import InterruptedRun

# ruff: noqa: PLC0415  # a command imports what it runs, so that --help is quick

Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="URL", help="The head's dashboard, http://HEAD:8265 (default: $RAY_ADDRESS)."
    ),
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="As submit and jobs show it.")]
Json = Annotated[bool, switch("--json", "Print the result as one JSON document.")]
Quiet = Annotated[bool, switch("--quiet", "Print only warnings and errors.")]

cluster = typer.Typer()


@cluster.command(epilog=example("distq submit job.yaml --address http://HEAD:8265 --follow"))
@takes(
    CommonOptions,
    only=tuple(name for name in PLACE_FLAGS if name not in {"address", "executor", "stage_data"}),
)
def submit(
    values: dict[str, object],
    output: Output,
    job_file: Annotated[
        Path,
        typer.Argument(metavar="JOB.yaml", help="A job or sweep; model, data, out are on the cluster."),
    ],
    address: Address = None,
    *,
    follow: Annotated[bool, switch("--follow", "Show what the job prints, until it is over.", None)] = False,
) -> None:
    """Run a job or sweep file on a cluster; submitting the same again continues it."""
    from distq.jobs.submit import submit as submit_job

    reporter = make_reporter(quiet=output.quiet, json=output.json)
    on_text = (sys.stderr.write if output.json else sys.stdout.write) if follow else None
    try:
        result = submit_job(job_file, address, values, reporter, on_text)
    except KeyboardInterrupt:
        raise InterruptedRun(
            "interrupted; a job that was submitted goes on: 'distq submit --follow' finds it again, "
            "'distq cancel' ends it"
        ) from None
    show_result(result, print_submit_result, output)


@cluster.command("jobs", epilog=example("distq jobs --address http://HEAD:8265"))
def jobs(address: Address = None, *, json: Json = False) -> None:
    """List the distq jobs of a cluster."""
    from distq.jobs.list_jobs import list_jobs

    show_result(
        list_jobs(address, make_reporter(quiet=True, json=json)), print_jobs, Output(quiet=False, json=json)
    )


@cluster.command(epilog=example("distq cancel distq-1a2b3c4d5e6f --address http://HEAD:8265"))
def cancel(job_id: JobId, address: Address = None, *, json: Json = False) -> None:
    """End a job of a cluster; what it finished is kept."""
    from distq.jobs.cancel import cancel as cancel_job

    show_result(
        cancel_job(job_id, address, make_reporter(quiet=True, json=json)),
        print_job,
        Output(quiet=False, json=json),
    )


@cluster.command(epilog=example("distq fetch distq-1a2b3c4d5e6f --address http://HEAD:8265 --out RUN"))
def fetch(
    job_id: JobId,
    address: Address = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder to make (default: RUN's name, here).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    *,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Bring RUN of a job that is over from the cluster."""
    from distq.jobs.fetch import fetch as fetch_job

    perform(
        lambda reporter: fetch_job(job_id, address, out, reporter),
        print_fetch_result,
        Output(quiet=quiet, json=json),
    )


@cluster.command("print-run", hidden=True)
def print_run(folder: Annotated[Path, typer.Argument(metavar="RUN")]) -> None:
    """Print RUN as text; 'distq fetch' runs this on the cluster."""
    from distq.jobs.fetch import print_run as print_job_run

    print_job_run(folder, sys.stdout.write)
