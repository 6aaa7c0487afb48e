"""The inputs that a prototxt declares: by ``input``, by Input layers, or by layers that load data."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from distq.errors import ModelError
from distq.exchange.caffe.prototxt import Prototxt
from distq.exchange.caffe.schema import Message

_DATA = frozenset(
    {"Data", "AnnotatedData", "ImageData", "MemoryData", "DummyData", "HDF5Data", "WindowData", "VideoData"}
    | {"DATA", "IMAGE_DATA", "MEMORY_DATA", "DUMMY_DATA", "HDF5_DATA", "WINDOW_DATA"}
)
COLOR_CHANNELS = 3
LARGEST_INPUT = 1 << 31
"""Caffe counts the numbers of a blob in an int (BVLC Caffe, blob.cpp)."""


def is_input(layer: Message) -> bool:
    """Whether a layer brings in data and computes nothing; a Python layer does where it reads no blob."""
    kind = str(layer.type)
    return kind == "Input" or kind in _DATA or (kind == "Python" and not layer.bottom)


def declared_inputs(source: Prototxt, layers: Sequence[tuple[Message, int]]) -> dict[str, tuple[int, ...]]:
    """Shapes of the network's inputs, with Caffe's batch axis first, in the file's order.

    The second blob of a layer that loads data is its label, which is no input.

    Raises:
        ModelError: an input has no shape, or none is declared.
    """
    inputs = _of_net(source)
    for layer, line in layers:
        if is_input(layer):
            inputs.update(_of_layer(source, layer, line))
    if not inputs:
        raise ModelError(
            f'{source.path} declares no input: add input: "data" and input_shape {{ dim: 1 dim: 3 ... }}'
        )
    for name, shape in inputs.items():
        if not shape or min(shape) < 1 or prod(shape) > LARGEST_INPUT:
            raise ModelError(f"{source.path}: input {name} has the shape {list(shape)}: give its sizes")
    return inputs


def _of_net(source: Prototxt) -> dict[str, tuple[int, ...]]:
    """``input:`` with ``input_shape``, or with four ``input_dim`` each."""
    net = source.net
    names = list(net.input)
    if len(net.input_shape) == len(names):
        shapes = [tuple(shape.dim) for shape in net.input_shape]
    elif not net.input_shape and len(net.input_dim) == 4 * len(names):
        shapes = [tuple(net.input_dim[4 * i : 4 * i + 4]) for i in range(len(names))]
    else:
        raise ModelError(
            f"{source.path} declares {len(names)} inputs, {len(net.input_shape)} input_shape and "
            f"{len(net.input_dim)} input_dim: give one input_shape, or four input_dim, for each input"
        )
    return dict(zip(names, shapes, strict=True))


def _of_layer(source: Prototxt, layer: Message, line: int) -> dict[str, tuple[int, ...]]:
    kind, tops = str(layer.type), list(layer.top)
    if kind == "Input":
        shapes = [tuple(shape.dim) for shape in layer.input_param.shape]
    elif kind in {"DummyData", "DUMMY_DATA"}:
        data = layer.dummy_data_param
        legacy = zip(data.num, data.channels, data.height, data.width, strict=False)
        shapes = [tuple(shape.dim) for shape in data.shape] or [tuple(sizes) for sizes in legacy]
    else:
        shape = _of_data(layer)
        shapes, tops = [shape] if shape else [], tops[:1]
    if len(shapes) == 1:
        shapes *= len(tops)
    if len(shapes) != len(tops):
        raise ModelError(
            f"{source.path}, line {line}: layer {layer.name} ({kind}) does not say the size of "
            f"{', '.join(tops)}: "
            'put a layer of type "Input" with input_param { shape { dim: ... } } in its place'
        )
    return dict(zip(tops, shapes, strict=True))


def _of_data(layer: Message) -> tuple[int, ...] | None:
    """The shape of what a data layer loads, where its own parameters fix it; None where its images do."""
    if layer.HasField("memory_data_param"):
        data = layer.memory_data_param
        return data.batch_size, data.channels, data.height, data.width
    size = _image_size(layer)
    if size is None:
        return None
    gray = layer.transform_param.force_gray or (
        layer.HasField("image_data_param") and not layer.image_data_param.is_color
    )
    batch = (
        layer.image_data_param.batch_size
        if layer.HasField("image_data_param")
        else layer.data_param.batch_size
    )
    return max(batch, 1), 1 if gray else COLOR_CHANNELS, *size


def _image_size(layer: Message) -> tuple[int, int] | None:
    """(height, width) behind the last step that fixes it."""
    transform, images = layer.transform_param, layer.image_data_param
    for step in reversed(transform.transform_op):
        for sizes in ((step.crop_h, step.crop_w), (step.resize_h, step.resize_w)):
            if min(sizes) > 0:
                return sizes
    crop = transform.crop_size or layer.data_param.crop_size or images.crop_size
    resized = transform.resize_param
    fits = resized.resize_mode == "FIT_SMALL_SIZE"  # the other side depends on the image
    candidates = (
        (crop, crop),
        (transform.crop_h, transform.crop_w),
        (0, 0) if fits else (resized.height, resized.width),
        tuple(transform.resize) if len(transform.resize) == 2 else (0, 0),
        (images.new_height, images.new_width),
    )
    return next(((height, width) for height, width in candidates if min(height, width) > 0), None)
