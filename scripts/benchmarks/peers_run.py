"""Quantize one model by one public quantizer: runs in the peers' virtual environment, one process each.

``python peers_run.py PEER FLOAT.onnx CALIBRATION.npz OUT.onnx``. Everyone gets the same folded float model
and the same arrays, and makes a QDQ model with int8 weights per channel and 8-bit activations per tensor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

STRIDE = 8
"""Samples ONNX Runtime's calibrators keep the activations of at a time; by default they keep all."""

Arrays = dict[str, npt.NDArray[Any]]
Quantize = Callable[[Path, "Samples", Path], None]


class Samples:
    """Calibration samples, in the form the peers' calibrators read; Quark and INC may rewind them.

    Where an array has one dimension more than the input, its rows are the inputs themselves, such as states.
    """

    def __init__(self, path: Path, model: Path) -> None:
        with np.load(path) as file:
            self.arrays: Arrays = {name: file[name] for name in file.files}
        self.count = len(next(iter(self.arrays.values())))
        inputs = onnx.load(model, load_external_data=False).graph.input
        self.ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in inputs}
        self.rewind()

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Arrays]:
        return (self[i] for i in range(self.count))

    def __getitem__(self, index: int) -> Arrays:
        return {
            name: array[index] if array.ndim > self.ranks[name] else array[index : index + 1]
            for name, array in self.arrays.items()
        }

    def get_next(self) -> Arrays | None:
        """The next sample; None after the last, or after the last of the range set."""
        if self.position == self.end:
            return None
        self.position += 1
        return self[self.position - 1]

    def set_range(self, start_index: int, end_index: int) -> None:
        """Read only these samples."""
        self.position, self.end = start_index, end_index

    def rewind(self) -> None:
        """Start again, with all samples."""
        self.position, self.end = 0, self.count

    reset_iter = rewind


