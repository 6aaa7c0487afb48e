"""Layers that change the size of images: Upsample and Interp."""

from __future__ import annotations

import numpy as np

from distq.exchange.caffe.builder import Builder, Shape
from distq.exchange.caffe.layers.shapes import size_of, take
from distq.exchange.caffe.network import Layer


def upsample(net: Builder, layer: Layer) -> None:
    """Repeat pixels, as the Sophgo and YOLO forks do; SegNet's, with a mask as second bottom, is refused."""
    parameters, shape = layer.message.upsample_param, net.shape(layer)
    if len(layer.bottoms) > 1:
        raise layer.error(
            "places values by the mask of a pooling, which distq does not read: use Deconvolution"
        )
    factors = size_of(parameters, "scale_h", "scale_w") or (parameters.scale, parameters.scale)
    size = (shape[2] * factors[0], shape[3] * factors[1])
    given = size_of(parameters, "upsample_h", "upsample_w")
    if parameters.pad_out_h or parameters.pad_out_w or (given is not None and given != size):
        raise layer.error("gives a size that is no multiple of its input's, which distq does not read")
    _resize(
        net,
        layer,
        layer.bottoms[0],
        (*shape[:2], *size),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def interp(net: Builder, layer: Layer) -> None:
    """Interpolate linearly between pixels, with the corners in place (DeepLab's and PSPNet's Caffe).

    The size is given, that of a second bottom, or comes from ``shrink_factor`` and ``zoom_factor``.
    ``pad_beg`` and ``pad_end`` are 0 or negative: they crop.
    """
    parameters, shape, source = layer.message.interp_param, net.shape(layer), layer.bottoms[0]
    begin, end = parameters.pad_beg, parameters.pad_end
    if begin > 0 or end > 0:
        raise layer.error("has a padding, where Caffe only crops: pad_beg and pad_end are 0 or negative")
    if begin or end:
        source = take(net, layer, source, ([-begin] * 2, [shape[2] + end, shape[3] + end], [2, 3]))
        shape = net.shapes[source]
    if len(layer.bottoms) > 1:
        size = net.shape(layer, 1)[2:]
    elif given := size_of(parameters, "height", "width"):
        size = given
    else:
        shrunk = [(length - 1) // parameters.shrink_factor + 1 for length in shape[2:]]
        size = tuple(length + (length - 1) * (parameters.zoom_factor - 1) for length in shrunk)
    _resize(
        net,
        layer,
        source,
        (*shape[:2], *size),
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )


def _resize(net: Builder, layer: Layer, source: str, shape: Shape, **attributes: str) -> None:
    """A Resize by factors, so that the batch stays open; they give the exact size when rounded down."""
    factors = [1.0, 1.0, *map(_factor, net.shapes[source][2:], shape[2:])]
    scales = net.constant(layer, "scales", np.asarray(factors, np.float32))
    net.add(layer, "Resize", [source, "", scales], shape, output=layer.tops[0], **attributes)


def _factor(given: int, wanted: int) -> float:
    factor = np.float32(wanted / given)
    while int(given * float(factor)) < wanted:  # readers multiply in float or in double
        factor = np.nextafter(factor, np.float32(np.inf))
    return float(factor)
