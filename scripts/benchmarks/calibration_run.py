"""One measurement of calibration_cost.py, in a process of its own; prints a JSON object.

    python calibration_run.py one MODEL ARRAYS.npz REPEATS
    python calibration_run.py workers MODEL ARRAYS.npz REPEATS
    python calibration_run.py memory MODEL LIST.txt PREPROCESS.yaml

``one`` keeps to one core and counts its seconds: a plain float pass of ONNX Runtime over the arrays and
distq's observation of all quantized tensors, in turns. Sessions and workers are opened before.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime

from distq.calibration.histogram import Distribution
from distq.config import CalibrateOptions
from distq.engine.journal import Journal
from distq.engine.progress import SilentReporter
from distq.run.context import Run
from distq.run.open import open_run
from distq.run.results import RunResult
from distq.stages.form import Form
from distq.stages.observe import observe
from distq.stages.thresholds import calibrated_table


@contextmanager
def opened(model: Path, data: Path, **given: object) -> Iterator[Run]:
    """A calibration of all samples, its workers ready."""
    with tempfile.TemporaryDirectory() as folder:
        options = CalibrateOptions.model_validate(
            {"model": model, "data": data, "samples": 0, "holdout": 0, "out": Path(folder) / "run", **given}
        )
        with open_run(options, "calibrate", SilentReporter()) as run:
            if isinstance(run, RunResult):
                raise SystemExit(f"{options.out} is finished already")
            yield run


def observed(run: Run) -> dict[str, Distribution]:
    """The distributions, with nothing recalled from an earlier time."""
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl") as journal:
        return observe(replace(run, journal=journal), Form.given(run))


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of one run, of this process's processor time unless another clock is given."""
    began = clock()
    work()
    return clock() - began


def one(model: Path, arrays: Path, repeats: int) -> dict[str, object]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with np.load(arrays) as file:
        inputs = {name: file[name] for name in file.files}
    count = len(next(iter(inputs.values())))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def plain() -> None:
        for i in range(count):
            session.run(None, {name: array[i : i + 1] for name, array in inputs.items()})

    with opened(model, arrays, executor="local") as run:
        found = observed(run)
        plain()
        pairs = [(seconds(plain), seconds(lambda: observed(run))) for _ in range(repeats)]
        table = min(seconds(lambda: calibrated_table(run.plan, found, "kl", 2048)) for _ in range(repeats))
    return {
        "images": count,
        "tensors": len(found),
        "plain_ms": statistics.median(p for p, _ in pairs) / count * 1e3,
        "observed_ms": statistics.median(o for _, o in pairs) / count * 1e3,
        "ratio": statistics.median(o / p for p, o in pairs),
        "thresholds_s": table / len(found) * 60,
        "peak_mib": peak(),
    }


def workers(model: Path, arrays: Path, repeats: int) -> dict[str, object]:
    """Throughput of two workers to that of one, which have been started and have opened their sessions."""
    with opened(model, arrays, workers=1) as single:
        observed(single)
        alone = [seconds(lambda: observed(single), time.perf_counter) for _ in range(repeats)]
    with opened(model, arrays, workers=2) as double:
        observed(double)
        both = [seconds(lambda: observed(double), time.perf_counter) for _ in range(repeats)]
    return {"ratio": statistics.median(alone) / statistics.median(both)}


def memory(model: Path, data: Path, preprocess: Path) -> dict[str, object]:
    with opened(model, data, executor="local", preprocess=preprocess) as run:
        observe(run, Form.given(run))
    return {"peak_mib": peak()}


def peak() -> float:
    """Peak memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    what, model, data, last = sys.argv[1:]
    if what == "memory":
        found = memory(Path(model), Path(data), Path(last))
    else:
        found = {"one": one, "workers": workers}[what](Path(model), Path(data), int(last))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
