"""Layers that reduce: Reduction and ArgMax."""

from __future__ import annotations

from math import prod

from distq.exchange.caffe.builder import Builder, Shape
from distq.exchange.caffe.network import Layer

_REDUCE = {"SUM": "ReduceSum", "ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}


def reduction(net: Builder, layer: Layer) -> None:
    """Sum, mean, sum of absolute values or of squares over all axes from ``axis`` on, times a coefficient."""
    parameters, shape = layer.message.reduction_param, net.shape(layer)
    axis = layer.axis(parameters.axis, shape)
    if axis == 0:
        net.fix_batch(layer)
    operator, axes = _REDUCE[parameters.operation], list(range(axis, len(shape)))
    factor = parameters.coeff
    output = layer.tops[0] if factor == 1 else None
    if operator == "ReduceSum":
        operands = [layer.bottoms[0], net.constant(layer, "axes", axes)]
        result = net.add(layer, operator, operands, shape[:axis], output=output, keepdims=0)
    else:
        result = net.add(layer, operator, layer.bottoms, shape[:axis], output=output, axes=axes, keepdims=0)
    if factor != 1:
        number = net.constant(layer, "coeff", factor)
        net.add(layer, "Mul", [result, number], shape[:axis], output=layer.tops[0])


def argmax(net: Builder, layer: Layer) -> None:
    """Places of the largest values, as float: along ``axis``, or of each sample flattened.

    With ``out_max_val``: the values themselves along an axis; without an axis both, places first.
    """
    parameters, shape, source = layer.message.argmax_param, net.shape(layer), layer.bottoms[0]
    count, top = parameters.top_k, layer.tops[0]
    if parameters.HasField("axis"):
        axis = layer.axis(parameters.axis, shape)
        if axis == 0:
            net.fix_batch(layer)
        found = (*shape[:axis], count, *shape[axis + 1 :])
        _largest(net, layer, source, (axis, found), (top, None) if parameters.out_max_val else (None, top))
        return
    flat = net.add(layer, "Flatten", [source], (shape[0], prod(shape[1:])), axis=1)
    values, places = _largest(net, layer, flat, (1, (shape[0], count)), (None, None))
    row = (shape[0], 1, count, *(1,) * (len(shape) - 3))
    if parameters.out_max_val:
        pair = [net.reshape(layer, part, row) for part in (places, values)]
        net.add(layer, "Concat", pair, (shape[0], 2, *row[2:]), output=top, axis=1)
    else:
        net.reshape(layer, places, row, top)


def _largest(
    net: Builder, layer: Layer, source: str, along: tuple[int, Shape], outputs: tuple[str | None, str | None]
) -> tuple[str, str]:
    """(values, places as float) of the largest along (axis, shape of the result); None: an inner tensor."""
    axis, shape = along
    count = net.constant(layer, "top_k", [shape[axis]])
    values, places = net.add_all(
        layer, "TopK", [source, count], [(shape, outputs[0]), (shape, None)], axis=axis
    )
    if outputs[0] is not None:
        return values, places
    return values, net.add(layer, "Cast", [places], shape, output=outputs[1], to=1)
