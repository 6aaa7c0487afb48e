"""``distq tune``: calibrate, then search the thresholds layer by layer on the network outputs."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import asdict

from distq.config import TuneOptions
from distq.engine.progress import Reporter
from distq.errors import UsageError
from distq.graph.plan import Quantizer
from distq.graph.qdq import export
from distq.graph.resolve import resolve_names
from distq.graph.rows import with_threshold
from distq.graph.state import State
from distq.jobs.budget import reconsider, require_budget, spend
from distq.jobs.calibrate import Outcome, calibrated, corrected_state, finish, open_job
from distq.jobs.compare import tuning_diffs
from distq.jobs.context import Job, interruptible
from distq.jobs.correct import correct, float_means
from distq.jobs.decide import open_decider
from distq.jobs.evened_budget import even_out_anew
from distq.jobs.results import RunResult, SearchCost
from distq.jobs.shared import SharedWork
from distq.jobs.start import best_form, best_start
from distq.jobs.thresholds import has_headroom
from distq.quant.table import Table
from distq.search.metrics import mean_over_images
from distq.search.strategy import STRATEGIES, Decision

COLUMNS = "{:12} {:20} {:>6} {:>7} {:>4} {}"
"""A line a layer; its name comes last, as it may be of any length."""


EQUALIZING_EFFORT = 3
"""Correcting one or two more forms of the network takes as long as searching it."""


def tune(options: TuneOptions, reporter: Reporter, shared: SharedWork | None = None) -> RunResult:
    """Calibrate a model and search its thresholds, on its own workers or on those of a sweep.

    Raises:
        InputError: what was given cannot be used; nothing was written.
        ExecutionError: it failed while running; finished work is in the journal.
        InterruptedRun: Ctrl-C.
    """
    if options.data is None:
        raise UsageError("--data is missing: a search scores candidates on samples")
    require_budget(options)
    with interruptible(), open_job(options, "tune", reporter, shared) as found:
        if isinstance(found, RunResult):
            return found
        given = found
        chosen_quantizers(options, given)
        table, state = calibrated(given)
        before = Outcome(given.plan, table, export(given.loaded.model, given.plan, state))
        base, first, state = choose_start(given, options, table, state)
        job, start, state, choice = spend(base, options, first, state)
        wanted = {*searched_quantizers(options, base, first)}
        searched = [q for q in job.plan.quantizers if q in wanted]
        tuned, state = search(job, options, searched, start, state)
        model = settle(job, state, moved(start, tuned))
        after = reconsider(base, options, first, choice, Outcome(job.plan, tuned, model))
        return finish(job, before, even_out_anew(given, base, after))


def chosen_quantizers(options: TuneOptions, job: Job) -> list[Quantizer]:
    """What the search may visit, in graph order.

    All but network inputs, or ``--layers``, less ``--ignore-layers``.

    Raises:
        UsageError: an unknown layer.
    """
    model, plan = job.loaded.model, job.plan
    wanted = set(resolve_names(model, plan, options.layers, "--layers"))
    ignored = set(resolve_names(model, plan, options.ignore_layers, "--ignore-layers"))
    return [
        q
        for q in plan.quantizers
        if q.name not in ignored and (q.name in wanted if wanted else not q.keep_range)
    ]


def searched_quantizers(options: TuneOptions, job: Job, start: Table) -> list[Quantizer]:
    """What it visits: of these, all but those whose threshold at the start has headroom."""
    return [q for q in chosen_quantizers(options, job) if not has_headroom(start[q.name])]


def choose_start(job: Job, options: TuneOptions, table: Table, state: State) -> tuple[Job, Table, State]:
    """The best method's thresholds, on the best equalization of the network.

    A given table, the serial tuner's start and tensors that are not searched stay as they are; channels are
    evened out only where all are searched.
    """
    if options.strategy != "default" or options.table is not None:
        return job, table, state
    searched = {q.name for q in chosen_quantizers(options, job)}
    start = best_start(job, table, state, searched)
    if not options.bias_correction:
        return job, start, state if start is table else corrected_state(job, start)
    everything = not options.layers and not options.ignore_layers
    even = options.equalize and everything and options.effort >= EQUALIZING_EFFORT
    return best_form(job, table, state, start, even=even)


def search(
    job: Job, options: TuneOptions, searched: list[Quantizer], table: Table, state: State
) -> tuple[Table, State]:
    """Visit tensor by tensor; each decision stands for all later ones."""
    decider = open_decider(job, STRATEGIES[options.strategy](options.effort), state, searched)
    images = len(job.readable(job.selection.tuning))
    began, forwards = time.monotonic(), job.cost_so_far.int8_forwards
    decisions: list[Decision] = []
    job.reporter.start("search", len(searched), "layers")
    job.reporter.line(COLUMNS.format("threshold", "diff", "scored", "dropped", "secs", "layer"))
    while remaining := searched[len(decisions) :]:
        for quantizer, found in zip(remaining, decider.decide(remaining, table, state), strict=False):
            decision, row = found.decision, table[quantizer.name]
            if decision.threshold != row.threshold:
                method = options.strategy if decision.accepted else row.method
                changed = with_threshold(job.plan, quantizer, row, decision.threshold, method)
                table = {**table, quantizer.name: changed}
                state = state.with_encoding(quantizer.name, changed.encoding)
            decisions.append(decision)
            record(job, quantizer, row.threshold, decision, found.seconds)
            job.reporter.advance()
    job.reporter.finish()
    scored = sum(decision.scored for decision in decisions)
    job.cost_so_far.search = SearchCost(
        candidates=scored,
        dropped=sum(decision.dropped for decision in decisions),
        int8_forwards=round(job.cost_so_far.int8_forwards - forwards, 3),
        serial_forwards=scored * images,
        seconds=round(time.monotonic() - began, 3),
    )
    return table, state


def record(job: Job, quantizer: Quantizer, start: float, decision: Decision, seconds: float) -> None:
    """Write the decision into the journal, once, and say it."""
    if quantizer.name not in {note["name"] for note in job.journal.notes("layer")}:
        note = {"name": quantizer.name, "start": start, "seconds": round(seconds, 3), **asdict(decision)}
        job.journal.note("layer", **note)
    threshold = change(start, decision.threshold)
    diff = change(decision.before, decision.after)
    cells = (threshold, diff, decision.scored, decision.dropped, f"{seconds:.1f}", quantizer.name)
    job.reporter.line(COLUMNS.format(*cells))


def change(before: float, after: float) -> str:
    """What became of a number; said once where nothing of it can be seen."""
    texts = dict.fromkeys((f"{before:.3g}", f"{after:.3g}"))
    return " -> ".join(texts)


def moved(start: Table, tuned: Table) -> list[str]:
    """Quantizers that a search gave other scales; a threshold beyond what a tensor can hold changes none."""
    return [name for name, row in tuned.items() if row.encoding != start[name].encoding]


def settle(job: Job, state: State, changed: Collection[str]) -> bytes:
    """Round and correct again what lies behind changed thresholds; keep what is closer on tuning images."""
    model, plan = job.loaded.model, job.plan
    choices = [export(model, plan, state)]
    if not changed or not job.options.bias_correction:
        return choices[0]
    choices.append(export(model, plan, correct(job, state, float_means(job), changed)))
    scores = [mean_over_images(diff) for diff in tuning_diffs(job, "compare corrections", choices)]
    return choices[min(range(len(choices)), key=lambda i: (scores[i], i))]
