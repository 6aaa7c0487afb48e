"""Units that measure the quantized network with parts of it in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
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
    """

    exported: Blob
    original: Blob
    part: FloatPart
    float_model: Blob
    data: DatasetSpec
    indices: Sequence[int]
    lowered: Lowered | None = None

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        networks = [blob.sha256 for blob in (self.exported, self.original, self.float_model)]
        part = _identity(self.part)
        lowered = self.lowered.key if self.lowered else ()
        return content_key("variant", networks, part, self.data.source, self.indices, *lowered)

    @property
    def label(self) -> str:
        """For a person."""
        tensors, layers = len(self.part.integers), len(self.part.layers)
        return f"{tensors} tensors and {layers} layers in float"

    def run(self, worker: Worker) -> Arrays:
        """``error``, ``power``, ``candidate_power``, ``dot``: (images, outputs); ``loss``: (images,)."""
        exported, original = (_network(worker, blob) for blob in (self.exported, self.original))
        model = put_back(exported, original, self.part)
        session = Session(model, worker.settings, fused=True)
        rows, losses = [], []
        for index, inputs in kept_inputs(worker, self.data, self.indices):
            reference = float_outputs(worker, self.float_model, self.data, index, inputs)
            found = as_numbers(session.run(inputs))
            rows.append(compare(found, reference))
            if self.lowered is not None:
                beside = self.lowered.beside(worker, self.data, index, reference)
                losses.append(self.lowered.error(found, beside).mean())
        return asdict(merge(rows)) | ({"loss": np.array(losses)} if self.lowered else {})


@dataclass(frozen=True)
class VariantSteps:
    """What each step from one variant to the next does to the network outputs.

    Attributes:
        exported: the QDQ network, every Relu and Clip in it.
        original: the float network it was made from.
        parts: what is float in each variant, in order; each is compared with the one before.
        data, indices: the samples.
        lowered: also give this loss, the one before being the truth.
    """

    exported: Blob
    original: Blob
    parts: Sequence[FloatPart]
    data: DatasetSpec
    indices: Sequence[int]
    lowered: Lowered | None = None

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        networks = [blob.sha256 for blob in (self.exported, self.original)]
        parts = [_identity(part) for part in self.parts]
        lowered = self.lowered.key if self.lowered else ()
        return content_key("variant steps", networks, parts, self.data.source, self.indices, *lowered)

    @property
    def label(self) -> str:
        """For a person."""
        return f"{len(self.parts) - 1} steps of what is in float"

    def run(self, worker: Worker) -> Arrays:
        """``error``, ``power``, ``candidate_power``, ``dot``: (steps x images, outputs); ``loss``."""
        exported, original = (_network(worker, blob) for blob in (self.exported, self.original))
        rows, losses = [], []
        before: dict[int, list[npt.NDArray[Any]]] = {}
        for part in self.parts:
            session = Session(put_back(exported, original, part), worker.settings, fused=True)
            for index, inputs in kept_inputs(worker, self.data, self.indices):
                found = as_numbers(session.run(inputs))
                if index in before:
                    rows.append(compare(found, before[index]))
                    if self.lowered is not None:
                        beside = self.lowered.beside(worker, self.data, index, before[index])
                        losses.append(self.lowered.error(found, beside).mean())
                before[index] = found
        return asdict(merge(rows)) | ({"loss": np.array(losses)} if self.lowered else {})


def _identity(part: FloatPart) -> list[object]:
    layers, biases = [layer.name for layer in part.layers], arrays_key(part.biases)
    return [part.integers, layers, part.float_inputs, biases]


def _network(worker: Worker, blob: Blob) -> onnx.ModelProto:
    """A network's graph, parsed once on this worker."""

    def build() -> onnx.ModelProto:
        return onnx.load_model_from_string(worker.fetch(blob))

    found: onnx.ModelProto = worker.cached(("proto", blob.sha256), build, lambda p: p.ByteSize())
    return found
