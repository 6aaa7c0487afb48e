"""Decide the tensors of a search: one after another over all workers, or several at a time, one a worker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from distq.graph.plan import Quantizer
from distq.replica.tensor import decided
from distq.run.context import Run
from distq.search.bitmain import BitmainSearch
from distq.search.strategy import Strategy, TensorSearch
from distq.search.tensor_search import Decision
from distq.stages.form import Form
from distq.stages.reader_scoring import ReaderScorer
from distq.stages.scoring import NetworkScorer, PrefixScorer, Scorer

MOST_AHEAD = 4
"""Workers up to which each searches a tensor of its own: of more, the last would mostly search in vain."""

TENSORS_PER_IMAGE = 1
"""Tensors for each tuning image from which a worker searches one by itself.

It saves round trips to the driver at every tensor, and costs each worker all images instead of a part.
"""


@dataclass(frozen=True)
class Found:
    """What was decided for a tensor, and the seconds that took."""

    decision: Decision
    seconds: float


class Decider(Protocol):
    """Decides tensors in the order of the search."""

    @property
    def scorer(self) -> Scorer:
        """What their candidates are scored by."""

    def decide(self, remaining: Sequence[Quantizer], form: Form) -> Sequence[Found]:
        """Decide the first of the tensors that remain, or several up to the first that changes."""


def open_decider(run: Run, strategy: Strategy, form: Form, searched: Sequence[Quantizer]) -> Decider:
    """How a strategy's tensors are decided, and what its candidates are measured by."""
    match strategy.name:
        case "bitmain":
            return OneAfterAnother(run, strategy, PrefixScorer(run, form, searched))
        case "tpu-mlir":
            return OneAfterAnother(run, strategy, ReaderScorer(run))
    scorer = NetworkScorer(run, form)
    workers, images = run.executor.workers, len(run.tuning)
    if workers <= MOST_AHEAD and TENSORS_PER_IMAGE * images <= len(searched):
        return OneAWorker(run, strategy, scorer)
    return OneAfterAnother(run, strategy, scorer)


class OneAfterAnother:
    """A tensor's candidates and images are dealt out to all workers."""

    def __init__(self, run: Run, strategy: Strategy, scorer: Scorer) -> None:
        self._run = run
        self._strategy = strategy
        self.scorer = scorer

    def decide(self, remaining: Sequence[Quantizer], form: Form) -> Sequence[Found]:
        """Decide the first."""
        began = time.monotonic()
        quantizer = remaining[0]
        row = form.table[quantizer.name]
        images = len(self._run.tuning)
        tensor = self._strategy.search(row.threshold, row.absmax, images)
        shown = 0
        while wanted := tensor.ask():
            tensor.tell(self.scorer.score(quantizer, wanted, form, tensor.wanted_images))
            shown = self._show(tensor, quantizer.name, shown)
        self._show(tensor, quantizer.name, shown)
        decision = tensor.decision()
        self.scorer.decide(decision.threshold)
        return [Found(decision, time.monotonic() - began)]

    def _show(self, tensor: TensorSearch, name: str, shown: int) -> int:
        """Log what is new of a tensor's search; returns how many entries are shown by now.

        With the serial tuner's rules only, whose log it is.
        """
        entries = tensor.log()
        if isinstance(tensor, BitmainSearch):
            for entry in entries[shown:]:
                self._run.reporter.line(entry.line(name))
        return len(entries)


class OneAWorker:
    """Each worker searches a tensor by itself, as if those before it stayed as they are.

    Most do. What lies behind one that does not is searched again, so that each decision is what it is when
    tensors are searched one after another.
    """

    def __init__(self, run: Run, strategy: Strategy, scorer: NetworkScorer) -> None:
        self._run = run
        self._strategy = strategy
        self.scorer = scorer

    def decide(self, remaining: Sequence[Quantizer], form: Form) -> Sequence[Found]:
        """Decide up to the first that changes; as many are searched as there are workers."""
        run, scorer = self._run, self.scorer
        together = remaining[: run.executor.workers]
        units = [
            scorer.whole_search(self._strategy, quantizer, form, affinity=i)
            for i, quantizer in enumerate(together)
        ]
        results = list(run.results(units))
        run.count_int8(units, results)
        found: list[Found] = []
        for unit, result in zip(units, results, strict=True):
            decision = decided(result)
            found.append(Found(decision, float(result["seconds"])))
            if unit.tuned.encoding(decision.threshold) != unit.tuned.current:
                scorer.take(result["error"])
                break
        return found
