"""The command ``distq convert``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from distq.cli.flags import OUTPUT, Output, example, switch
from distq.cli.perform import perform
from distq.config import ConvertOptions
from distq.options import make_options

# ruff: noqa: PLC0415  # a command imports its job

FORMATS = (
    "distq, csv, tpu-mlir, qtable, bitmain, bitmain-prototxt, bitmain-text, tensorrt (7 to 10), ncnn, ort, "
    "ort-overrides, sigmastar, aimet-0.6, aimet-1.0, aimet-2.0, rknn, amct, ppq"
)
_SPELLED = {"source": "SOURCE", "source_format": "--from", "source_convention": "--from-convention"}

converting = typer.Typer()


@converting.command(epilog=example("distq convert run --to tensorrt --out net.cache"))
def convert(  # noqa: PLR0917  # flags
    source: Annotated[Path, typer.Argument(metavar="TABLE|RUN", help="A threshold table, or a run.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help=f"The format to write: {FORMATS}.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to write.", rich_help_panel=OUTPUT)
    ],
    source_format: Annotated[
        str | None, typer.Option("--from", metavar="FORMAT", help="The table's format (default: by content).")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="The float model, for names (default: the run's).")
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The tool's own file to name by: RKNN's step-1 cfg, ncnn's .param."
        ),
    ] = None,
    convention: Annotated[
        int | None, typer.Option(metavar="127|128", help="Scale = T/127 or T/128 (default: the format's).")
    ] = None,
    source_convention: Annotated[
        int | None, typer.Option("--from-convention", metavar="127|128", help="The same of the table.")
    ] = None,
    *,
    quiet: Annotated[bool, switch("--quiet", "Print only warnings and errors.")] = False,
    json: Annotated[bool, switch("--json", "Print the result as one JSON document.")] = False,
) -> None:
    """Write a threshold table, or those of a run, in another tool's format."""
    from distq.jobs.convert_table import ConvertResult, convert_table

    values = {
        "source": source,
        "to": to,
        "out": out,
        "source_format": source_format,
        "model": model,
        "names": names,
        "convention": convention,
        "source_convention": source_convention,
    }
    options = make_options(ConvertOptions, values, lambda name: _SPELLED.get(name, f"--{name}"))

    def show(result: ConvertResult) -> None:
        console = Console()
        weights = f", scales of {result.weights} weights" if result.weights else ""
        stated = f", scale = threshold / {result.convention}" if result.convention else ""
        line = f"{result.source_format} to {result.format}: {result.tensors} tensors{weights}{stated}"
        console.print(Text(line), soft_wrap=True)
        for path in filter(None, (result.out, result.note)):
            console.print(Text(f"  {path}"), soft_wrap=True)

    perform(partial(convert_table, options), show, Output(quiet=quiet, json=json))
