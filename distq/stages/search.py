"""Search the thresholds tensor by tensor; each decision stands for all later ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from distq.config import TuneOptions
from distq.errors import UsageError
from distq.files import sha256_bytes
from distq.graph.plan import Quantizer
from distq.graph.resolve import resolve_names
from distq.graph.rows import with_threshold
from distq.replica.keys import content_key
from distq.run.context import Run
from distq.run.results import SearchCost
from distq.run.time_limit import TimeIsUp
from distq.search.strategy import STRATEGIES, Decision
from distq.stages.decide import Found, open_decider
from distq.stages.forecast import forecast, tell
from distq.stages.form import Form
from distq.stages.keep import Moves

COLUMNS = "{:12} {:20} {:>6} {:>7} {:>4} {}"
"""A line a layer; its name comes last, as it may be of any length."""


def chosen_quantizers(options: TuneOptions, form: Form) -> list[Quantizer]:
    """What the search may visit, in graph order.

    All but network inputs, or ``--layers``, less ``--ignore-layers``. A range that the user fixed is not
    searched, nor are scales by channel.

    Raises:
        UsageError: an unknown layer, one of ``--layers`` whose range is fixed, or none that is not ignored.
    """
    model, plan = form.model, form.plan
    wanted = set(resolve_names(model, plan, options.layers, "--layers"))
    ignored = set(resolve_names(model, plan, options.ignore_layers, "--ignore-layers"))
    if wanted and wanted <= ignored:
        raise UsageError("--ignore-layers leaves none of --layers to tune: leave one of the two out")
    for q in plan.quantizers:
        if q.fixed and q.name in wanted:
            raise UsageError(f"--layers names {q.name}, whose threshold --layer-config fixes: leave one out")
        if q.channels and q.name in wanted:
            raise UsageError(
                f"--layers names {q.name}, which has scales by channel: leave one of the two out"
            )
    return [
        q
        for q in plan.quantizers
        if q.name not in ignored
        and not q.fixed
        and not q.channels
        and (q.name in wanted if wanted else not q.keep_range)
    ]


def searched_quantizers(options: TuneOptions, form: Form) -> list[Quantizer]:
    """What it visits: of these, all but those whose threshold at the start has headroom."""
    return [q for q in chosen_quantizers(options, form) if not form.table[q.name].has_headroom]


def without_quantizer(options: TuneOptions, form: Form) -> list[str]:
    """Those of ``--layers`` that the INT8 network writes in float, so that no search moves them."""
    wanted = resolve_names(form.model, form.plan, options.layers, "--layers")
    return [q.name for q in form.plan.listed if q.name in wanted]


def search(
    run: Run, options: TuneOptions, form: Form, searched: list[Quantizer], moves: Moves | None = None
) -> Form:
    """The form with the thresholds that the strategy found.

    Args:
        run: gives workers and samples.
        options: of the search.
        form: where it starts.
        searched: the quantizers it visits, in their order.
        moves: is told what it moves; None of a network that is not the best so far.

    Raises:
        TimeIsUp: there is no time for all of them, and no ``moves``; with these the form has what was found.
    """
    found = _Progress(_key(options, form, searched), form)
    try:
        _search(run, options, found, searched, moves)
    except TimeIsUp:
        if moves is None:
            raise
        run.time.leave_out(searched=len(found.decisions), of=len(searched))
    return replace(found.form, search=found.key)


@dataclass
class _Progress:
    """How far a search is: the form with all that was decided.

    Attributes:
        key: of the search, among those of its run.
        form: the network with the thresholds so far.
        decisions: of the tensors so far, in their order.
    """

    key: str
    form: Form
    decisions: list[Decision] = field(default_factory=list)


def _search(
    run: Run, options: TuneOptions, found: _Progress, searched: list[Quantizer], moves: Moves | None
) -> None:
    decider = open_decider(run, STRATEGIES[options.strategy](options.effort), found.form, searched)
    began, forwards, decisions = run.time.elapsed, run.cost_so_far.int8_forwards, found.decisions
    expected = forecast(run, options, decider.scorer, searched)
    tell(run, options, expected)
    run.reporter.start("search", len(searched), "layers")
    run.reporter.line(COLUMNS.format("threshold", "diff", "scored", "dropped", "secs", "layer"))
    try:
        while remaining := searched[len(decisions) :]:
            for quantizer, one in zip(remaining, decider.decide(remaining, found.form), strict=False):
                decision, start = one.decision, found.form.table[quantizer.name].threshold
                if decision.threshold != start:
                    found.form = _decided(found.form, quantizer, decision, options.strategy)
                    if moves is not None:
                        moves.note(found.form, quantizer.name)
                decisions.append(decision)
                _record(run, found.key, quantizer, start, one)
                run.reporter.advance()
            if expected is not None:
                run.reporter.left(expected.left(len(decisions), run.time.elapsed - began))
    finally:
        run.reporter.finish()
        run.cost_so_far.search = _cost(run, decisions, began, forwards)
    measured = [decision for decision in decisions if decision.scored]
    if run.lowered is not None and measured and not any(decision.before for decision in measured):
        run.warn(
            f"--diff {run.lowered.measure.name} is 0 on all tuning samples, so it tells no candidates apart: "
            "take samples with something to find"
        )


def _cost(run: Run, decisions: Sequence[Decision], began: float, forwards: float) -> SearchCost:
    """What a search took since then."""
    scored = sum(decision.scored for decision in decisions)
    return SearchCost(
        candidates=scored,
        dropped=sum(decision.dropped for decision in decisions),
        int8_forwards=round(run.cost_so_far.int8_forwards - forwards, 3),
        serial_forwards=scored * len(run.tuning),
        seconds=round(run.time.elapsed - began, 3),
    )


def _key(options: TuneOptions, form: Form, searched: Sequence[Quantizer]) -> str:
    """What tells the searches of a run apart: ``auto`` searches several networks, or one in several ways."""
    names = [quantizer.name for quantizer in searched]
    return content_key("search", sha256_bytes(form.exported), options.strategy, options.effort, names)


def _decided(form: Form, quantizer: Quantizer, decision: Decision, strategy: str) -> Form:
    """The form with the threshold that was decided."""
    row = form.table[quantizer.name]
    method = strategy if decision.accepted else row.method
    changed = with_threshold(form.plan, quantizer, row, decision.threshold, method)
    return replace(
        form,
        table={**form.table, quantizer.name: changed},
        state=form.state.with_encoding(quantizer.name, changed.encoding),
    )


def _record(run: Run, search: str, quantizer: Quantizer, start: float, found: Found) -> None:
    """Write the decision into the journal, once of a search, and say it."""
    decision, seconds = found.decision, found.seconds
    noted = {(note.get("search"), note["name"]) for note in run.journal.notes("layer")}
    if (search, quantizer.name) not in noted:
        note = {
            "search": search,
            "name": quantizer.name,
            "start": start,
            "seconds": round(seconds, 3),
            **asdict(decision),
        }
        for one in note["tried"]:  # images as the source has them, where those scored on have their places
            one["decisive"] = [(run.tuning[place], part) for place, part in one["decisive"]]
        run.journal.note("layer", **note)
    threshold = _change(start, decision.threshold)
    diff = _change(decision.before, decision.after)
    cells = (threshold, diff, decision.scored, decision.dropped, f"{seconds:.1f}", quantizer.name)
    run.reporter.line(COLUMNS.format(*cells))


def _change(before: float, after: float) -> str:
    """What became of a number; said once where nothing of it can be seen."""
    texts = dict.fromkeys((f"{before:.3g}", f"{after:.3g}"))
    return " -> ".join(texts)
