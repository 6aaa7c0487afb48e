"""Layers that are faster in float: measured on a worker, as whole networks in turns with the INT8 one.

An island of float layers costs conversions at its shores and saves its integer kernels. Neither is known
before it is measured: a layer alone may be slower in float, and faster together with its neighbours.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distq.graph.placement import plan_again
from distq.graph.plan import Plan
from distq.graph.qdq import export
from distq.graph.rows import encodings, with_threshold
from distq.graph.state import initial_state
from distq.run.context import Run
from distq.search.acceptance import significant_improvement
from distq.search.choice import CONFIDENCE
from distq.search.metrics import decibels
from distq.stages.form import Form
from distq.stages.latency import seconds_in_turns
from distq.stages.sensitivity import IMAGES, Variants

Floats = npt.NDArray[np.float64]
Layers = frozenset[str]

BESIDE = 4
"""Networks that are timed in turns with the INT8 one at a time: each session holds its weights."""

SEEDS = 4
"""Layers from which islands grow: those that are fastest, or least slow, alone."""


@dataclass(frozen=True)
class Island:
    """Layers that run faster in float.

    Attributes:
        layers: in graph order.
        int8_ms, float_ms: milliseconds of a forward of the network without and with them in float.
        int8_db, float_db: SQNR of its outputs on a few samples in dB, as estimated.
    """

    layers: tuple[str, ...]
    int8_ms: float
    float_ms: float
    int8_db: float
    float_db: float

    @property
    def text(self) -> str:
        """For a person."""
        return f"float {', '.join(self.layers)}: {self.gain}"

    @property
    def gain(self) -> str:
        """What they are worth together."""
        return (
            f"{self.float_ms:.3g} ms instead of {self.int8_ms:.3g}, "
            f"{self.float_db:.1f} dB instead of {self.int8_db:.1f} by estimate"
        )


def faster_in_float(run: Run, form: Form) -> Island | None:
    """All layers together that a network is faster with in float; None where there are none.

    One layer stays in INT8.

    Args:
        run: gives workers and a sample.
        form: the INT8 network.
    """
    search = _Islands(run, form)
    best = search.grown()
    if not best:
        return None
    whole, islands = search.turns([frozenset(), best])
    if not _faster(islands, whole):
        return None
    before, after = (float(1000 * np.median(seconds)) for seconds in (whole, islands))
    layers = tuple(layer.name for layer in form.plan.layers if layer.name in best)
    int8, mixed = search.errors(best)
    return Island(layers, before, after, decibels(int8), decibels(mixed))


class _Islands:
    def __init__(self, run: Run, form: Form) -> None:
        self._run = run
        self._form = form
        self._order = [layer.name for layer in form.plan.layers]
        self._int8 = run.executor.share(form.exported)

    def grown(self) -> Layers:
        """The union of the islands that pay, each grown layer by layer from where it pays most."""
        if len(self._order) < 2:
            return frozenset()
        singles = [frozenset({name}) for name in self._order]
        gains = self._gains(singles, "latency with one layer in float")
        best: Layers = frozenset()
        for seed in sorted(singles, key=lambda one: -gains[one])[:SEEDS]:
            if not seed <= best:
                best = self._grown_from(seed, best)
        return best

    def _grown_from(self, seed: Layers, kept: Layers) -> Layers:
        """What is kept in float already, and the island around a layer as far as it pays to grow it."""
        island: Layers = frozenset()
        tried = [seed, *(seed | {name} for name in self._shores(seed))]
        while tried := [one for one in tried if len(one | kept) < len(self._order)]:
            now, *others = self.turns([kept | island, *(kept | one for one in tried)])
            best = min(range(len(tried)), key=lambda i: float(np.median(others[i])))
            if not _faster(others[best], now):
                break
            island = tried[best]
            tried = [island | {name} for name in self._shores(island)]
        return kept | island

    def _shores(self, island: Collection[str]) -> list[str]:
        """The layers in front of and behind an island, in graph order."""
        places = [i for i, name in enumerate(self._order) if name in island]
        near = {i + step for i in places for step in (-1, 1)} - {*places}
        return [self._order[i] for i in sorted(near) if 0 <= i < len(self._order)]

    def turns(self, islands: Sequence[Layers]) -> Floats:
        """Seconds of the networks with each island in float, (islands, turns); none is the INT8 network."""
        share = self._run.executor.share
        models = [share(self._network(island)) if island else self._int8 for island in islands]
        return seconds_in_turns(self._run, models)

    def _gains(self, islands: Sequence[Layers], stage: str) -> dict[Layers, float]:
        """The share of the network's time that each island saves."""
        found = {}
        self._run.reporter.start(stage, len(islands), "layers")
        for start in range(0, len(islands), BESIDE):
            some = islands[start : start + BESIDE]
            base, *others = self.turns([frozenset(), *some])
            for island, seconds in zip(some, others, strict=True):
                found[island] = float(np.median(1 - seconds / base))
            self._run.reporter.advance(len(some))
        self._run.reporter.finish()
        return found

    def _network(self, island: Layers) -> bytes:
        """The network with these layers in float, for its time alone: with the INT8 one's thresholds."""
        form = self._form
        plan = self._plan(island)
        owners = form.plan.by_tensor
        table = {}
        for q in plan.quantizers:
            known = next((owners[t].name for t in (q.name, *q.tensors) if t in owners), None)
            row = form.table[known or form.plan.quantizers[0].name]
            table[q.name] = with_threshold(plan, q, row, row.threshold, row.method)
        return export(form.model, plan, initial_state(form.model, plan, encodings(plan, table)))

    def _plan(self, island: Layers) -> Plan:
        plan = self._form.plan
        floats = tuple((layer.node, layer.name) for layer in plan.layers if layer.name in island)
        settings = replace(plan.settings, floats=(*plan.settings.floats, *floats))
        return plan_again(replace(plan, settings=settings), self._form.model)

    def errors(self, island: Layers) -> tuple[float, float]:
        """NMSE of the INT8 network, and of that with an island put back in float."""
        form = self._form
        variants = Variants(self._run, form, IMAGES)
        gone = form.plan.by_tensor.keys() - self._plan(island).by_tensor.keys()
        layers = [layer for layer in form.plan.layers if layer.name in island]
        whole, without = variants.nmse(
            "what float layers gain", [variants.part(()), variants.part(gone, layers)]
        )
        return whole, without


def _faster(candidate: Floats, incumbent: Floats) -> bool:
    """Whether the paired test finds a network faster, turn by turn."""
    return significant_improvement(candidate, incumbent, confidence=CONFIDENCE).accepted
