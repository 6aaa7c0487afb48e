"""Finds the INT8 thresholds that keep an ONNX network closest to float, on Ray.

    import distq

    result = distq.tune(model="model.onnx", data="photos/", preprocess="preprocess.yaml", out="run")
    print(result.holdout.after.sqnr_db)

The functions do what ``distq calibrate``, ``tune``, ``auto``, ``eval``, ``diff``, ``convert``, ``report``,
``export`` and ``sweep`` do, and raise what distq.errors lists. Nothing is printed unless a reporter is given.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from distq.errors import (
    DataError,
    DistqError,
    ExecutionError,
    FileFormatError,
    InputError,
    InterruptedRun,
    ModelError,
    PreprocessError,
    UsageError,
)
from distq.file_verbs import build_dataset, convert, convert_network, dataset_info
from distq.run_verbs import export, report, watch
from distq.verbs import (
    auto,
    calibrate,
    diff,
    evaluate,
    plan_sweep,
    sweep,
    tune,
)

if TYPE_CHECKING:
    from distq.cascade import Cascade

    __version__: str
else:

    def __getattr__(name: str) -> object:
        """What is looked up when it is wanted: it takes as long to load as all of this, or longer."""
        if name == "Cascade":
            from distq.cascade import Cascade  # noqa: PLC0415  # see above

            return Cascade
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # see above

        try:
            return version("distq")
        except PackageNotFoundError:  # a source tree on PYTHONPATH
            return "0+unknown"


# ONNX Runtime reads it when it loads; it reports to Microsoft, and leaves files in $TMPDIR and ~/.cache
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "Cascade",
    "DataError",
    "DistqError",
    "ExecutionError",
    "FileFormatError",
    "InputError",
    "InterruptedRun",
    "ModelError",
    "PreprocessError",
    "UsageError",
    "__version__",
    "auto",
    "build_dataset",
    "calibrate",
    "convert",
    "convert_network",
    "dataset_info",
    "diff",
    "evaluate",
    "export",
    "plan_sweep",
    "report",
    "sweep",
    "tune",
    "watch",
]
