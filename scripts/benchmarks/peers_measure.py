"""Measure a quantized model against the float one, the same way whoever made it.

``python peers_measure.py FOLDER NETWORK MODEL`` runs MODEL in plain ONNX Runtime on the arrays that
peers_data.py left in FOLDER and prints a JSON object: ``sqnr_db`` over the held-out samples as distq defines
it, ``agreement`` with float, ``top1`` and ``top1_float`` where there are labels.

``literal`` is 1 where the model runs only with its Q and DQ as written.

The session has ONNX Runtime's default options but one: WeightBiasQuantization is off, because that optimizer
would quantize weights which a quantizer chose to leave in float.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from detections import faces, objects
from networks import BY_NAME, Network

from distq.search.measures.boxes import Boxes, matched
from distq.search.metrics import compare, merge, sqnr_db

Outputs = list[npt.NDArray[Any]]


def outputs_of(model: bytes | Path, samples: Path, *, literal: bool = False) -> Outputs:
    """Run the samples of an .npz one at a time; each output stacked along a new leading axis.

    Args:
        model: ONNX bytes, or a file that may have weights beside it.
        samples: An array per input, its leading axis counting samples.
        literal: Run Q and DQ as written instead of fusing them into integer kernels.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # old models list their weights as inputs: a warning for each
    if literal:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(
        str(model) if isinstance(model, Path) else model,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["WeightBiasQuantization"],
    )
    ranks = {value.name: len(value.shape) for value in session.get_inputs()}
    with np.load(samples) as file:
        arrays = {name: file[name] for name in file.files}
    count = len(next(iter(arrays.values())))
    results = [
        session.run(
            None,
            {name: a[i] if a.ndim > ranks[name] else a[i : i + 1] for name, a in arrays.items()},
        )
        for i in range(count)
    ]
    return [np.stack(column) for column in zip(*results, strict=True)]


def measure(folder: Path, network: Network, model: Path) -> dict[str, float]:
    """Figures of one quantized model."""
    data = model.read_bytes()
    literal = False
    try:
        candidate = outputs_of(data, folder / "held_out.npz")
    except Exception:  # noqa: BLE001  # ONNX Runtime's exceptions share no root; the second try says what is wrong
        literal = True  # its integer kernels take no activations with a scale per channel
        candidate = outputs_of(data, folder / "held_out.npz", literal=True)
    reference = float_outputs(folder / "held_out.float.npz")
    images = zip(zip(*candidate, strict=True), zip(*reference, strict=True), strict=True)
    found = {
        "sqnr_db": sqnr_db(merge([compare(one, other) for one, other in images])),
        "literal": float(literal),
    }
    if network.is_detector:
        photos = outputs_of(data, folder / "photos.npz", literal=literal)
        found |= boxes_agreement(network, photos, float_outputs(folder / "photos.float.npz"))
    else:
        ours, theirs = (choices(network, outputs) for outputs in (candidate, reference))
        found["agreement"] = float((ours == theirs).mean())
        if network.judge == "top-1":
            labels = np.load(folder / "labels.npy")
            found["top1"] = float((ours == labels).mean())
            found["top1_float"] = float((theirs == labels).mean())
    return found


def float_outputs(path: Path) -> Outputs:
    """Outputs written by peers_data.py, in order."""
    with np.load(path) as file:
        return [file[str(i)] for i in range(len(file.files))]


def choices(network: Network, outputs: Outputs) -> npt.NDArray[np.int64]:
    """What the network decides for each sample: its class, or the cell its tracker's map peaks at."""
    count = len(outputs[0])
    if network.judge == "peak":  # (n, 1, 2, 16, 16): background and foreground
        background, foreground = np.moveaxis(outputs[0].reshape(count, 2, -1), 1, 0)
        return np.asarray((foreground - background).argmax(axis=1))
    return np.asarray(outputs[0].reshape(count, -1).argmax(axis=1))


def boxes_agreement(network: Network, candidate: Outputs, reference: Outputs) -> dict[str, float]:
    """Twice the matched boxes over all boxes of both models, and the number of the float model's boxes."""
    pairs = [
        (detected(network, theirs), detected(network, ours))
        for theirs, ours in zip(zip(*reference, strict=True), zip(*candidate, strict=True), strict=True)
    ]
    both = sum(len(theirs) + len(ours) for theirs, ours in pairs)
    same = sum(matched(theirs, ours) for theirs, ours in pairs)
    return {
        "agreement": 2 * same / both if both else 1.0,
        "boxes_float": float(sum(len(theirs) for theirs, _ in pairs)),
    }


def detected(network: Network, outputs: tuple[npt.NDArray[Any], ...]) -> Boxes:
    """Boxes of one photo."""
    return faces(outputs[0], outputs[1]) if network.judge == "faces" else objects(outputs[0])


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), BY_NAME[sys.argv[2]], Path(sys.argv[3]))))
