"""How an image lies in a model input: the axis of its channels, and what to do where it does not fit."""

from __future__ import annotations

from typing import Any, Literal

from numpy.typing import NDArray

from distq.data.fit import fits
from distq.data.samples import InputSpec, shape_text
from distq.errors import DataError

Layout = Literal["nchw", "nhwc"]

_CHANNELS = {1, 3}
_TURNED: dict[Layout, tuple[int, ...]] = {"nhwc": (0, 2, 3, 1), "nchw": (0, 3, 1, 2)}


def image_layout(spec: InputSpec) -> Layout:
    """``nhwc`` where the last axis alone has 1 or 3 places, else ``nchw``."""
    if len(spec.shape) != 4:
        return "nchw"
    return "nhwc" if spec.shape[3] in _CHANNELS and spec.shape[1] not in _CHANNELS else "nchw"


def image_channels(spec: InputSpec) -> int | None:
    """Channels of an image input; None where they are open."""
    return spec.shape[3 if image_layout(spec) == "nhwc" else 1]


def require_image_input(spec: InputSpec) -> None:
    """Check that an input takes one image.

    Raises:
        DataError: it takes several at once, or is no image.
    """
    shape = shape_text(spec.shape)
    if len(spec.shape) != 4:
        raise DataError(
            f"model input {spec.name!r} ({shape}) takes no image, which has 4 dimensions: "
            "give arrays (.npy, .npz) or a preprocessing plug-in"
        )
    if not spec.batched:
        raise DataError(
            f"model input {spec.name!r} ({shape}) takes {spec.shape[0]} images at once: "
            f"export the model with a batch of 1 or an open one, or give an array of n x {shape}"
        )


def image_remedy(array: NDArray[Any], spec: InputSpec) -> str:
    """What to do about an image that does not fit.

    Args:
        array: (1, C, H, W) or (1, H, W, C), as it was to be fed.
        spec: An image input.
    """
    for layout, axes in _TURNED.items():
        if fits(array.transpose(axes).shape, spec):
            return f"set 'layout: {layout}' for this input in the preprocessing file"
    also = ", and 'layout: nhwc' for this input" if image_layout(spec) == "nhwc" else ""
    return f"give --preprocess P.yaml with a resize step{also}"
