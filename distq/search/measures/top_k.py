"""How often the right class is among the first ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distq.search.measures.measure import Facts, Figures, Measure, Outputs, Record
from distq.search.metrics import top_k


@dataclass(frozen=True)
class TopK(Measure):
    """Share of samples whose label is among the ``ks`` largest values of the first output."""

    name: str = "topk"
    ks: tuple[int, ...] = (1, 5)

    def score(self, outputs: Outputs, sample: Facts) -> Record | None:
        """A 1 or 0 for each k; None without a label, and where the output is not one row of class scores."""
        logits = next(iter(outputs.values()))
        label = sample.label
        if label is None or label >= logits.size or logits.squeeze().ndim != 1:
            return None
        return np.array([top_k(logits, label, k) for k in self.ks], np.float64)

    def finish(self, records: Sequence[Record]) -> Figures:
        """The mean of each."""
        return {
            f"top{k}": math.fsum(record[i] for record in records) / len(records) if records else math.nan
            for i, k in enumerate(self.ks)
        }

    def loss(self, outputs: Outputs, sample: Facts) -> float:
        """1 for a sample whose first class is wrong, else 0: few samples tell little."""
        record = self.score(outputs, sample)
        return 0.0 if record is None else 1 - float(record[0])
