"""The form of the network that a search starts from: the closest to float.

The forms are the network as it was calibrated, with another method's thresholds, and with channels evened
out, which has to gain more. A method that the user names stays unless another is better by more than a
standard error on the tuning samples: what gains less does as often lose on others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distq.config import TuneOptions
from distq.run.context import Run
from distq.search.acceptance import beyond_chance, one_image_carries, significant_improvement
from distq.search.metrics import mean_over_images
from distq.stages.channel_scales import without_channel_scales
from distq.stages.compare import choose, tuning_diffs
from distq.stages.confirm import can_confirm, confirmed
from distq.stages.correct import corrected, corrected_together
from distq.stages.equalize import METHOD, evened_by, evened_form, evened_sites, evens_out, promising
from distq.stages.form import Form
from distq.stages.method import best_method, method_of
from distq.stages.search import chosen_quantizers
from distq.stages.thresholds import AUTO

Diffs = npt.NDArray[np.float64]

LEAST_SHARE = 0.1
"""Less than this on a few images may be none on others."""

LEAST_GAIN = 0.02
"""The same where other samples confirm it: less is not worth the multiplications that may be inserted."""


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
    return best_form(run, options, form, start, even=evens_out(options))


def best_form(run: Run, options: TuneOptions, form: Form, start: Form, *, even: bool) -> Form:
    """The network as it was calibrated, with other thresholds, or equalized.

    Each form has its weights rounded and its biases corrected before it is compared on the tuning samples:
    without, the errors that correction takes away decide. Other thresholds have to be better beyond chance,
    and an equalized network clearly. Each has to be better on calibration samples that are not tuned on as
    well; where there are any, being better on the mean of both is enough for an equalized network, if not one
    tuning image alone makes that.

    An equalized network has the thresholds of MSE, or those of the method that the search starts from where
    these leave clearly less error.

    Args:
        run: gives workers and samples.
        options: of the search.
        form: thresholds by the run's own method, corrected.
        start: with thresholds that another method would rather start from, maybe the same form.
        even: whether channels may be evened out.
    """
    others = {} if start is form else {"as they are, other thresholds": start}
    evened, rivals = evened_forms(run, form, method_of(start)) if even else ({}, {})
    if even and not evened:
        run.reporter.line("channels: as they are, since evening them out promises too little")
    labels = ["as they are", *others, *evened]
    if len(labels) == 1:
        return form
    made = [*others.values(), *evened.values()]
    with run.time.limit(run.pace.correct * len(made)):
        forms = [form, *corrected_together(run, made)]
    diffs = tuning_diffs(run, "choose channels", forms)
    found_by = dict(zip(labels, diffs, strict=True))
    refused = {
        label if _less(found_by[rival], found_by[label], LEAST_SHARE) else rival
        for label, rival in rivals.items()
    }
    best = 0
    evenly = _better if can_confirm(run) else _clearly_better
    for other in [i for i, label in enumerate(labels) if i and label not in refused]:
        better = evenly if labels[other] in evened else beyond_chance
        pair = (best, other)
        if not choose(run, "channels", [diffs[i] for i in pair], [labels[i] for i in pair], better):
            continue
        if confirmed(run, options, f"start ({labels[other]})", forms[best], forms[other]) is forms[other]:
            best = other
    return forms[best]


def evened_forms(run: Run, form: Form, own: str | None) -> tuple[dict[str, Form], dict[str, str]]:
    """The equalized networks worth correcting, by what a person calls them.

    Where channels have scales of their own, evening them out in place of that is one as well: the two are for
    the same tensors, and the better of them is not the same in all networks.

    Args:
        run: gives workers and samples.
        form: thresholds by the run's own method.
        own: the method that the search starts from; None: no threshold is by any.

    Returns:
        The networks, and of those with the thresholds of MSE the label of the same with those of ``own``.
    """
    quantizers = len(form.plan.quantizers)
    found = {label: (form, sites) for label, sites in promising(evened_sites(run, form), quantizers).items()}
    plain = without_channel_scales(form)
    if plain is not form and (sites := promising(evened_sites(run, plain), quantizers)):
        found["evened out, in place of scales by channel"] = plain, [*sites.values()][-1]
    forms, rivals = {}, {}
    for label, (given, chosen) in found.items():
        forms[label] = evened_form(run, given, chosen)
        if own not in {None, METHOD}:
            rivals[label] = f"{label}, by {own}"
            forms[rivals[label]] = evened_by(run, forms[label], chosen, own)
    return forms, rivals


def _better(candidate: Diffs, incumbent: Diffs) -> bool:
    return _less(candidate, incumbent, LEAST_GAIN) and not one_image_carries(candidate, incumbent)


def _clearly_better(candidate: Diffs, incumbent: Diffs) -> bool:
    enough = _less(candidate, incumbent, LEAST_SHARE)
    return enough and significant_improvement(candidate, incumbent).accepted


def _less(candidate: Diffs, incumbent: Diffs, share: float) -> bool:
    """Whether the mean diff is less by a share."""
    return mean_over_images(candidate) <= (1 - share) * mean_over_images(incumbent)
