"""Where a search starts: the thresholds of the method that is closest to float on the tuning images.

No method is best everywhere: one network loses 7 dB to KL's clipping that another gains a decibel from. Each
costs one forward an image to try, a fraction of what a single tensor's search does. The job's own method
stays unless another is better by more than a standard error: what gains less does as often lose on others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from distq.calibration.histogram import Distribution
from distq.graph.state import State
from distq.jobs.compare import choose
from distq.jobs.context import Job
from distq.jobs.scoring import NetworkScorer
from distq.jobs.thresholds import calibrated_table, encodings
from distq.quant.table import Table
from distq.search.acceptance import beyond_chance

METHODS = ("mse", "max", "percentile", "kl")
"""What is tried beside the job's own method; the others are never far from one of these."""


def best_start(
    job: Job,
    table: Table,
    state: State,
    distributions: Mapping[str, Distribution],
    searched: Collection[str],
) -> Table:
    """The table of the method that is closest to float on the tuning images.

    Args:
        job: the run.
        table: thresholds by the job's method.
        state: what they became; weights and biases are the same for all that are compared.
        distributions: of the quantized tensors.
        searched: quantizers that may change; the others keep their thresholds.
    """
    names = [job.options.method, *(m for m in METHODS if m != job.options.method)]
    tables = [table]
    for name in names[1:]:
        found = calibrated_table(job.plan, distributions, name, job.options.bins)
        tables.append({q: found[q] if q in searched else row for q, row in table.items()})
    scorer = NetworkScorer(job, state)
    diffs = scorer.diffs([replace(state, encodings=encodings(t)) for t in tables])
    return tables[choose(job, "start", diffs, names, beyond_chance)]
