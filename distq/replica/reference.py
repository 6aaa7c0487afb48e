"""Whether the network that distq made of a user's file still computes what the file does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from distq.data.samples import InputSpec
from distq.errors import ExecutionError
from distq.replica.session import Session
from distq.replica.worker import WorkerSettings

Feeds = Mapping[str, npt.NDArray[Any]]

ROUNDING = 1e-6
"""Noise to signal, in power, up to which float32 outputs are the same: folding changes the order of sums."""

HALF_ROUNDING = 1e-4
"""The same for outputs with a shorter mantissa."""

FLIPS = 0.01
"""What part of an output of integers or truths may differ: rounding decides ties."""

ASSUMED_SIZE = 32
"""What ``random_feeds`` takes for an open dimension that is not the batch."""


@dataclass(frozen=True)
class Reference:
    """A user's model and what it gives for a few samples.

    Attributes:
        session: of the model; each node runs as it is written.
        samples: what it was fed.
        outputs: of each sample.
    """

    session: Session
    samples: Sequence[Feeds]
    outputs: Sequence[Sequence[Any]]

    def differing(self, made: Session) -> tuple[str, ...]:
        """Names of the outputs that another network gives otherwise on more than half of the samples.

        Differences within float rounding do not count, nor an output that the model does not repeat itself,
        for its random generators.

        Raises:
            ExecutionError: ONNX Runtime does not run one of them.
        """
        names = self.session.outputs
        if names != made.outputs:
            return tuple(o for o in names if o not in made.outputs) or names
        differs = np.zeros(len(names), np.int64)
        for feeds, wanted in zip(self.samples, self.outputs, strict=True):
            same = [agree(a, b) for a, b in zip(wanted, made.run(feeds), strict=True)]
            if not all(same):
                again = self.session.run(feeds)
                differs += [not s and agree(a, b) for s, a, b in zip(same, wanted, again, strict=True)]
        return tuple(o for o, n in zip(names, differs, strict=True) if 2 * n > len(self.samples))


def agree(wanted: Any, found: Any) -> bool:  # noqa: ANN401  # whatever ONNX Runtime gives back
    """Whether two outputs are the same beyond rounding: arrays, or sequences, maps and optionals of them."""
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(wanted) == len(found)
            and all(agree(a, b) for a, b in zip(wanted, found, strict=True))
        )
    if isinstance(wanted, dict):
        same = isinstance(found, dict) and list(wanted) == list(found)
        return same and agree(list(wanted.values()), list(found.values()))
    if not isinstance(wanted, np.ndarray) or not isinstance(found, np.ndarray):
        return type(wanted) is type(found) and bool(wanted == found)
    if wanted.shape != found.shape or wanted.dtype != found.dtype:
        return False
    return _numbers_agree(wanted, found) if wanted.dtype.kind == "f" else _mostly(wanted == found)


def _numbers_agree(wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> bool:
    finite = np.isfinite(wanted)
    if not _mostly(finite == np.isfinite(found)):
        return False
    finite &= np.isfinite(found)
    a, b = wanted[finite].astype(np.float64), found[finite].astype(np.float64)
    allowed = HALF_ROUNDING if wanted.dtype.itemsize < 4 else ROUNDING
    return bool(((a - b) ** 2).sum() <= allowed * (a**2).sum())


def _mostly(equal: npt.NDArray[np.bool_]) -> bool:
    return bool((~equal).sum() <= FLIPS * equal.size)


def random_feeds(inputs: Iterable[InputSpec], count: int = 2, seed: int = 0) -> list[dict[str, Any]]:
    """Feeds for inputs where no samples are at hand.

    Normal values for real inputs, zeros and ones for others; an open batch is 1.
    """
    generator, specs = np.random.default_rng(seed), list(inputs)
    return [{spec.name: _random(spec, generator) for spec in specs} for _ in range(count)]


def _random(spec: InputSpec, generator: np.random.Generator) -> npt.NDArray[Any]:
    shape = [(1 if axis == 0 else ASSUMED_SIZE) if d is None else d for axis, d in enumerate(spec.shape)]
    dtype = np.dtype(spec.dtype)
    return (generator.normal(size=shape) if dtype.kind == "f" else generator.integers(0, 2, shape)).astype(
        dtype
    )


def first_at_fault(given: bytes, canonical: bytes, feeds: Feeds, settings: WorkerSettings) -> str:
    """The type of the first operator, in the file's order, whose output differs in the network made.

    "an operator" where none can be told.

    Args:
        given: the user's model, as ONNX bytes.
        canonical: the network made of it, as ONNX bytes.
        feeds: of one sample.
        settings: device and threads of the sessions.
    """
    file, made = onnx.load_model_from_string(given), onnx.load_model_from_string(canonical)
    names = {name for node in made.graph.node for name in node.output if name}
    written = {name: node for node in file.graph.node for name in node.output if name in names}
    results = []
    for model in (file, made):
        del model.graph.output[:]
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in written)
        try:
            results.append(Session(model.SerializeToString(), settings).run(feeds))
        except ExecutionError:
            return "an operator"
    differing = (n for n, *pair in zip(written.values(), *results, strict=True) if not agree(*pair))
    return next((str(node.op_type) for node in differing), "an operator")
