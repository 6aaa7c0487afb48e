"""The shape of what a data layer loads, where its parameters or its first sample say it."""

from __future__ import annotations

from distq.data.images import pixels_of
from distq.data.preprocess import InputSteps
from distq.data.resize import Resize
from distq.data.samples import Values
from distq.data.shape_steps import CenterCrop, Transpose
from distq.data.sniff import open_source
from distq.data.value_steps import Color
from distq.errors import DataError, PreprocessError
from distq.exchange.caffe.data_layer import DataLayer


def loaded_shape(layer: DataLayer) -> tuple[int, ...] | None:
    """Shape of one sample behind the layer's transformations, with a batch of 1 before it.

    Caffe takes it from the first sample, and so does this where no step fixes the size.

    Returns:
        (1, channels, height, width), or (1, ...) of stored arrays; None where it cannot be known.
    """
    try:
        steps = layer.preprocessing()[0].for_input("*")
        size = _fixed_size(steps)
        if size is not None:
            colors = [step.value for step in steps.steps if isinstance(step, Color)]
            return 1, 1 if colors[-1] == "gray" else 3, *size
        return _of_first_sample(layer, steps)
    except (DataError, PreprocessError):
        return None


def _fixed_size(steps: InputSteps) -> tuple[int, int] | None:
    """(height, width) behind the steps, whatever the picture; None where it depends on that."""
    size = None
    for step in steps.steps:
        if isinstance(step, Resize):
            fixed = step.height is not None and step.width is not None and not step.cover
            size = (step.height or 0, step.width or 0) if fixed else None
        elif isinstance(step, CenterCrop) and (size is not None or step.fraction is None):
            size = step.size(*(size or (0, 0)))
        elif isinstance(step, Transpose) and size is not None:
            size = size[::-1]
    return size


def _of_first_sample(layer: DataLayer, steps: InputSteps) -> tuple[int, ...] | None:
    path, root = layer.source()
    source = open_source(path, None, root)
    items = source.read(0) if len(source) else ()
    if len(items) != 1:
        return None
    item = items[0]
    if isinstance(item, Values):
        return 1, *item.array.shape
    return steps.apply(pixels_of(item, source.name(0))).shape
