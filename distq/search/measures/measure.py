"""The interface of a measure, and what it is told of a sample."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Outputs = Mapping[str, npt.NDArray[Any]]
"""The outputs of a network on one sample, by name and in the network's order."""

Record = npt.NDArray[np.float64]
"""What a measure keeps of one sample: a number, or a table of any shape."""

Figures = Mapping[str, float]
"""Figures of a network over all samples, by name; the measure's own first."""


@dataclass(frozen=True)
class Facts:
    """What a measure is told of a sample.

    Attributes:
        index: of the sample in the data.
        name: its path as listed, LMDB key, or row number.
        inputs: what the network was fed, by input.
        label: its class, where the data has one.
        objects: float64 (objects, 6): left, top, right, bottom in pixels of the network's input, class, and 1
            for one that may be missed or found (difficult), 2 for a crowd; None where there are no
            annotations.
        float_outputs: of the float network on the sample, after ``postprocess``; None where there is none.
    """

    index: int
    name: str
    inputs: Mapping[str, npt.NDArray[Any]]
    label: int | None = None
    objects: npt.NDArray[np.float64] | None = None
    float_outputs: Outputs | None = field(default=None, repr=False)


class Measure(ABC):
    """A score of a sample, and what is made of the scores of all.

    Workers call ``postprocess`` and ``score`` on each sample, the driver ``finish`` on all records, in the
    samples' order. So a figure that is no mean, such as mAP, keeps records of what it needs.
    """

    name: str = ""
    higher_is_better: ClassVar[bool] = True
    needs_float: ClassVar[bool] = False
    """Whether it compares with the float network."""
    own: ClassVar[float | None] = None
    """Figures of the float network beside itself, where more is better: 1 of shares; None: not known."""
    names: ClassVar[tuple[str, ...]] = ()
    """Of its figures, in their order; empty: not known before it is run."""
    errors: ClassVar[frozenset[str]] = frozenset()
    """Names of figures of which less is better, where more of the first is."""

    @property
    def key(self) -> str:
        """Identity: two measures of one key give the same records."""
        return repr(self)

    def postprocess(self, outputs: Outputs, sample: Facts) -> Outputs:
        """What ``score`` sees of the network's outputs; the float network's go through it as well."""
        del sample
        return outputs

    @abstractmethod
    def score(self, outputs: Outputs, sample: Facts) -> Record | float | None:
        """The record of one sample; None where it says nothing, as without a label."""

    def finish(self, records: Sequence[Record]) -> float | Figures:
        """The figure of all samples, or several by name: by default the mean of all numbers recorded."""
        values = [value for record in records for value in np.ravel(record)]
        return math.fsum(values) / len(values) if values else math.nan

    def error(self, records: Sequence[Record]) -> float | None:
        """How far the outputs are from float's, as the square of noise; None: as their NMSE has it."""
        del records
        return None

    def loss(self, outputs: Outputs, sample: Facts) -> float:
        """What a search lowers: a number a sample, whose mean over samples is compared.

        By default the score, with its sign turned where higher is better.
        """
        record = self.score(outputs, sample)
        values = np.ravel(np.zeros(0) if record is None else np.asarray(record, np.float64))
        mean = math.fsum(values) / len(values) if values.size else 0.0
        return -mean if self.higher_is_better else mean


def figures(measure: Measure, records: Sequence[Record]) -> dict[str, float]:
    """What a measure makes of the records of all samples, always by name.

    Args:
        measure: whose records these are.
        records: of the samples that have one, in their order.
    """
    found = measure.finish(records)
    if isinstance(found, Mapping):
        return {str(name): float(value) for name, value in found.items()}
    return {measure.name: float(found)}
