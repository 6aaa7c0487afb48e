"""The serial tuner of the vendors (REFERENCE.md 1.1) in plain ONNX Runtime: what distq is measured against.

For each layer it opens the float network anew and runs every image; for each candidate it makes the INT8
network anew with that one threshold changed, opens it, and runs every image. INT8 up to the layer, float
behind it. Greedy: a decision stands for all later layers. Kinder than the original: images are decoded once.

    .venv/bin/python scripts/benchmarks/serial_tuner.py version-RFB-320
    .venv/bin/python scripts/benchmarks/serial_tuner.py squeezenet1.1 --layers-limit 8
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import onnxruntime
from tuning_job import evenly, held_out_nmse, open_tuning

from distq.graph.placement import make_plan
from distq.graph.plan import Quantizer
from distq.graph.qdq import export
from distq.graph.rows import with_threshold
from distq.graph.state import initial_state
from distq.run.context import Run
from distq.stages.calibrated import calibrated
from distq.stages.form import Form
from distq.stages.search import chosen_quantizers

FACTORS = (1.01, 0.99)
FAILURES = 3
LEVELS = {
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
}
"""What ONNX Runtime does to a network by default, and without choosing layouts for the processor."""

Images = Sequence[Mapping[str, npt.NDArray[np.generic]]]
Outputs = list[list[npt.NDArray[np.generic]]]


@dataclass
class Tally:
    """What the loop did and how long it took, in seconds."""

    layers: int = 0
    candidates: int = 0
    int8_forwards: int = 0
    float_forwards: int = 0
    writing: float = 0.0
    opening: float = 0.0
    running: float = 0.0
    total: float = 0.0
    diffs: dict[str, float] = field(default_factory=dict)


class SerialTuner:
    """Tunes thresholds as one process would, layer by layer and candidate by candidate."""

    def __init__(self, run: Run, form: Form, level: str = "all") -> None:
        dataset = run.data.open()
        self.images: Images = [dataset.load(i).inputs for i in run.tuning]
        self.form = form
        self.order = [q.name for q in form.plan.quantizers]
        self.level = level
        self.tally = Tally()

    def tune(self, quantizers: Sequence[Quantizer]) -> None:
        """Visit the layers in order."""
        began = time.perf_counter()
        for quantizer in quantizers:
            self.tune_layer(quantizer)
            self.tally.layers += 1
        self.tally.total += time.perf_counter() - began

    def tune_layer(self, quantizer: Quantizer) -> None:
        """Two sweeps from the layer's threshold; any smaller diff is taken."""
        reference = self.run(self.form.serialized)
        self.tally.float_forwards += len(self.images)
        start = self.form.table[quantizer.name].threshold
        best, best_diff = start, sys.float_info.max
        for factor in FACTORS:
            failures, step, previous = 0, 0, sys.float_info.max
            while failures < FAILURES:
                candidate = start * factor**step
                diff = self.score(quantizer, candidate, reference)
                if diff < best_diff:
                    best, best_diff, failures = candidate, diff, 0
                elif diff >= previous:
                    failures += 1
                previous, step = diff, step + 1
        form, name = self.form, quantizer.name
        row = with_threshold(form.plan, quantizer, form.table[name], best, "serial")
        state = form.state.with_encoding(name, row.encoding)
        self.form = replace(form, table={**form.table, name: row}, state=state)
        self.tally.diffs[quantizer.name] = best_diff

    def written(self, quantizer: Quantizer, threshold: float) -> bytes:
        """The network that is INT8 up to a layer, with a threshold for it, and float behind it."""
        decided = self.order[: self.order.index(quantizer.name) + 1]
        form, name = self.form, quantizer.name
        plan = make_plan(form.model, form.plan.target, form.plan.scheme, tie=False, only=decided)
        rows = {q.name: form.table[q.name] for q in plan.quantizers}
        rows[name] = with_threshold(form.plan, quantizer, rows[name], threshold, "serial")
        state = initial_state(form.model, plan, {name: row.encoding for name, row in rows.items()})
        return export(form.model, plan, state.with_biases({n: form.state.biases[n] for n in state.biases}))

    def score(self, quantizer: Quantizer, threshold: float, reference: Outputs) -> float:
        """Mean squared difference from float, summed over outputs, as a mean over images."""
        began = time.perf_counter()
        model = self.written(quantizer, threshold)
        self.tally.writing += time.perf_counter() - began
        found = self.run(model)
        self.tally.candidates += 1
        self.tally.int8_forwards += len(self.images)
        pairs = [zip(a, b, strict=True) for a, b in zip(found, reference, strict=True)]
        return float(np.mean([sum(mean_square(y8, y32) for y8, y32 in pair) for pair in pairs]))

    def run(self, model: bytes) -> Outputs:
        """Open a network and run every image through it."""
        began = time.perf_counter()
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = LEVELS[self.level]
        options.intra_op_num_threads = os.cpu_count() or 1
        # Else ONNX Runtime would quantize the weights of the first float layer by itself.
        session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"]
        )
        opened = time.perf_counter()
        read = [i.name for i in session.get_inputs()]
        outputs = [session.run(None, {name: feeds[name] for name in read}) for feeds in self.images]
        self.tally.opening += opened - began
        self.tally.running += time.perf_counter() - opened
        return outputs


def mean_square(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> float:
    return float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))


def report(tuner: SerialTuner, layers: int) -> str:
    """The loop's figures; where only some layers were visited, also what all would take."""
    tally = tuner.tally
    text = (
        f"{tally.layers} of {layers} layers, {tally.candidates} candidates, {tally.int8_forwards} INT8 and "
        f"{tally.float_forwards} float forwards, {tally.total:.1f} s "
        f"({tally.writing:.1f} writing networks, {tally.opening:.1f} opening, {tally.running:.1f} running)"
    )
    if tally.layers < layers:
        factor = layers / max(1, tally.layers)
        text += (
            f"; extrapolated to all layers: {tally.candidates * factor:.0f} candidates, "
            f"{tally.int8_forwards * factor:.0f} forwards, {tally.total * factor:.1f} s"
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("network", help="a name in configs/, such as version-RFB-320")
    parser.add_argument("--layers-limit", type=int, help="visit only so many layers, spread evenly")
    parser.add_argument("--level", choices=LEVELS, default="all", help="ONNX Runtime's optimization level")
    given = parser.parse_args()
    plain = {"rounding": "nearest", "bias_correction": False}
    with open_tuning(given.network, strategy="bitmain", executor="local", **plain) as (run, options):
        before = calibrated(run)
        quantizers = chosen_quantizers(options, before)
        tuner = SerialTuner(run, before, given.level)
        tuner.tune(evenly(quantizers, given.layers_limit))
        nmse = held_out_nmse(run, before, tuner.form)
        print(f"{given.network}: {report(tuner, len(quantizers))}")
        print(f"held-out NMSE {nmse[0]:.4g} -> {nmse[1]:.4g}")


if __name__ == "__main__":
    main()
