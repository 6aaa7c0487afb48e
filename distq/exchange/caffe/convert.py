"""A Caffe network as an ONNX model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from distq.errors import ModelError
from distq.exchange.caffe.builder import Builder
from distq.exchange.caffe.layers.table import CONVERTERS, WEIGHTED
from distq.exchange.caffe.network import Layer, resolve
from distq.exchange.caffe.prototxt import Prototxt, read_prototxt
from distq.exchange.caffe.weights import Blob, read_weights
from distq.files import sha256_file

SUFFIX, WEIGHTS_SUFFIX = ".prototxt", ".caffemodel"
_MOST_NAMED = 5


@dataclass(frozen=True)
class CaffeNetwork:
    """A converted network.

    ``sha256`` is of the digests of both files, ``notes`` say what was passed over, ``layers`` has the blobs
    that each layer writes.
    """

    model: onnx.ModelProto
    sha256: str
    notes: tuple[str, ...]
    layers: dict[str, tuple[str, ...]]


def load_caffe(prototxt: Path, weights: Path | None = None) -> onnx.ModelProto:
    """The ONNX model of a Caffe network; see :func:`read_caffe`."""
    return read_caffe(prototxt, weights).model


def read_caffe(prototxt: Path, weights: Path | None = None) -> CaffeNetwork:
    """Read a network and its weights.

    Args:
        prototxt: the deploy.prototxt, or a training file, of which the TEST phase is taken.
        weights: the caffemodel; None: the one of the same name beside the prototxt.

    Raises:
        ModelError: a file cannot be read, they do not belong together, or a layer cannot be converted; it is
            named with its line.
    """
    weights = weights or weights_beside(prototxt)
    declared = read_prototxt(prototxt)
    network = resolve(declared)
    _require_known(network.layers)
    stored = read_weights(weights)
    _require_weights(network.layers, weights, stored)
    builder = Builder(
        dict(network.inputs), tensors={*network.inputs, *(t for layer in network.layers for t in layer.tops)}
    )
    for layer in network.layers:
        _convert(builder, replace(layer, blobs=stored.get(layer.name, [])))
    model = builder.model(network.inputs, network.outputs, declared.net.name)
    digests = sha256_file(prototxt) + sha256_file(weights)
    notes = (
        *_left_out(declared, network.left_out),
        *_unknown_fields(declared, network.layers),
        *_unused_weights(weights, stored, declared),
    )
    blobs = {layer.name: layer.own_tops for layer in network.layers}
    return CaffeNetwork(model, hashlib.sha256(digests.encode()).hexdigest(), notes, blobs)


def weights_beside(prototxt: Path) -> Path:
    """The caffemodel of the same name.

    Raises:
        ModelError: there is none.
    """
    found = prototxt.with_suffix(WEIGHTS_SUFFIX)
    if not found.exists():
        raise ModelError(
            f"{prototxt} has no weights beside it, {found.name} is missing: give --weights F.caffemodel"
        )
    return found


def _convert(builder: Builder, layer: Layer) -> None:
    if not layer.bottoms:
        raise layer.error(
            "has no bottom, and distq knows no data layer of this type: put an Input layer in its place"
        )
    try:
        CONVERTERS[layer.type](builder, layer)
    except (
        ArithmeticError,
        LookupError,
        MemoryError,
        ValueError,
    ) as error:  # counts that do not fit one another
        raise layer.error(f"does not fit its input: {error}") from error
    unwritten = [top for top in layer.tops if top not in builder.shapes]
    if unwritten:
        raise layer.error(f"has {len(layer.tops)} tops, and nothing to write to {_few(unwritten)}: remove it")


def _require_known(layers: Sequence[Layer]) -> None:
    unknown = [layer for layer in layers if layer.type not in CONVERTERS]
    if unknown:
        named = _few([f"line {layer.line}: {layer.name} ({layer.type})" for layer in unknown])
        raise ModelError(
            f"{unknown[0].path} has layers that distq does not know: {named}; cut the network before them"
        )


def _require_weights(layers: Sequence[Layer], path: Path, stored: Mapping[str, list[Blob]]) -> None:
    """Name all layers without weights: those of a renamed network lack them together."""
    missing = [layer.name for layer in layers if layer.type in WEIGHTED and not stored.get(layer.name)]
    if missing:
        others = [name for name in stored if name not in {layer.name for layer in layers}]
        remedy = f"it has {_few(others)}, of other names" if others else "it is of another network"
        raise ModelError(
            f"{path} has no weights for {_few(missing)}: {remedy}; give the .caffemodel of this prototxt"
        )


def _left_out(declared: Prototxt, layers: Sequence[str]) -> list[str]:
    """A note on post-processing that stays with the user's program."""
    text = f"{declared.path}: post-processing is left out, the outputs are what it reads: {_few(layers)}"
    return [text] if layers else []


def _unknown_fields(declared: Prototxt, layers: Sequence[Layer]) -> list[str]:
    """A note on fields of forks in layers that are converted, each named where it comes first."""
    unknown = [field for layer in layers for field in declared.unknown_in(layer.line)]
    first: dict[str, int] = {}
    for field in sorted(unknown, key=lambda field: field.line):
        first.setdefault(f"{field.message}.{field.name}", field.line)
    named = [f"line {line}: {name}" for name, line in first.items()]
    return (
        [f"{declared.path}: fields that distq does not know are passed over: {_few(named)}"] if named else []
    )


def _unused_weights(weights: Path, stored: Mapping[str, list[Blob]], declared: Prototxt) -> list[str]:
    """A note on weights of layers that the prototxt does not have at all."""
    named = {layer.name for layer, _ in declared.layers()}
    unused = [name for name in stored if name not in named]
    return [f"{weights} has weights of layers that the prototxt lacks: {_few(unused)}"] if unused else []


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
