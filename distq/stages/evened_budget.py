"""Even out channels anew once 16 bits are spent.

A tensor with 16 bits hides no longer what the others lose, and gets no factors itself, unless others share
them. So each site is now measured by itself, instead of all of a kind together.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from distq.graph.resolve import resolve_names
from distq.graph.rows import encodings
from distq.graph.state import initial_state
from distq.quant.channel_factors import LEAST_GAIN
from distq.quant.table import Table
from distq.run.context import Run
from distq.stages.budget import curve
from distq.stages.compare import closest
from distq.stages.correct import corrected
from distq.stages.equalize import METHOD, Factors, evened_by, evened_form, evened_sites
from distq.stages.form import Choice, Form
from distq.stages.method import method_of
from distq.stages.sensitivity import Variants, others
from distq.stages.thresholds import calibrated_table

IMAGES = 4
"""Images that show what a site loses by itself: factors are worth many times what images differ by."""


def even_out_anew(run: Run, given: Form, evened: Form, found: Form, searched: Collection[str]) -> Form:
    """The network evened out site by site with 16 bits in place, or what was found if that is closer.

    Tried only where evening out gained before, and the budget is of 16 bits alone. Tensors that were searched
    and have no factors either time keep the thresholds that were found.

    Args:
        run: gives workers and samples.
        given: the network as it was given.
        evened: as it was evened out before the budget was spent.
        found: what it came to.
        searched: the quantizers that were searched.
    """
    chosen = found.budget["int16"]
    if not chosen or found.budget["float_layers"] or evened.model is given.model:
        return found
    names = _names_as_given(given, evened, chosen)
    wide = replace(given, plan=given.plan_with(Choice(names)))
    sites = _measured_sites(run, wide)
    if not sites:
        return found
    form = evened_by(run, evened_form(run, wide, sites), sites, method_of(evened) or METHOD)
    form = corrected(run, replace(form, table=form.table | _searched_rows(form, found, searched, sites)))
    if closest(run, [found, form]) is found:
        run.reporter.line("evened out anew with 16 bits in place: no better")
        return found
    choice = Choice(resolve_names(form.model, form.plan, names, "--int16-budget"))
    run.reporter.line(f"evened out anew, with 16 bits for {', '.join(choice.int16)}")
    last = curve(run, form, [choice], [form])
    return replace(form, choice=choice, curve=(*found.curve[:-1], *last))


def _names_as_given(given: Form, evened: Form, names: Sequence[str]) -> tuple[str, ...]:
    """What quantizers of the evened network are called in the network as it was given."""
    own = {
        name: quantizer.name
        for tensor, quantizer in given.plan.by_tensor.items()
        for name in resolve_names(evened.model, evened.plan, [tensor], "--int16-budget")
    }
    return tuple(dict.fromkeys(own[name] for name in names))


def _measured_sites(run: Run, form: Form) -> Factors:
    """The sites with 8 bits whose tensors lose less by themselves once they are evened out."""
    bits = {tensor: quantizer.bits for tensor, quantizer in form.plan.by_tensor.items()}
    estimated = {
        site: factors
        for site, factors in evened_sites(run, form).items()
        if any(bits[tensor] == 8 for tensor in site.tensors)
    }
    if not estimated:
        return {}
    table = calibrated_table(form.plan, form.distributions, METHOD, run.options.bins)
    plain = _alone(run, replace(form, table=table))
    even = _alone(run, evened_form(run, form, estimated))
    return {
        site: factors
        for site, factors in estimated.items()
        if LEAST_GAIN * sum(even[t] for t in site.quantized) < sum(plain[t] for t in site.tensors)
    }


def _alone(run: Run, form: Form) -> dict[str, float]:
    """Output NMSE with each tensor's quantizer alone, all weights and everything else in float."""
    plan = form.plan
    plain = replace(form, state=initial_state(form.model, plan, encodings(form.plan, form.table)))
    variants = Variants(run, plain, IMAGES, in_parts=True)
    parts = [variants.part(others(plan, q), plan.layers, inputs=False) for q in plan.quantizers]
    found = variants.nmse("each activation alone", parts)
    return {tensor: e for q, e in zip(plan.quantizers, found, strict=True) for tensor in q.tensors}


def _searched_rows(form: Form, found: Form, searched: Collection[str], sites: Factors) -> Table:
    """Rows of tensors that were searched, which have factors neither in the network found nor in the form."""
    scaled = {tensor for site in sites for tensor in site.quantized}
    return {
        q.name: found.table[q.name]
        for q in form.plan.quantizers
        if q.name in searched and q in found.plan.quantizers and scaled.isdisjoint(q.tensors)
    }
