"""What ``distq auto`` found, as ``metrics.json`` holds it under ``auto``."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from distq.run.figures import Result

SHOWN_LAYERS = 3
"""So many layers of a list are shown to a person."""


class TriedNetwork(Result):
    """One network that was made and measured.

    Attributes:
        name: for a person.
        options: of ``calibrate``, or of ``tune`` where ``searched`` or evened out, that differ from those of
            the job.
        searched: whether its thresholds were searched.
        reading: of the measure on the tuning samples; None where it is infinite.
        samples: that it was measured on.
        met: whether it meets the goal.
        dropped: given up after the first samples.
        macs: share of multiplications not in INT8.
        layers: not in INT8.
        float_layers, wide_layers: these, in float and with 16-bit activations.
        latency_ms: median of a forward on this machine; None where it was not asked for or it was given up.
        pareto: no other network measured on all samples is better and costs no more.
    """

    name: str
    options: dict[str, Any]
    searched: bool
    reading: float | None
    samples: int
    met: bool
    dropped: bool
    macs: float
    layers: int
    float_layers: tuple[str, ...] = ()
    wide_layers: tuple[str, ...] = ()
    latency_ms: float | None = None
    pareto: bool = False


def short_name(name: str) -> str:
    """A network's name with no more than three of the layers that each part of it lists."""
    searched = ", searched" if name.endswith(", searched") else ""
    parts = []
    for part in name.removesuffix(searched).split("; "):
        layers = part.split(", ")
        more = len(layers) - SHOWN_LAYERS
        parts.append(part if more < 2 else f"{', '.join(layers[:SHOWN_LAYERS])} and {more} more")
    return "; ".join(parts) + searched


def price_of(network: TriedNetwork, cost: str) -> float:
    """What a network costs: by ``macs``, ``layers`` or ``latency``."""
    if cost == "latency":
        return math.inf if network.latency_ms is None else network.latency_ms
    return network.macs if cost == "macs" else network.layers


class Reason(Result):
    """Why something of the chosen network is better than 8 bit.

    Attributes:
        name: of the tensor or layer.
        kind: ``16 bits`` or ``float``.
        without_sqnr_db: estimate of the outputs' SQNR, dB, with all else as chosen and this in 8 bits; None
            where it was given by hand.
        text: for a person.
    """

    name: str
    kind: str
    without_sqnr_db: float | None
    text: str


class AutoReport(Result):
    """The answer of ``distq auto``.

    Attributes:
        goal: as it was given.
        measure: what readings are, with their unit.
        cost: what was to be small.
        reached: whether the chosen network meets the goal.
        complete: whether the search came to its end: in time, and every network could be made.
        chosen: name of the network in RUN: the cheapest that meets the goal, or the closest to it.
        command: ``calibrate`` or ``tune``, which ``chosen.yaml`` runs.
        tried: every network that was measured, in order.
        reasons: why each tensor or layer of it is better than 8 bit.
        obstacles: what stands in the way where the goal was not reached.
        not_made: combinations given by hand that could not be made, and why.
    """

    goal: str
    measure: str
    cost: str
    reached: bool
    complete: bool
    chosen: str
    command: str
    tried: tuple[TriedNetwork, ...]
    reasons: tuple[Reason, ...] = ()
    obstacles: tuple[str, ...] = ()
    not_made: dict[str, str] = Field(default_factory=dict)

    @property
    def answer(self) -> TriedNetwork:
        """The network in RUN."""
        return next(network for network in self.tried if network.name == self.chosen)
