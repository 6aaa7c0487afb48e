"""A run as a source of tables: its thresholds, the scales of its weights, and its layers left in float."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from distq.exchange.own import of_rows
from distq.exchange.qtable import FLOAT
from distq.exchange.table import ExchangeTable, WeightScales
from distq.quant.table import Table


def table_of_run(rows: Table, float_layers: Iterable[str], model: onnx.ModelProto | None) -> ExchangeTable:
    """The table of a run.

    Args:
        rows: of its thresholds.
        float_layers: names of its layers left in float.
        model: the INT8 model; None where its weights are of another network than the table's.
    """
    weights = scales_of(model) if model is not None else {}
    return replace(of_rows(rows), weights=weights, modes=dict.fromkeys(float_layers, FLOAT))


def float_layers_of(record: Path) -> list[str]:
    """Layers left in float that the ``run.json`` of a finished run names."""
    try:
        found = json.loads(record.read_bytes())
        return [str(layer["name"]) for layer in found.get("float_layers", [])]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def scales_of(model: onnx.ModelProto) -> Mapping[str, WeightScales]:
    """Scales of int8 weights of a QDQ model, by the node that reads them."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    scales = {
        node.output[0]: node.input[1]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants and node.input[1] in constants
    }
    found = {}
    for node in model.graph.node:
        if len(node.input) > 1 and node.input[1] in scales:
            array = numpy_helper.to_array(constants[scales[node.input[1]]]).astype(np.float64)
            found[node.name] = WeightScales(tuple(float(value) for value in array.reshape(-1)))
    return found
