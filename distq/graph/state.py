"""The numbers of a quantized model.

Encodings, integer weights and float biases, and the constants they become.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from distq.graph.channel_gates import Written
from distq.graph.held_bias import HeldBias
from distq.graph.integer_weight import IntegerWeight, nearest
from distq.graph.layers import Layer
from distq.graph.names import Constants, Names
from distq.graph.plan import Plan
from distq.graph.subpixel import as_conv, by_phase
from distq.graph.values import constant
from distq.quant.scheme import Encoding, fit_weight_scale

if TYPE_CHECKING:
    import onnx_ir as ir


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
        weight = nearest(array, layer, axis, plan.weight_room(model.graph.node(layer.node)))
        if has_bias(layer):
            bias = float_bias(model, layer, weight.channels)
            biases[layer.name] = bias
            step = encodings[readers[layer.inputs[0]].name].scale
            fitted = fit_weight_scale(weight.scale, bias, step)
            if not np.array_equal(fitted, weight.scale):
                weight = nearest(array, layer, axis, weight.room, fitted)
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
    held = HeldBias.of(plan, state.encodings, state.weights[layer.name].scale, layer)
    return held.constants(names, layer, state.biases[layer.name])


def quantizer_constants(plan: Plan, state: State, names: Names, quantizer: str) -> Constants:
    """The constants that follow one quantizer: its own, and the int32 biases of the layers that read it."""
    found = written_encoding(plan, state, names, quantizer)
    for layer in readers(plan, quantizer):
        found.update(bias_constants(plan, state, names, layer))
    return found


def readers(plan: Plan, quantizer: str) -> Iterable[Layer]:
    """Layers whose int32 bias follows a quantizer, as it has the scale of their accumulator."""
    tensors = next(q.tensors for q in plan.quantizers if q.name == quantizer)
    held = (layer for layer in plan.layers if not plan.has_float_bias(layer))
    return [layer for layer in held if layer.inputs[0] in tensors]
