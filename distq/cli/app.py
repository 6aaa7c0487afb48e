"""The command ``distq``: parse, call one job, print.

Exit codes: 0 done; 2 bad usage or input, one line on stderr; 3 failed while running; 130 interrupted.
Jobs are imported by the command that runs them, so that ``distq --help`` loads neither Ray nor ONNX Runtime.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

import distq
from distq import ending
from distq.cli.cascade import cascade
from distq.cli.cluster import cluster
from distq.cli.convert import converting
from distq.cli.dataset import dataset
from distq.cli.export import exporting
from distq.cli.flags import OUTPUT, PLACE_FLAGS, Output, example, switch, takes
from distq.cli.perform import perform, show_result
from distq.cli.report import reporting
from distq.cli.start import require_room, start
from distq.cli.tables import print_demo_result, print_doctor_report
from distq.cli.watch import watching
from distq.config import (
    AutoOptions,
    CalibrateOptions,
    CommonOptions,
    DiffOptions,
    EvaluateOptions,
    TuneOptions,
)
from distq.errors import DistqError, InterruptedRun, UsageError
from distq.memory import is_out_of_memory, out_of_memory
from distq.options import make_options, on_command_line

# ruff: noqa: PLC0415  # a command imports its job

Values = dict[str, object]

app = typer.Typer(
    epilog=example("distq demo"),
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.add_typer(dataset, name="dataset")
app.add_typer(cascade)
app.add_typer(cluster)
app.add_typer(converting)
app.add_typer(exporting)
app.add_typer(watching)
app.add_typer(reporting)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", metavar="", help="Print the version and exit.")
    ] = False,
) -> None:
    """Find the INT8 thresholds that keep an ONNX or Caffe network closest to float, on Ray."""
    if version:
        typer.echo(f"distq {distq.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(epilog=example("distq calibrate model.onnx --data photos --out run"))
@takes(CalibrateOptions)
def calibrate(values: Values, output: Output) -> None:
    """Compute INT8 thresholds from a calibration set and export the INT8 model."""
    start(make_options(CalibrateOptions, values, on_command_line), output)


@app.command(epilog=example("distq tune model.onnx --data photos --preprocess p.yaml --out run"))
@takes(TuneOptions)
def tune(values: Values, output: Output) -> None:
    """Calibrate, then search each layer's threshold for the smallest output error."""
    start(make_options(TuneOptions, values, on_command_line), output)


@app.command(epilog=example("distq auto model.onnx --data photos --goal sqnr:30 --out run"))
@takes(AutoOptions)
def auto(values: Values, output: Output) -> None:
    """Find the cheapest network that meets a goal, and say why each layer is as it is."""
    start(make_options(AutoOptions, values, on_command_line), output)


@app.command("eval", epilog=example("distq eval run/model.int8.onnx --against model.onnx --data photos"))
@takes(EvaluateOptions)
def evaluate(values: Values, output: Output) -> None:
    """Measure a model against float, and its accuracy where there are labels."""
    start(make_options(EvaluateOptions, values, on_command_line), output)


@app.command(epilog=example("distq diff m.onnx --table thresholds.json --data photos --sensitivity"))
@takes(DiffOptions)
def diff(values: Values, output: Output) -> None:
    """Show how far INT8 is from float, and which layers or tensors it comes from."""
    start(make_options(DiffOptions, values, on_command_line), output)


@app.command(epilog=example("distq run job.yaml --workers 4"))
@takes(TuneOptions, only=("out", "report", "resume", *PLACE_FLAGS))
def run(
    values: Values,
    output: Output,
    job_file: Annotated[Path, typer.Argument(metavar="JOB.yaml", help="Its paths start at its own folder.")],
) -> None:
    """Run a job file: 'command: tune' and any option of it, with underscores."""
    from distq.jobfile import load_job

    job = load_job(job_file, values)
    start(job.options, Output(quiet=output.quiet or job.quiet, json=output.json or job.json))


@app.command(epilog=example("distq sweep sweep.yaml --dry-run"))
@takes(TuneOptions, only=("out", "report", "resume", *PLACE_FLAGS))
def sweep(
    values: Values,
    output: Output,
    sweep_file: Annotated[
        Path, typer.Argument(metavar="SWEEP.yaml", help="Its paths start at its own folder.")
    ],
    *,
    dry_run: Annotated[bool, switch("--dry-run", "Show the runs and their cost; run nothing.")] = False,
) -> None:
    """Run a matrix of jobs on the same workers, and show which are best."""
    from distq.cli.tables_sweep import print_sweep_plan, print_sweep_result
    from distq.jobs.calibrate import calibrate as calibrate_job
    from distq.jobs.sweep import sweep as sweep_job
    from distq.jobs.tune import tune as tune_job
    from distq.sweeps.matrix import load_sweep
    from distq.sweeps.plan import plan_sweep
    from distq.sweeps.runs import Verbs

    resume = bool(values.pop("resume", False))
    require_room(local=True)  # what reads the file loads the libraries
    wanted = load_sweep(sweep_file, values)
    require_room(local=wanted.place.executor == "local")
    if dry_run:
        show_result(plan_sweep(wanted), print_sweep_plan, output)
        return
    job = partial(sweep_job, wanted, Verbs(calibrate_job, tune_job), resume=resume)
    result = perform(job, print_sweep_result, output, resumable=True)
    if result.failed:
        raise typer.Exit(DistqError.exit_code)


