"""Layers that ONNX Runtime fused with what is behind them, as they were: files saved after its optimizations.

FusedConv, FusedGemm, FusedMatMul and Attention are operators of its domain com.microsoft. They have no
integer kernels, and no other runtime has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from onnx.helper import make_node, make_tensor

_PARAMETERS = {"LeakyRelu": ("alpha",), "Elu": ("alpha",), "HardSigmoid": ("alpha", "beta")}
"""Attributes of activations, in the order in which FusedConv lists their values."""

_FUSED = frozenset({"FusedConv", "FusedGemm", "FusedMatMul", "Attention"})

_HEADS = frozenset({"num_heads", "scale", "mask_filter_value", "unidirectional"})
"""Attributes that Attention and MultiHeadAttention share."""

_PLAIN = frozenset({"Relu", "Sigmoid", "Tanh"})


def unfused(node: onnx.NodeProto, opset: int) -> list[onnx.NodeProto]:
    """The nodes that a fused one was made of; the node itself where it is none, or has an unknown activation.

    The layer keeps the name of the node, the last of them its output.

    Args:
        node: any.
        opset: of the model.
    """
    if node.domain != "com.microsoft" or node.op_type not in _FUSED:
        return [node]
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Attention":
        return _projected(node, given, opset)
    kind = given.pop("activation", b"").decode()
    numbers = _activation_numbers(given)
    if kind not in {"", "Clip", *_PLAIN, *_PARAMETERS}:
        return [node]
    if node.op_type == "FusedMatMul":
        return _scaled_product(node, given)
    return list(_parts(node, given, kind, numbers, opset))


def _activation_numbers(given: dict[str, Any]) -> list[float]:
    """Take the activation's numbers out of the attributes."""
    listed = given.pop("activation_params", None)
    parts = ("activation_alpha", "activation_beta", "activation_gamma")
    own = [given.pop(name) for name in parts if name in given]
    return [float(number) for number in (own if listed is None else listed)]


def _parts(
    node: onnx.NodeProto, given: dict[str, Any], kind: str, numbers: list[float], opset: int
) -> Iterator[onnx.NodeProto]:
    (out,) = node.output
    inputs = [*node.input]
    added = inputs.pop(3) if node.op_type == "FusedConv" and len(inputs) > 3 else ""
    layer = f"{out}_before_{kind or 'Add'}"
    value = layer if kind or added else out
    yield make_node(node.op_type.removeprefix("Fused"), inputs, [value], name=node.name, **given)
    if added:
        total = f"{out}_sum" if kind else out
        yield make_node("Add", [value, added], [total])
        value = total
    if kind == "Clip" and opset >= 11:
        bounds = [f"{out}_{end}" for end in ("least", "most")]
        for name, number in zip(bounds, numbers, strict=True):
            yield make_node(
                "Constant", [], [name], value=make_tensor(name, onnx.TensorProto.FLOAT, [], [number])
            )
        yield make_node("Clip", [value, *bounds], [out])
    elif kind:
        names = ("min", "max") if kind == "Clip" else _PARAMETERS.get(kind, ())
        made = make_node(kind, [value], [out])
        made.attribute.extend(map(onnx.helper.make_attribute, names, numbers))
        yield made


def _scaled_product(node: onnx.NodeProto, given: dict[str, Any]) -> list[onnx.NodeProto]:
    """One whose inputs are turned stays: how many dimensions they have is not known yet."""
    factor = given.pop("alpha", 1.0)
    if any(given.values()):
        return [node]
    (out,) = node.output
    if factor == 1.0:
        return [make_node("MatMul", node.input, [out], name=node.name)]
    product, scale = f"{out}_product", f"{out}_factor"
    return [
        make_node("MatMul", node.input, [product], name=node.name),
        make_node("Constant", [], [scale], value=make_tensor(scale, onnx.TensorProto.FLOAT, [], [factor])),
        make_node("Mul", [product, scale], [out]),
    ]


def _projected(node: onnx.NodeProto, given: dict[str, Any], opset: int) -> list[onnx.NodeProto]:
    """The projections of an Attention, of equal widths, in front of a MultiHeadAttention.

    One that rotates positions, or has a past, stays.
    """
    read: list[str] = [*node.input, *[""] * (4 - len(node.input))]
    data, weight, bias, mask, *more = read
    if given.pop("do_rotary", 0) or "qkv_hidden_sizes" in given or any(more) or len(node.output) > 1:
        return [node]
    (out,) = node.output
    product, projected = (f"{out}_{part}" for part in ("product", "projected"))
    parts = [f"{out}_{part}" for part in ("query", "key", "value")]
    nodes = [make_node("MatMul", [data, weight], [product], name=node.name)]
    nodes += [make_node("Add", [product, bias], [projected])] if bias else []
    split = make_node("Split", [projected if bias else product], parts, axis=-1)
    if opset >= 18:
        split.attribute.append(onnx.helper.make_attribute("num_outputs", 3))
    inputs = [*parts, "", mask] if mask else parts
    given = {name: value for name, value in given.items() if name in _HEADS}
    attention = make_node("MultiHeadAttention", inputs, [out], f"{out}_heads", domain=node.domain, **given)
    return [*nodes, split, attention]
