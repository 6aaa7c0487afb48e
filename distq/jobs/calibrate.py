"""``distq calibrate``.

Distributions, thresholds, bias correction, the INT8 model, and how close it is to float.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from distq.calibration.distributions import DistributionSet
from distq.config import CalibrateOptions
from distq.engine.progress import Reporter
from distq.errors import DataError, UsageError
from distq.files import atomic_write
from distq.reports.runs import with_report
from distq.run.identity import file_identity, set_by_layer
from distq.run.open import Lender, as_begun, interruptible, open_run
from distq.run.prepare import prepare_model
from distq.run.records import close_run, read_result
from distq.run.results import RunResult
from distq.run.rundir import RunDir
from distq.stages.calibrated import calibrated
from distq.stages.finish import finish
from distq.stages.form import Form
from distq.stages.keep import keep
from distq.stages.thresholds import calibrated_table


def calibrate(options: CalibrateOptions, reporter: Reporter, lender: Lender | None = None) -> RunResult:
    """Calibrate a model.

    Args:
        options: of the command.
        reporter: told of progress.
        lender: whose workers it takes, such as a sweep's; None: its own.

    Raises:
        InputError: what was given cannot be used; nothing was written.
        ExecutionError: it failed while running; finished work is in the journal.
        InterruptedRun: Ctrl-C.
    """
    options = as_begun(options)
    if options.load_dist is not None and options.data is None:
        return _thresholds_only(options, options.load_dist, reporter)
    with interruptible(), open_run(options, "calibrate", reporter, lender) as run:
        if isinstance(run, RunResult):
            return with_report(run, wanted=options.report)
        result = finish(run, keep(run, "calibrated", calibrated(run)))
    return with_report(result, wanted=options.report)


def _thresholds_only(options: CalibrateOptions, load_dist: Path, reporter: Reporter) -> RunResult:
    """``--load-dist`` without ``--data``: thresholds from the file, and no model."""
    if options.channel_scales:
        raise UsageError("--channel-scales measures channels on samples: give --data, or leave it out")
    started = time.monotonic()
    loaded, plan = prepare_model(options)
    kept = DistributionSet.load(load_dist)
    if kept.identity.get("model") != loaded.sha256:
        raise DataError(f"{load_dist} is of another model: gather those of {options.model} with --dump-dist")
    form = Form(loaded.model, plan, kept.tensors)
    form = replace(form, table=calibrated_table(plan, kept.tensors, options.method, options.bins))
    rundir = RunDir(options.out)
    fields = {
        "command": "calibrate",
        "model": loaded.sha256,
        "method": options.method,
        "bins": options.bins,
        "scheme": options.scheme,
        "target": options.target,
        "int16_layers": list(options.int16_layers),
        "distributions": kept.identity,
        **dict(set_by_layer(options)),
    }
    if options.layer_config is not None:
        fields["layer_config"] = file_identity(options.layer_config)
    rundir.claim(fields, resume=options.resume)
    if rundir.finished and not rundir.damaged():
        return with_report(read_result(rundir), wanted=options.report)
    atomic_write(rundir.thresholds, form.table_bytes)
    atomic_write(rundir.tensors, form.table_csv)
    reporter.line(f"wrote {rundir.thresholds}; no --data was given, so no model")
    cost = {
        "fp32_forwards": 0.0,
        "int8_forwards": 0.0,
        "seconds": round(time.monotonic() - started, 3),
        "workers": 0,
        "peak_rss_mb": 0.0,
    }
    result = RunResult.model_validate(
        {"out": rundir.path, "files": (), "holdout": None, "tuning": None, "cost": cost}
    )
    close_run(rundir, {"job": rundir.identity()}, result)
    return with_report(result.model_copy(update={"files": rundir.files()}), wanted=options.report)