def onnxruntime_static(model: Path, samples: Samples, out: Path, *, method: str, symmetric: bool) -> None:
    """ONNX Runtime's quantize_static."""
    from onnxruntime.quantization import (  # noqa: PLC0415  # each peer loads only what it needs
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    quantize_static(
        str(model),
        str(out),
        samples,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        calibrate_method=getattr(CalibrationMethod, method),
        extra_options={
            "ActivationSymmetric": symmetric,
            "CalibStridedMinMax": STRIDE if len(samples) % STRIDE == 0 else None,
        },
    )


def nncf_quantize(
    model: Path,
    samples: Samples,
    out: Path,
    *,
    preset: str,
    fast: bool,
    per_tensor: bool,
    transformer: bool = False,
    openvino: bool = False,
) -> None:
    """NNCF's quantize, on ONNX or on OpenVINO's form of the network, which it writes then.

    By itself it gives what depthwise convolutions read a scale per channel.
    """
    import nncf  # type: ignore[import-not-found]  # noqa: PLC0415  # lives in the peers' environment only
    import openvino as ov  # type: ignore[import-not-found]  # noqa: PLC0415  # as NNCF

    advanced = nncf.quantization.advanced_parameters
    parameters = advanced.QuantizationParameters(per_channel=False) if per_tensor else None
    quantized = nncf.quantize(
        ov.Core().read_model(model) if openvino else onnx.load(model),
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        preset=nncf.QuantizationPreset(preset),
        subset_size=len(samples),
        fast_bias_correction=fast,
        advanced_parameters=advanced.AdvancedQuantizationParameters(
            activations_quantization_params=parameters
        ),
    )
    if openvino:
        ov.save_model(quantized, out, compress_to_fp16=False)
    else:
        onnx.save(quantized, out)


def inc_quantize(model: Path, samples: Samples, out: Path, *, method: str) -> None:
    """The ONNX quantizer of Intel's Neural Compressor."""
    from onnx_neural_compressor import (  # type: ignore[import-not-found]  # noqa: PLC0415  # INC's environment only
        quantization,
    )

    config = quantization.config.StaticQuantConfig(
        calibration_data_reader=samples,
        calibrate_method=getattr(quantization.CalibrationMethod, method),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        calibration_sampling_size=len(samples),
    )
    quantization.quantize(str(model), str(out), config)


def quark_quantize(model: Path, samples: Samples, out: Path, *, method: str, symmetric: bool) -> None:
    """AMD Quark's ONNX quantizer."""
    from quark.onnx import (  # type: ignore[import-not-found]  # noqa: PLC0415  # the peers' environment only
        CalibMethod,
        Int8Spec,
        ModelQuantizer,
        QConfig,
        QLayerConfig,
        QuantGranularity,
        UInt8Spec,
    )

    calibration = getattr(CalibMethod, method)
    activation = Int8Spec if symmetric else UInt8Spec
    config = QConfig(
        global_config=QLayerConfig(
            activation=activation(symmetric=symmetric, calibration_method=calibration),
            weight=Int8Spec(quant_granularity=QuantGranularity.Channel),
        )
    )
    ModelQuantizer(config).quantize_model(str(model), str(out), samples)


@dataclass(frozen=True)
class Peer:
    """A quantizer and its settings as the tables call them; symmetric is int8 with zero point 0 all over."""

    tool: str
    settings: str
    symmetric: bool
    quantize: Quantize


def _peers() -> Iterator[tuple[str, Peer]]:
    for symmetric, kind in ((False, "uint8"), (True, "int8 symmetric")):
        suffix = "-symmetric" if symmetric else ""
        for method in ("MinMax", "Percentile"):
            run: Quantize = partial(onnxruntime_static, method=method, symmetric=symmetric)
            yield f"ort-{method.lower()}{suffix}", Peer("ONNX Runtime", f"{method}, {kind}", symmetric, run)
        for method in ("Percentile", "LayerwisePercentile"):
            run = partial(quark_quantize, method=method, symmetric=symmetric)
            yield f"quark-{method.lower()}{suffix}", Peer("Quark", f"{method}, {kind}", symmetric, run)
    for preset, fast, per_tensor in product(("performance", "mixed"), (True, False), (True, False)):
        correction = "fast" if fast else "full"
        run = partial(nncf_quantize, preset=preset, fast=fast, per_tensor=per_tensor)
        settings = f"{preset}, {correction} bias correction"
        name, tool = f"nncf-{preset}-{correction}", "NNCF"
        if per_tensor:
            name += "-per-tensor"
        else:
            tool += " per channel"
        yield name, Peer(tool, settings, symmetric=False, quantize=run)


PEERS = dict(sorted(_peers()))


def _more_peers() -> Iterator[tuple[str, Peer]]:
    run: Quantize = partial(onnxruntime_static, method="Entropy", symmetric=False)
    yield "ort-entropy", Peer("ONNX Runtime", "Entropy, uint8", symmetric=False, quantize=run)
    for method in ("MinMax", "Percentile"):
        run = partial(inc_quantize, method=method)
        yield f"inc-{method.lower()}", Peer("INC", f"{method}, uint8", symmetric=False, quantize=run)
    for openvino, transformer, fast in product((False, True), (False, True), (True, False)):
        if openvino or transformer:
            run = partial(
                nncf_quantize,
                preset="mixed",
                per_tensor=False,
                fast=fast,
                transformer=transformer,
                openvino=openvino,
            )
            correction = "fast" if fast else "full"
            name = f"nncf{'-openvino' * openvino}{'-transformer' * transformer}-mixed-{correction}"
            settings = f"{'transformer, ' * transformer}mixed, {correction} bias correction"
            tool = "NNCF on OpenVINO" if openvino else "NNCF per channel"
            yield name, Peer(tool, settings, symmetric=False, quantize=run)


MORE_PEERS = dict(_more_peers())
"""Those that zoo.py runs beside."""


def main(name: str, model: Path, calibration: Path, out: Path) -> None:
    (PEERS | MORE_PEERS)[name].quantize(model, Samples(calibration, model), out)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:5]))
