"""Layers that normalize: BatchNorm, LRN, Normalize and MVN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.exchange.caffe.builder import Builder, Shape
from distq.exchange.caffe.network import Layer


def batch_norm(net: Builder, layer: Layer) -> None:
    """Subtract the stored mean and divide by the stored deviation (BVLC Caffe, batch_norm_layer.cpp).

    The third blob is the factor that both statistics are stored with; 0 stands for no statistics. NVIDIA's
    Caffe has a scale and a bias as fourth and fifth.
    """
    parameters, shape = layer.message.batch_norm_param, net.shape(layer)
    if parameters.HasField("use_global_stats") and not parameters.use_global_stats:
        raise layer.error("has use_global_stats: false, so it normalizes by each batch: remove that line")
    channels = shape[1] if len(shape) > 1 else 1
    mean = net.blob(layer, 0, (channels,), "a mean")
    variance = net.blob(layer, 1, (channels,), "a variance")
    stored = float(net.blob(layer, 2, (1,), "a factor")[0])
    factor = np.float32(0 if stored == 0 else 1 / stored)
    own = parameters.scale_bias and len(layer.blobs) >= 5
    scale = net.blob(layer, 3, (channels,), "a scale") if own else np.ones(channels, np.float32)
    bias = net.blob(layer, 4, (channels,), "a bias") if own else np.zeros(channels, np.float32)
    operands = {"scale": scale, "bias": bias, "mean": mean * factor, "variance": variance * factor}
    _normalize(net, layer, operands, parameters.eps)


def bn(net: Builder, layer: Layer) -> None:
    """The forks' normalization with slope and bias of its own (the Sophgo fork, bn_layer.cpp).

    Four blobs: slope, bias, mean and variance; in the mode INFERENCE slope and bias alone.
    """
    parameters, shape = layer.message.bn_param, net.shape(layer)
    column = (shape[1], *(1,) * (len(shape) - 2))
    if parameters.bn_mode == "INFERENCE":
        slope = net.constant(layer, "slope", net.blob(layer, 0, column, "a slope"))
        offset = net.constant(layer, "bias", net.blob(layer, 1, column, "a bias"))
        product = net.add(layer, "Mul", [layer.bottoms[0], slope], shape)
        net.add(layer, "Add", [product, offset], shape, output=layer.tops[0])
        return
    roles = ("slope", "bias", "mean", "variance")
    operands = {role: net.blob(layer, i, (shape[1],), f"a {role}") for i, role in enumerate(roles)}
    _normalize(net, layer, operands, parameters.eps)


def _normalize(net: Builder, layer: Layer, operands: Mapping[str, npt.NDArray[Any]], epsilon: float) -> None:
    """A BatchNormalization with these constants: scale, bias, mean and variance of each channel."""
    constants = [net.constant(layer, role, values) for role, values in operands.items()]
    inputs = [layer.bottoms[0], *constants]
    output = layer.tops[0]
    net.add(layer, "BatchNormalization", inputs, net.shape(layer), output=output, epsilon=epsilon)


def lrn(net: Builder, layer: Layer) -> None:
    """Divide by a power of the mean square of neighbouring channels, or of neighbouring pixels."""
    parameters, shape = layer.message.lrn_param, net.shape(layer)
    size = parameters.local_size
    if size % 2 == 0:
        raise layer.error(f"has a local_size of {size}: Caffe has odd ones alone")
    if parameters.norm_region == "ACROSS_CHANNELS":
        net.add(
            layer,
            "LRN",
            layer.bottoms,
            shape,
            output=layer.tops[0],
            size=size,
            alpha=parameters.alpha,
            beta=parameters.beta,
            bias=parameters.k,
        )
        return
    source = layer.bottoms[0]
    square = net.add(layer, "Mul", [source, source], shape)
    edge = (size - 1) // 2
    mean = net.add(
        layer,
        "AveragePool",
        [square],
        shape,
        kernel_shape=[size, size],
        pads=[edge] * 4,
        count_include_pad=1,
    )
    scaled = net.add(layer, "Mul", [mean, net.constant(layer, "alpha", parameters.alpha)], shape)
    shifted = net.add(layer, "Add", [scaled, net.constant(layer, "one", 1.0)], shape)
    divisor = net.add(layer, "Pow", [shifted, net.constant(layer, "beta", parameters.beta)], shape)
    net.add(layer, "Div", [source, divisor], shape, output=layer.tops[0])


def normalize(net: Builder, layer: Layer) -> None:
    """Divide by the Euclidean norm over channels, or over the whole sample, and multiply by a scale.

    The SSD fork, normalize_layer.cpp: eps is added under the root.
    """
    parameters, shape = layer.message.norm_param, net.shape(layer)
    if len(shape) != 4:
        raise layer.error(f"normalizes four axes, its input has {list(shape)}")
    axes, reduced = (
        ([1, 2, 3], (shape[0], 1, 1, 1)) if parameters.across_spatial else ([1], (shape[0], 1, *shape[2:]))
    )
    source = layer.bottoms[0]
    square = net.add(layer, "Mul", [source, source], shape)
    total = net.add(layer, "ReduceSum", [square, net.constant(layer, "axes", axes)], reduced, keepdims=1)
    shifted = net.add(layer, "Add", [total, net.constant(layer, "eps", parameters.eps)], reduced)
    norm = net.add(layer, "Sqrt", [shifted], reduced)
    quotient = net.add(layer, "Div", [source, norm], shape)
    stored: Shape = () if parameters.channel_shared else (shape[1], 1, 1)
    scale = net.constant(layer, "scale", net.blob(layer, 0, stored, "a scale"))
    net.add(layer, "Mul", [quotient, scale], shape, output=layer.tops[0])


def mvn(net: Builder, layer: Layer) -> None:
    """Subtract the sample's own mean, and divide by its deviation; eps is added to the deviation."""
    parameters, shape = layer.message.mvn_param, net.shape(layer)
    if len(shape) != 4:
        raise layer.error(f"normalizes four axes, its input has {list(shape)}")
    axes = [1, 2, 3] if parameters.across_channels else [2, 3]
    reduced = (shape[0], 1 if parameters.across_channels else shape[1], 1, 1)
    mean = net.add(layer, "ReduceMean", layer.bottoms, reduced, axes=axes, keepdims=1)
    if not parameters.normalize_variance:
        net.add(layer, "Sub", [layer.bottoms[0], mean], shape, output=layer.tops[0])
        return
    centred = net.add(layer, "Sub", [layer.bottoms[0], mean], shape)
    square = net.add(layer, "Mul", [centred, centred], shape)
    variance = net.add(layer, "ReduceMean", [square], reduced, axes=axes, keepdims=1)
    deviation = net.add(layer, "Sqrt", [variance], reduced)
    divisor = net.add(layer, "Add", [deviation, net.constant(layer, "eps", parameters.eps)], reduced)
    net.add(layer, "Div", [centred, divisor], shape, output=layer.tops[0])
