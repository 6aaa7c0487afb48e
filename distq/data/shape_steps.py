"""Steps that cut, pad and turn a picture: center_crop, pad, flip, transpose."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from distq.data.picture import Length, Number, Numbers, Picture, Step
from distq.data.resize import multiple_above, require_pixels
from distq.errors import PreprocessError


class CenterCrop(Step):
    """Cut height x width, or a fraction of both sides, out of the middle.

    It starts at (H - height)//2, (W - width)//2. With ``pad`` a picture that is smaller gets this value
    around it, as tf.image.resize_with_crop_or_pad does; a fraction is that of tf.image.central_crop.
    """

    key = "center_crop"
    height: Length | None = None
    width: Length | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    pad: Number | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.height is None) != (self.width is None) or (self.height is None) == (self.fraction is None):
            raise ValueError("center_crop takes either fraction or both height and width")
        if self.pad is not None and self.fraction is not None:
            raise ValueError("pad needs height and width")
        return self

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        array = picture.array
        height, width = self.size(*array.shape[:2])
        top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
        if top < 0 or left < 0:
            if self.pad is None:
                raise PreprocessError(
                    f"center_crop of {height}x{width} does not fit into {array.shape[0]}x{array.shape[1]}: "
                    "resize first"
                )
            missing = [max(0, height - array.shape[0]), max(0, width - array.shape[1])]
            around = [(rest // 2, rest - rest // 2) for rest in missing]
            array = np.pad(array, [*around, (0, 0)], constant_values=self.pad)
            top, left = max(0, top), max(0, left)
        return Picture(array[top : top + height, left : left + width], picture.order)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what is cut out of a picture of this height and width."""
        if self.fraction is None:
            return self.height or height, self.width or width
        return _central(height, self.fraction), _central(width, self.fraction)


def _central(length: int, fraction: float) -> int:
    """Sides are cut off symmetrically, so that what stays may be one pixel more than the fraction."""
    return length - 2 * int((length - length * fraction) / 2)


class Pad(Step):
    """Put columns and rows around a picture that is smaller than height or width, or no multiple of a number.

    Before the arithmetic ``fill`` is a level from 0 to 255, behind it any number; one, or one per channel.
    """

    key = "pad"
    height: Length | None = None
    width: Length | None = None
    multiple_of: Length | None = None
    place: Literal["top_left", "center"] = "top_left"
    fill: Numbers = (0.0,)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.height is None and self.width is None) == (self.multiple_of is None):
            raise ValueError("pad takes height, width or both, or else multiple_of")
        return self

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        array = picture.array
        height, width = self.size(*array.shape[:2])
        channels = array.shape[2]
        if len(self.fill) not in {1, channels}:
            raise PreprocessError(
                f"pad: fill has {len(self.fill)} numbers, the picture {channels} channels: "
                f"give 1 or {channels}"
            )
        if array.dtype == np.uint8 and not all(level in range(256) for level in self.fill):
            raise PreprocessError(
                f"pad: fill {list(self.fill)} is no level from 0 to 255: put pad behind scale, mean and std"
            )
        padded = np.empty((height, width, channels), array.dtype)
        padded[:] = np.asarray(self.fill, np.float64).astype(array.dtype)
        top, left = self.before(*array.shape[:2])
        padded[top : top + array.shape[0], left : left + array.shape[1]] = array
        return Picture(padded, picture.order)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what a picture of this height and width becomes.

        Raises:
            PreprocessError: the picture is larger than what is asked for, or that is beyond what is decoded.
        """
        if self.multiple_of is None:
            found = self.height or height, self.width or width
        else:
            found = multiple_above(height, self.multiple_of), multiple_above(width, self.multiple_of)
        if found[0] < height or found[1] < width:
            raise PreprocessError(
                f"pad to {found[0]}x{found[1]} does not hold a picture of {height}x{width}: resize first"
            )
        try:
            require_pixels(*found)
        except ValueError as error:
            raise PreprocessError(f"pad: {error}") from None
        return found

    def before(self, height: int, width: int) -> tuple[int, int]:
        """Rows above and columns left of a picture of this height and width."""
        if self.place == "top_left":
            return 0, 0
        found = self.size(height, width)
        return (found[0] - height) // 2, (found[1] - width) // 2

    def describe(self) -> Any:  # noqa: ANN401, D102  # as in Step
        values = super().describe()
        values["fill"] = self.fill[0] if len(self.fill) == 1 else list(self.fill)
        return values


class Flip(Step):
    """Mirror the picture; an addition to the contract's steps, for ``mirror`` of image_params.json."""

    key = "flip"
    value: Literal["horizontal", "vertical", "both"]

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        axes = {"horizontal": (1,), "vertical": (0,), "both": (0, 1)}[self.value]
        return Picture(np.flip(picture.array, axes), picture.order)


class Transpose(Step):
    """Swap height and width, for networks trained on columns first, as Matlab stores them."""

    key = "transpose"
    value: Literal[True]

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        return Picture(picture.array.transpose(1, 0, 2), picture.order)
