"""From the calibrated network to the tuned one: what ``tune`` does between its start and its report."""

from __future__ import annotations

from collections.abc import Callable

from distq.config import TuneOptions
from distq.run.context import Run
from distq.stages.budget import reconsider, spend
from distq.stages.confirm import confirmed
from distq.stages.evened_budget import even_out_anew
from distq.stages.form import Form
from distq.stages.search import search, searched_quantizers
from distq.stages.settle import settle
from distq.stages.start import choose_start

Keep = Callable[[Run, str, Form], Form]
"""Is shown a form that is the closest to float so far, and what was done to it last; gives it back."""


def tuned(run: Run, options: TuneOptions, before: Form, keep: Keep) -> Form:
    """The form with the best start, the budgets spent, and thresholds searched tensor by tensor.

    Args:
        run: gives workers and samples.
        options: of the search.
        before: what ``calibrate`` exports.
        keep: is shown each form on the way.
    """
    # the method and the equalization that are closest to float: a search wins back neither
    start = keep(run, "started", choose_start(run, options, keep(run, "calibrated", before)))
    # 16 bits and float before the search, so that thresholds are found for the network as it will be
    spent = keep(run, "budget spent", spend(run, options, start))
    # what a budget has replaced is not searched, nor what has headroom
    wanted = {*searched_quantizers(options, start)}
    searched = [q for q in spent.plan.quantizers if q in wanted]
    # each tensor's threshold by the error of the network outputs
    moved = search(run, options, spent, searched)
    # weights and biases were made for the thresholds before the search
    settled = keep(run, "searched", confirmed(run, options, "search", spent, settle(run, spent, moved)))
    # better thresholds may change what a budget is best spent on
    chosen = keep(run, "budget spent anew", reconsider(run, options, start, settled))
    # with 16 bits in place other channels are worth evening out
    evened = even_out_anew(run, before, start, chosen)
    return confirmed(run, options, "equalization", chosen, evened)
