"""DetectionOutput: decode boxes, of overlapping ones keep the best (SSD fork, detection_output_layer.cpp)."""

from __future__ import annotations

import numpy as np

from distq.exchange.caffe.builder import Builder
from distq.exchange.caffe.layers.shapes import split, take
from distq.exchange.caffe.network import Layer

_LOWEST = np.finfo(np.float32).min
"""Of scores without a threshold: under every other one."""


def detection_output(net: Builder, layer: Layer) -> None:
    """Rows of (image, class, score, xmin, ymin, xmax, ymax), of shape (1, 1, rows, 7), by class and score.

    Without a detection there are no rows; Caffe has one of -1.
    """
    parameters = layer.message.detection_output_param
    if net.shape(layer)[0] != 1:
        raise layer.error("has several images in a batch: declare the input with a batch of 1")
    if not parameters.share_location:
        raise layer.error(
            "has share_location: false, boxes of their own for each class, which distq does not read"
        )
    if parameters.nms_param.eta != 1:
        raise layer.error("has an nms_param with eta, a threshold that adapts, which distq does not read")
    net.fix_batch(layer)
    boxes = _decode(net, layer)
    scores, first = _scores(net, layer)
    _rows(net, layer, (boxes, scores), _select(net, layer, boxes, scores, first), first)


def _decode(net: Builder, layer: Layer) -> str:
    """Boxes of shape (1, P, 4) from the network's locations and the prior boxes."""
    parameters, priors = layer.message.detection_output_param, net.shape(layer, 2)[-1] // 4
    shape = (1, priors, 4)
    if net.shape(layer)[1] != 4 * priors:
        raise layer.error(f"has {net.shape(layer)[1]} locations for {priors} prior boxes")
    stacked = net.reshape(layer, layer.bottoms[2], (2, priors, 4))
    prior, variance = split(net, layer, stacked, (0, [1, 1]), (None, None))
    offsets = net.reshape(layer, layer.bottoms[0], shape)
    if not parameters.variance_encoded_in_target:
        offsets = net.add(layer, "Mul", [offsets, variance], shape)
    if parameters.code_type == "CORNER":
        return net.add(layer, "Add", [prior, offsets], shape)
    pair = (1, priors, 2)
    low, high = split(net, layer, prior, (2, [2, 2]), (None, None))
    size = net.add(layer, "Sub", [high, low], pair)
    if parameters.code_type == "CORNER_SIZE":
        sizes = net.add(layer, "Concat", [size, size], shape, axis=2)
        moved = net.add(layer, "Mul", [offsets, sizes], shape)
        return net.add(layer, "Add", [prior, moved], shape)
    half = net.constant(layer, "half", np.float32(0.5))
    shift, stretch = split(net, layer, offsets, (2, [2, 2]), (None, None))
    total = net.add(layer, "Add", [low, high], pair)
    middle = net.add(layer, "Mul", [total, half], pair)
    moved = net.add(layer, "Mul", [shift, size], pair)
    center = net.add(layer, "Add", [middle, moved], pair)
    factor = net.add(layer, "Exp", [stretch], pair)
    stretched = net.add(layer, "Mul", [factor, size], pair)
    reach = net.add(layer, "Mul", [stretched, half], pair)
    corners = [net.add(layer, operator, [center, reach], pair) for operator in ("Sub", "Add")]
    return net.add(layer, "Concat", corners, shape, axis=2)


def _scores(net: Builder, layer: Layer) -> tuple[str, int]:
    """Scores of shape (1, classes, P), and the number of the first class: a background before it is left out.

    What NonMaxSuppression reads is what networks are compared by, so it holds nothing but scores.
    """
    parameters, priors = layer.message.detection_output_param, net.shape(layer, 2)[-1] // 4
    classes = parameters.num_classes
    if net.shape(layer, 1)[1] != classes * priors:
        raise layer.error(f"has {net.shape(layer, 1)[1]} scores for {priors} boxes of {classes} classes")
    apart = net.reshape(layer, layer.bottoms[1], (1, priors, classes))
    first = int(parameters.background_label_id == 0 and classes > 1)
    if first:
        apart = take(net, layer, apart, ([1], [classes], [2]))
    return net.add(layer, "Transpose", [apart], (1, classes - first, priors), perm=[0, 2, 1]), first