@app.command(epilog=example("distq demo --out /tmp/distq-demo"))
@takes(CommonOptions, only=("executor", "workers"))
def demo(
    values: Values,
    output: Output,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where to write.", rich_help_panel=OUTPUT)
    ] = Path("distq-demo"),
) -> None:
    """Calibrate, tune, export and measure the embedded network on handwritten digits."""
    from distq.jobs.demo import run_demo
    from distq.jobs.tune import tune as tune_job

    options = make_options(CommonOptions, values, on_command_line)
    require_room(local=options.executor == "local")
    job = partial(run_demo, out, tune_job, executor=options.executor, workers=options.workers)
    perform(job, print_demo_result, output)


@app.command(epilog=example("distq doctor --address 10.0.0.5:6379"))
def doctor(
    address: Annotated[
        str | None, typer.Option("--address", metavar="RAY", help="A Ray to reach (default: $RAY_ADDRESS).")
    ] = None,
    json: Annotated[bool, switch("--json", "Print the result as one JSON document.")] = False,
) -> None:
    """Show versions, devices, Ray and memory of this machine, and what to mend."""
    from distq.jobs.doctor import examine

    report = examine(address)
    show_result(report, print_doctor_report, Output(quiet=False, json=json))
    if not report.healthy:
        raise typer.Exit(DistqError.exit_code)


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every error is one line on stderr."""
    try:
        _require_values(arguments)
        code = _command()(args=list(arguments), prog_name="distq", standalone_mode=False)
    except typer.TyperException as error:
        return _fail(_usage(error), 2)
    except DistqError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", InterruptedRun.exit_code)
    except Exception as error:  # noqa: BLE001  # the last resort: one line, the traceback on request
        return _fail(_unexpected(error), DistqError.exit_code)
    if code == InterruptedRun.exit_code:  # Typer's own answer to Ctrl-C before a job has begun
        return _fail("interrupted", code)
    return code if isinstance(code, int) else 0


@cache
def _command() -> Callable[..., object]:
    """All commands with their options, which take long to make."""
    return get_command(app)


def _usage(error: typer.TyperException) -> str:
    """What Typer says of a command line, and where the remedy is."""
    context = getattr(error, "ctx", None)
    command = "distq" if context is None else context.command_path
    said = error.format_message().replace("Value error, ", "").rstrip(".?")
    return f"{said}; {command} --help shows what it takes"


def _require_values(arguments: Sequence[str]) -> None:
    """Refuse empty arguments, as a shell makes them of variables that are not set.

    Raises:
        UsageError: naming the option.
    """
    before = ""
    for one in arguments:
        unset = one.startswith("--") and one.endswith("=")
        if unset or not one:
            name = one[:-1] if unset else before
            what = name if name.startswith("-") else f"the argument behind {name}" if name else "the command"
            raise UsageError(f"{what} is empty: give a value, or leave it out")
        before = one


def _unexpected(error: Exception) -> str:
    if is_out_of_memory(error):
        return out_of_memory("the driver", error)
    where = "" if _debugging() else "; set DISTQ_DEBUG=1 to see the traceback"
    return f"failed with {type(error).__name__}: {error}{where}"


def _debugging() -> bool:
    return os.environ.get("DISTQ_DEBUG", "0") != "0"


def _fail(message: str, code: int) -> int:
    """Print an error being handled, on one line; with DISTQ_DEBUG=1 its traceback before it."""
    if _debugging():
        traceback.print_exc()
    if code == InterruptedRun.exit_code:
        ending.told()
    typer.echo(f"distq: {' '.join(message.split())}", err=True)
    return code


def main() -> None:
    """Run the command line of this process, and end it."""
    code = invoke(sys.argv[1:])
    # Python's own end takes half a second to unload modules, and Ray's threads, cut short, can crash it
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError as error:  # a full disk, or nobody reads it any more
        code = code or _fail(f"cannot write to the standard output: {error.strerror}", DistqError.exit_code)
    with contextlib.suppress(OSError):  # a closed terminal
        sys.stderr.flush()
    os._exit(code)
