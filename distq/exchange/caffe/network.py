"""What of a prototxt is computed in deployment: inputs, and layers with tensors that have one writer each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distq.errors import ModelError
from distq.exchange.caffe.declared import declared_inputs, is_input
from distq.exchange.caffe.prototxt import Prototxt, included
from distq.exchange.caffe.schema import Message
from distq.exchange.caffe.weights import Blob

_V1_TYPES = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "HDF5_DATA": "HDF5Data",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MVN": "MVN",
    "PRELU": "PReLU",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}
"""The types of V1 files whose names are not the words of today's; BVLC Caffe, upgrade_proto.cpp."""

SCALED_DROPOUT = "scaled Dropout"
"""A Dropout of forks with ``scale_train: false``, which multiplies in deployment instead of in training."""
_PASS_THROUGH = frozenset({"Dropout", "Split"})
_UNUSED = frozenset({"Accuracy", "DetectionEvaluate", "HDF5Output"})
_POST_PROCESSING = frozenset(
    {"YoloDetection", "YoloDetectionOutput", "YoloV3DetectionOutput", "Yolov3DetectionOutput"}
    | {"RegionLoss", "RegionDetectionOutput", "RegionOutput", "RetinaFaceDetection", "FrcnDetection"}
)
"""Layers of forks that make boxes of a detector's outputs, each in a way of its own."""


@dataclass(frozen=True)
class Layer:
    """A layer that is converted.

    ``bottoms`` and ``tops`` are tensors, each written once: of a blob that layers change in place, only the
    last writer's tensor has the blob's name.
    """

    path: Path
    line: int
    name: str
    type: str
    message: Message
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    blobs: list[Blob] = field(default_factory=list)

    @property
    def own_tops(self) -> tuple[str, ...]:
        """The blobs that ``tops`` are in the file; in-place layers share one."""
        return tuple(self.message.top)[-len(self.tops) :] or self.tops

    def error(self, reason: str) -> ModelError:
        """What is wrong with this layer, with its place in the file."""
        return ModelError(f"{self.path}, line {self.line}: layer {self.name} ({self.type}) {reason}")

    def axis(self, axis: int, shape: Sequence[int]) -> int:
        """An axis counted from the start; negative ones count from the end.

        Raises:
            ModelError: there is none of this number.
        """
        if not -len(shape) <= axis < len(shape):
            raise self.error(f"has the axis {axis}, its input of {list(shape)} has none of that number")
        return axis % len(shape)


@dataclass(frozen=True)
class Network:
    """The part of a prototxt that a deployed network has.

    ``inputs`` are the shapes of its input tensors, with Caffe's batch axis first; ``outputs`` maps the blobs
    that no layer reads to the tensors that hold them. ``left_out`` names post-processing, with its lines.
    """

    inputs: dict[str, tuple[int, ...]]
    layers: tuple[Layer, ...]
    outputs: dict[str, str]
    left_out: tuple[str, ...] = ()


def resolve(source: Prototxt) -> Network:
    """Choose the layers of the TEST phase, and give every tensor one writer.

    Raises:
        ModelError: a layer reads a blob that nothing writes, or the file is too old.
    """
    kept = [(layer, line) for layer, line in source.layers() if included(source, layer, line)]
    inputs = declared_inputs(source, kept)
    computing = _computing(kept)
    writers = Counter(top for _, _, kind, tops in computing if kind not in _PASS_THROUGH for top in tops)
    names = _Names({*inputs, *writers})
    tensors = {name: name for name in inputs}
    unread = dict.fromkeys(inputs)
    labels = {top for layer, _ in kept if is_input(layer) for top in layer.top} - set(inputs)
    layers = []
    for layer, line, kind, tops in computing:
        bottoms = list(layer.bottom[:1] if kind == "Softmax" else layer.bottom)
        if not labels.isdisjoint(bottoms):
            labels.update(tops)
            continue
        for blob in bottoms:
            if blob not in tensors:
                raise ModelError(
                    f"{source.path}, line {line}: layer {layer.name} reads {blob}, "
                    "which no layer before it writes"
                )
            unread.pop(blob, None)
        if kind == "Silence":
            continue
        read = tuple(tensors[blob] for blob in bottoms)
        if kind in _PASS_THROUGH and read:
            tensors.update(dict.fromkeys(tops, read[0]))
        else:
            for top in tops:
                writers[top] -= 1
                last = writers[top] == 0 and top not in inputs
                tensors[top] = top if last else names.free(layer.name, kind)
            found = tuple(tensors[top] for top in tops)
            layers.append(Layer(source.path, line, layer.name, kind, layer, read, found))
        for top in tops:
            unread.pop(top, None)
            unread[top] = None
    outputs = {
        tensors[blob] if blob in inputs else blob: tensors[blob]
        for blob in unread
        if tensors[blob] != blob or blob not in inputs
    }
    if not layers or not outputs:
        raise ModelError(f"{source.path} has no layers that compute anything: give Caffe's deploy.prototxt")
    dropped = [(layer, line) for layer, line in kept if _type(layer) in _POST_PROCESSING]
    left_out = tuple(f"line {line}: {layer.name} ({layer.type})" for layer, line in dropped)
    return Network(inputs, tuple(layers), outputs, left_out)


@dataclass
class _Names:
    """Tensor names in use."""

    taken: set[str]

    def free(self, layer: str, kind: str) -> str:
        """The layer's name, or one made of it where a blob has it."""
        name, counter = layer, 0
        while name in self.taken:
            name = f"{layer}_{kind}" + (f"_{counter}" if counter else "")
            counter += 1
        self.taken.add(name)
        return name


def _type(layer: Message) -> str:
    """A layer's type in the words of today's files."""
    kind = str(layer.type)
    if layer.DESCRIPTOR.name == "V1LayerParameter" and kind.isupper():
        return _V1_TYPES.get(kind, "".join(word.capitalize() for word in kind.split("_")))
    return kind


def _computing(layers: Sequence[tuple[Message, int]]) -> list[tuple[Message, int, str, tuple[str, ...]]]:
    """Layers that deployment has, each with its line, type and blobs written; no losses and no measures.

    A SoftmaxWithLoss stands for the Softmax of deployment, unless there is one already.
    """
    softmax = {blob for layer, _ in layers if _type(layer) == "Softmax" for blob in layer.bottom}
    found = []
    for layer, line in layers:
        kind, tops = _type(layer), tuple(layer.top) or (layer.name,)
        if kind in {"SoftmaxWithLoss", "SoftmaxLoss"} and layer.bottom[0] not in softmax:
            kind, tops = "Softmax", tops[-1:]
        if kind == "Dropout" and not layer.dropout_param.scale_train:
            kind = SCALED_DROPOUT
        if not (is_input(layer) or kind.endswith("Loss") or kind in _UNUSED | _POST_PROCESSING):
            found.append((layer, line, kind, tops))
    return found
