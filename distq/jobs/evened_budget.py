"""Even out channels anew once 16 bits are spent.

A tensor with 16 bits hides no longer what the others lose, and gets no factors itself, unless others share
them. So each site is now measured by itself, instead of all of a kind together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distq.graph.qdq import export
from distq.graph.resolve import resolve_names
from distq.graph.state import initial_state
from distq.jobs.budget import closest_on_tuning, curve
from distq.jobs.calibrate import Outcome, corrected_state
from distq.jobs.context import Job
from distq.jobs.equalize import METHOD, Factors, evened_form, evened_sites
from distq.jobs.sensitivity import Variants, others
from distq.jobs.thresholds import calibrated_table, encodings
from distq.jobs.worst import Choice
from distq.quant.channel_factors import LEAST_GAIN
from distq.quant.table import Table

IMAGES = 4
"""Images that show what a site loses by itself: factors are worth many times what images differ by."""


def even_out_anew(job: Job, evened: Job, found: Outcome) -> Outcome:
    """The network evened out site by site with 16 bits in place, or what was found if that is closer.

    Tried only where evening out gained before, and the budget is of 16 bits alone. Tensors that were searched
    and have no factors either time keep the thresholds that were found.

    Args:
        job: the run on the network as it was given.
        evened: the run as it was evened out before the budget was spent.
        found: what it came to.
    """
    chosen = found.budget["int16"]
    if not chosen or found.budget["float_layers"] or evened.loaded.model is job.loaded.model:
        return found
    names = _names_as_given(job, evened, chosen)
    wide = replace(job, plan=Choice(names).plan(job))
    sites = _measured_sites(wide)
    if not sites:
        return found
    form, table = evened_form(wide, sites)
    table |= _searched_rows(form, found, sites)
    model = export(form.loaded.model, form.plan, corrected_state(form, table))
    if closest_on_tuning(job, [found.model, model]) == 0:
        job.reporter.line("evened out anew with 16 bits in place: no better")
        return found
    choice = Choice(resolve_names(form.loaded.model, form.plan, names, "--int16-budget"))
    job.reporter.line(f"evened out anew, with 16 bits for {', '.join(choice.int16)}")
    return Outcome(form.plan, table, model, (*found.curve[:-1], *curve(form, [choice], [model])))


def _names_as_given(job: Job, evened: Job, names: Sequence[str]) -> tuple[str, ...]:
    """What quantizers of the evened network are called in the network as it was given."""
    given = {
        name: quantizer.name
        for tensor, quantizer in job.plan.by_tensor.items()
        for name in resolve_names(evened.loaded.model, evened.plan, [tensor], "--int16-budget")
    }
    return tuple(dict.fromkeys(given[name] for name in names))


def _measured_sites(job: Job) -> Factors:
    """The sites with 8 bits whose tensors lose less by themselves once they are evened out."""
    bits = {tensor: quantizer.bits for tensor, quantizer in job.plan.by_tensor.items()}
    estimated = {
        site: factors
        for site, factors in evened_sites(job).items()
        if any(bits[tensor] == 8 for tensor in site.tensors)
    }
    if not estimated:
        return {}
    plain = _alone(job, calibrated_table(job.plan, job.distributions, METHOD, job.options.bins))
    even = _alone(*evened_form(job, estimated))
    return {
        site: factors
        for site, factors in estimated.items()
        if LEAST_GAIN * sum(even[t] for t in site.quantized) < sum(plain[t] for t in site.tensors)
    }


def _alone(job: Job, table: Table) -> dict[str, float]:
    """Output NMSE with each tensor's quantizer alone, all weights and everything else in float."""
    plan = job.plan
    variants = Variants(job, initial_state(job.loaded.model, plan, encodings(table)), IMAGES, in_parts=True)
    parts = [variants.part(others(plan, q), plan.layers, inputs=False) for q in plan.quantizers]
    found = variants.nmse("each activation alone", parts)
    return {tensor: e for q, e in zip(plan.quantizers, found, strict=True) for tensor in q.tensors}


def _searched_rows(form: Job, found: Outcome, sites: Factors) -> Table:
    """Rows of tensors that were searched, which have factors neither in the network found nor in the form."""
    searched = {note["name"] for note in form.journal.notes("layer")}
    scaled = {tensor for site in sites for tensor in site.quantized}
    return {
        q.name: found.table[q.name]
        for q in form.plan.quantizers
        if q.name in searched and q in found.plan.quantizers and scaled.isdisjoint(q.tensors)
    }
