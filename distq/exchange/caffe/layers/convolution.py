"""Convolution, Deconvolution and InnerProduct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from distq.exchange.caffe.builder import Builder, Shape
from distq.exchange.caffe.network import Layer
from distq.exchange.caffe.schema import Message


@dataclass(frozen=True)
class Window:
    """Sizes along the spatial axes."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """What a dilated kernel spans."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


def window_of(layer: Layer, parameters: Message, axes: int) -> Window:
    """Read kernel, stride, padding and dilation: one for all axes, one for each, or ``_h`` and ``_w``."""
    kernel = _sizes(layer, parameters, "kernel", axes, default=0)
    stride = _sizes(layer, parameters, "stride", axes, default=1)
    pad = _sizes(layer, parameters, "pad", axes, default=0)
    dilation = _per_axis(layer, list(parameters.dilation), axes, "dilation", 1)
    if min(kernel) < 1 or min(stride) < 1 or min(dilation) < 1 or min(pad) < 0:
        raise layer.error("needs a kernel_size and strides of at least 1")
    return Window(kernel, stride, pad, dilation)


def convolution(net: Builder, layer: Layer) -> None:
    """Correlate with kernels of shape (outputs, inputs / group, ...); sizes round down."""
    _convolve(net, layer, layer.message.convolution_param.group)


def depthwise_convolution(net: Builder, layer: Layer) -> None:
    """A convolution with a group for each channel, which forks have as a layer of its own."""
    _convolve(net, layer, net.shape(layer)[1])


def deconvolution(net: Builder, layer: Layer) -> None:
    """A convolution's transpose, with weights of shape (inputs, outputs / group, ...)."""
    parameters = layer.message.convolution_param
    shape = _spatial(net, layer)
    window = window_of(layer, parameters, len(shape) - 2)
    _require_groups(layer, shape[1], parameters.num_output, parameters.group)
    weight = (shape[1], parameters.num_output // parameters.group, *window.kernel)
    sizes = tuple(
        s * (n - 1) + e - 2 * p
        for s, n, e, p in zip(window.stride, shape[2:], window.extent, window.pad, strict=True)
    )
    _emit(net, layer, "ConvTranspose", (weight, sizes), window=window, group=parameters.group)


def inner_product(net: Builder, layer: Layer) -> None:
    """Multiply all axes from ``axis`` on, as one vector, with a matrix of shape (outputs, inputs)."""
    parameters = layer.message.inner_product_param
    shape = net.shape(layer)
    axis = layer.axis(parameters.axis, shape)
    lead, inputs, outputs = shape[:axis], prod(shape[axis:]), parameters.num_output
    stored = (inputs, outputs) if parameters.transpose else (outputs, inputs)
    weight = net.blob(layer, 0, stored, "weights")
    bias = net.blob(layer, 1, (outputs,), "a bias") if parameters.bias_term else np.zeros(outputs, np.float32)
    if axis != 1:
        source = net.reshape(layer, layer.bottoms[0], (*lead, inputs))
        matrix = net.constant(layer, "weight", weight if parameters.transpose else weight.T)
        if not parameters.bias_term:
            net.add(layer, "MatMul", [source, matrix], (*lead, outputs), output=layer.tops[0])
            return
        product = net.add(layer, "MatMul", [source, matrix], (*lead, outputs))
        offset = net.constant(layer, "bias", bias)
        net.add(layer, "Add", [product, offset], (*lead, outputs), output=layer.tops[0])
        return
    source = layer.bottoms[0]
    if len(shape) != 2:
        source = net.add(layer, "Flatten", [source], (shape[0], inputs), axis=1)
    operands = [source, net.constant(layer, "weight", weight), net.constant(layer, "bias", bias)]
    transposed = int(not parameters.transpose)
    net.add(layer, "Gemm", operands, (shape[0], outputs), output=layer.tops[0], transB=transposed)


def _convolve(net: Builder, layer: Layer, group: int) -> None:
    parameters = layer.message.convolution_param
    shape = _spatial(net, layer)
    window = window_of(layer, parameters, len(shape) - 2)
    _require_groups(layer, shape[1], parameters.num_output, group)
    weight = (parameters.num_output, shape[1] // group, *window.kernel)
    sizes = tuple(
        (n + 2 * p - e) // s + 1
        for s, n, e, p in zip(window.stride, shape[2:], window.extent, window.pad, strict=True)
    )
    _emit(net, layer, "Conv", (weight, sizes), window=window, group=group)


def _emit(
    net: Builder, layer: Layer, operator: str, shapes: tuple[Shape, Shape], *, window: Window, group: int
) -> None:
    """The node, once for each pair of bottom and top, which share the weights.

    ``shapes`` are those of the weights, and of the output's spatial axes.
    """
    weight, sizes = shapes
    outputs = layer.message.convolution_param.num_output
    operands = [net.constant(layer, "weight", net.blob(layer, 0, weight, "weights"))]
    if layer.message.convolution_param.bias_term:
        operands.append(net.constant(layer, "bias", net.blob(layer, 1, (outputs,), "a bias")))
    for source, top in zip(layer.bottoms, layer.tops, strict=True):
        net.add(
            layer,
            operator,
            [source, *operands],
            (net.shapes[source][0], outputs, *sizes),
            output=top,
            kernel_shape=window.kernel,
            strides=window.stride,
            pads=(*window.pad, *window.pad),
            dilations=window.dilation,
            group=group,
        )


def _spatial(net: Builder, layer: Layer) -> Shape:
    shape = net.shape(layer)
    if layer.message.convolution_param.axis not in {1, 1 - len(shape)} or len(shape) < 3:
        raise layer.error("has its channels on another axis than 1, which distq does not read")
    if len(layer.bottoms) != len(layer.tops) or any(net.shapes[b] != shape for b in layer.bottoms):
        raise layer.error("needs one top for each bottom, all of one shape")
    return shape


def _require_groups(layer: Layer, inputs: int, outputs: int, group: int) -> None:
    if group < 1 or outputs < 1 or inputs % group or outputs % group:
        raise layer.error(f"cannot divide {inputs} input and {outputs} output channels into {group} groups")


def _sizes(layer: Layer, parameters: Message, name: str, axes: int, *, default: int) -> tuple[int, ...]:
    repeated = "kernel_size" if name == "kernel" else name
    values = list(getattr(parameters, repeated))
    if parameters.HasField(f"{name}_h") or parameters.HasField(f"{name}_w"):
        if axes != 2 or values:
            raise layer.error(f"gives {name} twice, or {name}_h and {name}_w where there are {axes} axes")
        return getattr(parameters, f"{name}_h"), getattr(parameters, f"{name}_w")
    return _per_axis(layer, values, axes, repeated, default)


def _per_axis(layer: Layer, values: Sequence[int], axes: int, name: str, default: int) -> tuple[int, ...]:
    if len(values) not in {0, 1, axes}:
        raise layer.error(f"gives {len(values)} values of {name} for {axes} axes")
    return tuple(values) if len(values) == axes else (*(values or [default]),) * axes
