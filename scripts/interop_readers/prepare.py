"""A run of distq, its samples as arrays and its table in every format, for the readers of other tools.

prepare.py WORK JOB.yaml [CALIBRATION HELD_OUT]: WORK gets run/, tables/, the samples and job.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

import distq
from distq.engine.progress import SilentReporter
from distq.errors import InputError
from distq.graph.load import load_model
from distq.jobfile import load_job
from distq.jobs.tune import tune
from distq.run.rundir import RunDir
from distq.run.samples import prepare_data

SUFFIXES = {"ort": ".json", "tensorrt": ".cache", "aimet-0.6": ".encodings", "aimet-1.0": ".encodings"}
FORMATS = (
    *("distq", "csv", "tpu-mlir", "qtable", "bitmain", "bitmain-prototxt", "bitmain-text", "tensorrt"),
    *("ncnn", "ort", "ort-overrides", "sigmastar", "aimet-0.6", "aimet-1.0", "aimet-2.0", "amct", "ppq"),
)


def stacked(data, indices) -> dict[str, np.ndarray]:
    """Samples as the network takes them, by input, one behind the other."""
    samples = [data.load(index).inputs for index in indices]
    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def outputs(model: Path, inputs: dict[str, np.ndarray]) -> list[list[np.ndarray]]:
    """The outputs of a model for each sample."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # no warning of every initializer that is an input as well
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    count = len(next(iter(inputs.values())))
    return [
        session.run(None, {name: values[i : i + 1] for name, values in inputs.items()}) for i in range(count)
    ]


def sqnr(found: list[list[np.ndarray]], wanted: list[list[np.ndarray]]) -> float:
    """Decibels over all samples, of the mean over outputs."""
    ratios = []
    for position in range(len(wanted[0])):
        signal = sum(float(np.square(row[position].astype(np.float64)).sum()) for row in wanted)
        noise = sum(
            float(np.square(a[position].astype(np.float64) - b[position]).sum())
            for a, b in zip(found, wanted, strict=True)
        )
        ratios.append(noise / signal)
    return float(-10 * np.log10(np.mean(ratios)))


def main(work: Path, job_file: Path, calibration: int, held_out: int) -> None:
    """Make what is not there yet."""
    (work / "tables").mkdir(parents=True, exist_ok=True)
    run = work / "run"
    options = load_job(job_file, {"out": run, "executor": "local", "resume": run.exists()}).options
    if not RunDir(work / "run").finished:
        tune(options, SilentReporter())
    data, held, selection = prepare_data(options, load_model(options.model), SilentReporter())
    samples = stacked(data.open(), selection.calibration[:calibration])
    np.savez(work / "calibration.npz", **samples)
    tested = stacked(held.open(), selection.holdout[:held_out])
    np.savez(work / "heldout.npz", **tested)
    wanted = outputs(options.model, tested)
    np.savez(
        work / "expected.npz", **{f"{i}": np.concatenate(o) for i, o in enumerate(zip(*wanted, strict=True))}
    )
    lost = {}
    for name in FORMATS:
        out = work / "tables" / f"{name}{SUFFIXES.get(name, '.txt')}"
        try:
            lost[name] = distq.convert(work / "run", to=name, out=out).warnings
        except InputError as error:
            lost[name] = (str(error),)
    ours = sqnr(outputs(work / "run" / "model.int8.onnx", tested), wanted)
    equalized = RunDir(run).equalized
    model = equalized if equalized.exists() else options.model
    facts = {"model": str(model.resolve()), "sqnr": ours, "lost": lost}
    (work / "job.json").write_text(json.dumps(facts, indent=1))
    sys.stdout.write(
        f"{options.model.name}: distq's INT8 model {ours:.2f} dB on {held_out} held-out samples\n"
    )


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[3:5]] or [64, 64]
    main(Path(sys.argv[1]), Path(sys.argv[2]), *numbers)
