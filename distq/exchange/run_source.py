"""A run as a source of tables: its thresholds, the scales of its weights, and its layers left in float."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from distq.exchange.own import of_rows
from distq.exchange.qtable import FLOAT
from distq.exchange.table import ExchangeTable, WeightScales
from distq.quant.table import Table

_FACTORS, _READ = "_channels_factors", "_channels_gate_read_scale"
"""Endings of what gates with factors add to a network."""


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
    factors = _factors(model)
    found = {}
    for node in model.graph.node:
        made = len(node.input) > 1 and node.input[1].endswith(f"{_FACTORS}_dequantized")
        if len(node.input) > 1 and node.input[1] in scales and not made:
            array = numpy_helper.to_array(constants[scales[node.input[1]]]).astype(np.float64)
            array = array.reshape(-1) * factors.get(node.name, 1.0)
            found[node.name] = WeightScales(tuple(float(value) for value in array))
    return found


def _factors(model: onnx.ModelProto) -> dict[str, npt.NDArray[np.float64]]:
    """What takes out of the scales of weights what gates have in them, (channels,), by node.

    A layer in front of a SiLU or HardSwish writes its channels divided, depthwise layers behind multiply
    them again (:mod:`distq.graph.channel_gates`): of the network as it was given are the scales without.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    writers = {name: node for node in graph.node for name in node.output}

    def array(name: str) -> npt.NDArray[np.float64]:
        return numpy_helper.to_array(constants[name]).astype(np.float64)

    def readers(name: str) -> list[onnx.NodeProto]:
        return [node for node in graph.node if name in node.input]

    found: dict[str, npt.NDArray[np.float64]] = {}
    for name in constants:
        for ending in (f"{_FACTORS}_scale", _READ):
            stem = name.removesuffix(ending)
            quantize = writers.get(f"{stem}_quantized")
            if stem == name or quantize is None:
                continue
            if ending == _READ:
                divided = array(name) / array(quantize.input[1])
            else:
                divided = array(name) * array(f"{stem}{_FACTORS}_quantized").reshape(-1)
            found[writers[quantize.input[0]].name] = divided
            products = [n for n in readers(f"{stem}_dequantized") if n.op_type == "Mul"]
            for product in products if ending != _READ else []:
                for behind in readers(product.output[0]):
                    quantized = behind.output[0]
                    multiplying = [n for d in readers(quantized) for n in readers(d.output[0])]
                    found |= {node.name: 1 / divided for node in multiplying}
    return found
