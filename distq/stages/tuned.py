"""From the calibrated network to the tuned one: what ``tune`` does between its start and its report."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from distq.config import TuneOptions
from distq.run.context import Run
from distq.search.acceptance import beyond_chance
from distq.stages.budget import reconsider, spend
from distq.stages.confirm import confirmed
from distq.stages.evened_budget import even_out_anew
from distq.stages.form import Form
from distq.stages.in_time import in_time, keep_back
from distq.stages.keep import Moves, keep
from distq.stages.search import search, searched_quantizers, without_quantizer
from distq.stages.settle import settle
from distq.stages.start import choose_start


def tuned(run: Run, options: TuneOptions, before: Form, *, keeps: bool = True) -> Form:
    """The form with the best start, the budgets spent, and thresholds searched tensor by tensor.

    Args:
        run: gives workers and samples.
        options: of the search.
        before: what ``calibrate`` exports.
        keeps: keep each form on the way as the best so far, which a candidate is not before it is measured.
    """

    def kept(stage: str, form: Form) -> Form:
        return keep(run, stage, form) if keeps else form

    # the method and the equalization that are closest to float: a search wins back neither
    keep_back(run)
    kept("calibrated", before)
    choose = partial(choose_start, run, options, before)
    start = kept("started", in_time(run, "choosing a start", choose, before))
    # 16 bits and float before the search, so that thresholds are found for the network as it will be
    spending = partial(spend, run, options, start)
    spent = kept("budget spent", in_time(run, "spending the budget", spending, start))
    # what a budget has replaced is not searched, nor what has headroom
    wanted = {*searched_quantizers(options, start)}
    searched = [q for q in spent.plan.quantizers if q in wanted]
    for name in without_quantizer(options, start):
        run.warn(f"{name} of --layers is not searched: the INT8 network writes it in float")
    # each tensor's threshold by the error of the network outputs
    moves = Moves(run, spent) if keeps else None
    keep_back(run)
    with run.time.limit():
        moved = search(run, options, spent, searched, moves)
    # weights and biases were made for the thresholds before the search
    settling = partial(settle, run, spent, moved)
    settled = in_time(run, "correcting for moved thresholds", settling, moved)
    # what few tensors gain is little: it has to be more than what other samples would differ by
    lasting = confirmed(run, options, "search", spent, settled, better=beyond_chance)
    settled = kept("searched", lasting)
    if moves is not None and settled is spent:
        moves.undo()
    # better thresholds may change what a budget is best spent on
    chosen = settled
    if spent is not start:
        again = partial(reconsider, run, options, start, settled)
        chosen = kept("budget spent anew", in_time(run, "spending the budget again", again, settled))
    # with 16 bits in place other channels are worth evening out
    evening = partial(even_out_anew, run, before, start, chosen, {q.name for q in searched})
    evened = in_time(run, "evening out channels with the budget spent", evening, chosen)
    return replace(confirmed(run, options, "equalization", chosen, evened), search=moved.search)
