"""Running a job for the command line: a reporter while it runs, then its result as a table or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import typer
from pydantic import TypeAdapter

from distq import ending
from distq.cli.console import make_reporter
from distq.cli.flags import Output
from distq.engine.progress import Reporter
from distq.errors import InterruptedRun

Result = TypeVar("Result")

_HINT = ": continue with the same command and --resume"


def perform(
    job: Callable[[Reporter], Result],
    show: Callable[[Result], None],
    output: Output,
    *,
    resumable: bool = False,
) -> Result:
    """Run a job under a reporter, print its result and give it back.

    Args:
        job: What to run.
        show: Prints the result for a person.
        output: Which of the two, or neither, is wanted.
        resumable: Whether the command has ``--resume``, so that Ctrl-C should mention it.

    Raises:
        InterruptedRun: Ctrl-C.
    """
    reporter = make_reporter(quiet=output.quiet, json=output.json)
    ending.say(f"interrupted{_HINT}" if resumable else "interrupted")
    try:
        result = job(reporter)
    except (KeyboardInterrupt, InterruptedRun):
        raise InterruptedRun(f"interrupted{_HINT}" if resumable else "interrupted") from None
    finally:
        reporter.finish()
    show_result(result, show, output)
    return result


def show_result(result: Result, show: Callable[[Result], None], output: Output) -> None:
    """Print a pydantic model or dataclass: by ``show``, as JSON, or not at all when quiet."""
    if output.json:
        typer.echo(TypeAdapter(type(result)).dump_json(result, indent=2))
    elif not output.quiet:
        show(result)
