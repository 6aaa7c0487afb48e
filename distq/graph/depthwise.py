"""Tensors that depthwise layers alone read, whose channels may have scales of their own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.errors import FileFormatError
from distq.graph.channel_gates import agree, gates_of
from distq.graph.islands import is_depthwise
from distq.graph.plan import Plan
from distq.graph.state import float_weight
from distq.quant.table import Row

Floats = npt.NDArray[np.float64]


def depthwise_inputs(model: ir.Model, plan: Plan) -> dict[str, list[Floats]]:
    """Weights (channels, kernel) of the layers that read a quantizer's one tensor, all of them depthwise.

    With one output a channel, so that an output has the step of the channel it reads. Network inputs and what
    has bounds keep one scale: their channels mean the same range.
    """
    found: dict[str, list[Floats]] = {}
    for q in plan.quantizers:
        if q.bits != 8 or len(q.tensors) > 1 or q.setting is not None or q.keep_range:
            continue
        readers = [layer for layer in plan.layers if q.name in layer.inputs]
        weights = []
        for layer in readers:
            node, weight = model.graph.node(layer.node), float_weight(model, layer)
            alone = is_depthwise(node) and layer.inputs[0] == q.name
            if weight is not None and alone and len(weight) == node.attributes.get_int("group", 1):
                weights.append(weight.astype(np.float64).reshape(len(weight), -1))
        if readers and len(weights) == len(readers):
            found[q.name] = weights
    return found


def require_channels(model: ir.Model, plan: Plan, where: str) -> None:
    """Refuse scales by channel that a file gives for other tensors than these, or for other channels.

    Raises:
        FileFormatError: naming the tensor; ``where`` is what the message calls the file.
    """
    given = {q.name: len(q.channels) for q in plan.quantizers if q.channels}
    read = depthwise_inputs(model, plan) if given else {}
    for gate in plan.gates:
        if not gate.readers:
            read[gate.data] = [np.zeros((len(plan.by_tensor[gate.data].channels), 1))]
            continue
        ranges = [plan.by_tensor[name].channels for name in (gate.data, gate.product)]
        if len(ranges[1]) == len(read[gate.product][0]) and not agree(*ranges):
            raise FileFormatError(
                f"{where}: the scales by channel of {gate.data} and {gate.product} do not go together: "
                "take a table as a run wrote it, or --no-channel-scales"
            )
        read[gate.data] = read[gate.product]
    for name, count in given.items():
        own = len(read[name][0]) if name in read else 0
        if count != own:
            why = f"has {own} channels" if own else "is not read by depthwise layers alone"
            raise FileFormatError(
                f"{where}: {name} has scales for {count} channels, and {why} here: take a table of this "
                "model and these options, or --no-channel-scales"
            )


def in_float_by_table(model: ir.Model, plan: Plan, rows: Mapping[str, Row]) -> tuple[tuple[str, str], ...]:
    """Nodes of depthwise layers that were in float where a table was made, each with the reason.

    Such a table has scales by channel of what their SiLU or HardSwish reads, and none of what they read.
    """
    nodes = {layer.name: layer.node for layer in plan.layers}
    return tuple(
        (nodes[reader], "in float in the table")
        for gate in gates_of(model, plan)
        if gate.product not in rows and gate.data in rows and rows[gate.data].channels is not None
        for reader in gate.readers
    )
