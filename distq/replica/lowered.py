"""What a search lowers in place of the squared error of the outputs: the loss of a measure, by sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.data.dataset import DatasetSpec, Sample
from distq.replica.measured import facts_of
from distq.replica.samples import read_samples
from distq.replica.worker import Worker
from distq.search.measures.measure import Facts, Measure


@dataclass(frozen=True)
class Lowered:
    """A measure whose loss is lowered.

    The loss of a sample stands in the place of the squared error of each of its outputs. Beside an output
    without power an error counts as it is, and their mean over the outputs is then the loss; so whatever adds
    up errors adds up losses.

    Attributes:
        measure: gives the loss, from all outputs together.
        names: of the outputs, in their order.
    """

    measure: Measure
    names: tuple[str, ...]

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """Identity."""
        return self.measure.key, self.names

    def beside(
        self, worker: Worker, data: DatasetSpec, index: int, reference: Sequence[npt.NDArray[Any]]
    ) -> Facts:
        """What every candidate is compared with on a sample: made once for all of them.

        Args:
            worker: has the sample.
            data: where it is.
            index: of it.
            reference: outputs of the float network.
        """
        (sample,) = read_samples(worker, data, [index], keep=True)
        if not isinstance(sample, Sample):
            raise sample
        facts = facts_of(worker, data, sample, None)
        found = self.measure.postprocess(self._named(reference), facts)
        return Facts(facts.index, facts.name, facts.inputs, facts.label, None, found)

    def error(self, outputs: Sequence[npt.NDArray[Any]], beside: Facts) -> npt.NDArray[np.float64]:
        """The loss of a sample in the place of each output's squared error, (outputs,).

        Args:
            outputs: of the candidate.
            beside: the sample, and what float makes of it.
        """
        loss = self.measure.loss(self.measure.postprocess(self._named(outputs), beside), beside)
        return np.full(len(outputs), loss if math.isfinite(loss) else math.inf)

    def _named(self, outputs: Sequence[npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return dict(zip(self.names, outputs, strict=True))
