"""How long the search and what follows it will take, made of what the run has measured of its workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distq.config import AutoOptions, TuneOptions
from distq.engine.progress import about, folded
from distq.errors import plural
from distq.graph.plan import Quantizer
from distq.replica.evaluate import Evaluate
from distq.replica.float32 import LayerMeans, Observe, Outputs
from distq.replica.int8 import Errors
from distq.run.context import Run
from distq.search.grid import POINTS
from distq.stages.confirm import unseen
from distq.stages.equalize import evens_out
from distq.stages.float_means import MOST_IMAGES
from distq.stages.in_time import COMPARED, STAND_IN
from distq.stages.scoring import NetworkScorer, Scorer
from distq.stages.thresholds import AUTO

PASSES = {1: 0.0, 2: 0.4, 3: 0.7, 4: 1.2, 5: 2.0}
"""By ``--effort``: times that the tuning samples go through what lies behind a tensor, on the mean."""

OPENING, ROUND_TRIPS = 0.6, 0.01
"""What a tensor takes beside: a part of the time that fusing the network takes, and seconds."""

SETTLED = 0.1
"""Part of the search after which its own speed tells half of what the rest takes."""

BEHIND = 0.5
"""Part of the network behind a tensor, on the mean."""

CORRECTION = 3.5
"""Times as long as in the float pass a sample takes while weights are rounded and biases corrected."""


@dataclass(frozen=True)
class Forecast:
    """What a search takes.

    Attributes:
        seconds: of each tensor, in the order of the search.
        forwards: of all together, in whole networks.
    """

    seconds: Sequence[float]
    forwards: float

    @property
    def whole(self) -> float:
        """Seconds of all tensors."""
        return sum(self.seconds)

    def left(self, done: int, elapsed: float) -> float:
        """Seconds for the rest, where so many tensors have taken so long."""
        before, rest = sum(self.seconds[:done]), sum(self.seconds[done:])
        ahead = SETTLED * self.whole
        return rest * (elapsed + ahead) / (before + ahead) if rest else 0.0


def tell_roughly(run: Run, tensors: int) -> None:
    """Say how long all will take as far as the float pass over the samples shows it."""
    options, each = run.options, run.pace.of(Observe).each
    if not isinstance(options, TuneOptions) or isinstance(options, AutoOptions) or not each:
        return
    passes = _passes(options)
    if passes is None:
        return
    made = 1 + (options.method == AUTO) + evens_out(options)
    correcting = made * CORRECTION * min(MOST_IMAGES, len(run.selection.calibration))
    tuning, held_out = len(run.tuning), len(run.selection.holdout)
    searching = tuning * (1 + tensors * passes * BEHIND)
    comparing = COMPARED * STAND_IN * (tuning + held_out + len(unseen(run)))
    seconds = run.time.elapsed + each * (correcting + searching + comparing) + tensors * ROUND_TRIPS
    run.reporter.line(f"in all about {about(seconds)}, as far as the float pass shows")


def tell_networks(run: Run, parts: int, approach: int, taken_back: int) -> None:
    """Say how long ``auto`` will take to make and measure networks, without those that it searches.

    Args:
        run: whose workers were measured.
        parts: that can be made better than 8 bit.
        approach: networks that are made at most to find how many parts it takes.
        taken_back: networks that are made at most to take back or exchange what was chosen.
    """
    each = run.pace.correct + 2 * len(run.tuning) * run.pace.of(Evaluate, LayerMeans).each
    if not parts or not run.pace.correct:
        return
    most = min(parts, approach) + taken_back
    likely = most // 3
    line = f"a network takes about {about(each)}: about {about(likely * each)} for {likely} of them"
    line += f", {about(most * each)} for {most} at most"
    if isinstance(run.options, AutoOptions) and run.options.time and run.time.left < most * each:
        line += f"; --time {run.options.time} leaves about {about(max(0.0, run.time.left))} for them"
    for part in folded(line, "  "):
        run.reporter.line(part)


def forecast(
    run: Run, options: TuneOptions, scorer: Scorer, searched: Sequence[Quantizer]
) -> Forecast | None:
    """What a search will take; None where nothing was measured, or the strategy's rule does not tell.

    Args:
        run: whose workers were measured.
        options: of the search.
        scorer: of its candidates.
        searched: the tensors.
    """
    passes = _passes(options)
    each = run.pace.of(Errors, Evaluate, Outputs, Observe).each
    if passes is None or not each or not isinstance(scorer, NetworkScorer):
        return None
    images = len(run.tuning)
    if not passes:
        return Forecast([0.0] * len(searched), 0.0)
    # an image passes every part of the network once on its way from cut to cut
    forwards = [images * (passes * scorer.share_behind(q) + 1 / len(searched)) for q in searched]
    beside = OPENING * run.pace.fuse + ROUND_TRIPS
    return Forecast([count * each + beside for count in forwards], sum(forwards))


def _passes(options: TuneOptions) -> float | None:
    """Times that the tuning samples pass what lies behind a tensor; None where the rule does not tell."""
    return {"default": PASSES[options.effort], "grid": float(POINTS[options.effort])}.get(options.strategy)


def tell(run: Run, options: TuneOptions, found: Forecast | None) -> None:
    """Say how long the search will take, and what follows it; and what of it ``--time`` leaves time for."""
    if found is None or not found.whole:
        return
    tensors = plural(len(found.seconds), "tensor")
    line = f"search: about {about(found.whole)}, {tensors}, {round(found.forwards):,} forwards"
    if found.whole <= run.time.left:
        budget = options.int16_budget + options.float_budget
        corrections = (1 + (2 + budget if budget else 0)) if options.bias_correction else 0
        line += f"; then about {about(run.time.kept_back + corrections * run.pace.correct)} to the end"
    else:
        line += f"; --time {options.time} leaves about {about(max(0.0, run.time.left))} for it"
    run.reporter.line(line)
