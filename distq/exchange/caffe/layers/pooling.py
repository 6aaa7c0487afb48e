"""Pooling, whose sizes round up and whose average counts padding (BVLC Caffe, pooling_layer.cpp)."""

from __future__ import annotations

from distq.exchange.caffe.builder import Builder, Shape
from distq.exchange.caffe.layers.convolution import Window, window_of
from distq.exchange.caffe.network import Layer
from distq.exchange.caffe.schema import Message


def pooling(net: Builder, layer: Layer) -> None:
    """Largest or mean value of each window.

    ``ceil_mode`` of ONNX is not used: runtimes disagree on it. What windows reach past the image is written
    as padding at the end.
    """
    parameters, shape = layer.message.pooling_param, net.shape(layer)
    if parameters.pool not in {"MAX", "AVE"}:
        raise layer.error(f"pools by {parameters.pool}, which is random in training: use MAX or AVE")
    if len(layer.tops) > 1:
        raise layer.error(
            "writes the mask of a max pooling, which distq does not read: use Deconvolution behind it"
        )
    if len(shape) != 4:
        raise layer.error(f"pools four axes, its input has {list(shape)}")
    if parameters.global_pooling:
        operator = "GlobalMaxPool" if parameters.pool == "MAX" else "GlobalAveragePool"
        net.add(layer, operator, layer.bottoms, (*shape[:2], 1, 1), output=layer.tops[0])
        return
    window = window_of(layer, parameters, 2)
    if window.dilation != (1, 1):
        raise layer.error("has a dilation, which Caffe's pooling has not: remove it")
    if any(p >= k for p, k in zip(window.pad, window.kernel, strict=True)):
        raise layer.error("has a padding that is not smaller than its kernel")
    sizes = _sizes(layer, parameters, shape, window)
    past = tuple(
        (out - 1) * s + k - n - p
        for out, s, k, n, p in zip(sizes, window.stride, window.kernel, shape[2:], window.pad, strict=True)
    )
    emit = _maximum if parameters.pool == "MAX" else _average
    emit(net, layer, window, (*shape[:2], *sizes), past)


def _sizes(layer: Layer, parameters: Message, shape: Shape, window: Window) -> tuple[int, int]:
    """(height, width) of the output; the last window starts inside the image or the padding before it."""
    down = parameters.round_mode == "FLOOR" or not parameters.ceil_mode
    found = []
    for n, k, s, p in zip(shape[2:], window.kernel, window.stride, window.pad, strict=True):
        steps = n + 2 * p - k
        out = (steps // s if down else -(-steps // s)) + 1
        if any(window.pad) and (out - 1) * s >= n + p:
            out -= 1
        if out < 1 or (out - 1) * s >= n + p:
            raise layer.error(
                f"has windows outside its input of {shape[2]}x{shape[3]}: "
                "make the stride no larger than the kernel"
            )
        found.append(out)
    return found[0], found[1]


def _maximum(net: Builder, layer: Layer, window: Window, shape: Shape, past: tuple[int, ...]) -> None:
    end = [max(reach, 0) for reach in past]
    net.add(
        layer,
        "MaxPool",
        layer.bottoms,
        shape,
        output=layer.tops[0],
        kernel_shape=window.kernel,
        strides=window.stride,
        pads=[*window.pad, *end],
    )


def _average(net: Builder, layer: Layer, window: Window, shape: Shape, past: tuple[int, ...]) -> None:
    """Padding counts in a mean, what lies beyond the padding does not."""
    source, begin, end = layer.bottoms[0], window.pad, [max(reach, 0) for reach in past]
    beyond = [max(reach - pad, 0) for reach, pad in zip(past, window.pad, strict=True)]
    if any(beyond) and any(begin):
        given = net.shapes[source]
        padded = tuple(n + 2 * p for n, p in zip(given[2:], begin, strict=True))
        amounts = net.constant(layer, "pads", [0, 0, *begin, 0, 0, *begin])
        source = net.add(layer, "Pad", [source, amounts], (*given[:2], *padded))
        begin, end = (0, 0), beyond
    net.add(
        layer,
        "AveragePool",
        [source],
        shape,
        output=layer.tops[0],
        kernel_shape=window.kernel,
        strides=window.stride,
        pads=[*begin, *end],
        count_include_pad=int(any(window.pad) and not any(beyond)),
    )
