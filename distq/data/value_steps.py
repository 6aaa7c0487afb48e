"""Steps that change a picture's values: color, scale, mean, mean_file, std, standardize."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationInfo, model_validator

from distq.data.mean_file import load_mean, mean_file_sha256
from distq.data.picture import Number, Numbers, Order, Picture, Step
from distq.errors import PreprocessError


class Color(Step):
    """Change the channel order; gray gives one channel."""

    key = "color"
    value: Order

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        channels = picture.array.shape[2]
        if channels != (1 if picture.order == "gray" else 3):
            raise PreprocessError(
                f"color: {self.value} takes a picture of 1 or 3 channels, this one has {channels}"
            )
        if self.value == picture.order:
            return picture
        array = np.ascontiguousarray(picture.array)
        if picture.order == "gray":
            array = np.repeat(array, 3, axis=2)
        elif self.value == "gray":
            code = cv2.COLOR_BGR2GRAY if picture.order == "bgr" else cv2.COLOR_RGB2GRAY
            array = cv2.cvtColor(array, code)[:, :, np.newaxis]
        else:
            array = array[:, :, ::-1]
        return Picture(array, self.value)


class Scale(Step):
    """x * scale, in float32."""

    key = "scale"
    value: Number

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        return Picture(_as_float(picture.array) * np.float32(self.value), picture.order)


class Mean(Step):
    """x - mean, one number or one per channel in the current order."""

    key = "mean"
    value: Numbers

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        return Picture(_as_float(picture.array) - _per_channel(self.key, self.value, picture), picture.order)


class MeanFile(Step):
    """Subtract a mean picture of the same size, in the order of channels that the file has.

    Caffe subtracts it at the place in the picture before the crop: so this stands before ``center_crop``.
    """

    key = "mean_file"
    path: str
    sha256: str

    @model_validator(mode="before")
    @classmethod
    def _found(cls, value: object, info: ValidationInfo) -> object:
        """A path alone becomes absolute, and is read once to know its SHA-256."""
        if not isinstance(value, str):
            return value
        path = Path((info.context or {}).get("folder", "."), value).absolute()
        try:
            return {"path": str(path), "sha256": mean_file_sha256(path)}
        except PreprocessError as error:
            raise ValueError(str(error)) from None

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        mean = load_mean(self.path, self.sha256)
        if mean.shape != picture.array.shape:
            theirs, ours = ("x".join(map(str, shape)) for shape in (mean.shape, picture.array.shape))
            remedy = "put a resize before it"
            if mean.shape[2] != picture.array.shape[2]:
                remedy = "give a mean file of as many channels"
            raise PreprocessError(f"mean_file {self.path} is {theirs}, the picture {ours}: {remedy}")
        return Picture(_as_float(picture.array) - mean, picture.order)

    def describe(self) -> Any:  # noqa: ANN401, D102  # as in Step
        return {"name": Path(self.path).name, "sha256": self.sha256}

    def as_file(self) -> str:  # noqa: D102  # as in Step
        return self.path


class Std(Step):
    """x / std, one number or one per channel in the current order."""

    key = "std"
    value: Numbers

    @model_validator(mode="after")
    def _no_zero(self) -> Self:
        if 0 in self.value:
            raise ValueError("std must not be 0")
        return self

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        return Picture(_as_float(picture.array) / _per_channel(self.key, self.value, picture), picture.order)


class Standardize(Step):
    """Per image (x - mean(x)) / max(std(x), 1 / sqrt(N)) of its N values.

    Source: tf.image.per_image_standardization, which ``standardization`` of Sophgo's Caffe is named after.
    """

    key = "standardize"
    value: Literal[True]

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        values = picture.array.astype(np.float64)
        deviation = max(values.std(), values.size**-0.5)
        return Picture(((values - values.mean()) / deviation).astype(np.float32), picture.order)


def _as_float(array: NDArray[Any]) -> NDArray[np.float32]:
    return array.astype(np.float32, copy=False)


def _per_channel(key: str, values: tuple[float, ...], picture: Picture) -> NDArray[np.float32]:
    channels = picture.array.shape[2]
    if len(values) not in {1, channels}:
        raise PreprocessError(
            f"{key} has {len(values)} numbers, the picture {channels} channels: give 1 or {channels}"
        )
    return np.asarray(values, np.float32)
