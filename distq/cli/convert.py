"""``distq convert``: files of other tools into those of distq, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distq.cli.flags import Output, example, switch
from distq.cli.perform import show_result

# ruff: noqa: PLC0415  # a command imports its job

convert = typer.Typer()


@convert.command(
    "convert", epilog=example("distq convert deploy.prototxt --weights net.caffemodel --out net.onnx")
)
def convert_command(
    source: Annotated[Path, typer.Argument(metavar="NET.prototxt", help="A Caffe network.")],
    out: Annotated[Path, typer.Option("--out", metavar="NET.onnx", help="The ONNX model to write.")],
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Its weights (default: the .caffemodel of the same name beside it).",
        ),
    ] = None,
    *,
    quiet: Annotated[bool, switch("--quiet", "Print warnings only.")] = False,
    json: Annotated[bool, switch("--json", "Print the result as one JSON document.")] = False,
) -> None:
    """Write a Caffe network as an ONNX model."""
    from distq.jobs.convert_network import ConvertedNetwork, convert_network

    def show(result: ConvertedNetwork) -> None:
        typer.echo(f"{result.out}: {result.nodes} nodes from {result.source}")
        for kind, tensors in (("input", result.inputs), ("output", result.outputs)):
            for name, shape in tensors.items():
                typer.echo(f"  {kind} {name} ({' x '.join(map(str, shape))})")

    result = convert_network(source, weights, out)
    for note in result.notes:
        typer.echo(f"warning: {note}", err=True)
    show_result(result, show, Output(quiet=quiet, json=json))
