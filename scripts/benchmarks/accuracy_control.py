"""NNCF's quantization with accuracy control, judged by distq's own measures: what it leaves in float.

``python accuracy_control.py MODEL.onnx SAMPLES.npz HELD_OUT.npz --head yolox`` runs in the peers' virtual
environment, on arrays as ``peers_data.py`` writes them. Measured is the mAP against the float network's
boxes, as ``distq auto --goal map:-1.0`` has it, or right answers with ``--labels``. It prints a JSON object:
the measure, layers left in float, their share of the multiplications, and seconds. ``--backend onnx`` takes
networks of opset 13, such as the ``folded.onnx`` beside the arrays.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from distq.search.measures.detection import Detection
from distq.search.measures.measure import Facts, Measure, Outputs, figures
from distq.search.measures.top_k import TopK

Feed = dict[str, npt.NDArray[Any]]

LAYERS = {"Conv", "Gemm", "MatMul"}
OPENVINO_LAYERS = {"Convolution", "GroupConvolution", "MatMul"}


class Runner:
    """Runs networks in any of the forms that NNCF passes around, and keeps the session of the last one."""

    def __init__(self) -> None:
        self._model: object = None
        self._session: Any = None

    def outputs(self, model: Any, feed: Feed) -> Outputs:
        """Of a network as bytes, as a proto or compiled by OpenVINO."""
        if callable(model):
            return {str(i): np.asarray(value) for i, value in enumerate(model(feed).values())}
        if self._model is not model:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.intra_op_num_threads = 1
            data = model if isinstance(model, bytes) else model.SerializeToString()
            disabled = ["WeightBiasQuantization"]
            self._session = onnxruntime.InferenceSession(data, options, disabled_optimizers=disabled)
            self._model = model
        names = [value.name for value in self._session.get_outputs()]
        return dict(zip(names, self._session.run(None, feed), strict=True))


class Samples:
    """The samples of an .npz with what the float network makes of them, scored by a measure.

    Args:
        path: an array an input, its leading axis counting samples.
        model: the float network.
        measure: scores a sample.
        labels: classes of the samples.
    """

    def __init__(self, path: Path, model: bytes, measure: Measure, labels: Path | None = None) -> None:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        count = len(next(iter(arrays.values())))
        self.feeds = [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(count)]
        self.labels = None if labels is None else np.load(labels)
        self._measure = measure
        self._runner = Runner()
        self._float = [self._runner.outputs(model, feed) for feed in self.feeds]

    def figures(self, model: object, indices: Iterable[int] | None = None) -> dict[str, float]:
        """Figures of a network, as distq reports them."""
        records = []
        for index in range(len(self.feeds)) if indices is None else indices:
            label = None if self.labels is None else int(self.labels[index])
            facts = Facts(index, str(index), self.feeds[index], label, None, self._float[index])
            record = self._measure.score(self._runner.outputs(model, self.feeds[index]), facts)
            if record is not None:
                records.append(np.asarray(record, np.float64))
        return figures(self._measure, records)


def layers_of_onnx(model: onnx.ModelProto) -> Iterator[tuple[int, bool]]:
    """Multiplications of each layer of an ONNX network, and whether it is in float."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type not in LAYERS:
            continue
        name, in_float = node.input[1], True
        while name not in constants and name in makers:
            in_float = in_float and makers[name].op_type != "DequantizeLinear"
            name = makers[name].input[0]
        weights = constants[name].dims
        each = math.prod(weights[1:]) if node.op_type == "Conv" else weights[0]
        yield math.prod(shapes[node.output[0]]) * each, in_float


def layers_of_openvino(model: Any) -> Iterator[tuple[int, bool]]:
    """The same of an OpenVINO network."""
    for operation in model.get_ordered_ops():
        kind = operation.get_type_name()
        if kind not in OPENVINO_LAYERS:
            continue
        weights = list(operation.input(1).get_shape())
        each = (
            weights[-1] if kind == "MatMul" else math.prod(weights[2 if kind == "GroupConvolution" else 1 :])
        )
        above, in_float = operation.input_value(1).get_node(), True
        while above.get_input_size() and in_float:
            in_float = above.get_type_name() != "FakeQuantize"
            above = above.input_value(0).get_node()
        in_float = in_float and above.get_output_element_type(0).size > 1
        yield math.prod(operation.output(0).get_shape()) * each, in_float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("samples", type=Path, help="calibrate, and are measured")
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--head", default="", help="decoder of a detector")
    parser.add_argument("--labels", type=Path, help=".npy of the samples' classes")
    parser.add_argument("--held-out-labels", type=Path)
    parser.add_argument("--points", type=float, default=1.0, help="that may be lost")
    parser.add_argument("--backend", choices=("openvino", "onnx"), default="openvino")
    parser.add_argument("--preset", choices=("performance", "mixed"), default="mixed")
    parser.add_argument("--subset", type=int, help="samples that operators are ranked on")
    parser.add_argument(
        "--per-tensor", action="store_true", help="one scale for what a depthwise layer reads"
    )
    parser.add_argument("--out", type=Path, help="also write the network here")
    given = parser.parse_args(arguments)
    print(json.dumps(quantized(given), indent=1))


def quantized(given: argparse.Namespace) -> dict[str, object]:
    """Quantize, and say what it came to."""
    import nncf  # type: ignore[import-not-found]  # noqa: PLC0415  # lives in the peers' environment only

    proto, data = onnx.load(given.model), given.model.read_bytes()
    size = tuple(d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim[-2:])
    measure = Detection(given.head, size) if given.head else TopK()
    samples = Samples(given.samples, data, measure, given.labels)
    figure = next(iter(samples.figures(data)))

    def validate(model: object, indices: Iterable[int]) -> tuple[float, None]:
        return samples.figures(model, indices)[figure], None

    network: Any = proto
    if given.backend == "openvino":
        import openvino  # type: ignore[import-not-found]  # noqa: PLC0415  # the peers' environment only

        network = openvino.convert_model(str(given.model))
    advanced = nncf.quantization.advanced_parameters
    one_scale = advanced.QuantizationParameters(per_channel=False) if given.per_tensor else None
    indices = list(range(len(samples.feeds)))
    began = time.monotonic()
    found = nncf.quantize_with_accuracy_control(
        network,
        nncf.Dataset(indices, samples.feeds.__getitem__),
        nncf.Dataset(indices, samples.feeds.__getitem__),
        validate,
        max_drop=given.points / 100,
        preset=nncf.QuantizationPreset(given.preset),
        subset_size=len(indices),
        advanced_quantization_parameters=advanced.AdvancedQuantizationParameters(
            activations_quantization_params=one_scale
        ),
        advanced_accuracy_restorer_parameters=advanced.AdvancedAccuracyRestorerParameters(
            ranking_subset_size=given.subset
        ),
    )
    seconds = time.monotonic() - began
    layers = [*(layers_of_onnx if given.backend == "onnx" else layers_of_openvino)(found)]
    total, floats = sum(work for work, _ in layers), [work for work, in_float in layers if in_float]
    runs: Any = found
    if given.backend == "openvino":
        runs = openvino.compile_model(found, "CPU")
    if given.out:
        (onnx.save if given.backend == "onnx" else openvino.save_model)(found, given.out)
    held_out = Samples(given.held_out, data, measure, given.held_out_labels)
    return {
        "samples": samples.figures(runs),
        "samples, float": samples.figures(data),
        "held out": held_out.figures(runs),
        "held out, float": held_out.figures(data),
        "layers": len(layers),
        "layers in float": len(floats),
        "multiplications in float": sum(floats) / total,
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
