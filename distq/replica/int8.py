"""Units of the INT8 replica: the error of its outputs, as it is and with candidates of one tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.graph.subgraph import Network
from distq.replica.cuts import Advance, open_network
from distq.replica.float32 import float_outputs, outputs_of_all
from distq.replica.keys import arrays_key, content_key
from distq.replica.lowered import Lowered
from distq.replica.outputs import as_numbers
from distq.replica.samples import kept_inputs
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
        lowered: what counts in place of the squared error; None: the squared error.
    """

    advance: Advance
    tensors: tuple[str, ...]
    candidates: tuple[Mapping[str, npt.NDArray[Any]], ...]
    float_model: Blob
    indices: Sequence[int]
    affinity: int | None = None
    lowered: Lowered | None = None

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        candidates = [arrays_key(c) for c in self.candidates]
        own = (self.float_model.sha256, self.tensors, candidates, self.indices)
        return content_key("score", self.advance.key, *own, *(self.lowered.key if self.lowered else ()))

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
            rest, beside = {}, None
            if self.lowered is not None:
                rest = self._unreached(worker, net, reached, index)
                beside = self.lowered.beside(worker, self.advance.data, index, outputs)
            for c, candidate in enumerate(self.candidates):
                found = as_numbers(tail.run({**crossing, **{n: candidate[n] for n in promoted}}))
                if self.lowered is None or beside is None:
                    error[c, i, reached] = compare(found, reference).error[0]
                    continue
                every = rest | dict(zip(reached, found, strict=True))
                ordered = [every[o] for o in range(len(net.outputs))]
                error[c, i] = self.lowered.error(ordered, beside)
        return {"error": error, "forwards": np.array(forwards)}

    def _unreached(
        self, worker: Worker, net: Network, reached: Sequence[int], index: int
    ) -> dict[int, npt.NDArray[Any]]:
        """Outputs that the tensor does not reach, by position: a measure takes all outputs together."""
        others = [i for i in range(len(net.outputs)) if i not in reached]
        if not others:
            return {}
        advance, names = self.advance, [net.outputs[i] for i in others]
        nodes = net.before(names, frozenset(net.inputs))
        numbers = advance.open(worker)[1].key(net.constants_of(nodes))

        def run() -> list[npt.NDArray[Any]]:
            session = advance.part(worker, net.frontier(nodes), names)
            return as_numbers(session.run(next(kept_inputs(worker, advance.data, [index]))[1]))

        place = ("unreached", advance.network.sha256, advance.data, index, numbers, *names)
        found = worker.cached(place, run, lambda arrays: sum(array.nbytes for array in arrays))
        return dict(zip(others, found, strict=True))


@dataclass(frozen=True)
class Errors:
    """Squared error of all network outputs with the numbers as they are; the advance's cut is the outputs."""

    advance: Advance
    float_model: Blob
    indices: Sequence[int]
    affinity: int | None = None
    lowered: Lowered | None = None

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        own = (self.float_model.sha256, self.indices)
        return content_key("errors", self.advance.key, *own, *(self.lowered.key if self.lowered else ()))

    @property
    def label(self) -> str:
        """For a person."""
        return f"INT8 outputs, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """``error``: float64 (images, outputs); ``forwards``: whole networks run."""
        rows = []
        crossings, forwards = self.advance.crossing(worker, self.indices)
        references = outputs_of_all(worker, self.float_model, self.advance.data, self.indices)
        for index, crossing, reference in zip(self.indices, crossings, references, strict=True):
            found = as_numbers(crossing[name] for name in self.advance.cut)
            if self.lowered is None:
                rows.append(compare(found, reference).error[0])
            else:
                beside = self.lowered.beside(worker, self.advance.data, index, reference)
                rows.append(self.lowered.error(found, beside))
        return {"error": np.array(rows), "forwards": np.array(forwards)}
