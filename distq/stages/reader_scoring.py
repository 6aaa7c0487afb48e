"""Score a tensor's thresholds at the nodes that read it, with everything else in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir

from distq.engine.portions import in_order, portions
from distq.graph.large import from_proto
from distq.graph.layers import saturating_follower
from distq.graph.plan import Plan, Quantizer
from distq.graph.probes import with_outputs
from distq.graph.rows import with_threshold
from distq.graph.state import State
from distq.graph.values import is_float, values_of
from distq.replica.float32 import Outputs
from distq.replica.tensor import Errors
from distq.replica.worker import Blob
from distq.run.context import Run
from distq.stages.cutter import Cutter
from distq.stages.form import Form
from distq.stages.fused import fused
from distq.stages.scoring import Diffs, Scorer
from distq.targets.ort import ORT


class ReaderScorer(Scorer):
    """Scores as tpu-mlir's tuner does: one quantizer in a float network (REFERENCE.md 1.5).

    The error of each reader's output is taken relative to that output, both as L2 norms, where the original
    divides by the L1 norm; and a reader's Relu belongs to it, since what that takes away is no loss.
    """

    knows_current = False

    def __init__(self, run: Run) -> None:
        self._cutter: tuple[str, Cutter] | None = None
        super().__init__(run, np.zeros((len(run.tuning), 0)))

    def diff(self, error: Errors) -> Diffs:
        """Relative distance of each image, as a mean over the readers."""
        power = self._power[: len(error)]
        distances: Errors = np.sqrt(error / np.where(power > 0, power, 1.0))
        return np.array([np.mean(row) for row in distances])

    def cutter(self, quantizer: Quantizer, form: Form) -> Cutter:
        """A network a quantizer, that ends at its readers."""
        if self._cutter is None or self._cutter[0] != quantizer.name:
            run = self.run
            probe = with_outputs(form.model, read_by(form.model, quantizer))
            model = from_proto(onnx.load_model_from_string(probe))
            plan = alone(form.plan, quantizer)
            row = form.table[quantizer.name]
            encoding = with_threshold(plan, quantizer, row, row.threshold, row.method).encoding
            part = Form(model, plan, state=State({quantizer.name: encoding}, {}, {}))
            reference = run.executor.share(probe)
            own = replace(part, model=form.model)  # whose nodes tell the network's work
            cutter = Cutter(run, own, fused(run, part, own_outputs=True), reference, by_measure=False)
            self._cutter = (quantizer.name, cutter)
            self._power = self._power_of(reference)
            self._current = np.zeros_like(self._power)
        return self._cutter[1]

    def _power_of(self, reference: Blob) -> Errors:
        """Sum of squares of each float output, (images, outputs)."""
        run, tuning = self.run, self.run.tuning
        parts = portions(tuning, 0, len(tuning), run.executor.workers)
        units = [Outputs(reference, run.data, part.indices, part.number) for part in parts]
        results = [result["power"] for result in run.results(units)]
        run.cost_so_far.fp32_forwards += len(tuning)
        return in_order(results, parts, axis=0)


def alone(plan: Plan, quantizer: Quantizer) -> Plan:
    """A plan with this quantizer and nothing else; it stands in front of all its readers, in ONNX Runtime."""
    return replace(plan, target=ORT, layers=(), quantizers=(quantizer,), dropped=frozenset())


def read_by(model: ir.Model, quantizer: Quantizer) -> Sequence[str]:
    """Outputs of the nodes that read a quantizer's tensors; of what nothing reads, the tensor itself."""
    found: dict[str, None] = {}
    for value in values_of(model.graph):
        if value.name not in quantizer.tensors:
            continue
        for node in dict.fromkeys(use.node for use in value.uses()):
            outputs = (saturating_follower(node) or node).outputs
            named = [o for o in outputs if o.name and is_float(o)]  # one that is left out has no name
            found |= {o.name or "": None for o in named if o.name not in quantizer.tensors}
        if value.is_graph_output():
            found[value.name or ""] = None
    return tuple(found)
