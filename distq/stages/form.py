"""The one value that flows: a network on its way from counts to INT8.

A stage takes the run and a form and gives a form. Nothing in a form changes, so what was before a stage can
be compared with what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.calibration.histogram import Distribution
from distq.graph.large import serialized
from distq.graph.placement import plan_again
from distq.graph.plan import Plan
from distq.graph.qdq import export
from distq.graph.rows import full_table
from distq.graph.state import State
from distq.quant.table import Table, dump_table, table_csv
from distq.run.context import Run
from distq.run.results import CurvePoint

Means = Mapping[str, npt.NDArray[np.float64]]
"""Mean output of layers in float, (channels,), by the layer's name."""

ChannelEnds = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Lower and upper end of each channel of a tensor, (channels,) each."""


@dataclass(frozen=True)
class Choice:
    """What is better than 8 bit, worst first: quantizers with 16 bits, layers in float."""

    int16: tuple[str, ...] = ()
    float_layers: tuple[str, ...] = ()

    def first(self, count: int) -> Choice:
        """The first ``count``, 16 bits before float."""
        return Choice(self.int16[:count], self.float_layers[: max(0, count - len(self.int16))])

    def __len__(self) -> int:
        """How many were chosen."""
        return len(self.int16) + len(self.float_layers)

    def same_as(self, other: Choice) -> bool:
        """Whether both chose the same, in any order."""
        return set(self.int16) == set(other.int16) and set(self.float_layers) == set(other.float_layers)


@dataclass(frozen=True)
class Form:
    """A network with all that is known of it; what no stage has found yet is empty.

    Attributes:
        model: the float network, in canonical form; an equalized form has its own.
        plan: where its quantizers stand.
        distributions: of the quantized tensors, by quantizer.
        channel_ranges: lower and upper ends, (channels,) each, of the channels of tensors, by quantizer.
        means: of its layers' outputs in float; None until measured, and where correction was left out.
        table: a threshold for each quantizer.
        state: the encodings, weights and biases that the thresholds come to.
        choice: what a budget made better than 8 bit.
        curve: what each step of a budget leaves of the error.
        search: key of the search that its thresholds went through; empty before one.
    """

    model: ir.Model
    plan: Plan
    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    channel_ranges: Mapping[str, ChannelEnds] = field(default_factory=dict)
    means: Means | None = None
    table: Table = field(default_factory=dict)
    state: State = field(default_factory=lambda: State({}, {}, {}))
    choice: Choice = field(default_factory=Choice)
    curve: tuple[CurvePoint, ...] = ()
    search: str = ""

    @classmethod
    def given(cls, run: Run) -> Form:
        """The network as it was given."""
        return cls(run.loaded.model, run.plan)

    @cached_property
    def exported(self) -> bytes:
        """The QDQ model."""
        return export(self.model, self.plan, self.state)

    def with_means(self, means: Means | None) -> Form:
        """With other float means, which the QDQ model does not depend on: it is not written again."""
        found = replace(self, means=means)
        if "exported" in self.__dict__:
            found.__dict__["exported"] = self.exported
        return found

    @property
    def serialized(self) -> bytes:
        """The float network as ONNX bytes."""
        return serialized(self.model)

    def equalized(self) -> bytes | None:
        """The float network as ONNX bytes where channels were evened out; else None."""
        if not any(row.has_headroom for row in self.table.values()):
            return None
        return serialized(self.model, deterministic=True)

    @property
    def table_bytes(self) -> bytes:
        """Content of ``thresholds.json``."""
        return dump_table(full_table(self.plan, self.table))

    @property
    def table_csv(self) -> bytes:
        """Content of ``tensors.csv``."""
        return table_csv(full_table(self.plan, self.table))

    @property
    def budget(self) -> dict[str, tuple[str, ...]]:
        """What a budget was spent on, as ``run.json`` has it."""
        if not self.curve:
            chosen = self.in_effect(self.choice)
            return {"int16": chosen.int16, "float_layers": chosen.float_layers}
        return {"int16": self.curve[-1].int16, "float_layers": self.curve[-1].float_layers}

    def plan_with(self, choice: Choice) -> Plan:
        """The plan with a choice; a tensor that only float layers read needs no 16 bits."""
        floats = choice.float_layers
        plan = plan_again(self.plan, self.model, float_layers=floats)
        wide = self.plan.wide.union(choice.int16)
        kept = wide & plan.row_of.keys()
        return plan_again(self.plan, self.model, float_layers=floats, int16=kept) if kept else plan

    def in_effect(self, choice: Choice) -> Choice:
        """A choice without tensors that only float layers read: these have no quantizer."""
        tensors = self.plan_with(choice).by_tensor
        return Choice(tuple(name for name in choice.int16 if name in tensors), choice.float_layers)
