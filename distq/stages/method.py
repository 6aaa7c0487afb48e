"""The method whose thresholds are closest to float.

None is best everywhere: one network loses 7 dB to KL's clipping that another gains a decibel from. Each costs
one forward an image to try, a fraction of what a single tensor's search does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from distq.graph.rows import encodings
from distq.quant.table import HEADROOM
from distq.run.context import Run
from distq.search.acceptance import beyond_chance
from distq.search.metrics import mean_over_images
from distq.stages.compare import choose, tuning_diffs
from distq.stages.correct import corrected, corrected_from
from distq.stages.form import Form
from distq.stages.fused import with_nearest_weights
from distq.stages.in_time import in_time, keep_back
from distq.stages.scoring import NetworkScorer
from distq.stages.thresholds import FIRST_METHOD, calibrated_table

METHODS = ("mse", "max", "percentile", "kl")
"""What is tried beside the run's own method; the others are never far from one of these."""

MOST_COMPARED = 64
"""Calibration samples that ``--method auto`` compares methods on, the first ones.

However many of them are tuned on: a search starts from what ``calibrate`` makes of the same samples.
"""

LEAST_COMPARED, HALF, NEARLY_ALL = 8, 0.5, 0.9
"""Images that can tell that correction harms, what part of the error is left without it at most, and on how
many of the images there is less, at least."""


def best_calibration(run: Run, form: Form) -> Form:
    """The form with the thresholds and corrections that ``--method auto`` comes to.

    The methods' thresholds are compared on weights rounded to nearest, which are made for none of them. The
    closest of the others to float is corrected beside the first method's, and the closer of the two is taken;
    neither is where correction harms: where the best without it leaves less than half of the error, and less
    on nearly all images.

    Args:
        run: gives workers and samples.
        form: with distributions, and thresholds by the first method.
    """
    if math.isinf(run.time.seconds):
        return _closer(run, form, None)
    first = corrected(run, form)
    keep_back(run)
    return in_time(run, "comparing methods", lambda: _closer(run, form, first), first, run.pace.correct)


def _closer(run: Run, form: Form, first: Form | None) -> Form:
    """The form with the first method's thresholds, or with the best other's, each corrected for them.

    Both are corrected side by side, unless ``first`` has the first method's already.
    """
    few = replace(run, selection=replace(run.selection, tuning=run.selection.calibration[:MOST_COMPARED]))
    plain = with_nearest_weights(run, form)
    methods = (FIRST_METHOD, *(m for m in METHODS if m != FIRST_METHOD))
    tables = [calibrated_table(form.plan, form.distributions, name, run.options.bins) for name in methods[1:]]
    tables = [form.table, *tables]
    states = [replace(plain.state, encodings=encodings(form.plan, table)) for table in tables]
    diffs = NetworkScorer(few, plain).diffs(states)
    order = sorted(range(len(methods)), key=lambda i: (mean_over_images(diffs[i]), i))
    best = next(i for i in order if i)
    candidate = replace(form, table=tables[best])
    if first is None:
        first, other = corrected_from(run, [plain, with_nearest_weights(run, candidate)])
    else:
        other = corrected(run, candidate)
    names = [FIRST_METHOD, methods[best]]
    both = tuning_diffs(few, "compare methods", [first, other])
    pair = [mean_over_images(diff) for diff in both]
    for name, mean in zip(names, pair, strict=True):
        run.reporter.line(f"method {name}: diff {mean:.6g}")
    chosen = int(pair[1] < pair[0])
    closest = order[0]
    harms = run.options.bias_correction and far_better(diffs[closest], both[chosen])
    name = methods[closest] if harms else names[chosen]
    run.journal.note("method", chosen=name, names=names, diffs=pair, corrected=not harms)
    if not harms:
        return (first, other)[chosen]
    left = mean_over_images(diffs[closest])
    run.reporter.line(f"method {name} without correction, which harms here: diff {left:.6g}")
    return replace(plain, means=None, table=tables[closest], state=states[closest])


def far_better(plain: npt.NDArray[np.float64], corrected: npt.NDArray[np.float64]) -> bool:
    """Whether a network without correction is so much closer to float that correction is to be left out.

    Args:
        plain: its diff on each image, (images,).
        corrected: that of the corrected network.
    """
    less = mean_over_images(plain) < HALF * mean_over_images(corrected)
    return less and len(plain) >= LEAST_COMPARED and bool(np.mean(plain < corrected) >= NEARLY_ALL)


def method_of(form: Form) -> str | None:
    """The method that most thresholds are by, of those that a method finds; None: there are none."""
    free = [
        q.name for q in form.plan.quantizers if q.bits == 8 and not (q.keep_range or q.setting or q.channels)
    ]
    methods = Counter(form.table[name].method.removesuffix(HEADROOM) for name in free if name in form.table)
    return methods.most_common(1)[0][0] if methods else None


def best_method(run: Run, form: Form, searched: Collection[str], own: str) -> Form:
    """The form with the thresholds of the method that is closest to float on the tuning samples.

    All are compared on weights and biases made for the first method, whichever one the form has: what is made
    for thresholds that clip too much says nothing of others. They are still to be corrected where another
    method is chosen.

    Args:
        run: gives workers and samples.
        form: with thresholds by a method, corrected.
        searched: quantizers that may change; the others keep their thresholds.
        own: the method that the form has.
    """
    names = [own, *(m for m in METHODS if m != own)]
    tables = [form.table]
    for name in names[1:]:
        found = calibrated_table(form.plan, form.distributions, name, run.options.bins)
        tables.append({q: found[q] if q in searched else row for q, row in form.table.items()})
    first = form
    if own != FIRST_METHOD:
        first = corrected(run, replace(form, table=tables[names.index(FIRST_METHOD)]))
    states = [replace(first.state, encodings=encodings(form.plan, table)) for table in tables]
    chosen = choose(run, "start", NetworkScorer(run, first).diffs(states), names, beyond_chance)
    return replace(form, table=tables[chosen]) if chosen else form
