"""The functions of the Python interface that run networks: one for each verb, as ``distq`` offers them.

Jobs are imported when called: ``import distq`` stays quick, and reading the version does not load Ray.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distq.engine.progress import Reporter
    from distq.run.results import DiffResult, EvaluateResult, RunResult
    from distq.sweeps.plan import SweepPlan
    from distq.sweeps.results import SweepResult

FilePath = str | os.PathLike[str]
Data = FilePath | Iterable[object]
"""A path, or samples from Python: an array of them, arrays by input, a list, a generator."""


def calibrate(
    *,
    model: FilePath,
    data: Data | None = None,
    out: FilePath,
    reporter: Reporter | None = None,
    **options: object,
) -> RunResult:
    """Compute INT8 thresholds from a calibration set and export the quantized model.

    Args:
        model: The float model: ONNX, or a Caffe .prototxt, with ``weights=`` where they do not lie beside it.
        data: A folder of images, a text list, an LMDB folder, or .npz/.npy arrays whose leading axis counts
            samples. Or the samples themselves: anything that gives them one by one, such as a generator. A
            sample is an array, a tuple with one for each input, or a mapping from the inputs' names; as many
            as are asked for are taken, once, and kept in ``data`` of the run folder. None with ``load_dist``:
            thresholds alone, no model; or with a Caffe model whose data layer names its samples.
        out: The run folder; it must not exist, unless with ``resume=True``.
        reporter: Told of progress, log lines and warnings; silent by default.
        **options: Any option of ``distq calibrate --help`` with underscores, such as ``samples=256``,
            ``method="mse"``, ``bias_correction=False``, ``executor="local"``; and ``data_folder``, where
            samples from Python are kept instead.

    Returns:
        Accuracy on the held-out and the tuning samples, what it cost, and the files written.

    Raises:
        InputError: The model, the data or an option cannot be used (exit code 2 of the command).
        ExecutionError: A work unit failed, also when tried again (exit code 3).
        InterruptedRun: Stopped by Ctrl-C; the same call with ``resume=True`` continues (exit code 130).
    """
    from distq.config import CalibrateOptions  # noqa: PLC0415  # lazy, see above
    from distq.jobs.calibrate import calibrate as job  # noqa: PLC0415  # lazy, see above
    from distq.run.python_data import python_data  # noqa: PLC0415  # lazy, see above

    values = {"model": model, "data": data, "out": out, **options}
    told = reporter or _silent()
    with python_data(CalibrateOptions, values, told) as made:
        return job(made, told)


def tune(
    *,
    model: FilePath,
    data: Data | None = None,
    out: FilePath,
    reporter: Reporter | None = None,
    **options: object,
) -> RunResult:
    """Calibrate, then search each layer's threshold for the smallest error of the network outputs.

    Args:
        model: The float model: ONNX, or a Caffe .prototxt, with ``weights=`` where they do not lie beside it.
        data: As :func:`calibrate` takes it.
        out: The run folder; it must not exist, unless with ``resume=True``.
        reporter: Told of progress, log lines and warnings; silent by default.
        **options: Any option of ``distq tune --help`` with underscores, such as ``tune_samples=32`` or
            ``layers=("conv1", "fc1000")``.

    Returns:
        Accuracy before and after the search on the held-out and the tuning samples, what it cost, and the
        files written.

    Raises:
        InputError: The model, the data or an option cannot be used (exit code 2 of the command).
        ExecutionError: A work unit failed, also when tried again (exit code 3).
        InterruptedRun: Stopped by Ctrl-C; the same call with ``resume=True`` continues (exit code 130).
    """
    from distq.config import TuneOptions  # noqa: PLC0415  # lazy, see above
    from distq.jobs.tune import tune as job  # noqa: PLC0415  # lazy, see above
    from distq.run.python_data import python_data  # noqa: PLC0415  # lazy, see above
    from distq.run.time_limit import stopwatch  # noqa: PLC0415  # lazy, see above

    values = {"model": model, "data": data, "out": out, **options}
    clock = stopwatch()  # samples that a generator gives are taken within --time
    told = reporter or _silent()
    with python_data(TuneOptions, values, told) as made:
        return job(made, told, clock=clock)


def auto(
    *,
    model: FilePath,
    goal: str,
    data: Data | None = None,
    out: FilePath,
    reporter: Reporter | None = None,
    **options: object,
) -> RunResult:
    """Find the cheapest network that meets a goal on the tuning samples.

    Args:
        model: The float model: ONNX, or a Caffe .prototxt, with ``weights=`` where they do not lie beside it.
        goal: ``"sqnr:30"``: decibels of the outputs; ``"top1:-0.5"``, ``"top5:-0.5"``: points against
            float; ``"map:-1"``, ``"score:-0.01"``: of a measure.
        data: As :func:`calibrate` takes it.
        out: The run folder; it must not exist, unless with ``resume=True``.
        reporter: Told of progress, log lines and warnings; silent by default.
        **options: Any option of ``distq auto --help`` with underscores, such as ``cost="layers"`` or
            ``time="30m"``; ``tries=["per-channel; method=admm"]`` is ``--try``.

    Returns:
        As :func:`tune`, the network chosen as ``after``; ``auto`` has all that was tried, the reasons, and
        whether the goal was ``reached``. Where it was not, the network is the closest to it.

    Raises:
        InputError: The model, the data or an option cannot be used (exit code 2 of the command).
        ExecutionError: A work unit failed, also when tried again (exit code 3).
        InterruptedRun: Stopped by Ctrl-C; the same call with ``resume=True`` continues (exit code 130).
    """
    from distq.config import AutoOptions  # noqa: PLC0415  # lazy, see above
    from distq.jobs.auto import auto as job  # noqa: PLC0415  # lazy, see above
    from distq.run.python_data import python_data  # noqa: PLC0415  # lazy, see above
    from distq.run.time_limit import stopwatch  # noqa: PLC0415  # lazy, see above

    clock = stopwatch()  # samples that a generator gives are taken within --time
    values, told = {"model": model, "goal": goal, "data": data, "out": out, **options}, reporter or _silent()
    with python_data(AutoOptions, values, told) as made:
        return job(made, told, clock=clock)


def evaluate(
    candidate: FilePath,
    *,
    data: Data | None = None,
    against: FilePath | None = None,
    reporter: Reporter | None = None,
    **options: object,
) -> EvaluateResult:
    """Measure a model: its distance from a float model, and its accuracy where there are labels.

    Args:
        candidate: The ONNX model to measure, usually a run's ``model.int8.onnx``.
        data: As :func:`calibrate` takes it.
        against: The float model, ONNX or Caffe, with the same inputs and outputs; None: accuracy alone.
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
    from distq.run.python_data import python_data  # noqa: PLC0415  # lazy, see above

    values = {"candidate": candidate, "data": data, "against": against, **options}
    told = reporter or _silent()
    with python_data(EvaluateOptions, values, told) as made:
        return job(made, told)


