"""Even out channels anew once 16 bits are spent.

A tensor with 16 bits hides no longer what the others lose, and needs no factors itself. So each site is now
measured by itself, instead of all of a kind together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from distq.calibration.distributions import DistributionSet
from distq.calibration.histogram import Distribution
from distq.graph.equalize import EQUALIZED
from distq.graph.qdq import export
from distq.graph.state import initial_state
from distq.jobs.budget import closest_on_tuning, point
from distq.jobs.calibrate import Outcome, corrected_state
from distq.jobs.compare import accuracy, compare_models
from distq.jobs.context import Job
from distq.jobs.equalize import METHOD, Factors, evened_form, evened_sites
from distq.jobs.sensitivity import Variants, others
from distq.jobs.thresholds import calibrated_table, encodings
from distq.jobs.worst import Choice
from distq.quant.table import Table

IMAGES = 4
"""Images that show what a site loses by itself: factors are worth many times what images differ by."""

LEAST_GAIN = 10**0.05
"""0.5 dB less error by a site's tensors alone."""

Errors = dict[str, float]
"""Output NMSE with one quantizer alone, by its name in the network as it was given."""


def even_out_anew(job: Job, before: Job, found: Outcome) -> Outcome:
    """The network evened out site by site with 16 bits in place, or what was found if that is closer.

    Tried only where evening out gained before, and the budget is of 16 bits alone.

    Args:
        job: the run on the network as it was given.
        before: the run as it was evened out before the budget was spent.
        found: what it came to.
    """
    chosen = found.budget["int16"]
    if not chosen or found.budget["float_layers"] or before.loaded.model is job.loaded.model:
        return found
    known = DistributionSet.load(job.rundir.distributions).tensors
    names = [name.removesuffix(EQUALIZED) for name in chosen]
    wide = replace(job, plan=Choice(tuple(names)).plan(job))
    form, table = evened_form(wide, known, _measured_sites(job, known))
    model = export(form.loaded.model, form.plan, corrected_state(form, table))
    if closest_on_tuning(job, [found.model, model]) == 0:
        job.reporter.line("evened out anew with 16 bits in place: no better")
        return found
    widened = {q.name.removesuffix(EQUALIZED): q.name for q in form.plan.quantizers}
    choice = Choice(tuple(widened[name] for name in names))
    job.reporter.line(f"evened out anew, with 16 bits for {', '.join(choice.int16)}")
    results = compare_models(job, "curve", [job.executor.share(model)], job.data, job.selection.tuning)
    last = point(choice, accuracy(results, 0))
    return Outcome(form.plan, table, model, (*found.curve[:-1], last))


def _measured_sites(job: Job, known: Mapping[str, Distribution]) -> Factors:
    """The sites whose tensors lose less by themselves once they are evened out."""
    estimated = evened_sites(job)
    plain = _alone(job, calibrated_table(job.plan, known, METHOD, job.options.bins))
    even = _alone(*evened_form(job, known, estimated))
    return {
        site: factors
        for site, factors in estimated.items()
        if LEAST_GAIN * sum(even.get(t, 0.0) for t in site.tensors)
        < sum(plain.get(t, 0.0) for t in site.tensors)
    }


def _alone(job: Job, table: Table) -> Errors:
    """The error of each quantizer with all weights and everything else in float."""
    plan = job.plan
    variants = Variants(job, initial_state(job.loaded.model, plan, encodings(table)), IMAGES, in_parts=True)
    parts = [variants.part(others(plan, q), plan.layers, inputs=False) for q in plan.quantizers]
    found = variants.nmse("each activation alone", parts)
    return {q.name.removesuffix(EQUALIZED): e for q, e in zip(plan.quantizers, found, strict=True)}
