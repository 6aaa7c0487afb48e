"""From checked options to the job that they are for, as a command or a job file gives them."""

from __future__ import annotations

from functools import partial

from distq.cli.convert import run_convert
from distq.cli.export import run_export
from distq.cli.flags import Output
from distq.cli.perform import perform
from distq.cli.report import run_report
from distq.cli.tables import print_diff_result, print_evaluate_result, print_run_result
from distq.config import (
    AutoOptions,
    CalibrateOptions,
    CommonOptions,
    ConvertOptions,
    DiffOptions,
    EvaluateOptions,
    TuneOptions,
)
from distq.jobfile import JobOptions
from distq.memory import LOCAL_ADDRESS_SPACE, RAY_ADDRESS_SPACE, require_address_space
from distq.run_options import ExportOptions, ReportOptions

# ruff: noqa: PLC0415  # a command imports its job


def start(options: JobOptions, output: Output) -> None:
    """Run the job that the options are for."""
    require_room(local=not isinstance(options, CommonOptions) or options.executor == "local")
    match options:
        case AutoOptions():
            from distq.cli.auto import run_auto

            run_auto(options, output)
        case TuneOptions():
            from distq.jobs.tune import tune as tune_job

            perform(partial(tune_job, options, clock=output.clock), print_run_result, output, resumable=True)
        case CalibrateOptions():
            from distq.jobs.calibrate import calibrate as calibrate_job

            perform(partial(calibrate_job, options), print_run_result, output, resumable=True)
        case EvaluateOptions():
            from distq.jobs.evaluate import evaluate as evaluate_job

            perform(partial(evaluate_job, options), print_evaluate_result, output)
        case DiffOptions():
            from distq.jobs.diff import diff as diff_job

            perform(partial(diff_job, options), print_diff_result, output)
        case ExportOptions():
            run_export(options, output)
        case ReportOptions():
            run_report(options, output)
        case ConvertOptions():
            run_convert(options, output)


def require_room(*, local: bool) -> None:
    """Before the libraries are loaded: they end the process where they find none."""
    if local:
        require_address_space(LOCAL_ADDRESS_SPACE, "raise it")
    else:
        require_address_space(RAY_ADDRESS_SPACE, "raise it, or take --executor local, which needs less")