def diff(
    *,
    model: FilePath,
    table: FilePath,
    data: Data,
    reporter: Reporter | None = None,
    **options: object,
) -> DiffResult:
    """Show how far a network with given thresholds is from float, and which part of it costs what.

    Args:
        model: The float model: ONNX, or a Caffe .prototxt, with ``weights=`` where they do not lie beside it.
        table: The thresholds, such as a run's ``thresholds.json``.
        data: As :func:`calibrate` takes it.
        reporter: Told of progress, log lines and warnings; silent by default.
        **options: Any option of ``distq diff --help`` with underscores, such as ``sensitivity=True``.

    Returns:
        The network's distance from float and, where asked for, that of each layer or tensor.

    Raises:
        InputError: The model, the table, the data or an option cannot be used (exit code 2 of the command).
        ExecutionError: A work unit failed, also when tried again (exit code 3).
    """
    from distq.config import DiffOptions  # noqa: PLC0415  # lazy, see above
    from distq.jobs.diff import diff as job  # noqa: PLC0415  # lazy, see above
    from distq.run.python_data import python_data  # noqa: PLC0415  # lazy, see above

    values, told = {"model": model, "table": table, "data": data, **options}, reporter or _silent()
    with python_data(DiffOptions, values, told) as made:
        return job(made, told)


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
