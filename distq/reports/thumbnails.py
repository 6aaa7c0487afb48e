"""Small pictures of samples, from the source that a run read them from."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from distq.data.images import pixels_of
from distq.data.samples import Source, Values
from distq.data.sniff import open_source
from distq.errors import DistqError
from distq.reports.facts import SamplePicture

_SIDE, _QUALITY = 112, 70
_LARGE_SIDE = 256
"""Of a picture that boxes are drawn on."""


def pictures(
    manifest: Mapping[str, Any], indices: Sequence[int], *, images: bool, large: bool = False
) -> list[SamplePicture]:
    """What samples are called and look like; without a name or picture where that cannot be told.

    Args:
        manifest: what ``run.json`` says of their source.
        indices: of the samples in it.
        images: make pictures.
        large: that boxes can be drawn on.
    """
    nothing = [SamplePicture(index, "", "", None) for index in indices]
    path = Path(str(manifest.get("source", "")))
    if not path.exists():
        return nothing
    try:
        source = open_source(path, None)
        if len(source) != manifest.get("count"):
            return nothing
        return [_sample(source, index, _LARGE_SIDE if large else _SIDE, images=images) for index in indices]
    except (DistqError, OSError):  # the page is of the run; its data may have gone
        return nothing


def _sample(source: Source, index: int, side: int, *, images: bool) -> SamplePicture:
    item = source.read(index)[0] if images else None
    pixels = None if item is None or isinstance(item, Values) else pixels_of(item, "sample")
    size = None if pixels is None else (pixels.shape[0], pixels.shape[1])
    picture = "" if pixels is None else _thumbnail(pixels, side)
    return SamplePicture(index, source.name(index), picture, source.label(index), size)


def _thumbnail(pixels: NDArray[np.uint8], side: int) -> str:
    """A JPEG in a data URI; empty where it cannot be one."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    small = cv2.resize(pixels, size, interpolation=method)
    done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode() if done else ""
