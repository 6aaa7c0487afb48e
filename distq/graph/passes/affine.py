"""Fold per-channel multiplications and additions into the compute node before them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.graph.edits import add_initializer, take_over
from distq.graph.values import constant, only_reader

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
            scale, shift = found
            name = node.outputs[0].name
            weight = add_initializer(
                model.graph, f"{name}_weight", scale.astype(np.float32).reshape(-1, 1, 1, 1)
            )
            bias = add_initializer(model.graph, f"{name}_bias", shift.astype(np.float32))
            conv = ir.node(
                "Conv",
                [node.inputs[0], weight, bias],
                {"group": scale.size, "kernel_shape": [1, 1]},
                name=node.name,
            )
            model.graph.insert_before(node, conv)
            take_over(conv.outputs[0], node)
            modified = True
        return ir.passes.PassResult(model, modified)


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
    affine = _affine(node, follower, channels)
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


def _affine(  # noqa: PLR0911  # one return an operator
    node: ir.Node, follower: ir.Node, channels: int
) -> tuple[Array, Array] | None:
    """Scale and shift, each (channels,), that ``follower`` applies to the output of ``node``."""
    if follower.domain or follower.op_type not in {"BatchNormalization", "Mul", "Add", "Sub", "Div"}:
        return None
    if follower.op_type == "BatchNormalization":
        return _batch_norm(follower)
    position = 1 if follower.inputs[0] is node.outputs[0] else 0
    operand = constant(follower.inputs[position])
    values = None if operand is None else _per_channel(operand, _rank(node), channels)
    if values is None or (position == 0 and follower.op_type == "Div"):
        return None
    ones, zeros = np.ones(channels), np.zeros(channels)
    match follower.op_type:
        case "Mul":
            return values, zeros
        case "Div":
            return np.divide(ones, values, out=np.full(channels, np.inf), where=values != 0), zeros
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
