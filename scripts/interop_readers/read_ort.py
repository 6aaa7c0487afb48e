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
    quant_pre_process(model, str(ready))
    quantize_static(ready, out, Samples(case), **COMMON)
    own = case.sqnr(runner(out))
    quantize_static(ready, out, None, calibration_cache_path=str(case.table("ort")), **COMMON)
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
    quantize_static(ready, out, Samples(case), extra_options={"TensorQuantOverrides": overrides}, **COMMON)
    worst, compared = case.difference(scales_of(out))
    rows.append(
        row("ort-overrides", f"{version} TensorQuantOverrides", "yes", difference=worst, tensors=compared,
            sqnr=case.sqnr(runner(out)), own=own)
    )  # fmt: skip
    return rows


if __name__ == "__main__":
    serve(read)
