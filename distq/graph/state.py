"""The numbers of a quantized model.

Encodings, integer weights and float biases, and the constants they become.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from distq.graph.channel_gates import PARTS as GATE_PARTS
from distq.graph.channel_gates import Written
from distq.graph.held_bias import HeldBias
from distq.graph.layers import Layer
from distq.graph.plan import Plan
from distq.graph.subpixel import as_conv, by_phase
from distq.graph.values import constant, names_in, values_of
from distq.quant.scheme import (
    Encoding,
    along,
    fit_weight_scale,
    quantize_weight,
    round_weight,
)

if TYPE_CHECKING:
    import onnx_ir as ir

Constants = dict[str, npt.NDArray[Any]]
"""Initializers of the quantized model by name."""


PARTS = ("quantized", "scale", "zero_point")
"""What a weight or bias is stored as."""

SWISH_PARTS = (
    *("zero_point", "quantized", "three_scale", "six_scale", "one_scale"),
    *("shift_value", "sum_value", "clip_value", "gate_value"),
)
"""Constants and tensors that a HardSwish is written with."""

SUBPIXEL_PARTS = (
    *("parted", "joined", "strides", "rest", "starts", "ends", "axes", "Shape", "Mul", "Add"),
    *(f"{step}{part}" for step in range(1, 8) for part in ("", "_quantized", "_dequantized")),
)
"""Constants and tensors that a ConvTranspose is written with as a sub-pixel convolution."""


@dataclass(frozen=True)
class IntegerWeight:
    """int8 weights of a layer.

    Attributes:
        integers: shaped as the float weights.
        scale: (channels,), or of no dimension where all weights have one.
        axis: of the output channels; None where there are none.
    """

    integers: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]
    axis: int | None

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return 1 if self.axis is None else self.integers.shape[self.axis]

    def dequantized(self) -> npt.NDArray[np.float32]:
        """The real weights the integers stand for."""
        axis = self.axis if self.scale.ndim else None
        return self.integers.astype(np.float32) * along(self.scale, self.integers.ndim, axis)


@dataclass(frozen=True)
class State:
    """Everything a search may change; the plan says where it goes.

    Attributes:
        encodings: of each quantizer, by its name.
        weights: of each layer with constant weights, by layer name.
        biases: float64, of each layer that can hold one, by layer name; rounded to int32 at the scale of its
            accumulator, or to float32.
    """

    encodings: Mapping[str, Encoding]
    weights: Mapping[str, IntegerWeight]
    biases: Mapping[str, npt.NDArray[np.float64]]

    def with_encoding(self, name: str, encoding: Encoding) -> State:
        """The same numbers with one quantizer changed."""
        return replace(self, encodings={**self.encodings, name: encoding})

    def with_biases(self, biases: Mapping[str, npt.NDArray[np.float64]]) -> State:
        """The same numbers with some biases changed."""
        return replace(self, biases={**self.biases, **biases})


@dataclass(frozen=True)
class Names:
    """Names of what quantization adds to a model; ``tag`` keeps them apart from the user's own."""

    tag: str = ""

    @classmethod
    def free_in(cls, model: ir.Model) -> Names:
        """Names that no value of the model has, its subgraphs' included, and that differ from one another.

        They are looked up once: a model that networks are made of does not change.
        """
        names = _NAMES.get(model)
        if names is None:
            names = _NAMES[model] = cls._free_in(model)
        return names

    @classmethod
    def _free_in(cls, model: ir.Model) -> Names:
        values = [v.name for v in values_of(model.graph) if v.name]  # an output left out has no name
        taken = names_in(model.graph)
        counter = 0
        while True:
            names = cls(f"_distq{counter}" if counter else "")
            made = [name for value in values for name in names.all_of(value)]
            if len(set(made)) == len(made) and taken.isdisjoint(made):
                return names
            counter += 1

    def all_of(self, tensor: str) -> list[str]:
        """Every name that could be made from a tensor's."""
        stems = (self.weight(tensor), self.bias(tensor), self.operand(tensor))
        return [
            self.quantized(tensor),
            self.dequantized(tensor),
            self.scale(tensor),
            self.zero_point(tensor),
            self.unquantized(tensor),
            self.alone(tensor),
            self.read_alone(tensor),
            self.captured(tensor),
            self.float_bias(tensor),
            *(f"{stem}_{part}" for stem in stems for part in (*PARTS, "dequantized", "row", "axis")),
            *(f"{self.swish(tensor)}_{part}" for part in SWISH_PARTS),
            *(f"{self.gate(tensor)}_{part}" for part in GATE_PARTS),
            *(f"{self.subpixel(tensor)}_{part}" for part in SUBPIXEL_PARTS),
        ]

    def quantized(self, tensor: str) -> str:
        """The integer tensor."""
        return f"{tensor}{self.tag}_quantized"

    def dequantized(self, tensor: str) -> str:
        """What its readers see."""
        return f"{tensor}{self.tag}_dequantized"

    def unquantized(self, tensor: str) -> str:
        """A network output before its quantizer, which takes over its name."""
        return f"{tensor}{self.tag}_before_quantizer"

    def alone(self, tensor: str) -> str:
        """A tensor behind an operator that keeps its node and its quantizer apart."""
        return f"{tensor}{self.tag}_alone"

    def read_alone(self, tensor: str) -> str:
        """The same of what is read of a tensor whose channels have scales of their own."""
        return f"{tensor}{self.tag}_read_alone"

    def captured(self, tensor: str) -> str:
        """What graphs inside nodes read in its place."""
        return f"{tensor}{self.tag}_captured"

    def scale(self, name: str) -> str:
        """Scale of a quantizer."""
        return f"{name}{self.tag}_scale"

    def zero_point(self, name: str) -> str:
        """Zero point of a quantizer."""
        return f"{name}{self.tag}_zero_point"

    def weight(self, layer: str) -> str:
        """Stem of a layer's weight constants."""
        return f"{layer}{self.tag}_weight"

    def bias(self, layer: str) -> str:
        """Stem of a layer's bias constants."""
        return f"{layer}{self.tag}_bias"

    def operand(self, tensor: str) -> str:
        """Stem of the constant operand of the node that writes a tensor."""
        return f"{tensor}{self.tag}_operand"

    def swish(self, tensor: str) -> str:
        """Stem of what a HardSwish is written as."""
        return f"{tensor}{self.tag}_swish"

    def gate(self, tensor: str) -> str:
        """Stem of what multiplies a tensor by the factors of its channels, for its SiLU or HardSwish."""
        return f"{tensor}{self.tag}_channels"

    def subpixel(self, tensor: str) -> str:
        """Stem of what a ConvTranspose is written as."""
        return f"{tensor}{self.tag}_subpixel"

    def float_bias(self, layer: str) -> str:
        """A layer's bias where the plan keeps biases in float."""
        return f"{self.bias(layer)}_float"


