"""Reads off an exported graph what a target says about it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import onnx
from onnx import numpy_helper

from distq.targets.target import Target


class Exported:
    """An exported network, by its nodes, constants and readers."""

    def __init__(self, model: bytes) -> None:
        self.graph = onnx.load_model_from_string(model).graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        self.writer = {name: node for node in self.graph.node for name in node.output}

    @cached_property
    def quantizers(self) -> list[onnx.NodeProto]:
        return [node for node in self.graph.node if node.op_type == "QuantizeLinear"]

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        return [node for node in self.graph.node if tensor in node.input]

    def layers(self, target: Target) -> Iterator[onnx.NodeProto]:
        """Compute nodes that read integers."""
        for node in self.graph.node:
            if node.op_type in target.layers and self.dequantizes(node.input[0]):
                yield node

    def dequantizes(self, tensor: str) -> bool:
        return tensor in self.writer and self.writer[tensor].op_type == "DequantizeLinear"

    def stored(self, tensor: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
        """Integers, scale, zero point and attributes of what a DequantizeLinear of constants writes."""
        node = self.writer[tensor]
        integers, scale, zero_point = (self.constants[name] for name in node.input)
        return integers, scale, zero_point, [a.name for a in node.attribute]


def assert_holds(model: bytes, target: Target, asked: str) -> None:
    """What a target says is so in a network exported for it with a scheme."""
    exported = Exported(model)
    assert exported.quantizers
    assert list(exported.layers(target))
    assert_activations(exported, target, asked)
    assert_places(exported, target, asked)
    for node in exported.layers(target):
        if not exported.dequantizes(node.input[1]):
            continue  # a product of two activations that one quantizer serves
        if exported.writer[node.input[1]].input[0] in exported.constants:
            assert_weight(exported, target, node)
            assert_bias(exported, target, node)


def is_symmetric(target: Target, asked: str) -> bool:
    return asked == "symmetric" or "auto" not in target.schemes


def assert_activations(exported: Exported, target: Target, asked: str) -> None:
    symmetric = is_symmetric(target, asked)
    for node in exported.quantizers:
        zero_point = exported.constants[node.input[2]]
        signed = symmetric and target.signed
        assert zero_point.dtype == (np.int8 if signed else np.uint8)
        if symmetric:
            assert zero_point == (0 if signed else 128)


def assert_places(exported: Exported, target: Target, asked: str) -> None:
    for node in exported.quantizers:
        for dequantize in exported.readers(node.output[0]):
            readers = exported.readers(dequantize.output[0])
            if target.placement == "layer inputs":
                assert readers
                assert {reader.op_type for reader in readers} <= target.layers
    if target.placement == "layer inputs":
        return
    for node in exported.layers(target):
        behind = exported.readers(node.output[0])
        kinds = {reader.op_type for reader in behind}
        if node.op_type in target.writes_float and "QuantizeLinear" not in kinds:
            continue
        alone = target.absorbs_saturation or is_symmetric(target, asked)
        assert kinds <= ({"QuantizeLinear"} if alone else {"QuantizeLinear", "Relu", "Clip"})


def assert_weight(exported: Exported, target: Target, node: onnx.NodeProto) -> None:
    integers, scale, zero_point, attributes = exported.stored(node.input[1])
    assert integers.dtype == np.int8
    assert not zero_point.any()
    assert zero_point.shape == scale.shape
    if target.per_channel_weights and integers.ndim > 1:
        assert scale.shape in {(size,) for size in integers.shape}
        assert attributes == ["axis"]
    else:
        assert scale.shape == ()
        assert attributes == []


def assert_bias(exported: Exported, target: Target, node: onnx.NodeProto) -> None:
    if node.op_type == "MatMul":
        return
    if target.bias == "float32":
        assert exported.constants[node.input[2]].dtype == np.float32
        return
    integers, scale, _, attributes = exported.stored(node.input[2])
    _, weight_scale, _, _ = exported.stored(node.input[1])
    step = exported.constants[exported.writer[node.input[0]].input[1]]
    assert integers.dtype == np.int32
    np.testing.assert_array_equal(scale, step * weight_scale)
    assert attributes == (["axis"] if target.per_channel_weights else [])
