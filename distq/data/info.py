"""What a data source holds, without a model: ``distq dataset info``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distq.data.caffe_lmdb import LmdbSource
from distq.data.folder import FolderSource
from distq.data.image_header import image_size
from distq.data.recorded import RecordedSource
from distq.data.remote import url_size
from distq.data.samples import ImageBytes, ImageFile, Item, Pixels, Source, UnreadableSample
from distq.data.sniff import open_source
from distq.data.text_list import TextListSource
from distq.errors import DataError
from distq.regular import read_regular
from distq.urls import url_of

_SHOWN = 5


@dataclass(frozen=True)
class SourceInfo:
    """What a source holds.

    Attributes:
        kind: folder, list, lmdb, npz, npy or recorded.
        source: Where it is.
        count: How many samples.
        names: The first few samples' names.
        shapes: Per shown sample, of each input: ``224x224x3`` (an image's height, width and channels as
            decoded), an array's shape and dtype, or why it cannot be read.
        labels: Whether the source itself has labels (looked up in its first sample).
        bytes: Size of what is stored, of all samples.
        hidden: Hidden files of a folder, which are no samples.
        boxes: Whether its samples have boxes, the ground truth of detection (looked up in the first).
    """

    kind: str
    source: str
    count: int
    names: tuple[str, ...]
    shapes: tuple[tuple[str, ...], ...]
    labels: bool
    bytes: int
    hidden: int = 0
    boxes: bool = False


def describe_source(path: Path, root: Path | None = None) -> SourceInfo:
    """Look at a source; decodes no image.

    Args:
        path: What ``--data`` takes.
        root: Where relative paths of a text list start; None is its own folder.

    Raises:
        DataError: it is missing, damaged or empty.
    """
    opened = open_source(path, None, root)
    count = len(opened)
    if not count:
        raise DataError(f"data {path} is empty: give at least one sample")
    shown = range(min(_SHOWN, count))
    return SourceInfo(
        kind=opened.kind,
        source=url_of(path) or str(path),
        count=count,
        names=tuple(opened.name(index) for index in shown),
        shapes=tuple(_shapes(opened, index) for index in shown),
        labels=_has_labels(opened),
        bytes=_stored_bytes(path, opened),
        hidden=opened.hidden if isinstance(opened, FolderSource) else 0,
        boxes=_has_boxes(opened),
    )


def _has_labels(source: Source) -> bool:
    try:
        return source.label(0) is not None
    except UnreadableSample:
        return False


def _has_boxes(source: Source) -> bool:
    try:
        return isinstance(source, LmdbSource) and bool(source.boxes(0))
    except UnreadableSample:
        return False


def _stored_bytes(path: Path, source: Source) -> int:
    if isinstance(source, FolderSource | TextListSource):
        return sum(source.stored_size(index) for index in range(len(source)))
    if isinstance(source, RecordedSource):
        return source.stored_bytes()
    url = url_of(path)
    if url is not None:
        return url_size(url)
    return (path / "data.mdb" if path.is_dir() else path).stat().st_size


def _shapes(source: Source, index: int) -> tuple[str, ...]:
    try:
        return tuple(_shape(item) for item in source.read(index))
    except UnreadableSample as error:
        return (str(error),)


def _shape(item: Item) -> str:
    if isinstance(item, ImageFile | ImageBytes):
        try:
            data = read_regular(item.path) if isinstance(item, ImageFile) else item.data
            height, width = image_size(data)
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        except ValueError as error:
            return str(error)
        return f"{height}x{width}x3"
    shape = item.array.shape
    return "x".join(map(str, shape)) + ("" if isinstance(item, Pixels) else f" {item.array.dtype}")
