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

AMPLIFIED = 10.0
"""Times as much, in power, as rounding of the inputs changes an output, that it may differ.

Where float32 cancels, as in a small output behind large values, rounding alone changes it by more than
:data:`ROUNDING`. PP-OCR's detector gives 1e-6 where no text is shown: rounding makes 2 to 20 % of its power.
"""

NUDGES = 4
"""Times that the inputs are rounded otherwise, of which the largest change counts."""

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

        Differences within float rounding do not count, also as the model itself amplifies it, nor an output
        that the model does not repeat itself, for its random generators. A sample of which rounding makes
        all of an output does not count where it agrees.

        Raises:
            ExecutionError: ONNX Runtime does not run one of them.
        """
        names = self.session.outputs
        if names != made.outputs:
            return tuple(o for o in names if o not in made.outputs) or names
        differs, telling = np.zeros(len(names), np.int64), np.full(len(names), len(self.samples))
        for feeds, wanted in zip(self.samples, self.outputs, strict=True):
            found = made.run(feeds)
            same = [agree(a, b) for a, b in zip(wanted, found, strict=True)]
            if all(same):
                continue
            again = self.session.run(feeds)
            nudged = zip(*(self.session.run(_nudged(feeds, seed)) for seed in range(NUDGES)), strict=True)
            for n, (a, b, repeated, others) in enumerate(zip(wanted, found, again, nudged, strict=True)):
                if same[n] or not agree(a, repeated):
                    continue
                rounding = AMPLIFIED * max((_power(a, o) for o in others if _comparable(a, o)), default=0.0)
                telling[n] -= 0 < rounding >= _power(a)
                differs[n] += not (rounding and _comparable(a, b) and _power(a, b) <= rounding)
        return tuple(o for o, n, of in zip(names, differs, telling, strict=True) if 2 * n > of)


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
    allowed = HALF_ROUNDING if wanted.dtype.itemsize < 4 else ROUNDING
    return _comparable(wanted, found) and _power(wanted, found) <= allowed * _power(wanted)


def _comparable(wanted: Any, found: Any) -> bool:  # noqa: ANN401  # whatever ONNX Runtime gives back
    """Whether two outputs are real numbers of one shape, finite in the same places."""
    if not isinstance(wanted, np.ndarray) or not isinstance(found, np.ndarray) or wanted.dtype.kind != "f":
        return False
    same = wanted.shape == found.shape and wanted.dtype == found.dtype
    return same and _mostly(np.isfinite(wanted) == np.isfinite(found))


def _power(values: npt.NDArray[Any], others: npt.NDArray[Any] | float = 0.0) -> float:
    """Sum of the squared differences, of what is finite."""
    with np.errstate(invalid="ignore"):  # of infinities
        difference = np.subtract(values, others, dtype=np.float64)
    return float((difference[np.isfinite(difference)] ** 2).sum())


def _nudged(feeds: Feeds, seed: int) -> dict[str, npt.NDArray[Any]]:
    """The feeds with each real value moved by half a unit in the last place of the largest, up or down."""
    generator, found = np.random.default_rng(seed), dict(feeds)
    for name, values in feeds.items():
        if values.dtype.kind == "f" and values.size:
            half = np.finfo(values.dtype).eps / 2 * (np.abs(values).max() or 1.0)
            found[name] = (values + generator.choice((-half, half), values.shape)).astype(values.dtype)
    return found


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
