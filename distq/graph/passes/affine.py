"""Fold per-channel multiplications and additions into the compute node before them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.graph.edits import add_initializer, take_over
from distq.graph.passes.among import among_integers, between_layers, in_groups
from distq.graph.values import constant, is_float, only_reader

Array = npt.NDArray[np.float64]


class FoldAffine(ir.passes.InPlacePass):
    """Fold BatchNormalization, Mul, Div, Add and Sub by constants into Conv, ConvTranspose and Gemm.

    * The compute node's output has no other reader, and its weights are constants.
    * The constant is a scalar or has one value a channel.
    * The folded output keeps the name of the last node: the layer's name in the user's model.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """One walk in order: a folded node is looked at again, with its next follower."""
        modified = False
        for node in list(model.graph):
            while (follower := _follower(node)) is not None and _fold(model.graph, node, follower):
                modified = True
        return ir.passes.PassResult(model, modified)


class BatchNormToConv(ir.passes.InPlacePass):
    """A BatchNormalization nobody could take in becomes a 1x1 depthwise Conv, which INT8 can carry.

    * The input has four dimensions and a known number of channels; the five inputs are constants.
    * What follows is folded into it, as :class:`FoldAffine` does.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        for node in list(model.graph):
            found = _batch_norm(node)
            if (
                found is None
                or node.inputs[0] is None
                or node.inputs[0].shape is None
                or len(node.inputs[0].shape) != 4
            ):
                continue
            _become_conv(model.graph, node, node.inputs[0], *found)
            modified = True
        return ir.passes.PassResult(model, modified)


class AffineToConv(ir.passes.InPlacePass):
    """Mul, Add or Sub by constants a channel that nobody could take in become a 1x1 depthwise Conv.

    * The tensor has four dimensions and a known number of channels, and the constant one value for each.
    * What writes the tensor runs on integers, and so does all that reads the result, a Relu or Clip included.

    A Conv has a scale for each channel and an offset in 32 bits: these constants are exact in it. In an
    integer Mul or Add they would share one scale of 8 bits.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place, and fold what follows into it."""
        modified = False
        between, grouped = between_layers(model.graph), in_groups(model.graph)
        for node in list(model.graph):
            if node.graph is None or node not in between:
                continue
            found = _affine_of_images(node)
            if found is not None and among_integers(node, grouped):
                _become_conv(model.graph, node, *found)
                modified = True
        return ir.passes.PassResult(model, modified)


def _become_conv(graph: ir.Graph, node: ir.Node, data: ir.Value, scale: Array, shift: Array) -> None:
    """Put a 1x1 depthwise Conv in place of a node, and fold what follows into it."""
    name = node.outputs[0].name
    weight = add_initializer(graph, f"{name}_weight", scale.astype(np.float32).reshape(-1, 1, 1, 1))
    bias = add_initializer(graph, f"{name}_bias", shift.astype(np.float32))
    conv = ir.node(
        "Conv", [data, weight, bias], {"group": scale.size, "kernel_shape": [1, 1]}, name=node.name
    )
    graph.insert_before(node, conv)
    take_over(conv.outputs[0], node)
    while (follower := _follower(conv)) is not None and _fold(graph, conv, follower):
        pass


def _affine_of_images(node: ir.Node) -> tuple[ir.Value, Array, Array] | None:
    """What a node reads of images, and the factor and offset that it gives each of their channels."""
    if node.op_type not in {"Mul", "Add", "Sub"} or node.domain or len(node.inputs) != 2:
        return None
    data = next((v for v in node.inputs if v is not None and constant(v) is None), None)
    operand = next((a for v in node.inputs if (a := constant(v)) is not None), None)
    if data is None or operand is None or data.shape is None or len(data.shape) != 4:
        return None
    channels = data.shape[1]
    if not isinstance(channels, int) or channels == 1 or operand.size != channels or not is_float(data):
        return None
    found = _affine(data, 4, node, channels)
    return None if found is None or not np.isfinite(found).all() else (data, *found)


def _follower(node: ir.Node) -> ir.Node | None:
    if (
        node.op_type not in {"Conv", "ConvTranspose", "Gemm"}
        or node.domain
        or constant(node.inputs[1]) is None
    ):
        return None
    return only_reader(node.outputs[0])


def _fold(graph: ir.Graph, node: ir.Node, follower: ir.Node) -> bool:
    weight = constant(node.inputs[1])
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    if (
        weight is None
        or weight.dtype != np.float32
        or (bias is None and len(node.inputs) > 2 and node.inputs[2] is not None)
    ):
        return False
    if node.op_type == "Gemm" and (
        node.attributes.get_float("alpha", 1.0) != 1.0 or node.attributes.get_float("beta", 1.0) != 1.0
    ):
        return False
    channels = _channels(node, weight)
    if bias is not None and not (bias.size == 1 or bias.size == bias.shape[-1] == channels):
        return False
    affine = _affine(node.outputs[0], _rank(node), follower, channels)
    if affine is None:
        return False
    scale, shift = affine
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        return False
    folded_weight = _scaled(node, weight.astype(np.float64), scale)
    folded_bias = (
        0.0 if bias is None else np.broadcast_to(bias.reshape(-1), (channels,)).astype(np.float64)
    ) * scale + shift
    name = follower.outputs[0].name
    node.replace_input_with(1, add_initializer(graph, f"{name}_weight", folded_weight.astype(np.float32)))
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, add_initializer(graph, f"{name}_bias", folded_bias.astype(np.float32)))
    take_over(node.outputs[0], follower)
    return True


def _channels(node: ir.Node, weight: npt.NDArray[np.float32]) -> int:
    shape: tuple[int, ...] = weight.shape
    if node.op_type == "Conv":
        return shape[0]
    if node.op_type == "ConvTranspose":
        return shape[1] * node.attributes.get_int("group", 1)
    return shape[0 if node.attributes.get_int("transB", 0) else 1]


def _scaled(node: ir.Node, weight: Array, scale: Array) -> Array:
    if node.op_type == "Conv":
        return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    if node.op_type == "ConvTranspose":
        group = node.attributes.get_int("group", 1)
        parts = weight.reshape(group, -1, *weight.shape[1:])
        return (parts * scale.reshape(group, 1, -1, *[1] * (weight.ndim - 2))).reshape(weight.shape)
    return weight * (scale.reshape(-1, 1) if node.attributes.get_int("transB", 0) else scale.reshape(1, -1))


def _affine(data: ir.Value, rank: int, follower: ir.Node, channels: int) -> tuple[Array, Array] | None:
    """Scale and shift, each (channels,), that ``follower`` applies to a tensor of so many dimensions."""
    if follower.domain or follower.op_type not in {"BatchNormalization", "Mul", "Add", "Sub", "Div"}:
        return None
    if follower.op_type == "BatchNormalization":
        return _batch_norm(follower)
    position = 1 if follower.inputs[0] is data else 0
    operand = constant(follower.inputs[position])
    values = None if operand is None else _per_channel(operand, rank, channels)
    if values is None or (position == 0 and follower.op_type == "Div"):
        return None
    return factor_and_offset(follower.op_type, position, values)


def factor_and_offset(operator: str, position: int, values: Array) -> tuple[Array, Array]:
    """What Mul, Div, Add or Sub with a constant does to a tensor, each (channels,).

    Args:
        operator: its type.
        position: of the constant among the two inputs.
        values: of the constant, (channels,); a divisor of 0 gives an infinite factor.
    """
    ones, zeros = np.ones(len(values)), np.zeros(len(values))
    match operator:
        case "Mul":
            return values, zeros
        case "Div":
            return np.divide(ones, values, out=np.full(len(values), np.inf), where=values != 0), zeros
        case "Add":
            return ones, values
        case _:
            return (ones, -values) if position == 1 else (-ones, values)


def _rank(node: ir.Node) -> int:
    weight = constant(node.inputs[1])
    return 0 if weight is None else weight.ndim


def _per_channel(operand: np.ndarray, rank: int, channels: int) -> Array | None:
    """A scalar or (1, C, 1, ...) operand as (channels,).

    None when it varies elsewhere or would broadcast the output.
    """
    if operand.dtype != np.float32 or operand.ndim > rank:
        return None
    shape = (1,) * (rank - operand.ndim) + operand.shape
    if any(d != 1 for i, d in enumerate(shape) if i != 1) or shape[1] not in {1, channels}:
        return None
    return np.broadcast_to(operand.reshape(-1).astype(np.float64), (channels,)).copy()


def _trains(batch_norm: ir.Node) -> bool:
    """Whether it normalizes by the statistics of the batch; before opset 14 further outputs say so."""
    return bool(batch_norm.attributes.get_int("training_mode", 0)) or any(
        v.name for v in batch_norm.outputs[1:]
    )


def _batch_norm(node: ir.Node) -> tuple[Array, Array] | None:
    if node.op_type != "BatchNormalization" or node.domain or _trains(node):
        return None
    found = [constant(v) for v in node.inputs[1:5]]
    if any(a is None for a in found):
        return None
    gamma, beta, mean, variance = (np.asarray(a, np.float64) for a in found)
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    return scale, beta - mean * scale
