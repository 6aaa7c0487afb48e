"""The command ``distq cascade``: several models that a user's Python file runs one behind another."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from distq.cli.flags import DATA, PLACE, Output, example, switch, takes
from distq.cli.perform import perform
from distq.config import TuneOptions
from distq.errors import DistqError, UsageError

if TYPE_CHECKING:
    from distq.cascade import Cascade
    from distq.jobs.cascade import CascadeResult

# ruff: noqa: PLC0415  # a command imports what it runs, so that --help is quick

_OF_ONE_MODEL = frozenset(
    {
        "model",
        "weights",
        "data",
        "holdout_data",
        "preprocess",
        "input_config",
        "labels",
        "annotations",
        "stage_data",
        "table",
        "load_dist",
        "dump_dist",
        "int16_layers",
        "layer_config",
        "float_layers",
        "float_inputs",
        "float_outputs",
        "float_blocks",
        "input_shape",
        "input_value",
        "state",
        "sequence",
        "layers",
        "ignore_layers",
    }
)
"""Options that name files, tensors or samples of one model; the rest is for all of a cascade."""

cascade = typer.Typer()


@cascade.command("cascade", epilog=example("distq cascade faces.py --data photos --out RUN"))
@takes(TuneOptions, only=[name for name in TuneOptions.model_fields if name not in _OF_ONE_MODEL])
def cascade_command(  # noqa: PLR0917  # what Typer makes options of
    values: dict[str, object],
    output: Output,
    program: Annotated[
        Path, typer.Argument(metavar="FILE.py", help="It makes a distq.Cascade; this command runs it.")
    ],
    data: Annotated[
        Path,
        typer.Option("--data", metavar="SRC", help="Images or arrays for forward.", rich_help_panel=DATA),
    ],
    upstream: Annotated[
        Literal["int8", "float"],
        typer.Option(
            "--upstream",
            help="What runs in front of a model (default: int8).",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = "int8",
    items: Annotated[
        int | None,
        typer.Option(
            "--items",
            metavar="N",
            help="Take N items at most; 0 is all (default: --samples and --holdout).",
            min=0,
            rich_help_panel=DATA,
        ),
    ] = None,
    *,
    calibrate_only: Annotated[bool, switch("--calibrate-only", "Stop before the searches.", None)] = False,
    forward_on_workers: Annotated[
        bool, switch("--forward-on-workers", "The workers run forward too.", PLACE)
    ] = False,
) -> None:
    """Tune several models, each on what a Python file's forward hands to it."""
    from distq.cascades.items import place_in

    found = load_cascade(program)
    out = values.pop("out", None)
    if out is None:
        raise UsageError("--out is missing: give the folder of the cascade")
    verb = found.calibrate if calibrate_only else found.tune

    def job(reporter: object) -> CascadeResult:
        settings = {"upstream": upstream, "items": items, "forward_on_workers": forward_on_workers}
        run = partial(verb, data, out=out, reporter=reporter, **settings, **values)  # type: ignore[arg-type]  # options by name, checked inside
        try:
            return run()
        except Exception as error:
            place = None if isinstance(error, DistqError) else place_in(program, error)
            if place is None:
                raise
            raise UsageError(f"{place}; mend forward") from error

    perform(job, print_cascade_result, output, resumable=True)


def _said(error: BaseException) -> str:
    """What an error says, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def load_cascade(program: Path) -> Cascade:
    """Run a Python file, and give the cascade that it makes.

    Raises:
        UsageError: it cannot be run, raises anything, or makes none or several.
    """
    from distq.cascade import Cascade

    name = f"distq_cascade_{program.stem}"
    spec = importlib.util.spec_from_file_location(name, program)
    if spec is None or spec.loader is None or not program.is_file():
        raise UsageError(f"{program} is no Python file: give one that makes a distq.Cascade")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # what travels to workers is looked up there
    sys.path.insert(0, str(program.absolute().parent))  # as python FILE.py does
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{program} does not load: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    made = {id(value): value for value in vars(module).values() if isinstance(value, Cascade)}
    if len(made) != 1:
        raise UsageError(
            f"{program} has {len(made) or 'no'} cascades at its top level: write one, c = Faces({{...}})"
        )
    return next(iter(made.values()))


def print_cascade_result(result: CascadeResult, console: Console | None = None) -> None:
    """Show the models in their order, with their distances from float."""
    console = console or Console()
    table = Table(
        "model", "samples", "held out", "calibrated dB", "tuned dB", title="From float", title_justify="left"
    )
    for name in result.order:
        run = result.runs[name]
        shown = run.holdout or run.tuning
        before = "" if shown is None else f"{shown.before.sqnr_db:.2f}"
        after = "" if shown is None or shown.after is None else f"{shown.after.sqnr_db:.2f}"
        held = str(run.holdout.images) if run.holdout is not None else "none"
        table.add_row(name, "" if run.tuning is None else str(run.tuning.images), held, before, after)
    console.print()
    console.print(table)
    console.print(f"Written: {result.out}/{{{','.join(result.order)}}}", highlight=False, soft_wrap=True)