def _select(net: Builder, layer: Layer, boxes: str, scores: str, first: int) -> str:
    """(image, class, box) of kept detections: the best ``top_k`` of a class enter, ``keep_top_k`` leave.

    What does not enter gets a score that is not over the threshold, and is no larger number than scores are:
    networks are compared by these scores.
    """
    parameters = layer.message.detection_output_param
    _, classes, priors = net.shapes[scores]
    threshold = np.float32(
        parameters.confidence_threshold if parameters.HasField("confidence_threshold") else _LOWEST
    )
    lowest = net.constant(layer, "lowest", min(threshold, np.float32(0)))
    candidates = scores
    if first <= parameters.background_label_id < classes:
        mask = (np.arange(classes) == parameters.background_label_id).reshape(1, classes, 1)
        background = net.constant(layer, "background", mask)
        candidates = net.add(layer, "Where", [background, lowest, candidates], (1, classes, priors))
    most = parameters.nms_param.top_k
    if 0 < most < priors:
        best = net.add_all(
            layer,
            "TopK",
            [candidates, net.constant(layer, "top_k", [most])],
            [((1, classes, most), None)] * 2,
            axis=2,
        )[0]
        least = take(net, layer, best, ([most - 1], [most], [2]))
        enters = net.add(layer, "GreaterOrEqual", [candidates, least], (1, classes, priors))
        candidates = net.add(layer, "Where", [enters, candidates, lowest], (1, classes, priors))
    limits = [
        net.constant(layer, "most", [priors]),
        net.constant(layer, "overlap", np.array([parameters.nms_param.nms_threshold], np.float32)),
        net.constant(layer, "confidence", threshold.reshape(1)),
    ]
    upright = boxes if parameters.code_type == "CENTER_SIZE" else _without_area(net, layer, boxes)
    kept = net.add(layer, "NonMaxSuppression", [upright, candidates, *limits], (1, 3))
    return _keep(net, layer, kept, scores)


def _without_area(net: Builder, layer: Layer, boxes: str) -> str:
    """Boxes that overlap nothing where their corners are the wrong way round; ONNX would swap these."""
    shape = net.shapes[boxes]
    low, high = split(net, layer, boxes, (2, [2, 2]), (None, None))
    end = net.add(layer, "Max", [low, high], (*shape[:2], 2))
    return net.add(layer, "Concat", [low, end], shape, axis=2)


def _keep(net: Builder, layer: Layer, selected: str, scores: str) -> str:
    """The ``keep_top_k`` best of all classes, in the order they came in."""
    most = layer.message.detection_output_param.keep_top_k
    if most < 0:
        return selected
    values = net.add(layer, "GatherND", [scores, selected], (1,))
    there = net.add(layer, "Shape", [values], (1,))
    count = net.add(layer, "Min", [there, net.constant(layer, "keep_top_k", [most])], (1,))
    best = net.add_all(layer, "TopK", [values, count], [((1,), None)] * 2, axis=0)[1]
    ordered = net.add_all(layer, "TopK", [best, count], [((1,), None)] * 2, axis=0, largest=0)[0]
    return net.add(layer, "Gather", [selected, ordered], (1, 3), axis=0)


def _rows(net: Builder, layer: Layer, found: tuple[str, str], selected: str, first: int) -> None:
    """One row for each detection, from boxes and scores, whose first class has the number ``first``."""
    boxes, scores = found
    priors = net.shapes[boxes][1]
    image_and_class = take(net, layer, selected, ([0], [2], [1]))
    if first:
        offset = net.constant(layer, "first", [0, first])
        image_and_class = net.add(layer, "Add", [image_and_class, offset], (1, 2))
    image_and_class = net.add(layer, "Cast", [image_and_class], (1, 2), to=1)
    values = net.add(layer, "GatherND", [scores, selected], (1,))
    column = net.add(layer, "Unsqueeze", [values, net.constant(layer, "axes", [1])], (1, 1))
    places = net.add(layer, "Gather", [selected, net.constant(layer, "third", np.int64(2))], (1,), axis=1)
    alone = net.reshape(layer, boxes, (priors, 4))
    corners = net.add(layer, "Gather", [alone, places], (1, 4), axis=0)
    rows = net.add(layer, "Concat", [image_and_class, column, corners], (1, 7), axis=1)
    leading = net.constant(layer, "axes", [0, 1])
    net.add(layer, "Unsqueeze", [rows, leading], (1, 1, 1, 7), output=layer.tops[0])
