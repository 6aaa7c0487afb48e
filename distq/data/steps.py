"""The steps of a preprocessing file: what each takes and what it does to a picture."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from distq.data.samples import DEFAULT_PIXEL_LIMIT
from distq.data.strict import StrictModel, one_line, unknown
from distq.errors import PreprocessError

Order = Literal["bgr", "rgb", "gray"]
Length = Annotated[int, Field(ge=1, le=1 << 16)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Numbers = Annotated[
    tuple[Number, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, int | float | str) else value),
    Field(min_length=1),
]

_INTERPOLATIONS = {
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST,
    "lanczos4": cv2.INTER_LANCZOS4,
}


@dataclass(frozen=True)
class Picture:
    """An image between steps: (H, W, C), uint8 until the first arithmetic step, then float32."""

    array: NDArray[Any]
    order: Order


class Step(StrictModel, ABC):
    """One step; ``key`` is its name in the file."""

    key: ClassVar[str]

    @abstractmethod
    def apply(self, picture: Picture) -> Picture:
        """Do the step.

        Raises:
            PreprocessError: the picture is not what the step takes.
        """

    def describe(self) -> Any:  # noqa: ANN401  # JSON: a mapping, a list or a number
        """The step's value as a preprocessing file has it, defaults included."""
        values = self.model_dump(mode="json", exclude_none=True)
        return values.get("value", values)


class Resize(Step):
    """Resize to a shorter side, to height x width, or into height x width and pad the rest (letterbox).

    ``pad`` is 114 by default, what YOLO models were trained with.
    """

    key = "resize"
    shorter_side: Length | None = None
    height: Length | None = None
    width: Length | None = None
    letterbox: Literal["top_left", "center"] | None = None
    pad: Annotated[int, Field(ge=0, le=255)] = 114
    interpolation: Literal["linear", "area", "cubic", "nearest", "lanczos4"] = "linear"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.height is None) != (self.width is None) or (self.height is None) == (
            self.shorter_side is None
        ):
            raise ValueError("resize takes either shorter_side or both height and width")
        if self.letterbox is not None and self.height is None:
            raise ValueError("letterbox needs height and width")
        if "pad" in self.model_fields_set and self.letterbox is None:
            raise ValueError("pad needs letterbox: top_left or center")
        _require_pixels(self.height or self.shorter_side or 1, self.width or self.shorter_side or 1)
        return self

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        height, width = self._target(*picture.array.shape[:2])
        try:
            _require_pixels(height, width)
        except ValueError as error:
            raise PreprocessError(f"resize: {error}") from None
        resized = cv2.resize(
            np.ascontiguousarray(picture.array),
            (width, height),
            interpolation=_INTERPOLATIONS[self.interpolation],
        ).reshape(height, width, -1)
        if self.letterbox is not None and self.height is not None and self.width is not None:
            canvas = np.full((self.height, self.width, resized.shape[2]), self.pad, np.uint8)
            top, left = 0, 0
            if self.letterbox == "center":
                top, left = (self.height - height) // 2, (self.width - width) // 2
            canvas[top : top + height, left : left + width] = resized
            resized = canvas
        return Picture(resized, picture.order)

    def describe(self) -> Any:  # noqa: ANN401, D102  # as in Step
        values = super().describe()
        if self.letterbox is None:
            del values["pad"]
        return values

    def _target(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the resized picture, without padding."""
        if self.shorter_side is not None:
            short = self.shorter_side
            if height <= width:
                return short, _scaled(width, short, height)
            return _scaled(height, short, width), short
        wanted_height, wanted_width = self.height or 1, self.width or 1
        if self.letterbox is None:
            return wanted_height, wanted_width
        if wanted_height * width <= wanted_width * height:  # the height limits
            return wanted_height, min(wanted_width, _scaled(width, wanted_height, height))
        return min(wanted_height, _scaled(height, wanted_width, width)), wanted_width


def _require_pixels(height: int, width: int) -> None:
    """Refuse to make a picture larger than those that are decoded.

    Raises:
        ValueError: saying both sizes.
    """
    if height * width > DEFAULT_PIXEL_LIMIT:
        raise ValueError(
            f"a picture of {height}x{width} pixels is over the limit of {DEFAULT_PIXEL_LIMIT}: resize to less"
        )


def _scaled(length: int, numerator: int, denominator: int) -> int:
    return max(1, math.floor(length * numerator / denominator + 0.5))


class CenterCrop(Step):
    """Cut height x width out of the middle, starting at (H - height)//2, (W - width)//2."""

    key = "center_crop"
    height: Length
    width: Length

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        height, width = picture.array.shape[:2]
        top, left = (height - self.height) // 2, (width - self.width) // 2
        if top < 0 or left < 0:
            raise PreprocessError(
                f"center_crop of {self.height}x{self.width} does not fit into {height}x{width}: resize first"
            )
        return Picture(picture.array[top : top + self.height, left : left + self.width], picture.order)


class Flip(Step):
    """Mirror the picture; an addition to the contract's steps, for ``mirror`` of image_params.json."""

    key = "flip"
    value: Literal["horizontal", "vertical", "both"]

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        axes = {"horizontal": (1,), "vertical": (0,), "both": (0, 1)}[self.value]
        return Picture(np.flip(picture.array, axes), picture.order)


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


def _as_float(array: NDArray[Any]) -> NDArray[np.float32]:
    return array.astype(np.float32, copy=False)


def _per_channel(key: str, values: tuple[float, ...], picture: Picture) -> NDArray[np.float32]:
    channels = picture.array.shape[2]
    if len(values) not in {1, channels}:
        raise PreprocessError(
            f"{key} has {len(values)} numbers, the picture {channels} channels: give 1 or {channels}"
        )
    return np.asarray(values, np.float32)


STEPS: dict[str, type[Step]] = {
    step.key: step for step in (Resize, CenterCrop, Flip, Color, Scale, Mean, Std)
}
ARITHMETIC = (Scale, Mean, Std)


def parse_step(raw: object) -> object:
    """Turn ``{name: value}`` of a preprocessing file into a step; leave a step as it is.

    Raises:
        ValueError: it is no such mapping, or no such step.
    """
    if isinstance(raw, Step):
        return raw
    if not isinstance(raw, Mapping) or len(raw) != 1:
        raise ValueError(f"a step is one 'name: value', not {raw!r}; names: {', '.join(sorted(STEPS))}")
    ((key, value),) = raw.items()
    if key not in STEPS:
        raise ValueError(unknown("step", key, STEPS))
    try:
        return STEPS[key].model_validate({"value": value} if "value" in STEPS[key].model_fields else value)
    except ValidationError as error:
        raise ValueError(f"{key}: {one_line(error)}") from None
