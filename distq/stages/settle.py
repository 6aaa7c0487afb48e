"""Make weights and biases anew for the thresholds that a search has moved."""

from __future__ import annotations

from distq.quant.table import Table
from distq.run.context import Run
from distq.stages.compare import closest
from distq.stages.correct import corrected_again
from distq.stages.form import Form


def settle(run: Run, start: Form, form: Form) -> Form:
    """The form with what lies behind moved thresholds rounded and corrected again, or as it is.

    Whichever is closer to float on the tuning samples.

    Args:
        run: gives workers and samples.
        start: before the search.
        form: after it.
    """
    changed = moved(start.table, form.table)
    if not changed or not run.options.bias_correction:
        return form
    return closest(run, [form, corrected_again(run, form, changed)], "compare corrections")


def moved(start: Table, tuned: Table) -> list[str]:
    """Quantizers that a search gave other scales; a threshold beyond what a tensor can hold changes none."""
    return [name for name, row in tuned.items() if row.encoding != start[name].encoding]
