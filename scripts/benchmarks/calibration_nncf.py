"""What NNCF's calibration costs: runs in the peers' virtual environment and prints a JSON object.

``python calibration_nncf.py FLOAT.onnx CALIBRATION.npz`` keeps to one core and counts its seconds in
collecting statistics, for minima and maxima and for fast bias correction, and the memory until then.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from nncf.onnx.statistics.aggregator import ONNXStatisticsAggregator
from peers_run import Samples, nncf_quantize


def main(model: Path, calibration: Path) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    samples = Samples(calibration, model)
    collect = ONNXStatisticsAggregator.collect_statistics
    spent, peaks = [], []

    def timed(*arguments: object) -> None:
        began = time.process_time()
        collect(*arguments)
        spent.append(time.process_time() - began)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    ONNXStatisticsAggregator.collect_statistics = timed
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model.onnx"
        nncf_quantize(model, samples, out, preset="performance", fast=True, per_tensor=True)
    print(json.dumps({"ms": sum(spent) / len(samples) * 1e3, "peak_mib": max(peaks)}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
