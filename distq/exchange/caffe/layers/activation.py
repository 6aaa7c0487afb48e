"""Functions of single numbers, and Softmax."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from distq.exchange.caffe.builder import Builder
from distq.exchange.caffe.network import Layer

Convert = Callable[[Builder, Layer], None]


def elementwise(operator: str) -> Convert:
    """A layer that is one operator of ONNX with no parameters."""

    def convert(net: Builder, layer: Layer) -> None:
        net.add(layer, operator, layer.bottoms, net.shape(layer), output=layer.tops[0])

    return convert


def relu(net: Builder, layer: Layer) -> None:
    """Negative values are multiplied by ``negative_slope``."""
    slope = layer.message.relu_param.negative_slope
    if slope:
        net.add(layer, "LeakyRelu", layer.bottoms, net.shape(layer), output=layer.tops[0], alpha=slope)
    else:
        net.add(layer, "Relu", layer.bottoms, net.shape(layer), output=layer.tops[0])


def relu6(net: Builder, layer: Layer) -> None:
    """Limit to 0 ... 6."""
    _clip(net, layer, 0.0, 6.0)


def clip(net: Builder, layer: Layer) -> None:
    """Limit to ``min`` ... ``max``."""
    _clip(net, layer, layer.message.clip_param.min, layer.message.clip_param.max)


def prelu(net: Builder, layer: Layer) -> None:
    """Negative values are multiplied by a weight for each channel, or by one for all."""
    shape = net.shape(layer)
    if layer.message.prelu_param.channel_shared:
        slope = net.blob(layer, 0, (1,), "a slope")
    else:
        slope = net.blob(layer, 0, (shape[1], *(1,) * (len(shape) - 2)), "slopes")
    slopes = net.constant(layer, "slope", slope)
    net.add(layer, "PRelu", [layer.bottoms[0], slopes], shape, output=layer.tops[0])


def elu(net: Builder, layer: Layer) -> None:
    """Alpha * (e^x - 1) for negative x."""
    alpha = layer.message.elu_param.alpha
    net.add(layer, "Elu", layer.bottoms, net.shape(layer), output=layer.tops[0], alpha=alpha)


def swish(net: Builder, layer: Layer) -> None:
    """X * sigmoid(beta * x)."""
    shape, beta = net.shape(layer), layer.message.swish_param.beta
    source = layer.bottoms[0]
    scaled = source
    if beta != 1:
        scaled = net.add(layer, "Mul", [source, net.constant(layer, "beta", beta)], shape)
    gate = net.add(layer, "Sigmoid", [scaled], shape)
    net.add(layer, "Mul", [source, gate], shape, output=layer.tops[0])


def mish(net: Builder, layer: Layer) -> None:
    """X * tanh(log(1 + e^x))."""
    shape = net.shape(layer)
    soft = net.add(layer, "Softplus", layer.bottoms, shape)
    gate = net.add(layer, "Tanh", [soft], shape)
    net.add(layer, "Mul", [layer.bottoms[0], gate], shape, output=layer.tops[0])


def threshold(net: Builder, layer: Layer) -> None:
    """1 where a value is above the threshold, else 0."""
    shape = net.shape(layer)
    limit = net.constant(layer, "threshold", layer.message.threshold_param.threshold)
    above = net.add(layer, "Greater", [layer.bottoms[0], limit], shape)
    net.add(layer, "Cast", [above], shape, output=layer.tops[0], to=1)


def scaled_dropout(net: Builder, layer: Layer) -> None:
    """Multiply by the share of values that training kept."""
    kept = net.constant(layer, "kept", 1 - layer.message.dropout_param.dropout_ratio)
    net.add(layer, "Mul", [layer.bottoms[0], kept], net.shape(layer), output=layer.tops[0])


def softmax(net: Builder, layer: Layer) -> None:
    """Exponentials that sum to 1 along ``axis``."""
    shape = net.shape(layer)
    axis = layer.axis(layer.message.softmax_param.axis, shape)
    net.add(layer, "Softmax", layer.bottoms[:1], shape, output=layer.tops[0], axis=axis)


def power(net: Builder, layer: Layer) -> None:
    """(shift + scale * x) ^ power."""
    parameters = layer.message.power_param
    steps = [("Mul", parameters.scale, 1.0), ("Add", parameters.shift, 0.0), ("Pow", parameters.power, 1.0)]
    _chain(net, layer, [(operator, value) for operator, value, neutral in steps if value != neutral])


def exp(net: Builder, layer: Layer) -> None:
    """Base ^ (shift + scale * x); base -1 is e."""
    parameters = layer.message.exp_param
    factor = _logarithm(layer, parameters.base)
    outer = math.exp(factor * parameters.shift)
    steps = [("Mul", factor * parameters.scale, 1.0), ("Exp", None, 0.0), ("Mul", outer, 1.0)]
    _chain(net, layer, [(operator, value) for operator, value, neutral in steps if value != neutral])


def log(net: Builder, layer: Layer) -> None:
    """The logarithm of shift + scale * x to a base; base -1 is e."""
    parameters = layer.message.log_param
    factor = 1 / _logarithm(layer, parameters.base)
    steps = [
        ("Mul", parameters.scale, 1.0),
        ("Add", parameters.shift, 0.0),
        ("Log", None, 0.0),
        ("Mul", factor, 1.0),
    ]
    _chain(net, layer, [(operator, value) for operator, value, neutral in steps if value != neutral])


def _chain(net: Builder, layer: Layer, steps: list[tuple[str, float | None]]) -> None:
    """Operators one behind the other, with a number as second operand or none; the last writes the top."""
    source, shape = layer.bottoms[0], net.shape(layer)
    for position, (operator, value) in enumerate(steps or [("Identity", None)], 1):
        number = [] if value is None else [net.constant(layer, operator.lower(), np.float32(value))]
        output = layer.tops[0] if position >= len(steps) else None
        source = net.add(layer, operator, [source, *number], shape, output=output)


def _clip(net: Builder, layer: Layer, low: float, high: float) -> None:
    limits = [net.constant(layer, "min", low), net.constant(layer, "max", high)]
    net.add(layer, "Clip", [layer.bottoms[0], *limits], net.shape(layer), output=layer.tops[0])


def _logarithm(layer: Layer, base: float) -> float:
    if base != -1 and (base <= 0 or base == 1):
        raise layer.error(f"has the base {base}: give a positive one, or -1 for e")
    return 1.0 if base == -1 else math.log(base)
