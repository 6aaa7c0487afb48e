"""Methods that choose a threshold T from a tensor's distribution.

A new method is one file here with a function of type ``Method``, and a line in ``METHODS``.
"""

from __future__ import annotations

from typing import Protocol
from weakref import WeakKeyDictionary

from distq.calibration.histogram import Distribution
from distq.calibration.methods.aciq import aciq
from distq.calibration.methods.admm import admm
from distq.calibration.methods.clipping import least_threshold
from distq.calibration.methods.jsd import jsd
from distq.calibration.methods.kl import kl
from distq.calibration.methods.maximum import maximum
from distq.calibration.methods.mse import mse
from distq.calibration.methods.percentile import percentile
from distq.calibration.methods.symkl import symkl
from distq.calibration.ranges import ALL_ZERO_THRESHOLD, SMALLEST_THRESHOLD
from distq.errors import UsageError


class Method(Protocol):
    """A threshold from a distribution that holds at least one finite value that is not zero."""

    def __call__(self, distribution: Distribution, bins: int, levels: int | None) -> float:
        """Choose T.

        Args:
            distribution: counts of the tensor.
            bins: bins of the linear histogram over [0, max|x|]; methods that need none ignore it.
            levels: quantization levels of |x|; None: 256 where never negative, otherwise 128 or, for a method
                that knows the quantizer's grid, the 256 of the range between min and max.
        """


METHODS: dict[str, Method] = {
    "max": maximum,
    "kl": kl,
    "symkl": symkl,
    "jsd": jsd,
    "admm": admm,
    "aciq": aciq,
    "percentile": percentile,
    "mse": mse,
}


_FOUND: WeakKeyDictionary[Distribution, dict[tuple[str, int, int | None, int], float]] = WeakKeyDictionary()
"""Of distributions that are still in use: networks that differ in few layers share most of them."""

_LEAST = "least"
"""Stands for a method: the least threshold is the same for all of them."""


def threshold(distribution: Distribution, method: str, bins: int = 2048, levels: int | None = None) -> float:
    """The threshold of a tensor by a method.

    It may exceed max|x| slightly (REFERENCE.md 2.1: by N/(N-1) when KL clips nothing); ``tensor_range`` cuts
    that off. No method clips more than ``least_threshold`` allows. A tensor that is always zero gets
    ``ALL_ZERO_THRESHOLD``.

    Args:
        distribution: counts of the tensor.
        method: a name in ``METHODS``.
        bins: bins of the linear histogram of |x|.
        levels: quantization levels of |x|, see ``Method``.

    Raises:
        UsageError: there is no such method.
    """
    if method not in METHODS:
        raise UsageError(f"there is no threshold method {method!r}: choose one of {', '.join(METHODS)}")
    if distribution.absmax == 0:
        return ALL_ZERO_THRESHOLD
    found = _FOUND.setdefault(distribution, {})
    key = (method, bins, levels, distribution.count)  # what is added raises the count
    if key not in found:
        least = (_LEAST, 0, levels, distribution.count)
        if least not in found:
            found[least] = max(least_threshold(distribution, levels), SMALLEST_THRESHOLD)
        found[key] = max(METHODS[method](distribution, bins, levels), found[least])
    return found[key]
