"""A candidate of ``distq auto`` and what was measured of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from distq.graph.network_cost import NetworkCost
from distq.search.acceptance import significant_improvement
from distq.search.choice import CONFIDENCE
from distq.search.judges import Floats, Seen
from distq.search.metrics import mean_over_images
from distq.stages.candidates import Made


@dataclass(frozen=True)
class Trial:
    """A candidate, and what was measured of it.

    Attributes:
        made: its form.
        cost: of the network.
        loss: mean over the samples.
        samples: that it was measured on.
        dropped: given up after the first samples.
        met: whether it meets the goal.
        losses: of each sample, (samples,); None where the loss is no mean over samples.
        seen: what it did on each of them; None where the losses tell all, or it misses the goal.
        error: how far the outputs are from float's, as the square of noise.
        latency: median milliseconds of a forward on this machine; None where they were not asked for.
    """

    made: Made
    cost: NetworkCost
    loss: float
    samples: int
    dropped: bool
    met: bool
    losses: Floats | None = field(default=None, compare=False, repr=False)
    seen: Seen | None = field(default=None, compare=False, repr=False)
    latency: float | None = None
    error: float = math.nan

    @property
    def name(self) -> str:
        """Of the candidate."""
        return self.made.candidate.name


def as_good(trial: Trial, best: Trial) -> bool:
    """Whether the paired test finds no network that loses less in ``best``, both measured on all samples."""
    if trial.losses is None or best.losses is None:
        return trial.loss <= best.loss
    return not significant_improvement(best.losses, trial.losses, confidence=CONFIDENCE).accepted


def ahead(dropped: Trial, best: Trial) -> bool:
    """Whether a network that was given up loses less on the samples that both were measured on."""
    if dropped.losses is None or best.losses is None:
        return dropped.loss < best.loss
    return mean_over_images(dropped.losses) < mean_over_images(best.losses[: len(dropped.losses)])