_NAMES: WeakKeyDictionary[ir.Model, Names] = WeakKeyDictionary()


def initial_state(model: ir.Model, plan: Plan, encodings: Mapping[str, Encoding]) -> State:
    """Weights rounded to nearest, biases as in the float model (zeros where it has none).

    Weight scales leave room for an int32 bias also where biases stay float: ONNX Runtime makes integers of
    them by itself, at the scale of the accumulator.
    """
    readers = plan.by_tensor
    weights: dict[str, IntegerWeight] = {}
    biases: dict[str, npt.NDArray[np.float64]] = {}
    for layer in plan.layers:
        array = float_weight(model, layer)
        if array is None:
            continue
        axis = plan.weight_axis(layer)
        integers, scale = quantize_weight(array, axis)
        weight = IntegerWeight(integers, scale, layer.axis)
        if has_bias(layer):
            bias = float_bias(model, layer, weight.channels)
            biases[layer.name] = bias
            step = encodings[readers[layer.inputs[0]].name].scale
            fitted = fit_weight_scale(scale, bias, step)
            if not np.array_equal(fitted, scale):
                weight = replace(weight, integers=round_weight(array, fitted, axis), scale=fitted)
        weights[layer.name] = weight
    return State(dict(encodings), weights, biases)


def has_bias(layer: Layer) -> bool:
    """Whether the operator takes a bias, so that one can be corrected."""
    return layer.weight is not None and (layer.op != "MatMul" or layer.add is not None)


