"""From distributions to the table of thresholds, and from a table to encodings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from distq.calibration.histogram import Distribution
from distq.calibration.methods import threshold
from distq.errors import FileFormatError
from distq.graph.plan import Plan, Quantizer
from distq.graph.rows import make_row, with_threshold
from distq.quant.scheme import Encoding
from distq.quant.table import Row, Table

HEADROOM = "+headroom"
"""Ending of the method of a threshold that has headroom for channels that were evened out."""


def calibrated_table(plan: Plan, distributions: Mapping[str, Distribution], method: str, bins: int) -> Table:
    """One row a quantizer: its threshold by ``method``; its whole range where that matters or 16 bits do.

    Raises:
        FileFormatError: a tensor was not observed.
    """
    table: Table = {}
    for quantizer in plan.quantizers:
        if quantizer.name not in distributions:
            raise FileFormatError(
                f"the distributions lack {quantizer.name}: gather them again for --target {plan.target.name}"
            )
        distribution = distributions[quantizer.name]
        used = "max" if quantizer.keep_range or quantizer.bits == 16 else method
        chosen = threshold(distribution, used, bins, 128 if plan.scheme == "symmetric" else None)
        table[quantizer.name] = make_row(plan, quantizer, chosen, (distribution.min, distribution.max), used)
    return table


def with_headroom(plan: Plan, quantizer: Quantizer, row: Row, headroom: float, width: float) -> Row:
    """The same tensor with a threshold so many times higher, up to the width its factors were made for.

    The observed range counts as wider by as much, as it bounds what a threshold stands for.
    """
    chosen = min(row.threshold * headroom, max(width, row.threshold))
    wider = chosen / row.threshold
    observed = row.observed_min * wider, row.observed_max * wider
    return make_row(plan, quantizer, chosen, observed, f"{row.method}{HEADROOM}")


def has_headroom(row: Row) -> bool:
    """Whether a threshold has headroom for other images than it was calibrated on.

    A search on some of these would only take it away again.
    """
    return row.method.endswith(HEADROOM)


def given_table(plan: Plan, rows: Mapping[str, Row]) -> Table:
    """A table for this plan from one read from a file.

    Thresholds kept, encodings made anew for target and scheme.

    Raises:
        FileFormatError: a quantizer has no row.
    """
    table: Table = {}
    for quantizer in plan.quantizers:
        row = next((rows[t] for t in (quantizer.name, *quantizer.tensors) if t in rows), None)
        if row is None:
            raise FileFormatError(
                f"the table has no row for {quantizer.name}: take the table of a run of this model"
            )
        table[quantizer.name] = with_threshold(plan, quantizer, row, row.threshold, row.method)
    return table


def encodings(table: Table) -> dict[str, Encoding]:
    """The encoding of each quantizer."""
    return {name: row.encoding for name, row in table.items()}


def full_table(plan: Plan, table: Table) -> Table:
    """Every quantized tensor's row; a tensor that shares a quantizer names it in ``tied_to``."""
    rows: Table = {}
    for quantizer in plan.quantizers:
        for tensor in quantizer.tensors:
            row = table[quantizer.name]
            rows[tensor] = row if tensor == quantizer.name else replace(row, tied_to=quantizer.name)
    return rows
