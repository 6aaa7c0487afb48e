"""Where a search starts: the thresholds of the method that is closest to float on the tuning images.

No method is best everywhere: one network loses 7 dB to KL's clipping that another gains a decibel from. Each
costs one forward an image to try, a fraction of what a single tensor's search does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from distq.calibration.histogram import Distribution
from distq.graph.qdq import export
from distq.graph.state import State
from distq.jobs.compare import compare_models, image_diffs
from distq.jobs.context import Job
from distq.jobs.thresholds import calibrated_table, encodings
from distq.quant.table import Table
from distq.search.acceptance import significant_improvement
from distq.search.metrics import mean_over_images

METHODS = ("mse", "max", "percentile", "kl")
"""What is tried beside the job's own method; the others are never far from one of these."""


def best_start(
    job: Job, table: Table, state: State, distributions: Mapping[str, Distribution]
) -> tuple[Table, str]:
    """The job's own table, or that of a method significantly closer to float on tuning images, and its name.

    Args:
        job: the run.
        table: thresholds by the job's method.
        state: what they became; weights and biases are the same for all that are compared.
        distributions: of the quantized tensors.
    """
    model, plan = job.loaded.model, job.plan
    names = [job.options.method, *(m for m in METHODS if m != job.options.method)]
    tables = [table, *(calibrated_table(plan, distributions, name, job.options.bins) for name in names[1:])]
    models = [export(model, plan, replace(state, encodings=encodings(t))) for t in tables]
    blobs = [job.executor.share(m) for m in models]
    results = compare_models(job, "choose a start", blobs, job.data, job.selection.tuning)
    diffs = [image_diffs(results, i) for i in range(len(names))]
    for name, diff in zip(names, diffs, strict=True):
        job.reporter.line(f"start from {name}: diff {mean_over_images(diff):.6g}")
    order = sorted(range(1, len(names)), key=lambda i: (mean_over_images(diffs[i]), i))
    best = next((i for i in order if significant_improvement(diffs[i], diffs[0], len(order)).accepted), 0)
    job.journal.note("start", method=names[best], diffs=[mean_over_images(d) for d in diffs])
    job.reporter.line(f"the search starts from {names[best]}")
    return tables[best], names[best]
