"""ONNX Runtime's quantize_static, by ``calibration_cache_path`` and by ``TensorQuantOverrides``."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
from common import Case, Rows, row, serve
from onnx import version_converter
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

COMMON = {
    "quant_format": QuantFormat.QDQ,
    "activation_type": QuantType.QUInt8,
    "weight_type": QuantType.QInt8,
    "per_channel": True,
}


class Samples(CalibrationDataReader):
    """The calibration samples, one by one."""

    def __init__(self, case: Case) -> None:
        self.left = iter(case.samples(case.calibration))

    def get_next(self):  # noqa: D102  # ONNX Runtime's interface
        return next(self.left, None)


def scales_of(path) -> dict[str, float]:
    """Scales of the activations of a QDQ model."""
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    found = {name.removesuffix("_scale"): a for name, a in constants.items() if name.endswith("_scale")}
    return {name: float(array) for name, array in found.items() if array.size == 1}


def without_range(case: Case, model) -> list[str]:
    """Names of nodes that distq leaves in float: a tensor that they read or write is not in the table."""
    known = json.loads(case.table("ort").read_text())["data"].keys()
    known |= {tensor.name for tensor in model.graph.initializer} | {""}
    return [node.name for node in model.graph.node if not known >= {*node.input, *node.output}]


def runner(path):
    """Runs a model."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda sample: session.run(None, sample)


def read(case: Case) -> Rows:
    """Both ways in, and ONNX Runtime's own calibration beside them."""
    version = f"onnxruntime {onnxruntime.__version__}"
    ready, out = case.work / "ort.onnx", case.work / "ort.int8.onnx"
    model = onnx.load(case.model)
    if model.opset_import[0].version < 13:  # scales by channel begin there
        model = version_converter.convert_version(model, 13)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[
        :
    ]  # what is an input as well is no constant, and no BatchNormalization is folded into it
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)
    quant_pre_process(model, str(ready))
    model = onnx.load(ready)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    onnx.save(model, ready)
    floats = without_range(case, model)
    quantize_static(ready, out, Samples(case), **COMMON)
    own = case.sqnr(runner(out))
    quantize_static(
        ready, out, None, calibration_cache_path=str(case.table("ort")), nodes_to_exclude=floats, **COMMON
    )
    worst, compared = case.difference(scales_of(out))
    rows = [
        row("ort", f"{version} calibration_cache_path", "yes", difference=worst, tensors=compared,
            sqnr=case.sqnr(runner(out)), own=own)
    ]  # fmt: skip
    overrides = json.loads(case.table("ort-overrides").read_text())
    names = {t.name for t in onnx.load(ready).graph.initializer}
    names |= {v.name for v in onnx.load(ready).graph.input}
    names |= {o for node in onnx.load(ready).graph.node for o in node.output}
    for name in set(overrides) - names:  # a tensor or weight that ONNX Runtime's own fusion took away
        del overrides[name]
    for values in overrides.values():  # ONNX Runtime takes its own types and arrays of no dimension
        for value in values:
            kind = "uint8" if value["quant_type"] == "QUInt8" else "int8"
            value["quant_type"] = QuantType[value["quant_type"]]
            value["scale"] = np.array(value["scale"], np.float32)
            value["zero_point"] = np.array(value["zero_point"], kind)
    extra = {"TensorQuantOverrides": overrides}
    quantize_static(ready, out, Samples(case), extra_options=extra, nodes_to_exclude=floats, **COMMON)
    worst, compared = case.difference(scales_of(out))
    rows.append(
        row("ort-overrides", f"{version} TensorQuantOverrides", "yes", difference=worst, tensors=compared,
            sqnr=case.sqnr(runner(out)), own=own)
    )  # fmt: skip
    return rows


if __name__ == "__main__":
    serve(read)
