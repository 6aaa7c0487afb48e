"""Units of the INT8 replica: the error of its outputs, as it is and with candidates of one tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.replica.cuts import Advance, open_network
from distq.replica.float32 import float_outputs
from distq.replica.keys import arrays_key, content_key
from distq.replica.outputs import as_numbers
from distq.replica.worker import Arrays, Blob, Worker
from distq.search.metrics import compare


@dataclass(frozen=True)
class Score:
    """Squared error of the network outputs for candidates of one tensor, on some samples.

    Only what lies behind the kernel that writes the tensor runs again; it runs the integer kernels that ship.

    Attributes:
        advance: brings the samples to the cut before that kernel.
        tensors: what the candidates change: integer tensors and constants.
        candidates: the constants of each candidate, all of the same names.
        float_model: gives the outputs to compare with.
        indices: samples.
        affinity: units of one affinity find what crossed earlier cuts on one worker.
    """

    advance: Advance
    tensors: tuple[str, ...]
    candidates: tuple[Mapping[str, npt.NDArray[Any]], ...]
    float_model: Blob
    indices: Sequence[int]
    affinity: int | None = None

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        candidates = [arrays_key(c) for c in self.candidates]
        return content_key(
            "score", self.advance.key, self.float_model.sha256, self.tensors, candidates, self.indices
        )

    @property
    def label(self) -> str:
        """For a person."""
        return f"score {self.tensors[0]}, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """``error``: float64 (candidates, images, outputs), sums of (y8 - y32)^2.

        ``forwards``: whole networks run.

        The error is zero for outputs the tensor does not reach.
        """
        net = open_network(worker, self.advance.network)
        behind = net.behind(self.tensors)
        reached = [i for i, name in enumerate(net.outputs) if net.reaches(behind, name)]
        if not reached:
            error = np.zeros((len(self.candidates), len(self.indices), len(net.outputs)))
            return {"error": error, "forwards": np.array(0.0)}
        promoted = tuple(sorted(set(self.candidates[0]) & set(net.constants_of(behind))))
        tail = self.advance.part(worker, self.advance.cut, [net.outputs[i] for i in reached], promoted)
        crossings, forwards = self.advance.crossing(worker, self.indices)
        forwards += self.advance.share(net, behind) * len(self.candidates) * len(self.indices)
        error = np.zeros((len(self.candidates), len(self.indices), len(net.outputs)))
        for i, (index, crossing) in enumerate(zip(self.indices, crossings, strict=True)):
            outputs = float_outputs(worker, self.float_model, self.advance.data, index)
            reference = [outputs[o] for o in reached]
            for c, candidate in enumerate(self.candidates):
                found = as_numbers(tail.run({**crossing, **{n: candidate[n] for n in promoted}}))
                error[c, i, reached] = compare(found, reference).error[0]
        return {"error": error, "forwards": np.array(forwards)}


@dataclass(frozen=True)
class Errors:
    """Squared error of all network outputs with the numbers as they are; the advance's cut is the outputs."""

    advance: Advance
    float_model: Blob
    indices: Sequence[int]
    affinity: int | None = None

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        return content_key("errors", self.advance.key, self.float_model.sha256, self.indices)

    @property
    def label(self) -> str:
        """For a person."""
        return f"INT8 outputs, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """``error``: float64 (images, outputs); ``forwards``: whole networks run."""
        rows = []
        crossings, forwards = self.advance.crossing(worker, self.indices)
        for index, crossing in zip(self.indices, crossings, strict=True):
            reference = float_outputs(worker, self.float_model, self.advance.data, index)
            found = as_numbers(crossing[name] for name in self.advance.cut)
            rows.append(compare(found, reference).error[0])
        return {"error": np.array(rows), "forwards": np.array(forwards)}
