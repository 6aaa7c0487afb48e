"""Run a model in OpenVINO's own runtime on the CPU: in the peers' virtual environment.

``python peers_openvino.py MODEL SAMPLES.npz OUT.npz`` reads ONNX or OpenVINO's XML, and writes each output
under its number, with a leading axis that counts samples, as peers_measure.py has them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import openvino as ov  # type: ignore[import-not-found]  # lives in the peers' environment only


def main(model: Path, samples: Path, out: Path) -> None:
    network = ov.Core().read_model(model)
    ranks = {value.any_name: len(value.partial_shape) for value in network.inputs}
    # float32, as by itself a CPU with bfloat16 would round what is not quantized
    compiled = ov.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with np.load(samples) as file:
        arrays = {name: file[name] for name in file.files}
    results = []
    for index in range(len(next(iter(arrays.values())))):
        fed = {n: a[index] if a.ndim > ranks[n] else a[index : index + 1] for n, a in arrays.items()}
        found = compiled(fed)
        results.append([np.array(found[output]) for output in compiled.outputs])
    columns = [np.stack(column) for column in zip(*results, strict=True)]
    np.savez(out, **{str(i): column for i, column in enumerate(columns)})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
