"""What a job has in hand.

The model and its plan, the samples and their roles, workers, journal and counters.
"""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.calibration.histogram import Distribution
from distq.config import CalibrateOptions, CommonOptions
from distq.data.dataset import DatasetSpec, InputSpec, Manifest
from distq.data.remote import IN_THIS_PROCESS, read_url
from distq.data.shards import DEFAULT_HOLDOUT, Selection, select, shard
from distq.data.staging import plan_stage
from distq.engine.executor import Executor, Pool, Unit
from distq.engine.factory import open_executor
from distq.engine.journal import Journal
from distq.engine.progress import Reporter
from distq.engine.run import Tally, run_units
from distq.errors import DataError, InputError, InterruptedRun, UsageError
from distq.files import sha256_bytes, sha256_file
from distq.graph.heads import Place
from distq.graph.load import LoadedModel
from distq.graph.plan import Plan
from distq.graph.values import numpy_dtype
from distq.jobs.dealing import turns_of
from distq.jobs.results import Cost, FloatLayer, SearchCost
from distq.jobs.rundir import RunDir
from distq.replica.session import fuse, integer_instructions
from distq.replica.worker import Arrays, Blob, WorkerSettings
from distq.urls import url_of

PACKAGES = (
    "distq",
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "ray",
)

NOT_IDENTITY = frozenset(
    {
        "skip_bad",
        "executor",
        "workers",
        "device",
        "address",
        "resume",
        "shard_size",
        "cache_memory",
        "stage_data",
        "cpus_per_worker",
        "gpus_per_worker",
        "decode_workers",
        "wait_for_workers",
        "retries",
        "out",
        "allow_code",
        "dump_dist",
    }
)
"""Options that say where and how a job runs, not what it computes; they may change on resume."""


def _images(unit: Unit) -> int:
    """Samples of a unit."""
    return len(getattr(unit, "indices", ()))


@dataclass
class Forwards:
    """Forwards run so far, in whole networks; ``search`` is the search's part, None where there was none."""

    fp32_forwards: float = 0.0
    int8_forwards: float = 0.0
    search: SearchCost | None = None


MOST_COMPARED = DEFAULT_HOLDOUT
"""Calibration samples, the first ones, that ``calibrate`` compares its model with float on.

All of them would be a second pass over the data, for a figure that the held-out samples give more honestly.
"""

Manifests = tuple[Manifest, Manifest]
"""Of the samples that calibrate, and of those held out."""


