"""Where a search starts: the thresholds, and the form of the network, that are closest to float.

No method's thresholds are best everywhere: one network loses 7 dB to KL's clipping that another gains a
decibel from. Each costs one forward an image to try, a fraction of what a single tensor's search does. The
job's own method stays unless another is better by more than a standard error on the tuning images: what gains
less does as often lose on others. The forms are the network as it is and with channels evened out, which has
to gain more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from distq.graph.qdq import export
from distq.graph.state import State
from distq.jobs.calibrate import corrected_states
from distq.jobs.compare import choose, tuning_diffs
from distq.jobs.context import Job
from distq.jobs.equalize import evened_form, evened_sites, promising
from distq.jobs.scoring import NetworkScorer
from distq.jobs.thresholds import calibrated_table, encodings
from distq.quant.table import Table
from distq.search.acceptance import beyond_chance, significant_improvement
from distq.search.metrics import mean_over_images

METHODS = ("mse", "max", "percentile", "kl")
"""What is tried beside the job's own method; the others are never far from one of these."""

LEAST_GAIN = 0.1
"""Less than this on a few images may be none on others."""


def best_start(job: Job, table: Table, state: State, searched: Collection[str]) -> Table:
    """The table of the method that is closest to float on the tuning images.

    Args:
        job: the run.
        table: thresholds by the job's method.
        state: what they became; weights and biases are the same for all that are compared.
        searched: quantizers that may change; the others keep their thresholds.
    """
    names = [job.options.method, *(m for m in METHODS if m != job.options.method)]
    tables = [table]
    for name in names[1:]:
        found = calibrated_table(job.plan, job.distributions, name, job.options.bins)
        tables.append({q: found[q] if q in searched else row for q, row in table.items()})
    scorer = NetworkScorer(job, state)
    diffs = scorer.diffs([replace(state, encodings=encodings(t)) for t in tables])
    return tables[choose(job, "start", diffs, names, beyond_chance)]


def best_form(job: Job, table: Table, state: State, start: Table, *, even: bool) -> tuple[Job, Table, State]:
    """The job as it was calibrated, from other thresholds, or on an equalized network.

    Each form has its weights rounded and its biases corrected before it is compared on the tuning images:
    without, the errors that correction takes away decide. Other thresholds have to be better beyond chance,
    and an equalized network clearly.

    Args:
        job: the run.
        table: its thresholds by its own method.
        state: what they became.
        start: thresholds it would rather search from, maybe the same.
        even: whether channels may be evened out.
    """
    tried = promising(evened_sites(job), len(job.plan.quantizers)) if even else {}
    if even and not tried:
        job.reporter.line("channels: as they are, since evening them out promises too little")
    others = {} if start is table else {"as they are, other thresholds": (job, start)}
    evened = {label: evened_form(job, found) for label, found in tried.items()}
    labels, forms = ["as they are", *others, *evened], [(job, table), *others.values(), *evened.values()]
    if len(forms) == 1:
        return job, table, state
    states = [state, *corrected_states(forms[1:])]
    models = [export(form.loaded.model, form.plan, s) for (form, _), s in zip(forms, states, strict=True)]
    diffs = tuning_diffs(job, "choose channels", models)
    best = 0
    for other in range(1, len(forms)):
        better = _clearly_better if labels[other] in evened else beyond_chance
        pair = (best, other)
        taken = choose(job, "channels", [diffs[i] for i in pair], [labels[i] for i in pair], better)
        best = pair[taken]
    return *forms[best], states[best]


def _clearly_better(candidate: npt.NDArray[np.float64], incumbent: npt.NDArray[np.float64]) -> bool:
    enough = mean_over_images(candidate) <= (1 - LEAST_GAIN) * mean_over_images(incumbent)
    return enough and significant_improvement(candidate, incumbent).accepted
