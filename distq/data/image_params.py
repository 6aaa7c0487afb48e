"""``image_params.json`` of the Caffe auto-tuner, turned into steps (REFERENCE.md 1.1)."""

from __future__ import annotations

from typing import Any, Literal

from distq.data.picture import Length, Number
from distq.data.strict import StrictModel

_FLIPS = {1: "horizontal", 0: "vertical", -1: "both"}


class ImageParams(StrictModel):
    """The keys and their defaults.

    ``size`` is [height, width], ``mirror`` OpenCV's flip code or -2 for none.
    """

    size: tuple[Length, Length] = (256, 256)
    padding: bool = False
    mirror: Literal[-2, -1, 0, 1] = -2
    color_format: Literal["rgb", "bgr"] = "rgb"
    r_mean: Number = 0.0
    g_mean: Number = 0.0
    b_mean: Number = 0.0
    scale: Number = 1.0


def from_image_params(content: object) -> dict[str, Any]:
    """Turn the file into the content of a preprocessing file, for every input.

    The order is resize, flip, color, subtract mean, multiply by scale, NCHW; padding is a centered letterbox
    filled with 0.

    Raises:
        ValidationError: an unknown key or a value that does not fit.
    """
    params = ImageParams.model_validate(content)
    resize: dict[str, Any] = {"height": params.size[0], "width": params.size[1]}
    if params.padding:
        resize |= {"letterbox": "center", "pad": 0}
    means = [params.r_mean, params.g_mean, params.b_mean]
    steps: list[dict[str, Any]] = [{"resize": resize}]
    if params.mirror in _FLIPS:
        steps.append({"flip": _FLIPS[params.mirror]})
    steps += [
        {"color": params.color_format},
        {"mean": means if params.color_format == "rgb" else means[::-1]},
        {"scale": params.scale},
    ]
    return {"inputs": {"*": {"steps": steps, "layout": "nchw"}}}
