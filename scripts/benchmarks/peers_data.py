"""Write, once for each network, the arrays that every quantizer calibrates on and every model is measured on.

``python peers_data.py DATA FOLDER NETWORK [MOST]`` fills FOLDER with

* ``calibration.npz`` and ``held_out.npz``: the inputs as distq's own data layer makes them;
* ``photos.npz``: the same for the photos that detections are judged on;
* ``held_out.float.npz``, ``photos.float.npz``: the float model's outputs for them;
* ``labels.npy``: classes of the held-out samples, where there are any;
* ``folded.onnx``: the float model with BatchNormalization folded, at opset 13 or newer, for the peers.

MOST limits the samples of each, for a trial.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from networks import BY_NAME, DETECTION_FOLDERS, Network
from peers_measure import outputs_of

from distq.data.dataset import DatasetSpec, Sample
from distq.graph.load import load_model
from distq.graph.read import read_proto
from distq.run.samples import input_specs


def main(data: Path, folder: Path, network: Network, most: int | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = data / "models" / f"{network.name}.onnx"
    preprocess = None
    if network.steps:
        preprocess = folder / "preprocess.yaml"  # JSON is YAML
        preprocess.write_text(
            json.dumps({"inputs": {"*": {"steps": list(network.steps), "layout": "nchw"}}}), encoding="utf-8"
        )
    specs = input_specs(ir.from_proto(read_proto(model)[0]))

    def load(source: str, indices: Sequence[int] | None) -> list[Sample]:
        dataset = DatasetSpec.create(data / source, specs, preprocess=preprocess).open()
        return [dataset.load(i) for i in (range(len(dataset)) if indices is None else indices)]

    calibration, held_out = network.calibration, network.held_out
    save(folder / "calibration.npz", load(calibration.source, calibration.indices(most)))
    measured = load(held_out.source, held_out.indices(most))
    save(folder / "held_out.npz", measured)
    if network.judge == "top-1":
        np.save(folder / "labels.npy", np.array([sample.label for sample in measured], np.int64))
    if network.is_detector:
        photos = [sample for source in DETECTION_FOLDERS for sample in load(source, None)]
        save(folder / "photos.npz", photos[:most])
    for role in ("held_out", "photos"):
        if (folder / f"{role}.npz").exists():
            outputs = outputs_of(model.read_bytes(), folder / f"{role}.npz")
            write(folder / f"{role}.float.npz", {str(i): output for i, output in enumerate(outputs)})
    (folder / "folded.onnx").write_bytes(load_model(model).serialized())


def save(path: Path, samples: Sequence[Sample]) -> None:
    """One array per input, its leading axis counting samples."""
    names = list(samples[0].inputs)
    write(path, {name: np.concatenate([sample.inputs[name] for sample in samples]) for name in names})


def write(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write an .npz of these arrays."""
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own flag


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        BY_NAME[sys.argv[3]],
        int(sys.argv[4]) if len(sys.argv) > 4 else None,
    )
