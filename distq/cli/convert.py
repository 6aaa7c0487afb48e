"""``distq convert``: threshold tables and networks of other tools into those of distq, and back."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from distq.cli.flags import OUTPUT, Output, example, switch
from distq.cli.perform import perform
from distq.config import ConvertOptions
from distq.errors import UsageError, plural
from distq.options import make_options

if TYPE_CHECKING:
    from distq.jobs.convert_network import ConvertedNetwork
    from distq.jobs.convert_table import ConvertResult

# ruff: noqa: PLC0415  # a command imports its job

FORMATS = (
    "distq, csv, tpu-mlir, qtable, bitmain, bitmain-prototxt, bitmain-text, tensorrt (7 to 10), ncnn, ort, "
    "ort-overrides, sigmastar, aimet-0.6, aimet-1.0, aimet-2.0, rknn, amct, ppq"
)
_SPELLED = {"source": "SOURCE", "source_format": "--from", "source_convention": "--from-convention"}

converting = typer.Typer()


@converting.command(epilog=example("distq convert run --to tensorrt --out net.cache"))
def convert(  # noqa: PLR0917  # flags
    source: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE|RUN|NET.prototxt",
            help="A threshold table, a run, also while it goes on, or a Caffe network.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to write.", rich_help_panel=OUTPUT)
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="FORMAT", help=f"The format to write: {FORMATS}; a network becomes ONNX."
        ),
    ] = None,
    source_format: Annotated[
        str | None, typer.Option("--from", metavar="FORMAT", help="The table's format (default: by content).")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="The float model, for names (default: the run's).")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A Caffe network's weights (default: the .caffemodel beside it).",
        ),
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
    """Write a threshold table, or those of a run, in another tool's format; or a Caffe network as ONNX."""
    if to is None and source.suffix.lower() == ".prototxt":
        to = "onnx"
    values = {
        "source": source,
        "to": to or "",
        "out": out,
        "source_format": source_format,
        "model": model,
        "weights": weights,
        "names": names,
        "convention": convention,
        "source_convention": source_convention,
    }
    options = make_options(ConvertOptions, values, lambda name: _SPELLED.get(name, f"--{name}"))
    run_convert(options, Output(quiet=quiet, json=json))


def run_convert(options: ConvertOptions, output: Output) -> None:
    """Convert a table or a network, and show what was written.

    Raises:
        UsageError: what is given cannot become what is asked for.
    """
    from distq.jobs.convert_network import convert_network
    from distq.jobs.convert_table import convert_table

    source, suffix = options.source, options.source.suffix.lower()
    if suffix == ".caffemodel":
        raise UsageError(f"{source} has weights alone: give the .prototxt, with --weights {source}")
    if suffix == ".onnx":
        raise UsageError(f"{source} is a network already: give the RUN that distq calibrate made of it")
    of_tables = ("source_format", "model", "names", "convention", "source_convention")
    unused = next((name for name in of_tables if getattr(options, name) is not None), None)
    if options.to == "onnx" and suffix == ".prototxt" and unused is None:
        perform(partial(convert_network, source, options.weights, options.out), _show_network, output)
        return
    if not options.to or (options.to == "onnx" and suffix == ".prototxt"):
        what = source if unused is None else _SPELLED.get(unused, f"--{unused}")
        raise UsageError(f"--to FORMAT is missing, for {what}: it is one of {FORMATS}")
    perform(partial(convert_table, options), _show_table, output)


def _show_network(result: ConvertedNetwork) -> None:
    typer.echo(f"{result.out}: {plural(result.nodes, 'node')} from {result.source}")
    for kind, tensors in (("input", result.inputs), ("output", result.outputs)):
        for name, shape in tensors.items():
            typer.echo(f"  {kind} {name} ({' x '.join(map(str, shape))})")


def _show_table(result: ConvertResult) -> None:
    console = Console()
    weights = f", scales of {plural(result.weights, 'weight')}" if result.weights else ""
    stated = f", scale = threshold / {result.convention}" if result.convention else ""
    line = f"{result.source_format} to {result.format}: {plural(result.tensors, 'tensor')}{weights}{stated}"
    console.print(Text(line), soft_wrap=True)
    for path in filter(None, (result.out, result.note)):
        console.print(Text(f"  {path}"), soft_wrap=True)
