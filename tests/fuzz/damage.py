"""Damage: to bytes of any file, and to a network that stays a readable protobuf."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

Generator = np.random.Generator

_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
_SIGNED = (-(1 << 63), -1, 0, 1, 7, 1 << 31, (1 << 63) - 1)
_OPERATORS = (
    "Conv",
    "Gemm",
    "Reshape",
    "Concat",
    "Loop",
    "Gather",
    "ConstantOfShape",
    "Tile",
    "Nonsense",
    "",
)
_PLACES = ("../../etc/passwd", "/dev/zero", "model.onnx", "", "\0", "a" * 5000)


def mutate(data: bytes, rng: Generator) -> bytes:
    """A few small damages: bits, bytes, numbers, and pieces that go, come twice or come from elsewhere."""
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(0, len(damaged) + 1))
        length = int(rng.integers(1, 1 << int(rng.integers(1, 8))))
        match int(rng.integers(0, 7)):
            case 0 if place < len(damaged):
                damaged[place] ^= 1 << int(rng.integers(0, 8))
            case 1:
                damaged[place : place + length] = rng.bytes(length)
            case 2:
                width = int(rng.choice([1, 2, 4, 8]))
                number = int(rng.choice(len(_NUMBERS)))
                damaged[place : place + width] = _NUMBERS[number].to_bytes(8, "little")[:width]
            case 3:
                del damaged[place : place + length]
            case 4:
                damaged[place:place] = damaged[place : place + length]
            case 5:
                other = int(rng.integers(0, len(damaged) + 1))
                damaged[place : place + length] = damaged[other : other + length]
            case 6 if rng.integers(0, 4) == 0:
                del damaged[place:]
    return bytes(damaged)


def small_network() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = [
        onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in {"w": (4, 3, 3, 3), "b": (4,), "v": (4, 4, 1, 1), "g": (16, 5)}.items()
    ]
    shape = onnx.numpy_helper.from_array(np.array([1, -1], np.int64), "shape")
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Clip", ["c"], ["r"], min=0.0, max=6.0),
        helper.make_node("Conv", ["r", "v"], ["d"], group=1),
        helper.make_node("Add", ["d", "r"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["p", "shape"], ["f"]),
        helper.make_node("MatMul", ["f", "g"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [*weights, shape],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=7)


def damage_network(model: onnx.ModelProto, rng: Generator) -> None:
    """Make one name, type, shape or number of a network not go with the rest."""
    _WAYS[int(rng.integers(0, len(_WAYS)))](model, rng)


def _operator(model: onnx.ModelProto, rng: Generator) -> None:
    _node(model, rng).op_type = str(rng.choice(_OPERATORS))


def _input(model: onnx.ModelProto, rng: Generator) -> None:
    node = _node(model, rng)
    node.input[int(rng.integers(0, len(node.input)))] = str(rng.choice(["", "x", "y", "w", "shape", "none"]))


def _attributes(model: onnx.ModelProto, rng: Generator) -> None:
    node = _node(model, rng)
    if node.attribute and node.attribute[0].ints and rng.integers(0, 2):
        node.attribute[0].ints[0] = _number(rng)
    else:
        del node.attribute[:]


def _dimension(model: onnx.ModelProto, rng: Generator) -> None:
    _tensor(model, rng).dims[0] = _number(rng)


def _type(model: onnx.ModelProto, rng: Generator) -> None:
    _tensor(model, rng).data_type = int(rng.integers(-1, 30))


def _input_shape(model: onnx.ModelProto, rng: Generator) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[int(rng.integers(0, 4))].dim_value = _number(rng)


def _opset(model: onnx.ModelProto, rng: Generator) -> None:
    model.opset_import[0].version = _number(rng)


def _external(model: onnx.ModelProto, rng: Generator) -> None:
    tensor = _tensor(model, rng)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(rng.choice(_PLACES)))
    tensor.external_data.add(key="length", value=str(_number(rng)))


def _values(model: onnx.ModelProto, rng: Generator) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == "shape":
            tensor.raw_data = np.array([_number(rng), _number(rng)], np.int64).tobytes()


def _missing(model: onnx.ModelProto, rng: Generator) -> None:
    model.graph.initializer.remove(_tensor(model, rng))


_WAYS: tuple[Callable[[onnx.ModelProto, Generator], None], ...] = (
    _operator, _input, _attributes, _dimension, _type, _input_shape, _opset, _external, _values, _missing,
)  # fmt: skip


def _node(model: onnx.ModelProto, rng: Generator) -> onnx.NodeProto:
    return model.graph.node[int(rng.integers(0, len(model.graph.node)))]


def _tensor(model: onnx.ModelProto, rng: Generator) -> onnx.TensorProto:
    with_shape = [tensor for tensor in model.graph.initializer if tensor.dims]
    return with_shape[int(rng.integers(0, len(with_shape)))]


def _number(rng: Generator) -> int:
    return _SIGNED[int(rng.integers(0, len(_SIGNED)))]
