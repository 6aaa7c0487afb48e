"""Finds the INT8 thresholds that keep an ONNX network closest to float, on Ray.

    import distq

    result = distq.tune(model="model.onnx", data="photos/", preprocess="preprocess.yaml", out="run")
    print(result.holdout.after.sqnr_db)

The functions do what ``distq calibrate``, ``tune``, ``eval``, ``convert`` and ``sweep`` do, and raise what
distq.errors lists. Nothing is printed unless a reporter is given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
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

if TYPE_CHECKING:
    from distq.engine.progress import Reporter
    from distq.jobs.convert_table import ConvertResult
    from distq.run.results import EvaluateResult, RunResult
    from distq.sweeps.plan import SweepPlan
    from distq.sweeps.results import SweepResult

    __version__: str
else:

    def __getattr__(name: str) -> str:
        """``__version__``, looked up when it is wanted: what looks takes as long to load as all of this."""
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
    "calibrate",
    "convert",
    "evaluate",
    "plan_sweep",
    "sweep",
    "tune",
]

FilePath = str | os.PathLike[str]

# Jobs are imported when called: `import distq` stays quick, and reading the version does not load Ray.


def calibrate(
    *,
    model: FilePath,
    data: FilePath | None = None,
    out: FilePath,
    reporter: Reporter | None = None,
    **options: object,
) -> RunResult:
    """Compute INT8 thresholds from a calibration set and export the quantized model.

    Args:
        model: The float ONNX model.
        data: A folder of images, a text list, an LMDB folder, or .npz/.npy arrays whose leading axis counts
            samples. None only with ``load_dist``: thresholds alone, no model.
        out: The run folder; it must not exist, unless with ``resume=True``.
        reporter: Told of progress, log lines and warnings; silent by default.
        **options: Any option of ``distq calibrate --help`` with underscores, such as ``samples=256``,
            ``method="mse"``, ``bias_correction=False``, ``executor="local"``.

    Returns:
        Accuracy on the held-out and the tuning images, what it cost, and the files written.

    Raises:
        InputError: The model, the data or an option cannot be used (exit code 2 of the command).
        ExecutionError: A work unit failed, also when tried again (exit code 3).
        InterruptedRun: Stopped by Ctrl-C; the same call with ``resume=True`` continues (exit code 130).
    """
    from distq.config import CalibrateOptions  # noqa: PLC0415  # lazy, see above
    from distq.jobs.calibrate import calibrate as job  # noqa: PLC0415  # lazy, see above
    from distq.options import make_options  # noqa: PLC0415  # lazy, see above

    values = {"model": model, "data": data, "out": out, **options}
    return job(make_options(CalibrateOptions, values), reporter or _silent())


def tune(
    *,
    model: FilePath,
    data: FilePath | None = None,
    out: FilePath,
    reporter: Reporter | None = None,
    **options: object,
) -> RunResult:
    """Calibrate, then search each layer's threshold for the smallest error of the network outputs.

    Args:
        model: The float ONNX model.
        data: A folder of images, a text list, an LMDB folder, or .npz/.npy arrays whose leading axis counts
            samples.
        out: The run folder; it must not exist, unless with ``resume=True``.
        reporter: Told of progress, log lines and warnings; silent by default.
        **options: Any option of ``distq tune --help`` with underscores, such as ``tune_samples=32`` or
            ``layers=("conv1", "fc1000")``.

    Returns:
        Accuracy before and after the search on the held-out and the tuning images, what it cost, and the
        files written.

    Raises:
        InputError: The model, the data or an option cannot be used (exit code 2 of the command).
        ExecutionError: A work unit failed, also when tried again (exit code 3).
        InterruptedRun: Stopped by Ctrl-C; the same call with ``resume=True`` continues (exit code 130).
    """
    from distq.config import TuneOptions  # noqa: PLC0415  # lazy, see above
    from distq.jobs.tune import tune as job  # noqa: PLC0415  # lazy, see above
    from distq.options import make_options  # noqa: PLC0415  # lazy, see above

    values = {"model": model, "data": data, "out": out, **options}
    return job(make_options(TuneOptions, values), reporter or _silent())


def evaluate(
    candidate: FilePath,
    *,
    data: FilePath,
    against: FilePath | None = None,
    reporter: Reporter | None = None,
    **options: object,
) -> EvaluateResult:
    """Measure a model: its distance from a float model, and its accuracy where there are labels.

    Args:
        candidate: The ONNX model to measure, usually a run's ``model.int8.onnx``.
        data: A folder of images, a text list, an LMDB folder, or .npz/.npy arrays whose leading axis counts
            samples.
        against: The float ONNX model with the same inputs and outputs; None measures accuracy alone.
        reporter: Told of progress, log lines and warnings; silent by default.
        **options: Any option of ``distq eval --help`` with underscores, such as ``labels="labels.txt"``.

    Returns:
        NMSE, SQNR in dB and cosine against float, top-1 and top-5 as fractions, each where it applies.

    Raises:
        InputError: A model, the data or an option cannot be used (exit code 2 of the command).
        ExecutionError: A work unit failed, also when tried again (exit code 3).
    """
    from distq.config import EvaluateOptions  # noqa: PLC0415  # lazy, see above
    from distq.jobs.evaluate import evaluate as job  # noqa: PLC0415  # lazy, see above
    from distq.options import make_options  # noqa: PLC0415  # lazy, see above

    values = {"candidate": candidate, "data": data, "against": against, **options}
    return job(make_options(EvaluateOptions, values), reporter or _silent())


def convert(
    source: FilePath, *, to: str, out: FilePath, reporter: Reporter | None = None, **options: object
) -> ConvertResult:
    """Write a threshold table, or those of a run, in another tool's format.

    Args:
        source: The table, recognised by its content, or a run's folder.
        to: The format to write, as ``distq convert --help`` lists them.
        out: The file to write.
        reporter: Told of warnings; silent by default.
        **options: ``source_format``, ``model``, ``names``, ``convention``, ``source_convention``.

    Returns:
        What was written, and what the format cannot say.

    Raises:
        InputError: The table, the model or an option cannot be used (exit code 2 of the command).
        ExecutionError: The file cannot be written (exit code 3).
    """
    from distq.config import ConvertOptions  # noqa: PLC0415  # lazy, see above
    from distq.jobs.convert_table import convert_table as job  # noqa: PLC0415  # lazy, see above
    from distq.options import make_options  # noqa: PLC0415  # lazy, see above

    values = {"source": source, "to": to, "out": out, **options}
    return job(make_options(ConvertOptions, values), reporter or _silent())


def sweep(
    source: FilePath | Mapping[str, object],
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
    **options: object,
) -> SweepResult:
    """Run a matrix of jobs on the same workers; a run that fails leaves the others alone.

    Args:
        source: A sweep file, or what one would say: ``{"command": "calibrate", "matrix": {...}, ...}``.
        resume: Continue what is in ``out``.
        reporter: Told of every run that ends; silent by default.
        **options: ``out``, ``executor``, ``workers``, ``device``, ``address`` ... instead of
            the source's.

    Returns:
        A row a run, also for those that failed (``result.failed``), and where the files are.

    Raises:
        InputError: The sweep cannot be read, or its folder is taken (exit code 2 of the command).
        ExecutionError: There are no workers (exit code 3).
        InterruptedRun: Stopped by Ctrl-C; the same call with ``resume=True`` continues (exit code 130).
    """
    from distq.jobs.calibrate import calibrate as calibrate_job  # noqa: PLC0415  # lazy, see above
    from distq.jobs.sweep import sweep as job  # noqa: PLC0415  # lazy, see above
    from distq.jobs.tune import tune as tune_job  # noqa: PLC0415  # lazy, see above
    from distq.sweeps.matrix import load_sweep  # noqa: PLC0415  # lazy, see above
    from distq.sweeps.runs import Verbs  # noqa: PLC0415  # lazy, see above

    wanted, verbs = load_sweep(_sweep_source(source), options), Verbs(calibrate_job, tune_job)
    return job(wanted, verbs, reporter or _silent(), resume=resume)


def plan_sweep(source: FilePath | Mapping[str, object], **options: object) -> SweepPlan:
    """What :func:`sweep` would run, and its cost in forwards; runs nothing.

    Args:
        source: As :func:`sweep` takes it.
        **options: The same.

    Raises:
        InputError: The sweep cannot be read.
    """
    from distq.sweeps.matrix import load_sweep  # noqa: PLC0415  # lazy, see above
    from distq.sweeps.plan import plan_sweep as job  # noqa: PLC0415  # lazy, see above

    return job(load_sweep(_sweep_source(source), options))


def _sweep_source(source: FilePath | Mapping[str, object]) -> Path | Mapping[str, object]:
    return source if isinstance(source, Mapping) else Path(source)


def _silent() -> Reporter:
    from distq.engine.progress import SilentReporter  # noqa: PLC0415  # lazy, see above

    return SilentReporter()
