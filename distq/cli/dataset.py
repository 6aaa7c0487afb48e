"""The commands ``distq dataset build`` and ``distq dataset info``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from distq.cli.flags import Output, example, switch
from distq.cli.gflags import GflagsCommand
from distq.cli.perform import perform, show_result
from distq.cli.tables import print_build_report, print_data_info, print_source_info
from distq.engine.progress import Reporter
from distq.options import make_options

# ruff: noqa: PLC0415  # a command imports what it runs, so that --help is quick

dataset = typer.Typer(
    help="Build an LMDB of images, or look at a data source.", epilog=example("distq dataset info photos")
)


@dataset.command(
    "build", cls=GflagsCommand, epilog=example("distq dataset build photos/ list.txt photos.lmdb --encoded")
)
def dataset_build(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder the listed paths start at.")],
    list_file: Annotated[Path, typer.Argument(metavar="LIST", help="Lines of 'relative/path label'.")],
    database: Annotated[Path, typer.Argument(metavar="DB", help="The LMDB folder to make.")],
    *,
    gray: Annotated[
        bool, switch("--gray", "Store one channel; not of files kept as they are.", None)
    ] = False,
    shuffle: Annotated[bool, switch("--shuffle", "Shuffle the lines, as --seed says.", None)] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of --shuffle.")] = 0,
    backend: Annotated[str, typer.Option(metavar="NAME", help="Only lmdb; leveldb is refused.")] = "lmdb",
    resize_width: Annotated[
        int, typer.Option("--resize_width", metavar="N", help="Goes with --resize_height; 0 is no resize.")
    ] = 0,
    resize_height: Annotated[
        int, typer.Option("--resize_height", metavar="N", help="Goes with --resize_width.")
    ] = 0,
    check_size: Annotated[bool, switch("--check_size", "Refuse images of different sizes.", None)] = False,
    encoded: Annotated[bool, switch("--encoded", "Store image files instead of pixels.", None)] = False,
    encode_type: Annotated[
        str, typer.Option("--encode_type", metavar="EXT", help="Store as this format; implies --encoded.")
    ] = "",
    quiet: Annotated[bool, switch("--quiet", "Print only warnings and errors.")] = False,
    json: Annotated[bool, switch("--json", "Print the result as one JSON document.")] = False,
) -> None:
    """Build a Caffe LMDB from a list of images; flags are those of convert_imageset."""
    from distq.data.build import BuildOptions, BuildReport, build_lmdb

    values = {
        "gray": gray,
        "shuffle": shuffle,
        "seed": seed,
        "backend": backend,
        "resize_width": resize_width,
        "resize_height": resize_height,
        "check_size": check_size,
        "encoded": encoded,
        "encode_type": encode_type,
    }
    options = make_options(BuildOptions, values, "--{}".format)

    def job(reporter: Reporter) -> BuildReport:
        begin = partial(reporter.start, "build", unit="images")
        report = build_lmdb(root, list_file, database, options, on_start=begin, on_image=reporter.advance)
        reporter.finish()
        for reason in report.reasons:
            reporter.warn(reason)
        return report

    perform(job, print_build_report, Output(quiet=quiet, json=json))


@dataset.command("info", epilog=example("distq dataset info net.prototxt > preprocess.yaml"))
def dataset_info(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="Folder, list, LMDB folder, .npz or .npy; a preprocessing file; or a .prototxt.",
        ),
    ],
    json: Annotated[bool, switch("--json", "Print the result as one JSON document.")] = False,
) -> None:
    """Show what a data source holds, and a preprocessing as YAML; no image is decoded, no code runs."""
    from distq.jobs.dataset_info import dataset_info as describe

    info = describe(source)
    output = Output(quiet=False, json=json)
    if info.preprocessing is None and info.source is not None:
        show_result(info.source, print_source_info, output)
    else:
        show_result(info, print_data_info, output)
