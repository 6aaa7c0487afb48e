"""Unit that searches a whole tensor on one worker, as what is scored next follows from what was scored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from distq.graph.names import Constants, Names
from distq.graph.plan import Plan, Quantizer
from distq.graph.rows import with_threshold
from distq.graph.settings import NOTHING_SET
from distq.graph.state import State, quantizer_constants, readers
from distq.quant.scheme import Encoding
from distq.quant.table import Row
from distq.replica.cuts import Advance
from distq.replica.int8 import Score
from distq.replica.keys import arrays_key, content_key
from distq.replica.lowered import Lowered
from distq.replica.worker import Arrays, Blob, Worker
from distq.search.metrics import per_image_diff
from distq.search.strategy import Strategy
from distq.search.tensor_search import Decision

Errors = npt.NDArray[np.float64]

Measure = Callable[[Sequence[Encoding], tuple[int, int]], Errors]
"""Squared errors (encodings, images, outputs) on the images from one position up to another."""


class Scored:
    """Squared errors (images, outputs) of one quantizer's encodings, on as many images as each was scored on.

    An output that the quantizer does not reach keeps the error it had.
    """

    def __init__(self, current: Errors, reached: npt.NDArray[np.bool_]) -> None:
        """Take the errors as they are, (images, outputs), and which outputs are reached, (outputs,)."""
        self.errors: dict[Encoding, Errors] = {}
        self._current = current
        self._reached = reached

    def extend(self, encodings: Collection[Encoding], wanted: int, measure: Measure) -> None:
        """Know the errors of encodings on so many images; only images that are new are measured."""
        known = {encoding: len(self.errors.get(encoding, ())) for encoding in encodings}
        for done in sorted(set(known.values())):
            new = [encoding for encoding, images in known.items() if images == done]
            if done >= wanted:
                continue
            for encoding, error in zip(new, measure(new, (done, wanted)), strict=True):
                complete = np.where(self._reached, error, self._current[done:wanted])
                earlier = self.errors.get(encoding, complete[:0])
                self.errors[encoding] = np.concatenate([earlier, complete])


@dataclass(frozen=True)
class Tuned:
    """A quantizer whose threshold is searched, with the few numbers of the network that follow it.

    Attributes:
        plan: of this quantizer and the layers whose biases have its scale, and of gates that divide these.
        quantizer: which.
        row: its row of the table.
        state: its encoding, and the weights' scales and biases of these layers.
        names: of the network.
    """

    plan: Plan
    quantizer: Quantizer
    row: Row
    state: State
    names: Names

    @classmethod
    def of(cls, plan: Plan, quantizer: Quantizer, row: Row, state: State, names: Names) -> Tuned:
        """Take what belongs to a quantizer."""
        layers = tuple(readers(plan, quantizer.name))
        own = replace(plan, layers=layers, quantizers=(quantizer,), dropped=frozenset(), float_nodes=())
        own = replace(own, settings=NOTHING_SET)  # the quantizer has what is set for it
        held = [layer.name for layer in layers if layer.name in state.weights]
        gates = tuple(gate for gate in plan.gates if not {gate.writer, *gate.readers}.isdisjoint(held))
        own = replace(own, gates=gates)
        needed = {quantizer.name, *(tensor for gate in gates for tensor in gate.tensors)}
        nothing = np.empty(0, np.int8)  # integers change with no threshold, and are large
        part = State(
            {name: state.encodings[name] for name in needed},
            {name: replace(state.weights[name], integers=nothing) for name in held},
            {name: state.biases[name] for name in held if name in state.biases},
        )
        return cls(own, quantizer, row, part, names)

    @cached_property
    def key(self) -> str:
        """Identity."""
        row, layers = asdict(self.row), [asdict(layer) for layer in self.plan.layers]
        numbers: Arrays = {f"{name}/scale": weight.scale for name, weight in self.state.weights.items()}
        numbers |= {f"{name}/bias": bias for name, bias in self.state.biases.items()}
        facts = asdict(self.quantizer)
        if self.quantizer.setting is None:  # units of runs from before there were settings keep their keys
            del facts["setting"]
        quantizer = (facts, row, asdict(self.current))
        own = (self.plan.target.name, self.plan.scheme, layers, *quantizer)
        gates = [asdict(gate) for gate in self.plan.gates]
        for name in sorted(self.state.encodings.keys() - {self.quantizer.name}):
            encoding = self.state.encodings[name]
            numbers |= {
                f"{name}/step": np.asarray(encoding.scale),
                f"{name}/zero": np.asarray(encoding.zero_point),
            }
        return content_key(
            "tuned", *own, asdict(self.names), arrays_key(numbers), *((gates,) if gates else ())
        )

    @property
    def current(self) -> Encoding:
        """The encoding it has."""
        return self.state.encodings[self.quantizer.name]

    def encoding(self, threshold: float) -> Encoding:
        """What a threshold comes to."""
        return with_threshold(self.plan, self.quantizer, self.row, threshold, "search").encoding

    def constants(self, encoding: Encoding) -> Constants:
        """The constants that an encoding changes."""
        name = self.quantizer.name
        return quantizer_constants(self.plan, self.state.with_encoding(name, encoding), self.names, name)


@dataclass(frozen=True)
class SearchTensor:
    """A tensor's whole search, by a strategy whose scores are the network's NMSE.

    Attributes:
        strategy: gives the rule.
        tuned: the tensor's quantizer.
        advance: brings the samples to the cut before the kernel that writes it.
        tensors: what candidates change: integer tensors and constants.
        reached: outputs that depend on it, (outputs,).
        current: squared error of the network as it is, (images, outputs).
        power: of the float outputs over all images, (outputs,).
        float_model: gives the outputs to compare with.
        indices: samples to score on.
        affinity: see :class:`~distq.engine.executor.Unit`.
        lowered: what counts in place of the squared error; ``power`` is then 0.
    """

    strategy: Strategy
    tuned: Tuned
    advance: Advance
    tensors: tuple[str, ...]
    reached: npt.NDArray[np.bool_]
    current: Errors
    power: npt.NDArray[np.float64]
    float_model: Blob
    indices: Sequence[int]
    affinity: int | None = None
    lowered: Lowered | None = None

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        arrays = {"reached": self.reached, "current": self.current, "power": self.power}
        own = (self.advance.key, self.tensors, arrays_key(arrays), self.float_model.sha256, self.indices)
        lowered = self.lowered.key if self.lowered else ()
        return content_key("search", repr(self.strategy), self.tuned.key, *own, *lowered)

    @property
    def label(self) -> str:
        """For a person."""
        name = self.tuned.quantizer.name
        return f"search {name}, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """Search it.

        ``decision``, see :func:`decided`; ``error``: squared, float64 (images, outputs) with it, of no image
        where not all were scored; ``forwards``: whole networks run; ``seconds``.
        """
        began, forwards = time.monotonic(), 0.0
        row, images = self.tuned.row, len(self.indices)
        scored = Scored(self.current, self.reached)
        scored.errors[self.tuned.current] = self.current

        def measure(encodings: Sequence[Encoding], part: tuple[int, int]) -> Errors:
            nonlocal forwards
            candidates = tuple(map(self.tuned.constants, encodings))
            indices = self.indices[slice(*part)]
            unit = Score(
                self.advance, self.tensors, candidates, self.float_model, indices, lowered=self.lowered
            )
            found = unit.run(worker)
            forwards += float(found["forwards"])
            error: Errors = found["error"]
            return error

        search = self.strategy.search(row.threshold, row.absmax, images)
        while asked := search.ask():
            wanted = images if search.wanted_images is None else search.wanted_images
            encodings = {threshold: self.tuned.encoding(threshold) for threshold in asked}
            scored.extend(dict.fromkeys(encodings.values()), wanted, measure)
            search.tell(
                {t: nmse_by_image(scored.errors[e], self.power, images) for t, e in encodings.items()}
            )
        decision = search.decision()
        error = scored.errors.get(self.tuned.encoding(decision.threshold), self.current[:0])
        return {
            "decision": np.frombuffer(json.dumps(asdict(decision)).encode(), np.uint8),
            "error": error if len(error) == images else error[:0],
            "forwards": np.array(forwards),
            "seconds": np.array(time.monotonic() - began),
        }


_DECISION = TypeAdapter(Decision)


def decided(result: Arrays) -> Decision:
    """The decision in a unit's result, where it stands as JSON."""
    return _DECISION.validate_json(result["decision"].tobytes())


def nmse_by_image(error: Errors, power: npt.NDArray[np.float64], images: int) -> npt.NDArray[np.float64]:
    """Each image's contribution to the NMSE, (images,).

    Args:
        error: squared, of the first images, (images, outputs).
        power: of the float outputs over all images, (outputs,).
        images: how many all are.
    """
    return per_image_diff(error, power * (len(error) / images))
