"""Layers that add, multiply and compare tensors: Scale, Bias, Axpy and Eltwise."""

from __future__ import annotations

from math import prod

import numpy as np

from distq.exchange.caffe.builder import Builder, Shape
from distq.exchange.caffe.network import Layer
from distq.exchange.caffe.schema import Message

_FOLD = {"PROD": "Mul", "MAX": "Max", "MIN": "Min", "DIV": "Div"}


def scale(net: Builder, layer: Layer) -> None:
    """Multiply by weights, or by a second bottom, from ``axis`` on; then add a bias if there is one."""
    parameters, shape = layer.message.scale_param, net.shape(layer)
    span, factor = _operand(net, layer, parameters, "a scale")
    if not parameters.bias_term:
        net.add(layer, "Mul", [layer.bottoms[0], factor], shape, output=layer.tops[0])
        return
    product = net.add(layer, "Mul", [layer.bottoms[0], factor], shape)
    bias = net.blob(layer, len(layer.blobs) - 1 if layer.blobs else 0, span, "a bias")
    offset = net.constant(layer, "bias", bias.reshape(_aligned(layer, parameters, shape, span)))
    net.add(layer, "Add", [product, offset], shape, output=layer.tops[0])


def bias(net: Builder, layer: Layer) -> None:
    """Add weights, or a second bottom, from ``axis`` on."""
    _, offset = _operand(net, layer, layer.message.bias_param, "a bias")
    net.add(layer, "Add", [layer.bottoms[0], offset], net.shape(layer), output=layer.tops[0])


def axpy(net: Builder, layer: Layer) -> None:
    """A * x + y with one a for each channel, as squeeze-and-excitation networks have it."""
    shape = net.shape(layer, 1)
    factor = layer.bottoms[0]
    if len(net.shape(layer)) == 2:
        factor = net.reshape(layer, factor, (*net.shape(layer), *(1,) * (len(shape) - 2)))
    product = net.add(layer, "Mul", [layer.bottoms[1], factor], shape)
    net.add(layer, "Add", [product, layer.bottoms[2]], shape, output=layer.tops[0])


def eltwise(net: Builder, layer: Layer) -> None:
    """Sum with coefficients, product or maximum of two tensors or more."""
    parameters = layer.message.eltwise_param
    kind, coefficients = parameters.operation, list(parameters.coeff)
    shape = _common_shape(net, layer)
    if coefficients and (kind != "SUM" or len(coefficients) != len(layer.bottoms)):
        raise layer.error(
            f"has {len(coefficients)} coeff for {len(layer.bottoms)} bottoms of operation {kind}"
        )
    if kind == "SUB":
        kind, coefficients = "SUM", [1.0] + [-1.0] * (len(layer.bottoms) - 1)
    if kind == "SUM":
        _weighted_sum(net, layer, coefficients or [1.0] * len(layer.bottoms), shape)
        return
    if kind not in _FOLD:
        raise layer.error(f"has the operation {kind}, which distq does not know: use SUM, PROD or MAX")
    _fold(net, layer, [(_FOLD[kind], bottom) for bottom in layer.bottoms[1:]], layer.bottoms[0], shape)


def _weighted_sum(net: Builder, layer: Layer, coefficients: list[float], shape: Shape) -> None:
    steps = []
    for position, (bottom, factor) in enumerate(zip(layer.bottoms, coefficients, strict=True)):
        subtracted = factor == -1 and position > 0
        term = bottom
        if factor != 1 and not subtracted:
            number = net.constant(layer, "coeff", np.float32(factor))
            term = net.add(layer, "Mul", [bottom, number], net.shapes[bottom])
        steps.append(("Sub" if subtracted else "Add", term))
    _fold(net, layer, steps[1:], steps[0][1], shape)


def _fold(net: Builder, layer: Layer, steps: list[tuple[str, str]], first: str, shape: Shape) -> None:
    for position, (operator, operand) in enumerate(steps, 1):
        output = layer.tops[0] if position == len(steps) else None
        first = net.add(layer, operator, [first, operand], shape, output=output)
    if not steps:
        net.add(layer, "Identity", [first], shape, output=layer.tops[0])


def _common_shape(net: Builder, layer: Layer) -> Shape:
    """The shape of all bottoms; forks broadcast axes of 1 among tensors of one rank."""
    shapes = [net.shapes[bottom] for bottom in layer.bottoms]
    try:
        found = np.broadcast_shapes(*shapes)
    except ValueError:
        found = ()
    if len({len(shape) for shape in shapes}) != 1 or not found:
        raise layer.error(f"has bottoms of different shapes: {', '.join(str(list(s)) for s in shapes)}")
    return found


def _operand(net: Builder, layer: Layer, parameters: Message, what: str) -> tuple[Shape, str]:
    """The second factor or summand: the axes it spans, and a tensor that ONNX broadcasts as Caffe does."""
    shape = net.shape(layer)
    if len(layer.bottoms) > 1:
        given = net.shape(layer, 1)
        aligned = _aligned(layer, parameters, shape, given)
        if len(aligned) == len(given):
            return given, layer.bottoms[1]
        axes = net.constant(layer, "axes", list(range(len(given), len(aligned))))
        return given, net.add(layer, "Unsqueeze", [layer.bottoms[1], axes], aligned)
    axis = layer.axis(parameters.axis, shape)
    end = len(shape) if parameters.num_axes == -1 else axis + parameters.num_axes
    span = shape[axis:end]
    if axis == 0 and span:
        net.fix_batch(layer)
    weights = net.blob(layer, 0, span, what)
    return span, net.constant(
        layer, what.rsplit(maxsplit=1)[-1], weights.reshape(_aligned(layer, parameters, shape, span))
    )


def _aligned(layer: Layer, parameters: Message, shape: Shape, span: Shape) -> Shape:
    """``span`` with axes of 1 behind it, so that it begins at ``axis`` of ``shape``."""
    if not span:
        return ()
    axis = layer.axis(parameters.axis, shape)
    if shape[axis : axis + len(span)] != span and prod(span) != 1:
        raise layer.error(f"cannot apply {list(span)} to {list(shape)} from axis {axis} on")
    return (*span, *(1,) * (len(shape) - axis - len(span)))
