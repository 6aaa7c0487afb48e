"""The objects of a sample in pixels of the network's input: preprocessing moves boxes as it moves pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from distq.data.annotations import Annotations, Objects, load_annotations
from distq.data.dataset import SourceDataset
from distq.data.images import pixels_of
from distq.data.layout import image_channels, image_layout
from distq.data.picture import Step
from distq.data.plugin import Plugin
from distq.data.preprocess import default_steps
from distq.data.resize import Resize
from distq.data.samples import InputSpec, Item, Values
from distq.data.shape_steps import CenterCrop, Flip, Pad, Transpose
from distq.errors import PreprocessError

Size = tuple[int, int]


@dataclass(frozen=True)
class Truth:
    """Where the objects of samples are annotated: a file or folder; None: in the LMDB that holds the samples.

    ``classes`` are names by number.
    """

    annotations: str | None

    @cached_property
    def opened(self) -> Annotations | None:
        """What the file or folder holds."""
        return None if self.annotations is None else load_annotations(Path(self.annotations))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by number; none of an LMDB."""
        return () if self.opened is None else self.opened.classes

    def objects(self, dataset: SourceDataset, index: int, spec: InputSpec, size: Size) -> Objects:
        """Objects of a sample (n, 6): corners in pixels of the input, class, flag.

        Objects that preprocessing cuts away are gone, those that it cuts are cut.

        Args:
            dataset: holds the sample.
            index: of the sample.
            spec: the input that takes the picture.
            size: its height and width.

        Raises:
            DataError: the annotations do not have the sample.
            PreprocessError: what preprocessing does to a picture's places is not known.
        """
        if self.opened is None:
            found = np.array(
                [
                    [box.left, box.top, box.right, box.bottom, box.label - 1, box.difficult]  # 0: background
                    for box in dataset.boxes(index)
                ],
                np.float64,
            ).reshape(-1, 6)
        else:
            found = self.opened.of(dataset.source.aliases(index))
        if not len(found):
            return found
        return _moved(found, dataset, index, spec, size)


def _moved(objects: Objects, dataset: SourceDataset, index: int, spec: InputSpec, size: Size) -> Objects:
    position = [one.name for one in dataset.spec.inputs].index(spec.name)
    item = dataset.source.read(index)[position]
    if isinstance(item, Values):
        corners, there = objects[:, :4] * np.tile(size[::-1], 2), size
    else:
        picture = _size(item, dataset, index)
        corners = objects[:, :4] * np.tile(picture[::-1], 2)
        corners, there = move(_steps(dataset, spec), corners, picture)
    low = np.minimum(corners[:, :2], corners[:, 2:])
    high = np.maximum(corners[:, :2], corners[:, 2:])
    edge = np.array(there[::-1], np.float64)
    low, high = np.clip(low, 0, edge), np.clip(high, 0, edge)
    kept = (high > low).all(axis=1)
    return np.asarray(np.concatenate([low, high, objects[:, 4:]], axis=1)[kept])


def _steps(dataset: SourceDataset, spec: InputSpec) -> Sequence[Step]:
    preprocessing = dataset.preprocessing_of(spec.name)
    if isinstance(preprocessing, Plugin):
        raise PreprocessError(
            f"plug-in {preprocessing.path} may move a picture anywhere, so its boxes cannot be followed: "
            "give --preprocess in YAML to measure detections"
        )
    if preprocessing is None:
        return default_steps(image_channels(spec), image_layout(spec)).steps
    return preprocessing.for_input(spec.name).steps


def _size(item: Item, dataset: SourceDataset, index: int) -> Size:
    """Height and width of a picture, turned as its EXIF says."""
    if isinstance(item, Values):
        raise PreprocessError("an array has no size of a picture: detections are measured on images")
    array = pixels_of(item, dataset.name(index), dataset.spec.pixel_limit)
    return array.shape[0], array.shape[1]


def move(steps: Sequence[Step], corners: Objects, size: Size) -> tuple[Objects, Size]:
    """Corners (n, 4) in pixels of a picture where the steps leave them, and the size of the picture then.

    Args:
        steps: of a preprocessing file.
        corners: left, top, right, bottom.
        size: height and width of the picture before the steps.
    """
    points = corners.reshape(-1, 2, 2)  # (boxes, corners, (x, y))
    height, width = size
    for step in steps:
        if isinstance(step, Resize):
            points, (height, width) = _resized(step, points, (height, width))
        elif isinstance(step, CenterCrop):
            cut = step.size(height, width)
            points = points - np.array([_before(width, cut[1]), _before(height, cut[0])])
            height, width = cut
        elif isinstance(step, Pad):
            points = points + np.array(step.before(height, width)[::-1])
            height, width = step.size(height, width)
        elif isinstance(step, Flip):
            sides = np.array([width, height], np.float64)
            turned = np.array([step.value in {"horizontal", "both"}, step.value in {"vertical", "both"}])
            points = np.where(turned, sides - points, points)
        elif isinstance(step, Transpose):
            points, (height, width) = points[..., ::-1], (width, height)
    return np.asarray(points.reshape(-1, 4)), (height, width)


def _before(length: int, cut: int) -> int:
    """Pixels cut off at the beginning of a side; negative where pixels are put before it."""
    return (length - cut) // 2 if length >= cut else -((cut - length) // 2)


def _resized(step: Resize, points: Objects, size: Size) -> tuple[Objects, Size]:
    height, width = step.target(*size)
    points = points * np.array([width / size[1], height / size[0]])
    if step.letterbox is None or step.height is None or step.width is None:
        return points, (height, width)
    if step.letterbox == "center":
        points = points + np.array([(step.width - width) // 2, (step.height - height) // 2])
    return points, (step.height, step.width)