@dataclass
class Job:
    """One run while it goes on.

    Attributes:
        float_model: gives the outputs that reports compare with.
        float_parts: gives what choices compare with: the parts of these outputs.
        manifests: of the samples that calibrate and those held out, as they were when the job began.
        places: of the parts; empty where the outputs themselves are compared.
        distributions: of the quantized tensors, once they are known.
        means: mean output of each layer of ``loaded`` in float, by its name, once it is known.
    """

    options: CalibrateOptions
    reporter: Reporter
    rundir: RunDir
    loaded: LoadedModel
    plan: Plan
    data: DatasetSpec
    selection: Selection
    holdout_data: DatasetSpec
    journal: Journal
    executor: Executor
    started: float
    float_model: Blob
    float_parts: Blob
    manifests: Manifests
    places: tuple[Place, ...] = ()
    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    means: Mapping[str, npt.NDArray[np.float64]] | None = None
    tally: Tally = field(default_factory=Tally)
    cost_so_far: Forwards = field(default_factory=Forwards)
    warnings: list[str] = field(default_factory=list)
    float_layers: list[FloatLayer] = field(default_factory=list)
    counted: set[str] = field(default_factory=set)  # keys of units whose forwards are in the cost
    skipped: set[tuple[str, int]] = field(default_factory=set)  # source and index

    def warn(self, text: str) -> None:
        """Tell the user now, and again in the result."""
        self.warnings.append(text)
        self.reporter.warn(text)

    def readable(self, indices: Sequence[int], data: DatasetSpec | None = None) -> Sequence[int]:
        """Samples that could be decoded: of the calibration data, or of other data."""
        if not self.skipped:
            return indices
        source = (data or self.data).source
        return [i for i in indices if (source, i) not in self.skipped]

    def fuse(self, model: bytes) -> bytes:
        """The graph that the workers run for a QDQ model (:func:`distq.replica.session.fuse`)."""
        return fuse(model, WorkerSettings(self.executor.device))

    def shards(self, indices: Sequence[int]) -> list[Sequence[int]]:
        """Readable calibration samples in pieces of at most the shard size, as many for each worker."""
        return shard(self.readable(indices), self.options.shard_size, turns_of(self.executor.workers))

    def results(self, units: Sequence[Unit]) -> Iterator[Arrays]:
        """Results of units in their order; those in the journal are not run again."""
        return run_units(
            self.executor, self.journal, units, self.reporter, weight=lambda _: 0, tally=self.tally
        )

    def images(self, stage: str, units: Sequence[Unit]) -> Iterator[Arrays]:
        """The same under a progress bar that counts the units' samples."""
        self.reporter.start(stage, sum(map(_images, units)), "images")
        try:
            yield from run_units(
                self.executor,
                self.journal,
                units,
                self.reporter,
                weight=_images,
                tally=self.tally,
            )
        finally:
            self.reporter.finish()

    def skip_unreadable(self, result: Arrays, data: DatasetSpec) -> None:
        """Leave out samples that could not be decoded, as many as ``--skip-bad`` allows.

        Raises:
            DataError: more than that.
        """
        for index, reason in zip(result["unreadable"].tolist(), result["reasons"].tolist(), strict=True):
            if (data.source, index) in self.skipped:
                continue
            self.skipped.add((data.source, index))
            if len(self.skipped) > self.options.skip_bad:
                raise DataError(
                    f"{reason}; mend or remove it, or allow some with --skip-bad {len(self.skipped)}"
                )
            self.warn(f"left out: {reason}")

    def count_int8(self, units: Sequence[Unit], results: Sequence[Arrays]) -> None:
        """Add the forwards that units say they ran, once for each: a result may be asked for again."""
        for unit, result in zip(units, results, strict=True):
            if unit.key not in self.counted:
                self.counted.add(unit.key)
                self.cost_so_far.int8_forwards += float(result["forwards"])

    def cost(self) -> Cost:
        """What the job took so far."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1024 if sys.platform != "darwin" else 1 << 20
        )
        return Cost(
            fp32_forwards=round(self.cost_so_far.fp32_forwards, 3),
            int8_forwards=round(self.cost_so_far.int8_forwards, 3),
            seconds=round(time.monotonic() - self.started, 3),
            workers=self.executor.workers,
            peak_rss_mb=round(peak, 1),
            search=self.cost_so_far.search,
        )


def input_specs(model: ir.Model) -> tuple[InputSpec, ...]:
    """The model's inputs as the data must fit them; initializers listed as inputs are not fed.

    A negative dimension, as Paddle writes one, is open.
    """
    specs = []
    for value in model.graph.inputs:
        if value.name in model.graph.initializers:
            continue
        sizes = () if value.shape is None else value.shape
        shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in sizes)
        specs.append(InputSpec(value.name or "", shape, numpy_dtype(value)))
    return tuple(specs)


def data_spec(
    options: CommonOptions, source: Path, model: ir.Model, preprocess: Path | None, labels: Path | None
) -> DatasetSpec:
    """Describe a data set for a model.

    Raises:
        UsageError: it is in the memory of this process, and others are to read it.
    """
    for path in (source, labels):
        url = None if path is None else url_of(path)
        if url is not None and url.startswith(f"{IN_THIS_PROCESS}:") and options.executor != "local":
            raise UsageError(f"{url} is in the memory of this process alone: give --executor local")
    spec = DatasetSpec.create(
        source, input_specs(model), preprocess=preprocess, labels=labels, allow_code=options.allow_code
    )
    if options.stage_data is None:
        return spec
    spec.open()  # what is damaged is said before it is hashed
    return replace(spec, stage=plan_stage(source, options.stage_data))


def choose_samples(
    options: CalibrateOptions, data: DatasetSpec, holdout_data: DatasetSpec, tune_samples: int | None
) -> Selection:
    """Roles of the samples; a number that the user did not give shrinks to what is there."""
    count = len(data.open())
    separate = len(holdout_data.open()) if options.holdout_data is not None else None
    samples = options.samples if "samples" in options.model_fields_set else min(options.samples, count)
    calibrating = samples or count
    wanted = min(calibrating, MOST_COMPARED) if tune_samples is None else tune_samples
    if tune_samples is not None and "tune_samples" not in options.model_fields_set:
        wanted = min(wanted, calibrating)
    return select(count, samples, wanted, options.holdout, options.shuffle, options.seed, separate)


def identity(
    *,
    options: CalibrateOptions,
    command: str,
    loaded: LoadedModel,
    data: DatasetSpec,
    manifests: Manifests,
) -> dict[str, Any]:
    """The fields that decide a run's result."""
    fields = options.model_dump(mode="json")
    chosen = {
        name: value
        for name, value in fields.items()
        if name not in NOT_IDENTITY and not isinstance(getattr(options, name), Path)
    }
    files = {name: getattr(options, name) for name in ("table", "load_dist", "labels")}
    own, held = manifests
    return {
        "command": command,
        **chosen,
        **{name: file_identity(path) for name, path in files.items() if path is not None},
        "model": loaded.sha256,
        "data": own.sha256,
        "holdout": held.sha256,
        "preprocess": data.describe_preprocessing(),
        "integer_instructions": integer_instructions(),
    }


def file_identity(path: Path) -> str:
    """SHA-256 of a file the job reads.

    Raises:
        InputError: it cannot be read.
    """
    url = url_of(path)
    try:
        return sha256_file(path) if url is None else sha256_bytes(read_url(url))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def versions() -> dict[str, str]:
    """Versions of what decides the bits."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn Ctrl-C into distq's own error, which the command line ends with 130.

    Raises:
        InterruptedRun: the user pressed Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRun("interrupted: continue with the same command and --resume") from None


def open_workers(options: CommonOptions, reporter: Reporter) -> Pool:
    """The executor of the options; what happens to workers is shown as warnings."""
    executor = open_executor(options, reporter.warn)
    if options.device == "auto":
        reporter.line(f"--device auto: all workers ({executor.workers}) compute on {executor.device}")
    return executor
