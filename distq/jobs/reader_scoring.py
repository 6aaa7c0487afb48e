"""Score a tensor's thresholds at the nodes that read it, with everything else in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir

from distq.graph.layers import saturating_follower
from distq.graph.plan import Plan, Quantizer
from distq.graph.probes import with_outputs
from distq.graph.qdq import export
from distq.graph.rows import with_threshold
from distq.graph.state import Names, State
from distq.graph.values import is_float, values_of
from distq.jobs.context import Job
from distq.jobs.cutter import Cutter
from distq.jobs.dealing import in_order, turns
from distq.jobs.scoring import Diffs, Scorer
from distq.quant.table import Table
from distq.replica.float32 import Outputs
from distq.replica.tensor import Errors
from distq.replica.worker import Blob
from distq.targets.ort import ORT


class ReaderScorer(Scorer):
    """Scores as tpu-mlir's tuner does: one quantizer in a float network (REFERENCE.md 1.5).

    The error of each reader's output is taken relative to that output, both as L2 norms, where the original
    divides by the L1 norm; and a reader's Relu belongs to it, since what that takes away is no loss.
    """

    knows_current = False

    def __init__(self, job: Job) -> None:
        self._cutter: tuple[str, Cutter] | None = None
        super().__init__(job, np.zeros((len(job.readable(job.selection.tuning)), 0)))

    def diff(self, error: Errors) -> Diffs:
        """Relative distance of each image, as a mean over the readers."""
        power = self._power[: len(error)]
        distances: Errors = np.sqrt(error / np.where(power > 0, power, 1.0))
        return np.array([np.mean(row) for row in distances])

    def cutter(self, quantizer: Quantizer, table: Table, state: State) -> Cutter:
        """A network a quantizer, that ends at its readers."""
        del state
        if self._cutter is None or self._cutter[0] != quantizer.name:
            job = self.job
            probe = with_outputs(job.loaded.model, read_by(job.loaded.model, quantizer))
            model = ir.from_proto(onnx.load_model_from_string(probe))
            plan = alone(job.plan, quantizer)
            row = table[quantizer.name]
            encoding = with_threshold(plan, quantizer, row, row.threshold, row.method).encoding
            fused = job.fuse(export(model, plan, State({quantizer.name: encoding}, {}, {})))
            reference = job.executor.share(probe)
            self._cutter = (
                quantizer.name,
                Cutter(replace(job, float_model=reference), plan, fused, Names.free_in(model)),
            )
            self._power = self._power_of(reference)
            self._current = np.zeros_like(self._power)
        return self._cutter[1]

    def _power_of(self, reference: Blob) -> Errors:
        """Sum of squares of each float output, (images, outputs)."""
        job = self.job
        tuning = job.readable(job.selection.tuning)
        hands = turns(tuning, 0, len(tuning), job.executor.workers)
        units = [Outputs(reference, job.data, hand.indices, hand.turn) for hand in hands]
        results = [result["power"] for result in job.results(units)]
        job.cost_so_far.fp32_forwards += len(tuning)
        return in_order(results, hands, axis=0)


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
            found |= {o.name or "": None for o in outputs if is_float(o) and o.name not in quantizer.tensors}
        if value.is_graph_output():
            found[value.name or ""] = None
    return tuple(found)
