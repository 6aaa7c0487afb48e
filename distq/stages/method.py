"""The method whose thresholds are closest to float.

None is best everywhere: one network loses 7 dB to KL's clipping that another gains a decibel from. Each costs
one forward an image to try, a fraction of what a single tensor's search does.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from distq.graph.rows import encodings
from distq.run.context import Run
from distq.search.acceptance import beyond_chance
from distq.search.metrics import mean_over_images
from distq.stages.compare import choose, tuning_diffs
from distq.stages.correct import corrected, corrected_together
from distq.stages.form import Form
from distq.stages.fused import with_nearest_weights
from distq.stages.in_time import in_time, keep_back
from distq.stages.scoring import NetworkScorer
from distq.stages.thresholds import FIRST_METHOD, calibrated_table

METHODS = ("mse", "max", "percentile", "kl")
"""What is tried beside the run's own method; the others are never far from one of these."""

MOST_COMPARED = 64
"""Images that ``--method auto`` compares methods on, the first ones."""


def best_calibration(run: Run, form: Form) -> Form:
    """The form with the thresholds and corrections that ``--method auto`` comes to.

    The other methods' thresholds are compared on weights rounded to nearest, which are made for none of them.
    The closest of them to float is corrected beside the first method's, and the closer of the two is taken.

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
    few = replace(run, selection=replace(run.selection, tuning=run.selection.tuning[:MOST_COMPARED]))
    plain = with_nearest_weights(run, form)
    others = [m for m in METHODS if m != FIRST_METHOD]
    tables = [calibrated_table(form.plan, form.distributions, name, run.options.bins) for name in others]
    states = [replace(plain.state, encodings=encodings(table)) for table in tables]
    means = [mean_over_images(diff) for diff in NetworkScorer(few, plain).diffs(states)]
    best = min(range(len(others)), key=lambda i: (means[i], i))
    candidate = replace(form, table=tables[best])
    if first is None:
        first, other = corrected_together(run, [form, candidate])
    else:
        other = corrected(run, candidate)
    names = [FIRST_METHOD, others[best]]
    pair = [mean_over_images(diff) for diff in tuning_diffs(few, "compare methods", [first, other])]
    for name, mean in zip(names, pair, strict=True):
        run.reporter.line(f"method {name}: diff {mean:.6g}")
    chosen = int(pair[1] < pair[0])
    run.journal.note("method", chosen=names[chosen], names=names, diffs=pair)
    return (first, other)[chosen]


def best_method(run: Run, form: Form, searched: Collection[str], own: str) -> Form:
    """The form with the thresholds of the method that is closest to float on the tuning images.

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
    states = [replace(first.state, encodings=encodings(table)) for table in tables]
    chosen = choose(run, "start", NetworkScorer(run, first).diffs(states), names, beyond_chance)
    return replace(form, table=tables[chosen]) if chosen else form
