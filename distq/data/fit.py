"""Whether an array fits a model input: shape, dtype, and no NaN or inf."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distq.data.samples import InputSpec
from distq.errors import DataError

IMAGE_REMEDY = "give --preprocess P.yaml with a resize step"
ARRAY_REMEDY = "give arrays of the model's shape"


def fit(array: NDArray[Any], spec: InputSpec, sample: str, remedy: str) -> NDArray[Any]:
    """Give an array the model's dtype after checking that it fits.

    Any real number fits a float input; other inputs take their own dtype only.

    Args:
        array: (1, ...) or without the leading 1.
        spec: The input; its batch axis is not compared.
        sample: The sample's name, for the error.
        remedy: What to do about a wrong size.

    Returns:
        (1, ...) in the model's dtype, contiguous.

    Raises:
        DataError: naming the input, the sample, what there is and what is wanted.
    """
    batched = array[np.newaxis] if array.ndim == len(spec.shape) - 1 else array
    if not fits(batched.shape, spec) or batched.shape[:1] not in {(1,), ()}:
        wanted = "x".join("?" if size is None else str(size) for size in spec.shape[1:])
        got = "x".join(map(str, batched.shape[1:] if batched.shape[:1] == (1,) else batched.shape))
        raise DataError(
            f"input {spec.name!r} of sample {sample} is {got or 'one number'}, "
            f"the model takes {wanted or 'one number'}: {remedy}"
        )
    cast = _cast(batched, spec, sample)
    if cast.dtype.kind == "f" and not np.isfinite(cast).all():
        raise DataError(
            f"input {spec.name!r} of sample {sample} holds NaN or inf as {cast.dtype}: repair or drop it"
        )
    return np.ascontiguousarray(cast)


def fits(shape: tuple[int, ...], spec: InputSpec) -> bool:
    """Whether a sample's shape, leading 1 included, is the input's but for the batch axis."""
    return len(shape) == len(spec.shape) and all(
        wanted is None or wanted == size for size, wanted in zip(shape[1:], spec.shape[1:], strict=True)
    )


def _cast(array: NDArray[Any], spec: InputSpec, sample: str) -> NDArray[Any]:
    wanted = np.dtype(spec.dtype)
    if array.dtype.newbyteorder("=") == wanted or (wanted.kind == "f" and array.dtype.kind in "biuf"):
        with np.errstate(over="ignore"):  # becomes inf, which fit() refuses
            return array.astype(wanted, copy=False)
    raise DataError(
        f"input {spec.name!r} of sample {sample} is {array.dtype}, the model takes {wanted}: convert the data"
    )
