"""Unit that measures the quantized network with a part of it in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import onnx

from distq.data.dataset import DatasetSpec
from distq.graph.variants import FloatPart, put_back
from distq.replica.float32 import float_outputs
from distq.replica.keys import arrays_key, content_key
from distq.replica.lowered import Lowered
from distq.replica.outputs import as_numbers
from distq.replica.samples import kept_inputs
from distq.replica.session import Session
from distq.replica.worker import Arrays, Blob, Worker
from distq.search.metrics import compare, merge


@dataclass(frozen=True)
class VariantErrors:
    """Squared error of the network outputs with a part in float.

    The variant is made on the worker: two networks are shared, however many variants there are.

    Attributes:
        exported: the QDQ network, every Relu and Clip in it.
        original: the float network it was made from.
        part: what is float.
        float_model: gives the outputs to compare with.
        data, indices: the samples.
        lowered: also give this loss.
        float_network: most of it is in float; run that as fast as can be.
    """

    exported: Blob
    original: Blob
    part: FloatPart
    float_model: Blob
    data: DatasetSpec
    indices: Sequence[int]
    lowered: Lowered | None = None
    float_network: bool = False

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        networks = [blob.sha256 for blob in (self.exported, self.original, self.float_model)]
        layers, biases = [layer.name for layer in self.part.layers], arrays_key(self.part.biases)
        part = [self.part.integers, layers, self.part.float_inputs, biases]
        lowered = self.lowered.key if self.lowered else ()
        how = ("in float",) if self.float_network else ()
        return content_key("variant", networks, part, self.data.source, self.indices, *lowered, *how)

    @property
    def label(self) -> str:
        """For a person."""
        tensors, layers = len(self.part.integers), len(self.part.layers)
        return f"{tensors} tensors and {layers} layers in float"

    def run(self, worker: Worker) -> Arrays:
        """``error``, ``power``, ``candidate_power``, ``dot``: (images, outputs); ``loss``: (images,)."""
        exported, original = (_network(worker, blob) for blob in (self.exported, self.original))
        model = put_back(exported, original, self.part)
        session = Session(model, worker.settings, fused=True, float_network=self.float_network)
        rows, losses = [], []
        for index, inputs in kept_inputs(worker, self.data, self.indices):
            reference = float_outputs(worker, self.float_model, self.data, index, inputs)
            found = as_numbers(session.run(inputs))
            rows.append(compare(found, reference))
            if self.lowered is not None:
                beside = self.lowered.beside(worker, self.data, index, reference)
                losses.append(self.lowered.error(found, beside).mean())
        return asdict(merge(rows)) | ({"loss": np.array(losses)} if self.lowered else {})


def _network(worker: Worker, blob: Blob) -> onnx.ModelProto:
    """A network's graph, parsed once on this worker."""

    def build() -> onnx.ModelProto:
        return onnx.load_model_from_string(worker.fetch(blob))

    found: onnx.ModelProto = worker.cached(("proto", blob.sha256), build, lambda p: p.ByteSize())
    return found
