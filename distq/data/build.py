"""Building a Caffe LMDB from a list of images, as convert_imageset does (REFERENCE.md 6)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import lmdb
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from distq.data.datum import Datum, encode_datum
from distq.data.images import decode_image, prepare_opencv, read_image_file
from distq.data.lmdb_write import BatchWriter
from distq.data.samples import DEFAULT_PIXEL_LIMIT, UnreadableSample
from distq.data.shards import permutation
from distq.data.text_list import raw_lines, split_label
from distq.errors import DataError, DistqError, UsageError
from distq.files import require_place, sync_folder

_LONGEST_KEY = 511  # LMDB's limit
_REPORTED = 10


class BuildOptions(BaseModel):
    """convert_imageset's flags, and the seed of ``shuffle``, which the original takes from the system.

    ``resize_width`` and ``resize_height`` go together (0 is no resize) and ignore the aspect ratio.
    ``encoded`` stores image files instead of pixels: the file's own bytes where it is not resized and its
    extension is that of the format, also with ``gray`` (BVLC Caffe, io.cpp, ReadImageToDatum).
    ``encode_type`` (such as ``jpg``) implies it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gray: bool = False
    shuffle: bool = False
    backend: str = "lmdb"
    resize_width: int = Field(0, ge=0, le=1 << 16)
    resize_height: int = Field(0, ge=0, le=1 << 16)
    check_size: bool = False
    encoded: bool = False
    encode_type: str = ""
    seed: int = 0
    pixel_limit: int = Field(DEFAULT_PIXEL_LIMIT, ge=1)

    @field_validator("backend")
    @classmethod
    def _only_lmdb(cls, value: str) -> str:
        if value != "lmdb":
            raise UsageError(
                f"backend {value} cannot be written: use --backend lmdb, the records are the same"
            )
        return value

    @field_validator("encode_type")
    @classmethod
    def _known_encoder(cls, value: str) -> str:
        value = value.lower().removeprefix(".")
        if value and not cv2.haveImageWriter(f".{value}"):
            raise UsageError(f"encode_type {value} is no image format that can be written: try jpg or png")
        return value

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.resize_height) != bool(self.resize_width):
            raise UsageError("resize_width and resize_height go together: give both or none")
        return self


@dataclass(frozen=True)
class BuildReport:
    """What was built.

    Attributes:
        database: The LMDB folder.
        written: Records in it.
        skipped: Unreadable images, which leave gaps in the numbering of the keys.
        reasons: Why, for the first of them.
    """

    database: Path
    written: int
    skipped: int
    reasons: tuple[str, ...]


