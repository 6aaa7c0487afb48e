"""``distq watch``: a live view in a terminal, a line for each look elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from distq import ending
from distq.cli.console import make_reporter
from distq.cli.flags import example, switch
from distq.errors import DistqError, InterruptedRun
from distq.options import make_options
from distq.run_options import WatchOptions

if TYPE_CHECKING:
    from distq.run.watching import Status

# ruff: noqa: PLC0415  # a command imports what it runs

watching = typer.Typer()


@watching.command(epilog=example("distq watch run"))
def watch(
    run: Annotated[
        str, typer.Argument(metavar="RUN|ID", help="A run's --out, or with --address a submitted job.")
    ],
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="URL",
            help="The head's dashboard, of a submitted job (default: $RAY_ADDRESS).",
        ),
    ] = None,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.1, max=3600, help="Between two looks.")
    ] = 2.0,
    *,
    once: Annotated[bool, switch("--once", "Look once and end.")] = False,
    json: Annotated[bool, switch("--json", "Print each look as JSON, one a line.")] = False,
    wait: Annotated[bool, typer.Option("--wait", hidden=True)] = False,
) -> None:
    """Show what a run is at until it ends: stage, time left, workers, the best network so far."""
    from distq.jobs.watch import watch as job

    ending.say("interrupted; the run goes on")
    options = make_options(
        WatchOptions, {"run": run, "every": every, "address": address}, lambda name: f"--{name}"
    )
    looks = job(options, make_reporter(quiet=True, json=json), wait=wait)
    last: Status | None = None
    try:
        with _shown(json=json, live=sys.stdout.isatty() and not once) as show:
            for last in looks:
                show(last)
                if once:
                    return
    except KeyboardInterrupt:
        raise InterruptedRun("interrupted; the run goes on") from None
    finally:
        looks.close()
    if last is not None and last.state not in {"finished", "starting"}:
        raise typer.Exit(DistqError.exit_code)


@contextmanager
def _shown(*, json: bool, live: bool) -> Iterator[Callable[[Status], object]]:
    """What shows a status: as JSON, in place of the one before, or as a line."""
    from distq.cli.watch_view import line, view
    from distq.jobs.watch import STATUS

    if json:
        yield lambda status: typer.echo(STATUS.dump_json(status).decode())
    elif live:
        console = Console()
        with Live(console=console, auto_refresh=False) as shown:
            yield lambda status: shown.update(view(status, console.height), refresh=True)
    else:
        yield lambda status: typer.echo(line(status))
