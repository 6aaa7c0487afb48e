"""What a search gained is kept where it lasts: on calibration samples that it did not see.

A test on the tuning samples alone cannot tell what lasts from what fits these samples: the candidates were
chosen by them. Calibration samples behind them took part in the distributions and corrections of both forms,
and in no choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distq.config import TuneOptions
from distq.run.context import Run
from distq.search.metrics import mean_over_images
from distq.stages.compare import Better, diffs_of
from distq.stages.form import Form

LEAST, MOST = 4, 64
"""Samples that confirm; fewer say nothing, more would take as long as the search."""


def confirmed(
    run: Run, options: TuneOptions, kind: str, before: Form, after: Form, *, better: Better | None = None
) -> Form:
    """The later form, or the earlier one where that is closer to float on samples that no choice saw.

    Where all calibration samples were tuned on it is the later one, and so it is with another tuner's
    strategy, whose thresholds are wanted as its rules give them.

    Args:
        run: gives workers and samples.
        options: of the search.
        kind: what was found, for the journal and the reader.
        before: what it was found from.
        after: what was found.
        better: what its diffs there have to be, where samples differ at all; None: no larger on the mean.
    """
    if options.strategy != "default" or after is before or not can_confirm(run):
        return after
    others = unseen(run)
    if after.exported == before.exported:
        return after
    stage = f"confirm the {kind} on samples it did not see"
    diffs = diffs_of(run, stage, [before, after], others)
    means = [mean_over_images(diff) for diff in diffs]
    lasts = not means[1] > means[0]
    if better is not None and not np.array_equal(
        diffs[0], diffs[1]
    ):  # a coarse measure may see no difference
        lasts = better(diffs[1], diffs[0])
    run.journal.note("confirmed", what=kind, lasts=lasts, diffs=means)
    if not lasts:
        run.reporter.line(
            f"the {kind} is not kept: on {len(others)} calibration samples that it did not see the diff goes "
            f"from {means[0]:.4g} to {means[1]:.4g}{'' if means[1] > means[0] else ', as it may by chance'}"
        )
    return after if lasts else before


def can_confirm(run: Run) -> bool:
    """Whether enough calibration samples were not tuned on."""
    return len(unseen(run)) >= LEAST


def unseen(run: Run) -> Sequence[int]:
    """Calibration samples that confirm: the first ones behind those tuned on."""
    return run.readable(run.selection.calibration[len(run.selection.tuning) :][:MOST])