def build_lmdb(
    root: Path,
    list_file: Path,
    database: Path,
    options: BuildOptions | None = None,
    *,
    on_start: Callable[[int], None] | None = None,
    on_image: Callable[[], None] | None = None,
) -> BuildReport:
    """Build an LMDB of Datum records; the folder appears when it is complete, or not at all.

    Keys are ``%08d_path`` with the line's index after shuffling and the path as listed. Every line counts,
    also one that is empty, a comment, or of an image that cannot be read (BVLC Caffe, convert_imageset.cpp).

    Args:
        root: Folder the listed paths start at.
        list_file: Lines ``relative/path label``, split at the last blank; one that starts with ``#`` is a
            comment.
        database: The folder to make.
        options: convert_imageset's flags.
        on_start: Called with the number of images before the first, when nothing speaks against the build.
        on_image: Called after every image.

    Raises:
        UsageError: the database exists, or the root does not.
        DataError: the list is wrong, no image can be read, or ``check_size`` finds two sizes.
        DistqError: the database cannot be written.
    """
    options = options or BuildOptions()
    if database.exists() or database.is_symlink():
        raise UsageError(f"{database} exists: choose another name or remove it")
    if not database.absolute().parent.is_dir():
        raise UsageError(f"folder {database.absolute().parent} does not exist: make it first")
    require_place(database, "database")
    if not root.is_dir():
        raise UsageError(f"{root} is no folder: give the one that the listed paths start at")
    lines = _labelled_lines(list_file)
    order = permutation(len(lines), options.seed) if options.shuffle else range(len(lines))
    if on_start is not None:
        on_start(sum(line is not None for line in lines))
    temporary = Path(tempfile.mkdtemp(dir=database.absolute().parent, prefix=f".{database.name}."))
    try:
        written, skipped = _write(root, [lines[i] for i in order], temporary, options, on_image)
        temporary.chmod(0o755)
        temporary.rename(database)
        sync_folder(database.absolute().parent)
    except (lmdb.Error, OSError) as error:
        raise DistqError(f"LMDB {database} cannot be written: {error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return BuildReport(database, written, len(skipped), tuple(skipped[:_REPORTED]))


def _labelled_lines(list_file: Path) -> list[tuple[str, int] | None]:
    """Path and label of every line; None for one that lists no image."""
    lines: list[tuple[str, int] | None] = []
    for number, entry in raw_lines(list_file):
        if not entry or entry.startswith("#"):
            lines.append(None)
            continue
        path, label = split_label(entry)
        if label is None:
            raise DataError(f"{list_file} line {number} is not 'relative/path label' with an integer label")
        if len(_key(number, path)) > _LONGEST_KEY:
            raise DataError(
                f"{list_file} line {number}: the path is over {_LONGEST_KEY - 9} bytes: shorten it"
            )
        lines.append((path, label))
    if not any(lines):
        raise DataError(f"{list_file} lists no images: give lines 'relative/path label'")
    return lines


def _write(
    root: Path,
    lines: list[tuple[str, int] | None],
    folder: Path,
    options: BuildOptions,
    on_image: Callable[[], None] | None,
) -> tuple[int, list[str]]:
    """Write the records; returns how many, and why each of the others was left out."""
    written = 0
    skipped: list[str] = []
    first: tuple[str, tuple[int, ...]] | None = None
    writer = BatchWriter(folder)
    try:
        for index, line in enumerate(lines):
            if line is None:
                continue
            path, label = line
            try:
                datum, shape = make_datum(root / path.lstrip("/"), label, options)
            except UnreadableSample as error:
                skipped.append(str(error))
            else:
                first = first or (path, shape)
                if options.check_size and shape != first[1]:
                    raise DataError(
                        f"check_size: {path} is {_size(shape)}, {first[0]} is {_size(first[1])}: "
                        "give resize_width and resize_height"
                    )
                writer.put(_key(index, path), encode_datum(datum))
                written += 1
            if on_image is not None:
                on_image()
        writer.commit()
    finally:
        writer.close()
    if not written:
        raise DataError(f"none of the {len(skipped)} images can be read; the first: {skipped[0]}")
    return written, skipped


def make_datum(path: Path, label: int, options: BuildOptions) -> tuple[Datum, tuple[int, ...]]:
    """Make the record of one image.

    Returns:
        The record, and (H, W, C) of its picture.

    Raises:
        UnreadableSample: the image cannot be decoded.
        DataError: its extension names no format that can be written.
    """
    data = read_image_file(path)
    image: NDArray[np.uint8] = decode_image(data, str(path), options.pixel_limit, gray=options.gray)
    if options.resize_width:
        size = (options.resize_width, options.resize_height)
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR).reshape(size[1], size[0], -1)
    height, width, channels = image.shape
    if not (options.encoded or options.encode_type):
        planar = np.ascontiguousarray(image.transpose(2, 0, 1))
        return Datum(channels, height, width, planar.tobytes(), label), image.shape
    suffix = path.suffix.lower().removeprefix(".")
    wanted = options.encode_type or suffix
    if options.resize_width or not _is_of_format(suffix, wanted):
        prepare_opencv()
        if not wanted or not cv2.haveImageWriter(f".{wanted}"):
            raise DataError(
                f"image {path} cannot be stored as {wanted or '(no extension)'}: give encode_type jpg or png"
            )
        data = cv2.imencode(f".{wanted}", image)[1].tobytes()
    return Datum(data=data, label=label, encoded=True), image.shape


def _is_of_format(suffix: str, wanted: str) -> bool:
    """Whether a file is stored as it is; ``jpeg`` of a .jpg is written anew, as in Caffe (matchExt)."""
    return bool(wanted) and (suffix == wanted or (suffix == "jpeg" and wanted == "jpg"))


def _key(index: int, path: str) -> bytes:
    return f"{index:08d}_{path}".encode()


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
