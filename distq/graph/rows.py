"""What a threshold comes to on the quantizer of a tensor, its range and its encoding; tables of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from distq.errors import FileFormatError
from distq.graph.plan import Plan, Quantizer
from distq.graph.quantizers import ChannelRange
from distq.quant.layer_config import ThresholdSetting
from distq.quant.scheme import Encoding, encode, encoded_range, threshold_range
from distq.quant.table import Row, Table

FIXED = "fixed"
"""The method of a threshold that the user fixed."""

BY_CHANNEL = "channels"
"""The method of a quantizer with a scale and a zero point for each channel."""


def make_row(
    plan: Plan, quantizer: Quantizer, chosen: float, observed: tuple[float, float], method: str
) -> Row:
    """The row of a threshold.

    Range [max(min, -T), min(max, T)] within the quantizer's own bounds, and its encoding. A range that the
    user fixed stands whatever is chosen; what was observed counts as wider by a factor above 1 that the user
    gave, as it would undo it. Of a quantizer with scales by channel nothing is chosen: it has the ranges of
    its channels, and the row says what they span.
    """
    if quantizer.channels:
        return _row_of_channels(plan, quantizer, observed)
    setting = quantizer.setting or ThresholdSetting()
    fixed = setting.fixed_range(observed[0])
    if fixed is not None:
        low, high = fixed
        chosen, method = max(-low, high), FIXED
    else:
        wider = max(1.0, setting.scale)
        low, high = threshold_range(observed[0] * wider, observed[1] * wider, chosen)
    low, high = (0.0 if quantizer.non_negative else low), max(min(high, quantizer.cap), quantizer.least_high)
    symmetric = plan.scheme == "symmetric"
    if symmetric:
        high = max(-low, high)
        low = -high
    encoding = encode(low, high, quantizer.bits, symmetric=symmetric, signed=plan.target.signed)
    steps = 2 ** (quantizer.bits - 1) - 1 if symmetric else 2**quantizer.bits - 1
    scale, zero_point = encoding.single
    return Row(
        threshold=chosen,
        min=low,
        max=high,
        observed_min=observed[0],
        observed_max=observed[1],
        bits=quantizer.bits,
        signed=encoding.signed,
        scale=scale,
        zero_point=zero_point,
        convention=str(steps),
        method=method,
    )


def _row_of_channels(plan: Plan, quantizer: Quantizer, observed: tuple[float, float]) -> Row:
    whole = replace(quantizer, channels=(), setting=None, cap=float("inf"), least_high=0.0)
    symmetric, signed, bits = plan.scheme == "symmetric", plan.target.signed, quantizer.bits
    channels = [encode(*ends, bits, symmetric=symmetric, signed=signed).single for ends in quantizer.channels]
    ranges = [encoded_range(*one, bits, symmetric=symmetric) for one in channels]
    ends = min(low for low, _ in ranges), max(high for _, high in ranges)
    row = make_row(plan, whole, max(-ends[0], ends[1]), ends, BY_CHANNEL)
    return replace(row, observed_min=observed[0], observed_max=observed[1], channels=tuple(channels))


def with_threshold(plan: Plan, quantizer: Quantizer, row: Row, chosen: float, method: str) -> Row:
    """The same tensor with another threshold."""
    return make_row(plan, quantizer, chosen, (row.observed_min, row.observed_max), method)


def given_table(plan: Plan, rows: Mapping[str, Row]) -> Table:
    """A table for this plan from one read from a file.

    Thresholds are kept, encodings are made anew for target and scheme.

    Raises:
        FileFormatError: a quantizer has no row.
    """
    table: Table = {}
    for quantizer in plan.known(rows):
        row = next((rows[t] for t in (quantizer.name, *quantizer.tensors) if t in rows), None)
        if row is None:
            raise FileFormatError(
                f"the table has no row for {quantizer.name}: "
                f"take one of this model, made for --target {plan.target.name}"
            )
        table[quantizer.name] = with_threshold(plan, quantizer, row, row.threshold, row.method)
    return table


def channels_of(rows: Mapping[str, Row]) -> tuple[tuple[str, tuple[ChannelRange, ...]], ...]:
    """The ranges of channels of a table's tensors, as settings have them."""
    return tuple((name, row.channel_ranges) for name, row in rows.items() if row.channels is not None)


def encodings(plan: Plan, table: Table) -> dict[str, Encoding]:
    """The encoding of each quantizer."""
    return {quantizer.name: table[quantizer.name].encoding for quantizer in plan.quantizers}


def full_table(plan: Plan, table: Table) -> Table:
    """Every quantized tensor's row; a tensor that shares a quantizer names it in ``tied_to``."""
    rows: Table = {}
    for quantizer in plan.known(table):
        for tensor in quantizer.tensors:
            row = table[quantizer.name]
            rows[tensor] = row if tensor == quantizer.name else replace(row, tied_to=quantizer.name)
    return rows
