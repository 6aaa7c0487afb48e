"""``distq tune``: calibrate, then search the thresholds layer by layer on the network outputs."""

from __future__ import annotations

from distq.config import TuneOptions
from distq.engine.progress import Reporter
from distq.reports.runs import with_report
from distq.run.given_data import require_data
from distq.run.open import Lender, as_begun, interruptible, open_run
from distq.run.results import RunResult
from distq.run.time_limit import Clock
from distq.stages.budget import require_budget
from distq.stages.calibrated import calibrated
from distq.stages.equalize import require_evening
from distq.stages.finish import finish
from distq.stages.form import Form
from distq.stages.search import chosen_quantizers
from distq.stages.tuned import tuned


def tune(
    options: TuneOptions,
    reporter: Reporter,
    lender: Lender | None = None,
    clock: Clock | None = None,
) -> RunResult:
    """Calibrate a model and search its thresholds.

    Args:
        options: of the command.
        reporter: told of progress.
        lender: whose workers it takes, such as a sweep's; None: its own.
        clock: of the command, whose ``--time`` it tells; None: it begins now.

    Raises:
        InputError: what was given cannot be used; nothing was written.
        ExecutionError: it failed while running; finished work is in the journal.
        InterruptedRun: Ctrl-C.
    """
    require_data(options.data, options.model)
    require_budget(options)
    require_evening(options)
    options = as_begun(options)
    with interruptible(), open_run(options, "tune", reporter, lender, clock) as opened:
        if isinstance(opened, RunResult):
            return with_report(opened, wanted=options.report)
        chosen_quantizers(options, Form.given(opened))  # a wrong name in --layers is found before any work
        # what `calibrate` exports: the result is compared with it
        before = calibrated(opened)
        # from here on choices go by what the user named
        run = opened.by_diff()
        # start, budgets, thresholds tensor by tensor
        after = tuned(run, options, before)
        if run.time.end is not None:
            run.warn(run.time.end.text)
        result = finish(run, before, after)
    return with_report(result, wanted=options.report)
