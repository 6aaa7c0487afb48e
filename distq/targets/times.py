"""What kernels of a runtime take, as plain data: for telling which form of a network is faster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FormTimes:
    """Microseconds of kernels on one form of numbers.

    Attributes:
        start: of each kernel, whatever it computes.
        thin: of a million multiplications where a written value is made of few channels.
        dense: the same, of many channels.
        group: of a thousand positions of one group of a grouped convolution, beside its multiplications.
        value: of a thousand values that another kernel writes.
        entered: of a thousand values that are brought into this form from the other one.
    """

    start: float
    thin: float
    dense: float
    group: float
    value: float
    entered: float


@dataclass(frozen=True)
class KernelTimes:
    """What kernels take in INT8 and in float, on one thread.

    Attributes:
        int8, in_float: of the two forms.
        few: channels that are read for one that is written, up to which a convolution is thin.
    """

    int8: FormTimes
    in_float: FormTimes
    few: int
