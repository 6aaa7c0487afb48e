"""PriorBox: the boxes that a detector's outputs are relative to (the SSD fork, prior_box_layer.cpp)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from distq.exchange.caffe.builder import Builder, Shape
from distq.exchange.caffe.layers.shapes import size_of
from distq.exchange.caffe.network import Layer
from distq.exchange.caffe.schema import Message


def prior_box(net: Builder, layer: Layer) -> None:
    """Write the boxes as a constant of shape (1, 2, 4 x boxes): corners first, variances second.

    They depend on the sizes of the feature map and the image alone.
    """
    parameters = layer.message.prior_box_param
    height, width = net.shape(layer)[2:]
    image = _image_size(net, layer)
    step = image[0] / height, image[1] / width
    if parameters.step_h > 0 and parameters.step_w > 0:
        step = parameters.step_h, parameters.step_w
    elif parameters.step > 0:
        step = parameters.step, parameters.step
    shapes = np.array(_box_sizes(layer, parameters))
    y, x = np.mgrid[:height, :width]
    centers = np.stack([(x + parameters.offset) * step[1], (y + parameters.offset) * step[0]], axis=-1)
    corners = np.concatenate(
        [centers[:, :, None] - shapes / 2, centers[:, :, None] + shapes / 2], axis=-1
    ) / np.array([image[1], image[0]] * 2)
    if parameters.clip:
        corners = corners.clip(0, 1)
    values = np.stack([corners.reshape(-1), np.resize(_variances(layer, parameters), corners.size)])[None]
    shape: Shape = (1, 2, corners.size)
    constant = net.constant(layer, "boxes", values.astype(np.float32))
    net.add(layer, "Identity", [constant], shape, output=layer.tops[0])


def _box_sizes(layer: Layer, parameters: Message) -> list[tuple[float, float]]:
    """(width, height) of the boxes at each place; the fork cuts min_size and max_size to integers."""
    ratios = [1.0] if parameters.use_default_aspect_ratio else []
    for ratio in parameters.aspect_ratio:
        if all(abs(ratio - other) >= 1e-6 for other in ratios):
            ratios += [ratio, 1 / ratio] if parameters.flip else [ratio]
    smallest, largest = list(parameters.min_size), list(parameters.max_size)
    if not smallest or len(largest) not in {0, len(smallest)}:
        raise layer.error("needs min_size, and as many max_size or none")
    found = []
    for position, side in enumerate(map(int, smallest)):
        if parameters.use_default_aspect_ratio:
            found.append((float(side), float(side)))
        if largest:
            mean = math.sqrt(side * int(largest[position]))
            found.append((mean, mean))
        found += [(side * math.sqrt(r), side / math.sqrt(r)) for r in ratios if abs(r - 1) >= 1e-6]
    return found


def _variances(layer: Layer, parameters: Message) -> NDArray[np.float64]:
    given = list(parameters.variance) or [0.1]
    if len(given) not in {1, 4}:
        raise layer.error(f"has {len(given)} variances: give one or four")
    return np.array(given * (4 // len(given)))


def _image_size(net: Builder, layer: Layer) -> tuple[int, int]:
    """(height, width)."""
    parameters = layer.message.prior_box_param
    size = size_of(parameters, "img_h", "img_w") or size_of(parameters, "img_size", "img_size")
    if size is None:
        _, _, height, width = net.shape(layer, 1)
        size = height, width
    return size
