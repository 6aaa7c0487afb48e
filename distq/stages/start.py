"""The thresholds, and the form of the network, that are closest to float: what a search starts from.

No method's thresholds are best everywhere: one network loses 7 dB to KL's clipping that another gains a
decibel from. Each costs one forward an image to try, a fraction of what a single tensor's search does. The
first method stays unless another is better by more than a standard error on the tuning images: what gains
less does as often lose on others. The forms are the network as it is and with channels evened out, which has
to gain more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from distq.config import TuneOptions
from distq.graph.rows import encodings
from distq.run.context import Run
from distq.search.acceptance import beyond_chance, significant_improvement
from distq.search.metrics import mean_over_images
from distq.stages.compare import choose, tuning_diffs
from distq.stages.correct import corrected, corrected_together
from distq.stages.equalize import evened_form, evened_sites, promising
from distq.stages.form import Form
from distq.stages.scoring import NetworkScorer
from distq.stages.search import chosen_quantizers
from distq.stages.thresholds import AUTO, FIRST_METHOD, calibrated_table

METHODS = ("mse", "max", "percentile", "kl")
"""What is tried beside the run's own method; the others are never far from one of these."""

MOST_COMPARED = 64
"""Images that ``--method auto`` compares methods on, the first ones."""

LEAST_GAIN = 0.1
"""Less than this on a few images may be none on others."""

EQUALIZING_EFFORT = 3
"""Correcting one or two more forms of the network takes as long as searching it."""


def choose_start(run: Run, options: TuneOptions, form: Form) -> Form:
    """The best method's thresholds, on the best equalization of the network.

    A given table, the serial tuner's start and tensors that are not searched stay as they are; channels are
    evened out only where all are searched. With ``--method auto`` the method is chosen already.
    """
    if options.strategy != "default" or options.table is not None:
        return form
    start = form
    if options.method != AUTO:
        searched = {q.name for q in chosen_quantizers(options, form)}
        start = best_method(run, form, searched, options.method)
    if not options.bias_correction:
        return form if start is form else corrected(run, start)
    everything = not options.layers and not options.ignore_layers
    even = options.equalize and everything and options.effort >= EQUALIZING_EFFORT
    return best_form(run, form, start, even=even)


def best_calibration(run: Run, form: Form) -> Form:
    """The form with the thresholds and corrections that ``--method auto`` comes to.

    The other methods' thresholds are compared on weights and biases made for the first method. The closest of
    them to float is corrected too, and the closer of the two corrected forms is taken.

    Args:
        run: gives workers and samples.
        form: with distributions, and thresholds by the first method.
    """
    few = replace(run, selection=replace(run.selection, tuning=run.selection.tuning[:MOST_COMPARED]))
    first = corrected(run, form)
    others = [m for m in METHODS if m != FIRST_METHOD]
    tables = [calibrated_table(form.plan, form.distributions, name, run.options.bins) for name in others]
    states = [replace(first.state, encodings=encodings(table)) for table in tables]
    means = [mean_over_images(diff) for diff in NetworkScorer(few, first).diffs(states)]
    best = min(range(len(others)), key=lambda i: (means[i], i))
    other = corrected(run, replace(form, table=tables[best]))
    names = [FIRST_METHOD, others[best]]
    pair = [mean_over_images(diff) for diff in tuning_diffs(few, "compare methods", [first, other])]
    for name, mean in zip(names, pair, strict=True):
        run.reporter.line(f"method {name}: diff {mean:.6g}")
    chosen = int(pair[1] < pair[0])
    run.journal.note("method", chosen=names[chosen], names=names, diffs=pair)
    return (first, other)[chosen]


def best_method(run: Run, form: Form, searched: Collection[str], own: str) -> Form:
    """The form with the thresholds of the method that is closest to float on the tuning images.

    Weights and biases are the same for all that are compared, and still to be corrected where another method
    is chosen.

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
    scorer = NetworkScorer(run, form)
    diffs = scorer.diffs([replace(form.state, encodings=encodings(t)) for t in tables])
    chosen = choose(run, "start", diffs, names, beyond_chance)
    return replace(form, table=tables[chosen]) if chosen else form


def best_form(run: Run, form: Form, start: Form, *, even: bool) -> Form:
    """The network as it was calibrated, with other thresholds, or equalized.

    Each form has its weights rounded and its biases corrected before it is compared on the tuning images:
    without, the errors that correction takes away decide. Other thresholds have to be better beyond chance,
    and an equalized network clearly.

    Args:
        run: gives workers and samples.
        form: thresholds by the run's own method, corrected.
        start: with thresholds that another method would rather start from, maybe the same form.
        even: whether channels may be evened out.
    """
    tried = promising(evened_sites(run, form), len(form.plan.quantizers)) if even else {}
    if even and not tried:
        run.reporter.line("channels: as they are, since evening them out promises too little")
    others = {} if start is form else {"as they are, other thresholds": start}
    evened = {label: evened_form(run, form, found) for label, found in tried.items()}
    labels = ["as they are", *others, *evened]
    if len(labels) == 1:
        return form
    forms = [form, *corrected_together(run, [*others.values(), *evened.values()])]
    diffs = tuning_diffs(run, "choose channels", forms)
    best = 0
    for other in range(1, len(forms)):
        better = _clearly_better if labels[other] in evened else beyond_chance
        pair = (best, other)
        taken = choose(run, "channels", [diffs[i] for i in pair], [labels[i] for i in pair], better)
        best = pair[taken]
    return forms[best]


def _clearly_better(candidate: npt.NDArray[np.float64], incumbent: npt.NDArray[np.float64]) -> bool:
    enough = mean_over_images(candidate) <= (1 - LEAST_GAIN) * mean_over_images(incumbent)
    return enough and significant_improvement(candidate, incumbent).accepted