def float_weight(model: ir.Model, layer: Layer) -> npt.NDArray[np.float32] | None:
    """A layer's weights in the float model."""
    return None if layer.weight is None else constant(model.graph.initializers[layer.weight])


def float_bias(model: ir.Model, layer: Layer, channels: int) -> npt.NDArray[np.float64]:
    """A layer's bias in the float model, (channels,); zeros where it has none."""
    array = None if layer.bias is None else constant(model.graph.initializers[layer.bias])
    return (
        np.zeros(channels)
        if array is None
        else np.broadcast_to(array.reshape(-1), (channels,)).astype(np.float64)
    )


def constants(plan: Plan, state: State, names: Names) -> Constants:
    """All constants the quantized model needs, by the names ``graph.qdq`` gives them."""
    written = Written(plan, state.encodings)
    found = written.constants(names)
    for quantizer in plan.quantizers:
        found.update(encoding_constants(quantizer.name, written.encoding(quantizer.name), names))
    for layer in plan.layers:
        if layer.name not in state.weights:
            continue
        weight, stem = state.weights[layer.name], names.weight(layer.name)
        scale = by_phase(written.weight_scale(layer.name, weight.scale), layer.subpixel)
        found[f"{stem}_quantized"] = as_conv(weight.integers, layer.subpixel)
        found[f"{stem}_scale"] = scale
        found[f"{stem}_zero_point"] = np.zeros(scale.shape, np.int8)
        found.update(bias_constants(plan, state, names, layer))
    return found


def small_constants(plan: Plan, state: State, names: Names) -> Constants:
    """All constants but the weights: what a search changes, small enough to travel with every unit."""
    found: Constants = {}
    for quantizer in plan.quantizers:
        found |= written_encoding(plan, state, names, quantizer.name)
    for layer in plan.layers:
        found |= bias_constants(plan, state, names, layer)
    return found


def written_encoding(plan: Plan, state: State, names: Names, quantizer: str) -> Constants:
    """Scale and zero point of one quantizer of a plan, one of each where gates have the factors."""
    return encoding_constants(quantizer, Written(plan, state.encodings).encoding(quantizer), names)


def encoding_constants(name: str, encoding: Encoding, names: Names) -> Constants:
    """Scale and zero point of one quantizer: of no dimension, or (channels,)."""
    return {
        names.scale(name): np.array(encoding.scale, np.float32),
        names.zero_point(name): np.array(encoding.zero_point, encoding.dtype),
    }


def bias_constants(plan: Plan, state: State, names: Names, layer: Layer) -> Constants:
    """int32 bias, its scale and zero point, or the float32 bias; empty for a layer that holds none."""
    if layer.name not in state.biases:
        return {}
    return HeldBias.of(plan, state, layer).constants(names, layer, state.biases[layer.name])


def quantizer_constants(plan: Plan, state: State, names: Names, quantizer: str) -> Constants:
    """The constants that follow one quantizer: its own, and the int32 biases of the layers that read it."""
    found = written_encoding(plan, state, names, quantizer)
    for layer in readers(plan, quantizer):
        found.update(bias_constants(plan, state, names, layer))
    return found


def readers(plan: Plan, quantizer: str) -> Iterable[Layer]:
    """Layers whose int32 bias follows a quantizer, as it has the scale of their accumulator."""
    if plan.float_biases:
        return []
    tensors = next(q.tensors for q in plan.quantizers if q.name == quantizer)
    return [layer for layer in plan.layers if layer.inputs[0] in tensors]
