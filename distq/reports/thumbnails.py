"""Small pictures of samples, from the source that a run read them from."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from distq.data.images import pixels_of
from distq.data.samples import Item, Values
from distq.data.sniff import open_source
from distq.errors import DistqError
from distq.reports.facts import SamplePicture

_SIDE, _QUALITY = 112, 75


def pictures(manifest: Mapping[str, Any], indices: Sequence[int], *, images: bool) -> list[SamplePicture]:
    """What samples are called and look like; without a name or picture where that cannot be told.

    Args:
        manifest: what ``run.json`` says of their source.
        indices: of the samples in it.
        images: make pictures.
    """
    nothing = [SamplePicture(index, "", "", None) for index in indices]
    path = Path(str(manifest.get("source", "")))
    if not path.exists():
        return nothing
    try:
        source = open_source(path, None)
        if len(source) != manifest.get("count"):
            return nothing
        return [
            SamplePicture(
                index,
                source.name(index),
                _thumbnail(source.read(index)) if images else "",
                source.label(index),
            )
            for index in indices
        ]
    except (DistqError, OSError):  # the page is of the run; its data may have gone
        return nothing


def _thumbnail(items: Sequence[Item]) -> str:
    """The first input as a JPEG in a data URI; empty where it is no picture."""
    if isinstance(items[0], Values):
        return ""
    pixels = pixels_of(items[0], "sample")
    height, width = pixels.shape[:2]
    factor = _SIDE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    small = cv2.resize(pixels, size, interpolation=method)
    done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode() if done else ""
