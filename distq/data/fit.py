"""Whether an array fits a model input: shape, dtype, and no NaN or inf."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distq.data.samples import InputSpec, shape_text
from distq.errors import DataError


class NotFinite(DataError):  # noqa: N818  # what a sample is
    """A sample holds NaN or inf.

    Attributes:
        fact: that alone, without what to do.
    """

    def __init__(self, fact: str) -> None:
        super().__init__(f"{fact}: repair or drop it")
        self.fact = fact

    def __reduce__(self) -> tuple[type[NotFinite], tuple[str]]:
        """As it was made, on its way between processes."""
        return NotFinite, (self.fact,)


def fit(array: NDArray[Any], spec: InputSpec, sample: str, remedy: str) -> NDArray[Any]:
    """Give an array the model's dtype after checking that it fits.

    Any real number fits a float input; other inputs take their own dtype only.

    Args:
        array: One sample: the whole input, or a row of its batch, without the leading 1.
        spec: The input.
        sample: The sample's name, for the error.
        remedy: What to do about a wrong size.

    Returns:
        The whole input in its dtype, contiguous.

    Raises:
        NotFinite: it holds NaN or inf.
        DataError: naming the input, the sample, what there is and what is wanted.
    """
    whole = with_batch(array, spec)
    if not fits(whole.shape, spec):
        got = whole.shape[1:] if spec.batched and whole.shape[:1] == (1,) else whole.shape
        raise DataError(
            f"input {spec.name!r} of sample {sample} is {shape_text(got)}, "
            f"the model takes {shape_text(spec.sample_shape)}: {remedy}"
        )
    cast = _cast(whole, spec, sample)
    if cast.dtype.kind == "f" and not np.isfinite(cast).all():
        raise NotFinite(f"input {spec.name!r} of sample {sample} holds NaN or inf as {cast.dtype}")
    return np.asarray(cast, order="C")  # ascontiguousarray makes one number an array of one axis


def with_batch(array: NDArray[Any], spec: InputSpec) -> NDArray[Any]:
    """The array with the leading 1 put back where it is a row of the batch; any other as it is."""
    return array[np.newaxis] if spec.batched and array.ndim == len(spec.shape) - 1 else array


def fits(shape: tuple[int, ...], spec: InputSpec) -> bool:
    """Whether a shape is that of the whole input; an open dimension takes any size.

    The first is not 0; another may be, as that of a cache before its first word.
    """
    return len(shape) == len(spec.shape) and all(
        (size > 0 or axis > 0) if wanted is None else size == wanted
        for axis, (size, wanted) in enumerate(zip(shape, spec.shape, strict=True))
    )


def array_remedy(spec: InputSpec) -> str:
    """What to do about an array that does not fit."""
    if spec.batched:
        return "give arrays of the model's shape"
    if not spec.shape:
        return "give one number a sample"
    whole = shape_text(spec.shape)
    return (
        f"a sample is the whole input: give {whole} for each (n x {whole} for n samples), "
        "or export the model with a batch of 1"
    )


def in_wider_integers(array: NDArray[Any], spec: InputSpec) -> NDArray[Any]:
    """Pixels in the dtype of an integer input that holds all their values; any other array as it is."""
    wanted = np.dtype(spec.dtype)
    if array.dtype == np.uint8 and wanted.kind in "iu" and np.can_cast(np.uint8, wanted):
        return array.astype(wanted)
    return array


def _cast(array: NDArray[Any], spec: InputSpec, sample: str) -> NDArray[Any]:
    wanted = np.dtype(spec.dtype)
    if array.dtype.newbyteorder("=") == wanted or (wanted.kind == "f" and array.dtype.kind in "biuf"):
        with np.errstate(over="ignore"):  # becomes inf, which fit() refuses
            return array.astype(wanted, copy=False)
    raise DataError(
        f"input {spec.name!r} of sample {sample} is {array.dtype}, the model takes {wanted}: convert the data"
    )
