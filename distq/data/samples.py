"""What the rest of distq sees of data: input specifications, samples, and the interfaces of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from distq.errors import DataError

IMAGE_EXTENSIONS = frozenset(
    {
        ".bmp",
        ".gif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)
"""Which files of a folder are images (compared in lower case)."""

DEFAULT_PIXEL_LIMIT = 100_000_000
"""Images of more pixels are refused before they are decoded."""


@dataclass(frozen=True)
class InputSpec:
    """One input of the model.

    Attributes:
        name: The ONNX input's name.
        shape: As the model takes it; None is an open dimension that fits any size.
        dtype: A numpy name such as ``float32``.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    @property
    def batched(self) -> bool:
        """Whether the leading dimension is the batch: it is where it is open or 1."""
        return bool(self.shape) and self.shape[0] in {None, 1}

    @property
    def sample_shape(self) -> tuple[int | None, ...]:
        """What a person calls the shape of one sample: without the batch, where there is one."""
        return self.shape[1:] if self.batched else self.shape


@dataclass(frozen=True)
class Sample:
    """One sample, ready to be fed: each input has the shape and dtype that the model takes.

    An input with a batch has (1, ...), any other the whole shape of the input.
    """

    index: int
    name: str
    inputs: dict[str, NDArray[Any]]
    label: int | None


def shape_text(shape: tuple[int | None, ...]) -> str:
    """A shape for a person: ``3x224x?``, ``?`` for what is open."""
    return "x".join("?" if size is None else str(size) for size in shape) or "one number"


class UnreadableSample(DataError):  # noqa: N818  # the name says which samples --skip-bad may leave out
    """A sample that cannot be decoded or is over the pixel limit; ``--skip-bad`` may leave it out.

    The message says what is wrong with which sample; who stops because of it adds what to do.

    Attributes:
        index: The sample's index; -1 where no data set is involved.
    """

    index: int = -1


class Dataset(Protocol):
    """Samples by index, in an order that depends on the source alone."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Sample:
        """Decode and preprocess one sample.

        Raises:
            UnreadableSample: this sample cannot be decoded.
            DataError: it does not fit the model.
            PreprocessError: the preprocessing cannot be applied to it.
        """

    def name(self, index: int) -> str:
        """The sample's name: its path as listed, LMDB key, or row number."""

    def label(self, index: int) -> int | None:
        """The class of the sample, or None where the source has none."""


@dataclass(frozen=True)
class ImageFile:
    """An image still to be decoded, in a file."""

    path: Path


@dataclass(frozen=True)
class ImageBytes:
    """An image still to be decoded, in memory."""

    data: bytes


@dataclass(frozen=True)
class Pixels:
    """A decoded image: uint8 (H, W, C), channels in BGR order."""

    array: NDArray[np.uint8]


@dataclass(frozen=True)
class Values:
    """An array for the model as it is: preprocessing does not touch it."""

    array: NDArray[Any]


Item = ImageFile | ImageBytes | Pixels | Values
"""What a source stores for one input of one sample."""


class Source(Protocol):
    """A place samples come from; one implementation per file in this folder."""

    @property
    def kind(self) -> str:
        """``folder``, ``list``, ``lmdb``, ``npz``, ``npy`` or ``recorded``."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The sample's name."""

    def aliases(self, index: int) -> tuple[str, ...]:
        """Names a labels file may call the sample by, the best first."""

    def label(self, index: int) -> int | None:
        """The label the source itself stores, or None."""

    def read(self, index: int) -> tuple[Item, ...]:
        """One item per model input, in the model's order."""

    def stored(self, index: int) -> tuple[bytes, ...]:
        """The raw bytes of each item, for hashing.

        Raises:
            OSError: a file cannot be read.
        """

    def names_sha256(self) -> str:
        """Over what all samples are called, in their order; reads none of them."""


class Numbered:
    """What a source says of samples that have no names but their numbers, and no labels."""

    def name(self, index: int) -> str:
        """The row number."""
        return str(index)

    def aliases(self, index: int) -> tuple[str, ...]:
        """The same."""
        return (str(index),)

    def label(self, index: int) -> None:  # noqa: ARG002  # as in Source
        """None."""
        return
