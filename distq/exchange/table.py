"""A threshold table between two formats: what each of them says of a tensor, in one convention."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from distq.quant.scheme import encode, threshold_range
from distq.quant.table import Row

Naming = Literal["tensor", "operator", "layer", "layer input", "fused"]
"""What the names of a table are.

``tensor``: tensors of the ONNX network. ``operator``: a tensor with the type of what writes it, ``t_Relu``.
``layer``: nodes, for what they write. ``layer input``: nodes, for what they read. ``fused``: tensors of the
graph that the tool made of the network.
"""

Convention = Literal[127, 128]
"""What a threshold T of 8 bits is divided by to give the scale."""


@dataclass(frozen=True)
class Entry:
    """What a table says of one activation.

    Attributes:
        threshold: T; a symmetric quantizer of b bits has the scale T/(2^(b-1) - 1), whatever the file's
            convention was.
        low: least value that is kept; ``max(-low, high)`` is T.
        high: largest value that is kept.
        bits: of the activation.
        scale: of the quantizer where the table says it.
        zero_point: code of 0 among the codes 0 to 2^bits - 1; a symmetric quantizer has 2^(bits-1). None
            where the table does not say.
        ranged: the table says where the values begin and end, not T alone.
        by_channel: each channel has a scale of its own, of which this is the whole range.
    """

    threshold: float
    low: float
    high: float
    bits: int = 8
    scale: float | None = None
    zero_point: int | None = None
    ranged: bool = True
    by_channel: bool = False

    @property
    def middle(self) -> int:
        """The code of 0 in a symmetric quantizer."""
        return int(2 ** (self.bits - 1))

    @property
    def symmetric(self) -> bool:
        """Whether the quantizer is symmetric around 0."""
        return self.zero_point is None or self.zero_point == self.middle

    @property
    def uses_all_codes(self) -> bool:
        """Whether the range goes from the least to the largest code, as that of an asymmetric quantizer."""
        return self.scale is not None and self.high - self.low > (2 * self.middle - 1.5) * self.scale

    @property
    def leaves_least_code(self) -> bool:
        """Whether it is symmetric, and its range the same on both sides of 0."""
        return self.symmetric and not self.uses_all_codes

    @property
    def quantizer(self) -> tuple[float, int]:
        """Scale and zero point among unsigned codes: as stated, else symmetric with T."""
        if self.scale is not None and self.zero_point is not None:
            return self.scale, self.zero_point
        return self.threshold / (self.middle - 1), self.middle

    @property
    def symmetric_scale(self) -> float:
        """The scale of a format that has no zero point."""
        return self.quantizer[0] if self.symmetric else self.threshold / (self.middle - 1)


@dataclass(frozen=True)
class WeightScales:
    """The scales of a symmetric weight of some bits: one, or one for each output channel."""

    scales: tuple[float, ...]
    bits: int = 8

    @property
    def ranges(self) -> tuple[float, ...]:
        """The largest magnitude of each channel."""
        return tuple(scale * (2 ** (self.bits - 1) - 1) for scale in self.scales)

    @property
    def in_8_bits(self) -> tuple[float, ...]:
        """The scales for a format that has int8 alone."""
        return self.scales if self.bits == 8 else tuple(largest / 127 for largest in self.ranges)


@dataclass(frozen=True)
class ExchangeTable:
    """A table as a format says it, or as one shall.

    Attributes:
        entries: of activations, by name.
        weights: scales of weights, by the name that the format gives them; by node after
            :func:`distq.exchange.names.with_tensor_names`.
        modes: computed in another type than INT8, such as ``F16``, by name.
        naming: what the names are.
        layers: entries by layer, of a format that has them beside those of blobs.
        warnings: what a person should know, a line each.
        details: what only the writer of the same format understands, such as a header.
        convention: that thresholds had in the file; None where it has scales or ranges.
        samples: that calibrated, and that a search went by; None where the table does not say.
    """

    entries: Mapping[str, Entry]
    weights: Mapping[str, WeightScales] = field(default_factory=dict)
    modes: Mapping[str, str] = field(default_factory=dict)
    naming: Naming = "tensor"
    layers: Mapping[str, Entry] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    details: object = None
    convention: Convention | None = None
    samples: tuple[int, int] | None = None


def with_range(threshold: float, low: float, high: float, bits: int = 8) -> Entry:
    """A symmetric entry of a threshold and the values seen, which the threshold cuts."""
    low, high = max(min(low, 0.0), -threshold), min(max(high, 0.0), threshold)
    if max(-low, high) < threshold:
        low, high = (low, threshold) if high >= -low else (-threshold, high)
    return Entry(threshold, low, high, bits)


def of_threshold(threshold: float, bits: int = 8) -> Entry:
    """A symmetric entry of a threshold alone."""
    return Entry(threshold, -threshold, threshold, bits, ranged=False)


def of_quantizer(scale: float, zero_point: int, bits: int = 8, *, largest: bool = False) -> Entry:
    """An entry of a quantizer with unsigned codes, whose range follows.

    Args:
        scale: of a step.
        zero_point: code of 0, from 0 to 2^bits - 1.
        bits: of the codes.
        largest: the least code is used also where that of 0 is in the middle, as asymmetric quantizers do.
    """
    middle = 2 ** (bits - 1)
    if zero_point == middle and not largest:
        threshold = scale * (middle - 1)
        return Entry(threshold, -threshold, threshold, bits, scale, zero_point)
    low, high = -zero_point * scale, (2**bits - 1 - zero_point) * scale
    return Entry(max(-low, high), low, high, bits, scale, zero_point)


def converted_threshold(threshold: float, found: Convention, wanted: Convention, bits: int = 8) -> float:
    """The threshold that gives the same scale in another convention.

    T/128 of one is T*(127/128)/127 of the other; at 16 bits the steps are 32768 and 32767.
    """
    if found == wanted:
        return threshold
    half = 2.0 ** (bits - 1)
    return threshold * ((half - 1) / half if found == 128 else half / (half - 1))


def entry_of_row(row: Row) -> Entry:
    """What a row of ``thresholds.json`` says."""
    zero_point = row.zero_point + (2 ** (row.bits - 1) if row.signed else 0)
    threshold = max(-row.min, row.max)
    low, high = row.min, row.max
    if zero_point == 2 ** (row.bits - 1):
        seen = threshold_range(row.observed_min, row.observed_max, threshold)
        ranged = with_range(threshold, *seen, row.bits)
        low, high = ranged.low, ranged.high
    by_channel = row.channels is not None
    return Entry(threshold, low, high, row.bits, row.scale, zero_point, by_channel=by_channel)


def row_of_entry(entry: Entry, method: str) -> Row:
    """A row of ``thresholds.json`` for an entry; it was not observed, so its range counts as what was."""
    symmetric, half = entry.leaves_least_code, 2 ** (entry.bits - 1)
    scale, zero_point = entry.quantizer
    low, high = (-entry.threshold, entry.threshold) if symmetric else (entry.low, entry.high)
    if entry.scale is None:
        made = encode(low, high, entry.bits, symmetric=symmetric, signed=symmetric)
        scale, _ = made.single
    return Row(
        threshold=entry.threshold,
        min=low,
        max=high,
        observed_min=entry.low,
        observed_max=entry.high,
        bits=entry.bits,
        signed=symmetric,
        scale=scale,
        zero_point=0 if symmetric else zero_point,
        convention=str(half - 1 if symmetric else 2**entry.bits - 1),
        method=method,
    )


def is_usable(threshold: float) -> bool:
    """Whether a number can be a threshold or a scale."""
    return math.isfinite(threshold) and threshold > 0
