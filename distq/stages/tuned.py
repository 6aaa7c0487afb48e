"""From the calibrated network to the tuned one: what ``tune`` does between its start and its report."""

from __future__ import annotations

from dataclasses import replace

from distq.config import TuneOptions
from distq.run.context import Run
from distq.stages.budget import reconsider, spend
from distq.stages.confirm import confirmed
from distq.stages.evened_budget import even_out_anew
from distq.stages.form import Form
from distq.stages.keep import Moves, keep
from distq.stages.search import search, searched_quantizers
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
    start = kept("started", choose_start(run, options, kept("calibrated", before)))
    # 16 bits and float before the search, so that thresholds are found for the network as it will be
    spent = kept("budget spent", spend(run, options, start))
    # what a budget has replaced is not searched, nor what has headroom
    wanted = {*searched_quantizers(options, start)}
    searched = [q for q in spent.plan.quantizers if q in wanted]
    # each tensor's threshold by the error of the network outputs
    moves = Moves(run, spent) if keeps else None
    moved = search(run, options, spent, searched, moves)
    # weights and biases were made for the thresholds before the search
    settled = kept("searched", confirmed(run, options, "search", spent, settle(run, spent, moved)))
    if moves is not None and settled is spent:
        moves.undo()
    # better thresholds may change what a budget is best spent on
    chosen = kept("budget spent anew", reconsider(run, options, start, settled))
    # with 16 bits in place other channels are worth evening out
    evened = even_out_anew(run, before, start, chosen, {q.name for q in searched})
    return replace(confirmed(run, options, "equalization", chosen, evened), search=moved.search)
