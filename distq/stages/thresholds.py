"""From distributions to the table of thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from distq.calibration.histogram import Distribution
from distq.calibration.methods import threshold
from distq.errors import FileFormatError
from distq.exchange.given import read_given
from distq.exchange.text import listed
from distq.graph.plan import Plan, Quantizer
from distq.graph.rows import given_table, make_row
from distq.quant.layer_config import ThresholdSetting
from distq.quant.table import HEADROOM, Row, Table
from distq.run.context import Run
from distq.stages.form import Form
from distq.stages.observe import observe

AUTO = "auto"
"""The method that is chosen by comparison (``stages/method.py``)."""

FIRST_METHOD = "mse"
"""What ``auto`` begins with, and takes where nothing can be compared: it never clips what costs much."""


def with_thresholds(run: Run, form: Form) -> Form:
    """The form with the thresholds of ``--table``, or those that the method finds in its distributions."""
    options = run.options
    if options.table is not None:
        table = _given(run, form, options.table)
    else:
        table = calibrated_table(form.plan, form.distributions, options.method, options.bins)
    for quantizer in form.plan.quantizers:
        row = table[quantizer.name]
        if row.absmax == 0:
            run.warn(f"tensor {quantizer.name} is zero in every sample: it gets threshold {row.threshold:g}")
    return replace(form, table=table)


def _given(run: Run, form: Form, path: Path) -> Table:
    """The thresholds of a file; what another tool's table lacks is calibrated on the samples."""
    given = read_given(path, run.loaded.path, form.plan, run.loaded.read)
    for note in given.notes:
        run.warn(note)
    rows = dict(given.rows)
    one = [
        q.name for q in form.plan.quantizers if q.name in rows and rows[q.name].channels and not q.channels
    ]
    if one and run.options.channel_scales is None:
        run.warn(f"the table has scales by channel, here the whole range stands for {listed(one, 3)}")
    if given.missing:
        run.warn(
            "the table lacks, and thresholds are computed from the samples for: "
            f"{listed(list(given.missing))}"
        )
        lacking = tuple(q for q in form.plan.in_table if q.name in given.missing)
        observed = observe(run, form, given.missing)
        plan = replace(form.plan, quantizers=lacking, listed=())
        rows |= calibrated_table(plan, observed, run.options.method, run.options.bins)
    return given_table(form.plan, rows)


def calibrated_table(plan: Plan, distributions: Mapping[str, Distribution], method: str, bins: int) -> Table:
    """One row a quantizer: its threshold by ``method``; its whole range where that matters or 16 bits do.

    What the user set for a quantizer comes first: its own method, a factor on what that finds, a fixed range.

    ``auto`` is the method that its choice begins with.

    Raises:
        FileFormatError: a tensor was not observed.
    """
    table: Table = {}
    named = FIRST_METHOD if method == AUTO else method
    for quantizer in plan.known(distributions):
        if quantizer.name not in distributions:
            raise FileFormatError(
                f"the distributions lack {quantizer.name}: give --data, from which it is gathered, "
                f"or those of a run with --target {plan.target.name} and the same settings by layer"
            )
        distribution = distributions[quantizer.name]
        setting = quantizer.setting or ThresholdSetting()
        used = setting.method or ("max" if quantizer.keep_range or quantizer.bits == 16 else named)
        chosen = threshold(distribution, used, bins, 128 if plan.scheme == "symmetric" else None)
        chosen *= setting.scale
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
